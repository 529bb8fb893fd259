"""A converge that is killed anywhere is completed by the next one, and the server ends as if nothing had happened.

    python3 -m prove.kills --rounds 20                (PYTHONPATH=.:tests)

Each round: a bare server; the site is started and SIGKILLed, with all its workers and ssh masters, at a random point (every third time the processes
that it runs on the server are killed too); the site again, to its end; once more, changed=0; then server and cluster are compared with those of an
undisturbed converge. A round that fails is recorded with its logs, and the loop goes on. `--from` continues.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prove import compare
from prove.practice import RESULTS, TASK, Failed, Practice, kill_marked, machine, markdown

STATE = Path(__file__).with_name("server_state.py")
SERVER_KILL = Path(__file__).with_name("server_kill.py")
LAST = 0.97  # part of an undisturbed converge within which the kills are spread


def snapshot(practice: Practice) -> dict[str, Any]:
    return {"server": compare.server(practice.python(STATE)), "cluster": compare.cluster(practice)}


def reference(practice: Practice) -> dict[str, Any]:
    """The undisturbed converge: how long it takes, and what comes of it. Made once."""
    path = practice.out / "reference.json"
    if not path.exists():
        print("reference: a bare server, converged undisturbed", flush=True)
        practice.fresh()
        first = practice.must("site.yml", log=practice.out / "reference-1.log", token="reference")
        practice.must("site.yml", log=practice.out / "reference-2.log", token="reference", changed=0)
        path.write_text(json.dumps({"seconds": first.seconds, "state": snapshot(practice)}))
    loaded: dict[str, Any] = json.loads(path.read_text())
    objects, files = len(loaded["state"]["cluster"]), len(loaded["state"]["server"]["files"])
    print(f"reference: a converge takes {loaded['seconds']:.0f} s; {objects} objects, {files} files", flush=True)
    return loaded


def interrupt(
    practice: Practice, seconds: float, log: Path, token: str, *, on_server: bool, playbook: str = "site.yml", arguments: Sequence[str] = ()
) -> dict[str, Any] | None:
    """Start a playbook and kill it after so long; where it was. None when it had already ended."""
    remote = None
    if on_server:
        command = practice.ssh("python3", "-c", shlex.quote(SERVER_KILL.read_text()))
        remote = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not remote.stdout or remote.stdout.readline().strip() != "ready":
            raise Failed("the program that kills on the server did not start")
    process = practice.start(playbook, *arguments, log=log, token=token)
    try:
        process.wait(seconds)
        ended = True
    except subprocess.TimeoutExpired:
        ended = False
    killed = kill_marked(token)
    process.wait()
    remotely = int(remote.communicate("now\n", timeout=60)[0].split()[-1]) if remote else 0
    if ended:
        return None
    tasks = TASK.findall(log.read_text(errors="replace")) or ["(before the first task)"]
    return {"at": round(seconds, 1), "task": tasks[-1], "tasks": len(tasks), "processes": killed, "on_server": remotely}


def play(practice: Practice, number: int, rounds: int, seed: int, undisturbed: dict[str, Any]) -> dict[str, Any]:
    """One round; its record."""
    rng = random.Random(f"{seed}-{number}")
    part = (number - 1 + rng.random()) / rounds * LAST
    folder = practice.out / f"round-{number:02}"
    folder.mkdir(exist_ok=True)
    token = f"round-{number}-{time.time():.0f}"
    record: dict[str, Any] = {"round": number, "seed": seed, "part": round(part, 3)}
    began = time.monotonic()
    try:
        killed = None
        while killed is None:
            practice.fresh()
            killed = interrupt(practice, part * undisturbed["seconds"], folder / "killed.log", token, on_server=number % 3 == 0)
            part *= 0.8  # the converge was quicker than the undisturbed one: earlier, then
        record |= killed
        print(f"round {number:2}: killed after {killed['at']:.0f} s in '{killed['task']}'", flush=True)
        resumed = practice.playbook("site.yml", log=folder / "resumed.log", token=token)
        record |= {"rc": resumed.code, "resumed": round(resumed.seconds, 1)}
        if resumed.code != 0:
            raise Failed(f"the next run ended with {resumed.code} in '{resumed.task}'")
        third = practice.playbook("site.yml", log=folder / "third.log", token=token)
        record |= {"third_rc": third.code, "changed": third.changed, "third": round(third.seconds, 1)}
        if third.code != 0 or third.changed != 0:
            raise Failed(f"the run after it ended with {third.code}, changed={third.changed}")
        found = list(compare.differences(undisturbed["state"], snapshot(practice)))
        (folder / "differences.txt").write_text("".join(f"{line}\n" for line in found))
        record["differences"] = len(found)
        if found:
            raise Failed(f"{len(found)} differences from the undisturbed server, first: {found[0]}")
        record["ok"] = True
    except (Exception, SystemExit) as error:  # whatever it is belongs into the record, and the next round begins anew
        record |= {"ok": False, "error": f"{type(error).__name__}: {error}"[:500]}
    finally:
        kill_marked(token)
    record["took"] = round(time.monotonic() - began)
    return record


def report(records: list[dict[str, Any]], seconds: float) -> str:
    good = sum(record["ok"] for record in records)
    rows = [
        [
            record["round"], f"{record.get('at', '-')} s", record.get("task", "-"), record.get("processes", "-"), record.get("on_server") or "-",
            record.get("rc", "-"), f"{record.get('resumed', '-')} s", record.get("changed", "-"), record.get("differences", "-"),
            "as undisturbed" if record["ok"] else f"**{record['error']}**",
        ]
        for record in records
    ]  # fmt: skip
    columns = ["round", "killed after", "in task", "processes", "on the server", "next run", "took", "then changed", "differences", "result"]
    title = f"# SIGKILL at random points of a converge\n\n{good} of {len(records)} rounds end equal to an undisturbed converge ({seconds:.0f} s).\n"
    return f"{title}Seed {records[0]['seed'] if records else '-'}; {machine()}.\n\n{markdown(columns, rows)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; it is made anew each round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--from", dest="first", type=int, default=1, help="round to continue with")
    parser.add_argument("--only", type=int, nargs="*", help="just these rounds")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--out", type=Path, help="where logs and records go (default: the lab's cache)")
    parser.add_argument("--report", type=Path, default=RESULTS / "kills.md")
    arguments = parser.parse_args()
    practice = Practice(arguments.lab_name, arguments.out)
    records_file = practice.out / "kills.jsonl"
    if arguments.first == 1 and not arguments.only:
        records_file.unlink(missing_ok=True)
        (practice.out / "reference.json").unlink(missing_ok=True)  # another version of the site ends elsewhere
    undisturbed = reference(practice)
    print(f"seed {arguments.seed}; records in {records_file}", flush=True)
    for number in arguments.only or range(arguments.first, arguments.rounds + 1):
        record = play(practice, number, arguments.rounds, arguments.seed, undisturbed)
        with records_file.open("a") as target:
            target.write(json.dumps(record) + "\n")
        print(f"round {number:2}: {'as undisturbed' if record['ok'] else record['error']} ({record['took']} s)", flush=True)
    latest = {record["round"]: record for record in map(json.loads, records_file.read_text().splitlines())}
    records = [latest[number] for number in sorted(latest)]
    arguments.report.parent.mkdir(exist_ok=True)
    arguments.report.write_text(report(records, undisturbed["seconds"]))
    practice.lab.down()
    failed = [record["round"] for record in records if not record["ok"]]
    print(f"{len(records) - len(failed)} of {len(records)} rounds as undisturbed" + (f"; failed: {failed}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"the undisturbed converge: {error}")
