"""The whole server is lost and comes back: data that was backed up is destroyed with the server, and compared after rebuild and restore.

python3 -m prove.disaster                          (PYTHONPATH=.:tests:.ansible/collections; about half an hour on 2 cores)
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from ansible_collections.shaka.platform.plugins.module_utils.restore.swap import LOCK_SECONDS
from prove.backup_figures import MEMORY_MOST, Memory, plain_dump
from prove.practice import RESULTS, ROW_SUM, Failed, Practice, kill_marked, machine, markdown
from prove.restore_figures import DATABASE, Client, plain_restore

from lab import sandbox

TOKEN = "disaster"
MOST_SECONDS = 300  # that the data may take to come back to the rebuilt server
ARCHIVED_SECONDS = 900  # that the archive may take to send what the restore has written; until then verify says how much is left
TABLES = ("pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history")


def sql(practice: Practice, statement: str, timeout: float = 600) -> str:
    """What prod's database answers."""
    psql = "kubectl exec -i -n shaka-prod postgres-0 -- psql -XAtq -v ON_ERROR_STOP=1 -U shaka_production -d shaka_production"
    return practice.run(psql, stdin=statement, timeout=timeout).strip()


def contents(practice: Practice) -> dict[str, str]:
    """Table -> its rows and their checksum."""
    return {table: sql(practice, ROW_SUM.format(table=table)) for table in TABLES}


def verified(practice: Practice) -> None:
    """Until verify passes."""
    deadline = time.monotonic() + ARCHIVED_SECONDS
    while (run := practice.playbook("playbooks/verify.yml", log=practice.out / "verify.log", token=TOKEN)).code:
        if time.monotonic() > deadline:
            raise Failed(f"verify still fails after {ARCHIVED_SECONDS} s: {run.text[-600:]}")
        time.sleep(10)


def beside(practice: Practice, rows: list[tuple[str, str]]) -> None:
    """The same backup once more, over what is live now: what a client notices, and how much longer it takes than pg_restore alone."""
    sql(practice, "create table canary (id bigserial primary key, at timestamptz not null default clock_timestamp())")
    plain_seconds, memory = plain_dump(practice), Memory(practice)
    memory.start()
    again = practice.must("playbooks/backup.yml", "-e", "platform_only=prod", log=practice.out / "backup-again.log", token=TOKEN)
    used = memory.end()
    stream = re.search(rf"{DATABASE}: [0-9.]+ .?B of [0-9.]+ .?B, in ([0-9.]+) s", again.text)
    if not stream:
        raise Failed(f"the backup does not say how long it took: {again.text[-400:]}")
    rows += [
        ("pg_dump piped through zstd to a file, alone", f"{plain_seconds:.1f} s"),
        ("a backup of the same: read, encrypted and sent to S3", f"{stream[1]} s, {float(stream[1]) / plain_seconds:.2f}x"),
        ("memory of its pod at most", f"{used:.0f} MiB"),
    ]
    dumps = (practice.lab.state / "s3").rglob(f"{DATABASE}.dump.age")
    plain = plain_restore(practice, max(dumps, key=lambda path: path.parent.name))
    client = Client(practice)
    client.start()
    options = ("-e", "restore_environment=prod", "-e", "restore_confirm=prod", "-e", "restore_backup_first=false")
    run = practice.must("playbooks/restore.yml", *options, log=practice.out / "restore-again.log", token=TOKEN)
    client.end()
    text = " ".join(run.text.split())
    took = re.search(r"tables; ([0-9]+) s, of which the application was held up for ([0-9.]+) s", text)
    if not took:
        raise Failed(f"the restore does not say how long it took: {text[-400:]}")
    ratio = float(took[1]) / plain
    rows += [
        ("pg_restore -j 2 of the same dump, alone", f"{plain:.0f} s"),
        ("a restore over live data, from its pod to the swap", f"{took[1]} s, {ratio:.2f}x"),
        ("the same with its playbook", f"{run.seconds:.0f} s"),
        (f"longest that a client was not served meanwhile ({client.done} turns)", f"{client.held:.1f} s"),
    ]
    for row in rows[-7:]:
        print(*row, sep=": ", flush=True)
    if used > MEMORY_MOST:
        raise Failed(f"the backup's pod used {used:.0f} MiB, more than {MEMORY_MOST}")
    if client.held > LOCK_SECONDS:
        raise Failed(f"a client was held up for {client.held:.1f} s, longer than the {LOCK_SECONDS} s of the lock's timeout")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; it is made anew")
    parser.add_argument("--scale", type=int, default=68, help="pgbench's; 68 is about 1 GB")
    parser.add_argument("--out", type=Path, help="where logs go (default: the lab's cache)")
    parser.add_argument("--report", type=Path, default=RESULTS / "disaster.md")
    parser.add_argument("--keep", action="store_true", help="leave the lab's server there")
    arguments = parser.parse_args()
    practice = Practice(arguments.lab_name, arguments.out)
    rows: list[tuple[str, str]] = []

    def step(what: str, began: float) -> None:
        rows.append((what, f"{time.monotonic() - began:.0f} s"))
        print(f"{what}: {rows[-1][1]}", flush=True)

    def play(what: str, playbook: str, *options: str) -> None:
        began = time.monotonic()
        practice.must(playbook, *options, log=practice.out / f"{what.replace(' ', '-')}.log", token=TOKEN)
        step(what, began)

    try:
        practice.fresh()
        play("the platform", "site.yml")
        began = time.monotonic()
        practice.run(
            f"kubectl exec -n shaka-prod postgres-0 -- pgbench -i -q -s {arguments.scale} -U shaka_production shaka_production 2>&1",
            timeout=1800,
        )
        size = sql(practice, "select pg_size_pretty(pg_database_size(current_database()))")
        step(f"{size} of data", began)
        before = contents(practice)
        play("backup", "playbooks/backup.yml", "-e", "platform_only=prod")

        lost = time.monotonic()
        practice.lab.destroy_server()
        sandbox.start(practice.lab, memory=sandbox.MEMORY, cpus=sandbox.CPUS)
        play("the platform again", "site.yml")
        play("restore", "playbooks/restore.yml", "-e", "restore_environment=prod", "-e", "restore_backup=latest", "-e", "restore_confirm=prod")
        step("from the loss to the data", lost)
        after = contents(practice)
        if (took := int(rows[-2][1].split()[0])) > MOST_SECONDS:
            raise Failed(f"the restore took {took} s, more than {MOST_SECONDS} s")
        if after != before:
            raise Failed(f"rows differ: {before} before, {after} after")
        play("the new server's first backup", "playbooks/backup.yml", "-e", "platform_only=prod")
        began = time.monotonic()
        verified(practice)
        step("until verify passes, with all in the archive of WAL", began)
        beside(practice, rows)
    finally:
        kill_marked(TOKEN)
    text = markdown(["step", "time"], rows)
    counts = ", ".join(f"{table} {value.partition('|')[0]}" for table, value in before.items())
    page = f"# A lost server\n\n{machine()}.\n\n{text}\n\nRows and checksums are equal before the loss and after the restore: {counts}.\n"
    arguments.report.write_text(page, encoding="utf-8")
    print(text)
    if not arguments.keep:
        practice.lab.down()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"FAILED: {error}")
