"""What goes wrong with backups and restores: each fault is provoked, says why, is told to a receiver, and costs nothing that there was.

    python3 -m prove.faults                            (PYTHONPATH=.:tests:molecule; about half an hour on 2 cores)

Before each fault all that the environment has in the bucket and the rows of its database are summed up; after it they have to be there, unchanged.
The reason is looked for in what the playbook prints, and in the message that a real receiver on the lab's network got.

Tried elsewhere, and not here again:

| fault | where |
|---|---|
| S3 unreachable at the start of a backup | molecule/backup/tests/test_backup.py |
| S3 unreachable for the archive of WAL, a broken stream, a lost pod | molecule/backup/tests/test_wal_archive.py |
| process and volume of Postgres destroyed | tests/prove/point_in_time.py |
| the whole server destroyed | tests/prove/disaster.py |
| restore with the wrong key, of an object truncated or changed, a forged manifest | molecule/backup/tests/test_restore.py; here a drill finds them |
| controller killed while a restore is handed over, filled, put in place | molecule/backup/tests/test_restore.py; here its other phases |
| the server's own credentials read, overwrite, delete | tests/unit/test_lab_s3.py |
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import backups
import restores
from backups import receiver, s3_stopped, state_of
from conftest import Server
from prove.practice import RESULTS, ROW_SUM, Failed, Practice, kill_marked, machine, markdown

from lab.hosts import S3_PORT

TOKEN = "faults"
ENVIRONMENT, NAMESPACE, DATABASE = "staging", "shaka-staging", "shaka_staging"
BACKUP = ("backup", "-e", f"platform_only={ENVIRONMENT}")
RESTORE = ("-e", f"restore_environment={ENVIRONMENT}", "-e", f"restore_confirm={ENVIRONMENT}")
DRILL = ("drill", "-e", f"restore_environment={ENVIRONMENT}")
ROWS = 1_200_000  # of 64 random characters: long enough to be interrupted, half of it left once compressed
FULL_MIB = 6  # that a full bucket has left
SMALL = "32Mi"  # the least memory that the environment allows
SAID = 160  # characters of a reason in the table
PREPARED = f"""
set role {DATABASE};
create table if not exists ledger as select i as id, md5(i::text) as entry from generate_series(1, 5000) i;
create table if not exists bulk as select md5(random()::text) || md5(random()::text) as noise from generate_series(1, {ROWS});
"""
# Every process of the pod but the one that keeps its network, as when the kernel or somebody kills them.
KILL_POSTGRES = f"""
uid=$(kubectl get pod -n {NAMESPACE} postgres-0 -o jsonpath='{{.metadata.uid}}')
grep -lE "pod$uid|pod$(echo "$uid" | tr - _)" /proc/[0-9]*/cgroup 2> /dev/null | cut -d / -f 3 | while read -r pid; do
  case $(cat "/proc/$pid/comm" 2> /dev/null) in pause | "") ;; *) kill -9 "$pid" 2> /dev/null || : ;; esac
done
"""


@dataclass
class Place:
    """The lab that the faults happen to."""

    practice: Practice
    server: Server
    options: tuple[str, ...]
    folder: Path  # of the newest good backup

    def playbook(self, name: str, *arguments: str) -> tuple[int, str]:
        done = self.server.playbook(f"playbooks/{name}.yml", *self.options, *arguments)
        return done.returncode, done.stdout + done.stderr

    def fails(self, name: str, *arguments: str) -> str:
        """What a playbook prints that must fail."""
        code, said = self.playbook(name, *arguments)
        if code != 2:
            raise Failed(f"playbooks/{name}.yml ended with {code} in place of 2")
        return said

    def succeeds(self, name: str, *arguments: str) -> str:
        code, said = self.playbook(name, *arguments)
        if code != 0:
            raise Failed(f"playbooks/{name}.yml ended with {code}: {said[-600:]}")
        return said

    def data(self) -> str:
        """Rows and checksum of what is live."""
        return backups.sql(self.server, ROW_SUM.format(table="ledger"), DATABASE, ENVIRONMENT)

    def bucket(self) -> Path:
        return state_of(self.server) / "s3/shaka-backups"

    def kept(self) -> dict[str, str]:
        """The environment's objects and their digests."""
        mine = [path for path in backups.objects(self.server) if f"/{ENVIRONMENT}/" in path]
        return {path: hashlib.sha256((self.bucket() / path).read_bytes()).hexdigest() for path in mine}

    def uploads(self) -> set[str]:
        """Uploads that are not complete, with what has come of them."""
        return {str(path.parent) for path in (self.bucket() / ".sgwtmp").rglob("*") if path.is_file() and "multipart" in path.parts}

    def newest(self) -> Path:
        stamp = backups.stamps(self.server, ENVIRONMENT)[-1]
        path = next(path for path in backups.objects(self.server) if path.endswith(f"/dumps/{stamp}/manifest") and f"/{ENVIRONMENT}/" in path)
        return (self.bucket() / path).parent


def interrupted(place: Place, act: Callable[[], object], *, always: bool = False) -> str:
    """A backup, to which something happens once a part of its dump is in S3; `always`: also to the job's second attempt."""
    seen, acted = place.uploads(), 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(place.playbook, *BACKUP)
        while not running.done():
            if (new := place.uploads() - seen) and (always or not acted):
                act()
                acted += 1
            seen |= new
            time.sleep(0.1)
    if not acted:
        raise Failed("the dump was over before anything happened to it")
    code, said = running.result()
    if code != 2:
        raise Failed(f"the backup ended with {code} in place of 2")
    return said


# --- S3 ---------------------------------------------------------------------------------------------------------------------------------------


def podman(*words: str) -> None:
    subprocess.run(["podman", *words], check=True, capture_output=True)


def s3_gone(place: Place) -> str:
    with s3_back(place, "start"):
        return interrupted(place, lambda: podman("stop", "--time", "0", f"{place.practice.lab.server}-s3"))


def s3_silent(place: Place) -> str:
    """It takes connections, and never answers."""
    with s3_back(place, "unpause"):
        return interrupted(place, lambda: podman("pause", f"{place.practice.lab.server}-s3"))


@contextmanager
def s3_back(place: Place, how: str) -> Iterator[None]:
    try:
        yield
    finally:
        subprocess.run(["podman", how, f"{place.practice.lab.server}-s3"], capture_output=True, check=False)
        s3_answers(place)


def s3_answers(place: Place) -> None:
    deadline = time.monotonic() + 30
    while subprocess.run(["curl", "-sk", "--max-time", "2", "-o", "/dev/null", place.practice.lab.s3_endpoint], check=False).returncode:
        if time.monotonic() > deadline:
            raise Failed("the lab's S3 server does not come back")
        time.sleep(0.3)


def wrong_credentials(place: Place) -> str:
    secret = f"secret -n {NAMESPACE} postgres-backup-s3"
    saved = place.server.json(secret)["data"]
    wrong = json.dumps({"stringData": {"RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": "not-the-key" * 4}})
    place.server.run(f"kubectl patch {secret} -p '{wrong}'")
    try:
        return place.fails(*BACKUP)
    finally:
        place.server.run(f"kubectl patch {secret} -p '{json.dumps({'data': saved})}'")


def bucket_full(place: Place) -> str:
    """The bucket's file system has a few MiB left."""
    disk = state_of(place.server) / "s3"
    used = int(subprocess.run(["du", "-sm", str(disk)], capture_output=True, text=True, check=True).stdout.split()[0])
    with tempfile.TemporaryDirectory() as copy:
        with s3_stopped(place.server):
            subprocess.run(["cp", "-a", f"{disk}/.", copy], check=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0700,size={used + FULL_MIB}m", "tmpfs", str(disk)], check=True)
            subprocess.run(["cp", "-a", f"{copy}/.", str(disk)], check=True)
        s3_answers(place)
        try:
            return place.fails(*BACKUP)
        finally:
            with s3_stopped(place.server):
                subprocess.run(["cp", "-a", f"{disk}/.", copy], check=True)
                subprocess.run(["umount", str(disk)], check=True)
                subprocess.run(["cp", "-a", "-n", f"{copy}/.", str(disk)], check=False)  # what others have sent meanwhile
            s3_answers(place)


def clock_off(place: Place) -> str:
    """To S3 the server's clock is an hour late."""
    lab = place.practice.lab
    found = subprocess.run(["podman", "inspect", "-f", "{{.State.Pid}}", f"{lab.server}-dns"], capture_output=True, text=True, check=True)
    inside = ["nsenter", "--target", found.stdout.strip(), "--net"]
    port = S3_PORT + 1
    redirect = ["iptables", "-t", "nat", "PREROUTING", "-p", "tcp", "--dport", str(S3_PORT), "-j", "REDIRECT", "--to-ports", str(port)]
    program = [sys.executable, str(Path(__file__).with_name("skewed_s3.py")), str(port), str(S3_PORT)]
    certificate = [str(lab.state / "acme/server.crt"), str(lab.state / "acme/server.key")]
    with subprocess.Popen(
        [*inside, *program, *certificate], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as proxy:
        if not proxy.stdout or proxy.stdout.readline() != "ready\n":
            raise Failed("the S3 server with another time did not start")
        subprocess.run([*inside, *redirect[:3], "-I", *redirect[3:]], check=True)
        try:
            return place.fails(*BACKUP)
        finally:
            subprocess.run([*inside, *redirect[:3], "-D", *redirect[3:]], check=True)
            if proxy.stdin:
                proxy.stdin.close()


# --- the server -------------------------------------------------------------------------------------------------------------------------------


def postgres_killed(place: Place) -> str:
    said = interrupted(place, lambda: place.server.run(KILL_POSTGRES), always=True)
    place.server.run(f"kubectl wait -n {NAMESPACE} pod/postgres-0 --for=condition=ready --timeout=180s")
    return said


def out_of_memory(place: Place) -> str:
    cronjob, path = f"cronjob -n {NAMESPACE} postgres-backup", "/spec/jobTemplate/spec/template/spec/containers/0/resources"
    saved = place.server.json(cronjob)["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["resources"]

    def give(resources: Any) -> None:
        patch = json.dumps([{"op": "replace", "path": path, "value": resources}])
        place.server.run(f"kubectl patch {cronjob} --type=json -p '{patch}'")

    give({name: {**each, "memory": SMALL} for name, each in saved.items()})
    try:
        return place.fails(*BACKUP)
    finally:
        give(saved)


def stopped(place: Place) -> str:
    """Each attempt gets SIGTERM; what had come of its dump is taken back."""
    before = place.uploads()
    pods = f"kubectl get pods -n {NAMESPACE} -l app=postgres-backup --field-selector=status.phase=Running -o name"
    said = interrupted(place, lambda: place.server.run(f"kubectl exec -n {NAMESPACE} $({pods}) -c backup -- bash -c 'kill -TERM 1'"), always=True)
    if left := place.uploads() - before:
        raise Failed(f"{len(left)} uploads of a stopped backup are left in the bucket")
    return said


def two_backups(place: Place) -> str:
    """Neither is in the other's way."""
    before = backups.stamps(place.server, ENVIRONMENT)
    names = [f"postgres-backup-{word}-{int(time.time())}" for word in ("one", "two")]
    for name in names:
        place.server.run(f"kubectl create job -n {NAMESPACE} --from=cronjob/postgres-backup {name}")
    place.server.run(f"kubectl wait -n {NAMESPACE} --for=condition=complete --timeout=400s job/{' job/'.join(names)}")
    new = [stamp for stamp in backups.stamps(place.server, ENVIRONMENT) if stamp not in before]
    if len(new) != 2:
        raise Failed(f"two backups at once made {new}")
    return f"both are complete: {' and '.join(new)}"


# --- drills and restores ----------------------------------------------------------------------------------------------------------------------


def drilled(how: str) -> Callable[[Place], str]:
    def provoke(place: Place) -> str:
        with restores.damaged(place.folder, how):
            return place.fails(*DRILL)

    return provoke


def wrong_key(place: Place) -> str:
    with tempfile.TemporaryDirectory() as folder:
        identity = Path(folder) / "other.agekey"
        subprocess.run(["age-keygen", "-o", str(identity)], capture_output=True, check=True)
        return place.fails(*DRILL, "-e", f"restore_identity_file={identity}")


def two_restores(place: Place) -> str:
    """The second is refused while the first goes on, and the first ends well."""
    run = restores.start_restore(place.server, *place.options, *RESTORE, "-e", "restore_backup_first=false")
    try:
        restores.await_task(run, "Restore the backup into new databases")
        said = place.fails("restore", *RESTORE, "-e", "restore_backup_first=false")
    finally:
        output, _ = run.communicate(timeout=600)
    if run.returncode != 0:
        raise Failed(f"the first restore ended with {run.returncode}: {output[-600:]}")
    return said


def killed_in(task: str) -> Callable[[Place], str]:
    """What is live stays, and the next run does the whole of it."""

    def provoke(place: Place) -> str:
        options = (*place.options, *RESTORE, "-e", f"restore_backup={place.folder.name}")
        restores.kill_in(place.server, task, *options)
        live = place.data()
        restores.await_pod_over(place.server, ENVIRONMENT)
        said = place.succeeds("restore", *RESTORE, "-e", f"restore_backup={place.folder.name}")
        if place.data() != live:
            raise Failed("the restore after it brought back other rows")
        unfinished = [name for name in restores.databases(place.server, ENVIRONMENT) if re.search("_(restore|drill|export)_", name)]
        left = [*unfinished, *place.server.run(f"kubectl get jobs,pods -n {NAMESPACE} -l app=postgres-restore -o name").split()]
        if left:
            raise Failed(f"left behind: {', '.join(left)}")
        return said

    return provoke


# --- all of them ------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """`reason`: an expression that what is printed has to match. `told`: what the message is about; '' where a person waits for the answer."""

    name: str
    provoke: Callable[[Place], str]
    reason: str
    told: str = f"{ENVIRONMENT} backup"


OF_DRILL = f"{ENVIRONMENT} drill"
FAULTS = [
    Fault("S3 gone mid-stream", s3_gone, r"refused|reset|EOF|does not answer|no route"),
    Fault("S3 silent mid-stream", s3_silent, r"timeout|deadline|does not answer"),
    Fault("wrong credentials", wrong_credentials, r"SignatureDoesNotMatch|signature"),
    Fault("bucket full", bucket_full, r"[Nn]o space|full|[Qq]uota|InternalError|internal error"),
    Fault("clock an hour off", clock_off, r"RequestTimeTooSkewed|too large|clock"),
    Fault("Postgres killed mid-dump", postgres_killed, r"pg_dump: .*(server closed|terminat|connection)"),
    Fault("pod out of memory", out_of_memory, r"lack of memory|OOMKilled"),
    Fault("SIGTERM mid-dump", stopped, r"it was stopped"),
    Fault("two backups at once", two_backups, r"both are complete", ""),
    Fault("drill: wrong key", wrong_key, r"was encrypted for somebody else", OF_DRILL),
    *(Fault(f"drill: {how}", drilled(how), words, OF_DRILL) for how, words in restores.DAMAGES.items()),
    Fault("two restores at once", two_restores, rf"a restore of {ENVIRONMENT} goes on|do not need the lock", ""),
    *(
        Fault(f"controller killed: {task}", killed_in(task), r"is restored into", "")
        for task in ("List the backups, and plan the restore", "Take the backup", "Check what was restored")
    ),
]


@dataclass
class Outcome:
    """One fault's line of the table."""

    fault: Fault
    seconds: float = 0.0
    reason: str = ""
    told: str = "-"
    wrong: list[str] = field(default_factory=list)

    def row(self) -> list[str]:
        result = f"FAILED: {'; '.join(self.wrong)}" if self.wrong else "OK"
        return [self.fault.name, f"{self.seconds:.0f} s", self.reason or "-", self.told, result]


def shown(said: str, reason: str) -> str:
    """The reason as the user sees it, out of all that was printed; '' where it was not said."""
    text = " ".join(said.split())
    found = re.search(rf"backup failed: (?:(?!backup failed: ).)*?(?:{reason})[^|]*", text) or re.search(rf"(?:{reason})[^|]*", text)
    return found[0].partition(" Origin: ")[0][:SAID] if found else ""  # Ansible's own place of the message


def provoked(place: Place, fault: Fault) -> Outcome:
    """One fault, and what came of it."""
    kept, data = place.kept(), place.data()
    place.server.run("rm -f /var/lib/private/shaka-notify/told.json")
    outcome, began = Outcome(fault), time.monotonic()
    with receiver(place.server) as told:
        try:
            said = fault.provoke(place)
            outcome.reason = shown(said, fault.reason)
            if not outcome.reason:
                (place.practice.out / f"{fault.name.replace(' ', '-')}.log").write_text(said)
                outcome.wrong.append(f"the reason was not said: {said[-300:]!r}")
        except (Failed, AssertionError, subprocess.SubprocessError, OSError) as error:
            outcome.wrong.append(" ".join(str(error).split())[:400])
        outcome.seconds = time.monotonic() - began
        if fault.told:
            place.server.run("systemctl start shaka-notify")
            outcome.told = message_of(told, fault, outcome.wrong)
    now = place.kept()
    if lost := [path for path, digest in kept.items() if now.get(path) != digest]:
        outcome.wrong.append(f"lost or changed in the bucket: {', '.join(lost)}")
    if (after := place.data()) != data:
        outcome.wrong.append(f"live data: {data} before, {after} after")
    return outcome


def message_of(told: Sequence[dict[str, Any]], fault: Fault, wrong: list[str]) -> str:
    """Whether the receiver was told once, with the reason."""
    mine = [each for each in told if each["what"] == fault.told]
    if [each["state"] for each in mine] != ["failed"]:
        wrong.append(f"the receiver was told {[(each['what'], each['state']) for each in told]}")
    elif not re.search(fault.reason, " ".join(mine[0]["reason"].split())):
        wrong.append(f"the message does not say why: {mine[0]['reason'][-300:]!r}")
    else:
        return "told"
    return "no"


def well_again(place: Place) -> list[str]:
    """After all of it a backup and a drill succeed, and the receiver is told of both."""
    with receiver(place.server) as told:
        place.server.run("systemctl start shaka-notify")
        place.succeeds(*BACKUP)
        place.succeeds(*DRILL)
        place.server.run("systemctl start shaka-notify")
    last = {each["what"]: each["state"] for each in told}
    # only of what the receiver had been told before
    return [what for what in (f"{ENVIRONMENT} backup", OF_DRILL) if last.get(what) not in ("ok", None)]


def prepared(practice: Practice, *, kept: bool) -> Place:
    """The platform, data that takes a while to dump, and a good backup of it."""
    if not (kept and practice.lab.running()):
        practice.fresh()
    lab = json.loads((practice.lab.state / "lab.json").read_text())
    reports = practice.out / "reports"
    reports.mkdir(exist_ok=True)
    server = Server({**lab, "reports": str(reports)}, practice.lab.name)
    webhook = f"http://{lab['address'].rpartition('.')[0]}.1:18080/"
    values = {"platform_notify": {"webhook": webhook}, "restore_silence_seconds": 20}
    place = Place(practice, server, ("-e", json.dumps(values)), Path())
    practice.must("site.yml", *place.options, log=practice.out / "site.log", token=TOKEN)
    server.run("systemctl stop shaka-notify.timer")  # messages are sent when they are looked for
    backups.sql(server, PREPARED, DATABASE, ENVIRONMENT)
    place.succeeds(*BACKUP)
    place.folder = place.newest()
    return place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--lab-name", default="prove", help="lab to use")
    parser.add_argument("--use", action="store_true", help="use the lab's server as it is; else it is made anew")
    parser.add_argument("--only", default="", help="faults whose name matches this expression")
    parser.add_argument("--out", type=Path, help="where logs go (default: the lab's cache)")
    parser.add_argument("--report", type=Path, default=RESULTS / "faults.md", help="written when all faults were tried")
    parser.add_argument("--keep", action="store_true", help="leave the lab's server there")
    arguments = parser.parse_args()
    practice = Practice(arguments.lab_name, arguments.out)
    outcomes: list[Outcome] = []
    try:
        place = prepared(practice, kept=arguments.use)
        for fault in FAULTS:
            if not re.search(arguments.only, fault.name):
                continue
            outcomes.append(provoked(place, fault))
            print(" | ".join(outcomes[-1].row()), flush=True)
            if fault.name.startswith("two backups"):
                # what is restored from now on is small
                backups.sql(place.server, f"set role {DATABASE}; truncate bulk", DATABASE, ENVIRONMENT)
                place.succeeds(*BACKUP)
                place.folder = place.newest()
        still_wrong = well_again(place)
        practice.run("systemctl start shaka-notify.timer")
    finally:
        kill_marked(TOKEN)
    table = markdown(["fault", "seconds", "reason, as the user sees it", "message", "result"], [outcome.row() for outcome in outcomes])
    good = sum(not outcome.wrong for outcome in outcomes)
    text = f"{good} of {len(outcomes)} faults: said, told, nothing lost. Afterwards a backup and a drill succeed"
    text += ", and the receiver is told so" if not still_wrong else f"; but the receiver is not told of {', '.join(still_wrong)}"
    print(f"{table}\n{text}")
    if not arguments.only:
        arguments.report.write_text(f"# Faults of backups and restores\n\n{text}.\n{machine()}.\n\n{table}", encoding="utf-8")
    if not arguments.keep:
        practice.lab.down()
    return int(good < len(outcomes) or bool(still_wrong))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"FAILED: {error}")
