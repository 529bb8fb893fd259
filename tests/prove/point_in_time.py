"""A row every second until Postgres's process and volume are destroyed: how much is lost, and whether a named second comes back exactly.

    python3 -m prove.point_in_time --rounds 10        (PYTHONPATH=.:tests)

Each round: a client commits a row every second and notes what was acknowledged. After a random time the files of Postgres are removed, its processes
and those that archive its WAL get SIGKILL, and the archiving pod is deleted with all that it had received. The image makes a new, empty Postgres; the
site gives it its roles. From the bucket alone the last moment that can be had is recovered, and then a second in the middle, each into a database of
its own.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, wal
from ansible_collections.shaka.platform.plugins.module_utils.backup.manifest import Unusable, read
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import WalStore
from prove.practice import RESULTS, Failed, Practice, kill_marked, machine, markdown

DATABASE = "shaka_production"
PSQL = f"kubectl exec -i -n shaka-prod postgres-0 -- psql -U {DATABASE} -XAtq"
TOKEN = "point-in-time"
MOST_LOST = 60  # seconds
CLEAR = 0.1  # seconds around a named second without a commit, as a row's time is taken a little before its commit's

DESTROY = r"""
set -e
paths='{range .items[?(@.spec.claimRef.namespace=="shaka-prod")]}{.spec.local.path}{.spec.hostPath.path}{"\n"}{end}'
volume=$(kubectl get pv -o "jsonpath=$paths" | grep postgres)
names='{range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}'
uids=$(kubectl get pods -n shaka-prod -o "jsonpath=$names" | awk '/^postgres-(0|wal)/ {print $2}' | tr - .)
rm -rf "$volume"/*
for uid in $uids; do
  grep -lE "pod$uid" /proc/[0-9]*/cgroup 2> /dev/null | cut -d / -f 3 | while read -r pid; do
    case $(cat "/proc/$pid/comm" 2> /dev/null) in pause | "") ;; *) kill -9 "$pid" 2> /dev/null || : ;; esac
  done
done
kubectl delete pod -n shaka-prod -l 'app in (postgres, postgres-wal)' --grace-period=0 --force > /dev/null 2>&1
date +%s.%N
"""


class Writer:
    """Commits a row every second; `rows` are those that were acknowledged, id -> seconds since the epoch."""

    def __init__(self, practice: Practice) -> None:
        # In the middle of a second, so that no row is near the whole seconds that can be named.
        script = "select from pg_sleep(1.5 - extract(epoch from clock_timestamp()) % 1);\n"
        script += "insert into seconds default values returning id, extract(epoch from at)\n\\watch 1\n"
        self._process = subprocess.Popen(
            practice.ssh(f"{PSQL} {DATABASE}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdin
        self._process.stdin.write(script)
        self._process.stdin.flush()

    def end(self) -> dict[int, float]:
        try:
            output, _ = self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
        rows = [line.split("|") for line in output.splitlines() if line.count("|") == 1]
        return {int(number): float(at) for number, at in rows if number.isdigit()}


def archive(practice: Practice, system: str) -> WalStore:
    """What the lab's bucket holds of one Postgres."""
    key = practice.lab.secrets()["prod"]["BACKUP_KEY"]
    root = practice.lab.state / "s3"
    bucket = next(path for path in root.iterdir() if path.is_dir())
    found = WalStore(layout.Origin("sandbox", "prod", system))
    for path in bucket.rglob("*"):
        item = layout.read(str(path.relative_to(bucket)), "shaka") if path.is_file() else None
        if item is None or item.origin != found.origin:
            continue
        if item.kind == layout.WAL and (piece := wal.piece(item.name)):
            found.pieces.append(piece)
        elif item.kind == layout.BASE and item.name == layout.MANIFEST:
            try:
                found.bases.append(wal.base(read(path.read_bytes(), key, item.origin, item.stamp)))
            except Unusable as error:
                raise Failed(str(error)) from None
    return found


def until(true: Any, what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(2)


def sql(practice: Practice, statement: str, database: str = DATABASE) -> str:
    return practice.run(f"{PSQL} {database}", stdin=f"{statement};\n").strip()


def answers(practice: Practice) -> bool:
    command = practice.ssh("kubectl exec -n shaka-prod postgres-0 -- psql -U postgres -XAtc 'select 1'")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "1"


def recovered(practice: Practice, moment: str, log: Path) -> tuple[dict[int, float], float]:
    """The rows as they were at a moment, and how many seconds the recovery took."""
    new = "as_it_was"
    arguments = ["-e", "restore_environment=prod", "-e", f"restore_time={moment}", "-e", "restore_confirm=prod", "-e", "restore_backup_first=false"]
    arguments += ["-e", f"restore_database={DATABASE}", "-e", f"restore_as={new}"]
    run = practice.must("playbooks/restore.yml", *arguments, log=log, token=TOKEN)
    rows = [line.split("|") for line in sql(practice, "select id, extract(epoch from at) from seconds order by id", new).splitlines()]
    practice.run(f"kubectl exec -i -n shaka-prod postgres-0 -- psql -U postgres -qc 'drop database \"{new}\"'")
    return {int(number): float(at) for number, at in rows}, run.seconds


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def one_round(practice: Practice, number: int, chance: random.Random) -> list[object]:
    """One destruction and two recoveries; a row of the report. Raises Failed."""
    system = sql(practice, "select system_identifier from pg_control_system()")
    until(lambda: wal.windows((held := archive(practice, system)).bases, held.pieces), "a base backup with WAL", 300)
    sql(practice, "drop table if exists seconds")
    sql(practice, "create table seconds(id serial primary key, at timestamptz not null default clock_timestamp())")
    writer = Writer(practice)
    time.sleep(chance.uniform(40, 70))
    destroyed = float(practice.run(DESTROY))
    acknowledged = writer.end()
    if len(acknowledged) < 30:
        raise Failed(f"only {len(acknowledged)} rows were written")
    time.sleep(2)
    held = archive(practice, system)
    last = wal.windows(held.bases, held.pieces)[-1][1].timestamp()

    until(lambda: answers(practice), "the new Postgres", 180)
    practice.must("site.yml", "--tags", "postgres", log=practice.out / f"{number}-site.log", token=TOKEN)
    rows, first_took = recovered(practice, iso(last), practice.out / f"{number}-last.log")
    kept = {row: at for row, at in acknowledged.items() if row in rows}
    lost = max(acknowledged.values()) - max(kept.values())
    due = {row for row, at in acknowledged.items() if at < last - CLEAR}
    if not due <= rows.keys():
        raise Failed(f"rows {sorted(due - rows.keys())} were committed before {iso(last)} and did not come back")
    if lost > MOST_LOST:
        raise Failed(f"{lost:.0f} s are lost")

    archived = sorted(at for at in kept.values() if at < last - CLEAR)  # a moment after it is none that can be named
    middle = archived[len(archived) // 2]
    named = next(second for second in range(int(middle), int(middle) + 30) if all(abs(at - second) > CLEAR for at in acknowledged.values()))
    exact, second_took = recovered(practice, iso(named), practice.out / f"{number}-named.log")
    expected = {row for row, at in acknowledged.items() if at < named}
    if exact.keys() != expected:
        raise Failed(f"{iso(named)}: rows {sorted(exact.keys() ^ expected)} differ")
    back = [f"{first_took:.0f} s", f"{len(exact)} of {len(expected)}", f"{second_took:.0f} s"]
    return [number, len(acknowledged), f"{destroyed - last:.0f} s", f"{lost:.0f} s", len(acknowledged) - len(kept), *back]


COLUMNS = ["round", "rows acknowledged", "archived before the end", "lost", "rows lost", "recovered in", "rows of the named second", "recovered in"]


def report(path: Path, seed: int, rows: list[list[object]]) -> None:
    worst = max(int(str(row[3]).split()[0]) for row in rows)
    text = f"{len(rows)} rounds, a commit every second: at most {worst} s of them lost with process, volume and all that was received"
    text += f" (allowed: {MOST_LOST} s); each named second came back exactly, to the row."
    path.write_text(f"# Any point in time\n\n{text}\nSeed {seed}; {machine()}.\n\n{markdown(COLUMNS, rows)}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--name", default="point-in-time", help="which lab; one that runs is used as it is")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=20261126)
    parser.add_argument("--keep", action="store_true", help="leave the lab")
    parser.add_argument("--report", type=Path, default=RESULTS / "point_in_time.md")
    arguments = parser.parse_args()
    practice, chance = Practice(arguments.name), random.Random(arguments.seed)
    if not practice.lab.running():
        practice.fresh()
        practice.must("site.yml", log=practice.out / "site.log", token=TOKEN)
    rows: list[list[object]] = []
    try:
        for number in range(1, arguments.rounds + 1):
            rows.append(one_round(practice, number, chance))
            print(rows[-1], flush=True)
            report(arguments.report, arguments.seed, rows)
    finally:
        kill_marked(TOKEN)
    if not arguments.keep:
        practice.lab.down()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"FAILED: {error}")
