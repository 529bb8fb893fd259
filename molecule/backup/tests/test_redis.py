"""The shared Redis is copied to S3 and comes back; whatever goes wrong, what it holds stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from backups import DATA, playbook, state_of
from conftest import Server
from redis_cli import redis
from restores import DAMAGES, another_identity, await_pod_over, damaged, kill_in

RESTORE = ("-e", "restore_redis=shared", "-e", "restore_confirm=shared")
FIRST = ("-e", "restore_backup_first=false")


def copies(server: Server) -> list[Path]:
    """The folders of finished copies, the oldest first."""
    found = (state_of(server) / "s3/shaka-backups").glob("shaka/sandbox/shared/*/redis/*/manifest")
    return sorted((path.parent for path in found), key=lambda path: path.name)


def folders(server: Server) -> list[str]:
    """What restores have on Redis's volume."""
    return server.run("kubectl exec -n shaka-shared redis-0 -- sh -c 'cd /data && ls -d re*-* before-* 2>/dev/null; true'").split()


def rights(server: Server) -> list[list[str]]:
    """Each user's rules; a start of Redis writes them in another order."""
    return [sorted(line.strip('"').split()) for line in redis(server, ["ACL LIST"])[0].strip("[]").split('","')]


def keys(server: Server) -> list[str]:
    return [*redis(server, ["DBSIZE", "GET dev:kept"]), *redis(server, ["DBSIZE", "GET prod:session"], database=2)]


@pytest.fixture(scope="module")
def good(server: Server) -> Path:
    """A copy, of keys in two databases, one of which expires."""
    redis(server, ["FLUSHALL", "SET dev:kept yes", "SET dev:other 1"])
    redis(server, ["SET prod:session alice EX 5000"], database=2)
    server.run("kubectl create job -n shaka-shared --from=cronjob/redis-backup by-hand")
    server.run("kubectl wait -n shaka-shared --for=condition=Complete job/by-hand --timeout=120s")
    return copies(server)[-1]


def test_it_is_taken_and_listed_with_the_others_and_is_authentic(server: Server, good: Path) -> None:
    told = playbook(server, "backup")
    assert "shared/redis" in told and copies(server)[-1].name > good.name
    listed = " ".join(playbook(server, "backups").split())
    assert "copies of Redis, shared" in listed and good.name in listed
    said = " ".join(playbook(server, "verify", code=3).split())
    assert re.search(r"shared/redis backup [0-9-]+ [0-9:]+Z \(.* authentic\)", said), said
    (copies(server)[-1] / "redis.rdb.age").rename(state_of(server) / "away")
    try:
        assert "redis.rdb.age has 0 of" in " ".join(playbook(server, "verify", code=3).split())
    finally:
        (state_of(server) / "away").rename(copies(server)[-1] / "redis.rdb.age")


def test_its_pod_can_do_nothing_else_in_redis(server: Server, good: Path) -> None:
    del good
    users = "\n".join(redis(server, ["ACL LIST"]))
    (mine,) = re.findall(r"user redis-backup [^\"]*", users)
    assert "~" not in mine and "-@all" in mine and "+sync" in mine


def test_a_flushed_redis_comes_back(server: Server, good: Path) -> None:
    before = keys(server)
    users = rights(server)
    redis(server, ["FLUSHALL", "SET dev:since 1"])
    assert "there was no answer" in playbook(server, "restore", *RESTORE[:2], code=2)
    said = " ".join(playbook(server, "restore", *RESTORE, "-e", f"restore_backup={good.name}").split())
    assert "with 3 keys is restored into Redis shared" in said, said
    assert keys(server) == before
    assert rights(server) == users
    assert 0 < int(redis(server, ["TTL prod:session"], database=2)[0]) <= 5000
    assert server.run("kubectl get jobs,pods -n shaka-shared -l app=redis-restore -o name") == ""
    (kept,) = folders(server)
    assert "before-restore" in (copies(server)[-1] / "manifest").read_text()
    done = server.playbook("molecule/backup/converge.yml", *DATA, "--tags", "restore")
    assert done.returncode == 0 and kept in done.stdout + done.stderr
    stamp = kept.removeprefix("before-").upper()
    playbook(server, "restore", *RESTORE, "-e", f"restore_drop_before={stamp}")
    assert folders(server) == []


@pytest.fixture(params=["wrong key", "flipped bit"])
def broken(request: pytest.FixtureRequest, good: Path, tmp_path: Path) -> Iterator[tuple[list[str], str]]:
    """What to give the playbook for a copy that must not be restored, and what it has to say."""
    chosen = ["-e", f"restore_backup={good.name}"]
    if request.param == "wrong key":
        yield [*chosen, *another_identity(tmp_path)], "was encrypted for somebody else"
        return
    with damaged(good, request.param):
        yield chosen, DAMAGES[request.param]


def test_what_cannot_be_trusted_or_opened_is_refused_with_its_reason(server: Server, broken: tuple[list[str], str]) -> None:
    arguments, words = broken
    pod, before = server.json("pod/redis-0 -n shaka-shared")["metadata"]["uid"], keys(server)
    said = playbook(server, "restore", *RESTORE, *FIRST, *arguments, code=2)
    assert words in " ".join(said.split()), said
    assert keys(server) == before and folders(server) == []
    assert server.json("pod/redis-0 -n shaka-shared")["metadata"]["uid"] == pod
    assert server.run("kubectl get jobs -n shaka-shared -l app=redis-restore -o name") == ""


@pytest.mark.parametrize("task", ["Hand the copy to a pod", "Fetch the copy, and put it beside what is in use", "Restart Redis with the copy"])
def test_a_controller_that_is_gone_leaves_one_or_the_other_and_the_next_run_clears(server: Server, good: Path, task: str) -> None:
    redis(server, ["SET dev:since 1"])
    kill_in(server, task, *DATA, *RESTORE, *FIRST, "-e", f"restore_backup={good.name}")
    await_pod_over(server, "shared", app="redis-restore")
    server.run("kubectl wait -n shaka-shared --for=condition=Ready pod/redis-0 --timeout=120s")
    left = [name for name in folders(server) if not name.startswith("before-")]
    seen = server.playbook("molecule/backup/converge.yml", *DATA, "--tags", "restore", "--check", "--diff")
    assert all(name in seen.stdout for name in left), seen.stdout
    done = server.playbook("molecule/backup/converge.yml", *DATA, "--tags", "restore")
    assert done.returncode == 0, done.stdout
    assert all(name.startswith("before-") for name in folders(server))
    assert server.run("kubectl get jobs -n shaka-shared -l app=redis-restore -o name") == ""
    # what is there is whole: of now, or of the copy
    assert keys(server)[1] == '"yes"' and redis(server, ["EXISTS dev:since"]) == (["0"] if folders(server) else ["1"])
    identity = Path(server.lab["backup_identity_file"]).read_text().split()[-1]
    assert server.run(f"kubectl get secrets,configmaps,jobs,pods -n shaka-shared -o yaml | grep -c {identity[:40]}; true").strip() == "0"
    for name in folders(server):
        playbook(server, "restore", *RESTORE, "-e", f"restore_drop_before={name.removeprefix('before-').upper()}")


def test_what_no_span_keeps_is_pruned_and_what_was_taken_by_hand_stays(server: Server, good: Path) -> None:
    abandoned = good.parent / "20261001T000000Z/redis.rdb.age"
    abandoned.parent.mkdir()
    abandoned.write_bytes(b"x")
    before = copies(server)
    assert "never finished" in playbook(server, "backup", "--tags", "prune", "--check")
    playbook(server, "backup", "--tags", "prune")
    assert not abandoned.exists() and copies(server) == before
