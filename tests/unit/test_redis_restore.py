"""A real Redis is copied and brought back by the pods' own scripts; the cluster around them is a stand-in, and so is the bucket (a folder)."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup import environment_dumps, manifest
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Origin
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore.redis_steps import STEPS, RedisInput, clear
from ansible_collections.shaka.platform.plugins.module_utils.restore.restoration import RestoreFailed
from test_redis_copies import copied, objects

ROLES = Path(__file__).parents[2] / "roles"
KEY, ADMIN = "c0ffee6" * 9, "administrator"
AUTHORITY = "a certificate\n"
CLUSTER = hashlib.sha256(AUTHORITY.encode()).hexdigest()[:16]
REDIS = shutil.which("redis-server") or shutil.which("redis-check-rdb")  # Debian's is the same program, which goes by its name
pytestmark = pytest.mark.skipif(not (REDIS and shutil.which("age")), reason="needs Debian's redis-tools and age")
# rclone, as far as the scripts use it
BUCKET = """#!/bin/sh
for last; do :; done
place=$BUCKET/${last#s3:}
case $1 in
  rcat)
    if [ -n "${BROKEN:-}" ]; then cat > /dev/null; echo "2026/11/26 20:26:05 NOTICE: Failed to rcat: AccessDenied: not you" >&2; exit 1; fi
    mkdir -p "${place%/*}"; cat > "$place" ;;
  lsf) cd "$place" && for each in *; do echo "$(stat -c %s "$each") $each"; done ;;
  copyto) cat > /dev/null; for each; do case $each in s3:*) cp "$BUCKET/${each#s3:}" "$last" ;; esac; done ;;
esac
"""


@functools.cache
def rendered_once(role: str) -> dict[tuple[str, str, str], Any]:
    return objects(copied(), role)


class Server:
    """A Redis with its volume, the tools in PATH, and the folders of its pods."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.bucket, self.work = folder, folder / "data", folder / "bucket", folder / "work"
        self.process: subprocess.Popen[bytes] | None = None
        self.restoring: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for each in (self.data, self.bucket, folder / "bin"):
            each.mkdir()
        (folder / "bin/redis-server").symlink_to(str(REDIS))
        cli = f'#!/bin/sh\nexec {shutil.which("redis-cli")} -p {self.port} "$@"\n'
        for name, text in {"redis-cli": cli, "rclone": BUCKET}.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        (folder / "ca.crt").write_text(AUTHORITY)
        (folder / "redis").mkdir()
        (folder / "redis/administrator.acl").write_text(f"user default on >{ADMIN} ~* &* +@all\n")
        subprocess.run(["age-keygen", "-o", str(folder / "key")], check=True, capture_output=True)
        made = rendered_once("redis")
        config = made["acme-shared", "ConfigMap", "redis-config"]["data"]["redis.conf"]
        command = made["acme-shared", "StatefulSet", "redis"]["spec"]["template"]["spec"]["containers"][0]["command"]
        self.command = [self.local(part) for part in command]
        conf = self.local(config) + f"port {self.port}\nrepl-diskless-sync-delay 0\n"
        (folder / "redis/redis.conf").write_text(conf)

    def local(self, text: str) -> str:
        return text.replace("/data", str(self.data)).replace("/etc/redis", str(self.folder / "redis"))

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """Of everything that runs here as it does in pods."""
        recipient = subprocess.run(["age-keygen", "-y", str(self.folder / "key")], capture_output=True, text=True, check=True).stdout.strip()
        named = {"S3_BUCKET": "b", "S3_PREFIX": "acme", "PLATFORM": "acme", "SERVER": "server", "ENVIRONMENT": "shared", "KIND": "scheduled"}
        paths = {"CLUSTER_CA": str(self.folder / "ca.crt"), "BUCKET": str(self.bucket), "WORK": str(self.work), "DATA": str(self.data)}
        own = {"BACKUP_KEY": KEY, "AGE_RECIPIENTS": recipient, "REDIS_HOST": "127.0.0.1", "JOB": "redis-backup-29012345"}
        return {**os.environ, **named, **paths, **own, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "REDISCLI_AUTH": ADMIN}

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()

    def hold(self, seconds: int) -> None:
        """The main process of a restore's pod."""
        self.work.mkdir()
        script = str(self.folder / "scripts/redis_restore.sh")
        self.restoring = subprocess.Popen(["sh", script, "hold", str(seconds)], env=self.environment)

    def let_go(self) -> None:
        if self.restoring:
            self.restoring.terminate()
            self.restoring.wait()
            self.restoring = None

    def ask(self, *command: str) -> str:
        return subprocess.run(["redis-cli", *command], env=self.environment, capture_output=True, text=True, check=False).stdout.strip()

    def answers(self, seconds: float = 30) -> bool:
        deadline = time.monotonic() + seconds
        while self.ask("ping") != "PONG":
            if time.monotonic() > deadline or (self.process and self.process.poll() is not None):
                return False
            time.sleep(0.05)
        return True

    def copy(self, shell: str = "sh", **environment: str) -> subprocess.CompletedProcess[str]:
        script = [shell, str(ROLES / "backup/files/redis_backup.sh")]
        return subprocess.run(script, env={**self.environment, **environment}, capture_output=True, text=True, check=False, timeout=60)

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.data.iterdir() if path.is_dir())

    @property
    def copies(self) -> list[Path]:
        return sorted(self.bucket.glob("b/acme/server/shared/*/redis/*"))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    """With keys in two databases, of which some expire, and the user of an environment beside that of the copies."""
    server = Server(tmp_path)
    server.start()
    assert server.answers()
    password = hashlib.sha256(f"redis-backup {KEY}".encode()).hexdigest()
    server.ask("acl", "setuser", "redis-backup", "reset", "on", f">{password}", "-@all", "+ping", "+psync", "+replconf", "+sync")
    server.ask("acl", "setuser", "prod", "on", ">prod", "~prod:*", "+get")
    server.ask("acl", "save")
    server.ask("eval", "for i = 1, 500 do redis.call('SET', 'dev:' .. i, string.rep('x', i)) end", "0")
    server.ask("-n", "2", "set", "prod:session", "alice", "EX", "5000")
    yield server
    server.stop()
    server.let_go()


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_copy_is_authentic_complete_and_says_what_is_in_it(redis: Server, shell: str) -> None:
    done = redis.copy(shell)
    assert done.returncode == 0, done.stderr
    (folder,) = redis.copies
    read = manifest.read((folder / "manifest").read_bytes(), KEY, Origin("server", "shared", CLUSTER), folder.name)
    (one,) = read.databases
    sealed = (folder / "redis.rdb.age").read_bytes()
    assert (read.kind, one.bytes, one.sha256, one.tables) == ("scheduled", len(sealed), hashlib.sha256(sealed).hexdigest(), {"keys": 501})
    assert one.database_bytes > 100_000 and read.more["redis"].startswith("7.")
    opened = subprocess.run(["age", "--decrypt", "-i", str(redis.folder / "key")], input=sealed, capture_output=True, check=True).stdout
    assert opened.startswith(b"REDIS") and opened[-9:-8] == b"\xff"
    told = json.loads(done.stdout.splitlines()[-1].removeprefix("backup "))
    assert told["stamp"] == folder.name and told["databases"][0]["bytes"] == len(sealed)
    assert redis.folders() == ["appendonlydir"]


@pytest.mark.parametrize(
    ("environment", "right", "reason"),
    [
        ({"BROKEN": "yes"}, "+sync", "redis: rclone: AccessDenied: not you"),
        ({"AGE_RECIPIENTS": "age1nobody"}, "+sync", "redis: age: malformed recipient"),
        ({}, "-sync", "redis: redis-cli: SYNC with master failed: -NOPERM"),
    ],
)
def test_a_copy_that_fails_says_why_in_its_last_line_and_does_not_count(redis: Server, environment: dict[str, str], right: str, reason: str) -> None:
    redis.ask("acl", "setuser", "redis-backup", right)
    done = redis.copy(**environment)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(f"backup failed: {reason}"), done.stderr
    assert not list(redis.bucket.rglob("manifest"))


class Cluster(Kubectl):
    """kubectl, as far as a restore asks it: commands in pods run here, and a pod that is deleted is started again."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.made: list[str] = []
        self.silence = 120
        self.comes = True  # whether a pod that was deleted is made anew

    def find(self, path: str) -> Any:
        if "podtemplates" in path:
            return rendered_once("restore")["acme-shared", "PodTemplate", "redis-restore"]
        labels = [{"name": name, "labels": {"batch.kubernetes.io/job-name": name}} for name in self.made]
        return {"items": [{"metadata": each, "status": {"phase": "Running"}} for each in labels]} if "?" in path else None

    def get(self, path: str) -> tuple[Any, str]:
        ready = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return (ready, "") if path.endswith("pods/redis-0") and self.server.answers(3) else (None, "no answer")

    def run(self, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        if arguments[0] == "create":
            self.made.append(json.loads(text or "")["metadata"]["name"])
            self.server.hold(self.silence)
        if arguments[:2] == ("delete", "job"):
            self.made = []
            self.server.let_go()
            shutil.rmtree(self.server.work, ignore_errors=True)
        if arguments[:2] == ("delete", "pod"):
            self.server.stop()
            if self.comes:
                self.server.start()
        if arguments[0] == "exec":
            return self.execute("", arguments[2], *arguments[4:])
        return True, "Can't handle RDB format version 99" if arguments[0] == "logs" else ""

    def execute(self, namespace: str, pod: str, *command: str, text: str | None = None) -> tuple[bool, str]:
        if pod != "redis-0" and self.server.restoring and self.server.restoring.poll() is not None:
            return False, "cannot exec into a container in a completed pod"
        local = [self.server.local(part).replace("/scripts", str(self.server.folder / "scripts")) for part in command]
        done = subprocess.run(local, input=text or "", env=self.server.environment, capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


class Restore:
    """The steps of a restore of the newest copy, as the role does them."""

    def __init__(self, server: Server, identity: Path | None = None) -> None:
        self.kubectl = Cluster(server)
        scripts = server.folder / "scripts"
        scripts.mkdir(exist_ok=True)
        for name in ("pod.sh", "redis_restore.sh"):
            shutil.copy(ROLES / "restore/files" / name, scripts)
        s3 = {"endpoint": "http://127.0.0.1:9", "bucket": "b", "prefix": "acme"}
        self.copies: Any = {"name": "shared", "namespace": "acme-shared", "memory": "256Mi", "backup": {"s3": s3}}
        credentials = {"access_key": "a", "secret_key": "b"}
        self.params: dict[str, Any] = {
            "backup": "latest", "origin": "", "credentials": credentials, "backup_key": KEY, "deadline": 60, "wait_timeout": 60, "drop_before": "",
            "identity": (identity or server.folder / "key").read_text(),
        }  # fmt: skip

    def step(self, name: str, **more: Any) -> dict[str, Any]:
        return STEPS[name](RedisInput(self.kubectl, self.copies, {**self.params, **more}, check=False))

    def plan(self) -> dict[str, Any]:
        found = self.step("plan")
        assert "msg" not in found, found
        self.params["plan"] = found["plan"]
        return found

    def until_filled(self) -> None:
        self.step("begin")
        while self.step("advance")["running"]:
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def _bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server would be told by rclone."""
    if "redis" not in request.fixturenames:
        return
    root = request.getfixturevalue("redis").bucket / "b"

    def files(*_of: object) -> dict[str, Path]:
        return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}

    def manifests(*_of: object) -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in files().items() if path.name == "manifest"}

    monkeypatch.setattr(environment_dumps, "objects", lambda *_of: {name: path.stat().st_size for name, path in files().items()})
    monkeypatch.setattr(environment_dumps, "manifests", manifests)


def test_a_flushed_redis_comes_back_with_what_expires_and_with_its_users(redis: Server) -> None:
    assert redis.copy().returncode == 0
    redis.ask("flushall")
    redis.ask("set", "written", "since")
    restore = Restore(redis)
    planned = restore.plan()
    assert planned["empty"] is False and "501 keys" in str(planned["platform_table"])
    restore.until_filled()
    assert redis.ask("get", "written") == "since", "Redis goes on meanwhile"
    done = restore.step("put_in_place")
    assert (done["key_count"], done["found"].partition(" (")[0], done["warnings"]) == (501, "501 keys", [])
    assert redis.ask("get", "dev:500") == "x" * 500 and redis.ask("get", "written") == ""
    assert 0 < int(redis.ask("-n", "2", "ttl", "prod:session")) <= 5000
    assert {"prod", "redis-backup"} <= set(redis.ask("acl", "users").split())
    redis.ask("set", "new", "after")  # and it is kept from now on
    redis.stop()
    redis.start()
    assert redis.answers() and redis.ask("get", "new") == "after" and redis.ask("dbsize") == "501"

    (kept,) = done["kept"]
    assert redis.folders() == ["appendonlydir", kept]
    told = clear(restore.kubectl, {"shared": restore.copies}, check_mode=True)
    assert told["changed"] is False and f"restore_drop_before={kept.partition('-')[2].upper()}" in told["warnings"][0]
    assert restore.step("drop_before", drop_before=kept.partition("-")[2].upper())["dropped"] == [kept]
    assert redis.folders() == ["appendonlydir"]


def other_key(server: Server) -> Path:
    subprocess.run(["age-keygen", "-o", str(server.folder / "other")], check=True, capture_output=True)
    return server.folder / "other"


def flip(server: Server) -> None:
    place = server.copies[0] / "redis.rdb.age"
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)


@pytest.mark.parametrize("how", ["another key", "a flipped bit"])
def test_what_cannot_be_trusted_or_opened_is_refused_with_its_reason(redis: Server, how: str) -> None:
    assert redis.copy().returncode == 0
    restore = Restore(redis, other_key(redis) if how == "another key" else None)
    restore.plan()
    if how == "a flipped bit":
        flip(redis)
    with pytest.raises(RestoreFailed, match="somebody else" if how == "another key" else "changed after it was written"):
        restore.until_filled()
    assert redis.folders() == ["appendonlydir"] and restore.kubectl.made == []
    assert redis.ask("dbsize") == "500"


def test_a_copy_that_does_not_fit_the_memory_is_refused_before_anything_is_done(redis: Server) -> None:
    assert redis.copy().returncode == 0
    restore = Restore(redis)
    restore.copies["memory"] = "1Mi"
    assert "raise platform_redis.limits.memory first" in restore.step("plan")["msg"]


def test_a_restore_whose_controller_is_gone_is_seen_and_undone(redis: Server) -> None:
    assert redis.copy().returncode == 0
    restore = Restore(redis)
    restore.plan()
    restore.until_filled()
    copies = {"shared": restore.copies}
    assert clear(restore.kubectl, copies, check_mode=False)["changed"] is False, "it goes on"
    restore.step("end")
    left = [name for name in redis.folders() if name.startswith("restore-")]
    assert [f"{left[0]} on its volume" in line for line in clear(restore.kubectl, copies, check_mode=True)["changes"]] == [True]
    assert redis.folders() == ["appendonlydir", *left]
    clear(restore.kubectl, copies, check_mode=False)
    assert redis.folders() == ["appendonlydir"] and clear(restore.kubectl, copies, check_mode=True)["changed"] is False


STAMP = "20261126t100000z"


@pytest.mark.parametrize(
    ("late", "cut_off", "end", "keys"),
    [(False, False, "", "1"), (True, False, "", "500"), (False, True, "", "1"), (True, False, "-undone", "1")],
    ids=["in time", "long after", "cut off between", "back to what was there, long after"],
)
def test_a_start_of_redis_swaps_at_once_or_not_at_all(redis: Server, late: bool, cut_off: bool, end: str, keys: str) -> None:
    """Also where it was cut off between its two steps, however long ago."""
    elsewhere = redis.folder / "other"
    elsewhere.mkdir()
    other = Server(elsewhere)
    other.start()
    assert other.answers()
    other.ask("set", "restored", "yes")
    other.stop()
    redis.stop()
    armed = redis.data / f"restored-{STAMP}{end}"
    armed.mkdir()
    shutil.move(str(other.data / "appendonlydir"), armed)
    if cut_off:
        armed = armed.rename(redis.data / f"restoring-{STAMP}")
        (redis.data / f"before-{STAMP}").mkdir()
        (redis.data / "appendonlydir").rename(redis.data / f"before-{STAMP}/appendonlydir")
    if late or cut_off:
        os.utime(armed, (1, 1))
    redis.start()
    assert redis.answers() and redis.ask("dbsize") == keys
    assert redis.folders() == ["appendonlydir", f"restored-{STAMP}" if keys == "500" else f"before-{STAMP}{end}"]


def test_a_copy_that_redis_does_not_start_with_is_taken_back(redis: Server) -> None:
    assert redis.copy().returncode == 0
    restore = Restore(redis)
    restore.kubectl.silence = 8  # shorter than Redis is waited for, as in the role
    restore.plan()
    restore.until_filled()
    (filled,) = [name for name in redis.folders() if name.startswith("restore-")]
    (redis.data / filled / "appendonlydir/appendonly.aof.1.base.rdb").write_bytes(b"REDIS0099")
    with pytest.raises(RestoreFailed, match=r"did not start with the copy .* What was there is in use again"):
        restore.step("put_in_place", wait_timeout=12)
    assert redis.answers() and redis.ask("dbsize") == "500"
    assert redis.folders() == ["appendonlydir"]


def test_a_copy_that_no_start_of_redis_has_taken_is_never_taken(redis: Server) -> None:
    """As where its pod has no place."""
    assert redis.copy().returncode == 0
    restore = Restore(redis)
    restore.plan()
    restore.until_filled()
    restore.kubectl.comes = False
    with pytest.raises(RestoreFailed, match=r"did not start with the copy .* what was there is in its place"):
        restore.step("put_in_place", wait_timeout=1)
    redis.start()
    assert redis.answers() and redis.ask("dbsize") == "500"
    assert redis.folders() == ["appendonlydir"] and not list(redis.data.glob("re*"))
