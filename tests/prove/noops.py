"""Nothing happens when there is nothing to do: runs of the site change nothing and restart nothing, drift runs report nothing.

python3 -m prove.noops --runs 20 --drifts 10      (PYTHONPATH=.:tests)
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from prove.practice import RESULTS, Failed, Practice, Run, machine, markdown, spread

DRIFT = "playbooks/drift.yml"


def noop(practice: Practice, number: int) -> Run:
    """One run of the site: changed=0, the same K3s, the same containers."""
    before = practice.k3s()
    run = practice.must("site.yml", log=practice.out / f"noop-{number:02}.log", token=f"noop-{number}", changed=0)
    if practice.k3s() != before:
        raise Failed(f"run {number} restarted K3s or a pod")
    return run


def drift(practice: Practice, number: int) -> Run:
    """One drift run: exit 0, and its report says clean."""
    run = practice.must(DRIFT, log=practice.out / f"drift-{number:02}.log", token=f"drift-{number}", changed=0)
    report = json.loads((practice.out / "reports/drift.json").read_text())
    if report["status"] != "clean":
        raise Failed(f"drift run {number} exits 0 and reports '{report['status']}'")
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; its server is made and converged if need be")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--drifts", type=int, default=10)
    parser.add_argument("--out", type=Path, help="where logs go (default: the lab's cache)")
    parser.add_argument("--report", type=Path, default=RESULTS / "noops.md")
    parser.add_argument("--keep", action="store_true", help="leave the server there")
    arguments = parser.parse_args()
    practice = Practice(arguments.lab_name, arguments.out)
    practice.ensure()
    practice.must("site.yml", log=practice.out / "converge.log", token="converge")
    rows, failed = [], []
    for title, count, one in (("site.yml", arguments.runs, noop), (DRIFT, arguments.drifts, drift)):
        seconds = []
        for number in range(1, count + 1):
            try:
                seconds.append(one(practice, number).seconds)
                print(f"{title} {number:2}: nothing to do, {seconds[-1]:.1f} s", flush=True)
            except Failed as error:
                failed.append(f"{title} {number}: {error}")
                print(failed[-1], flush=True)
        rows.append([title, count, f"{len(seconds)} of {count}", spread(seconds)])
    text = markdown(["playbook", "runs", "changed=0, same K3s and pods, nothing reported", "min / median / max"], rows)
    arguments.report.parent.mkdir(exist_ok=True)
    listed = "".join(f"- {line}\n" for line in failed)
    arguments.report.write_text(f"# Runs with nothing to do\n\n{machine()}.\n\n{text}{listed and chr(10) + listed}")
    print(text)
    if not arguments.keep:
        practice.lab.down()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
