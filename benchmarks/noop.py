"""The site and the drift check with nothing to do: ten runs of each on a converged lab server, and where the time goes, task by task.

    python3 benchmarks/noop.py              on a lab server of its own, removed afterwards (about 12 minutes on 2 cores)
    python3 benchmarks/noop.py --lab NAME   on a lab that the site has converged

Writes results/noop.md and .svg. An earlier noop.md's medians are kept as the column 'before' with --before FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import common

PLAYBOOKS = ("site.yml", "playbooks/drift.yml")
SHOWN = 0.15  # seconds from which a task has a row of its own


@dataclass(frozen=True)
class Run:
    """One run: its seconds, and those of each task in order; what is before the first task is the start."""

    seconds: float
    tasks: list[tuple[str, float]]


def run(playbook: str, lab: str) -> Run:
    """One run that must change nothing."""
    with tempfile.TemporaryDirectory() as place:
        environment = {
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(common.ROOT / "benchmarks/callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "shaka.platform.drift,shaka.platform.progress,task_seconds",
            "TASK_SECONDS": f"{place}/tasks.json",
        }
        command = ["ansible-playbook", playbook, "-i", "inventories/sandbox", "-e", f"lab_name={lab}", "-e", f"platform_report_dir={place}"]
        started = time.monotonic()
        done = subprocess.run(command, cwd=common.ROOT, env=environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
        if done.returncode or not re.search(r"changed=0 +unreachable=0 +failed=0", done.stdout):
            raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}{done.stderr}")
        return Run(seconds, [(entry["task"], entry["seconds"]) for entry in json.loads(Path(f"{place}/tasks.json").read_text())])


def spread(values: Sequence[float]) -> str:
    """`26.1 / 27.0 / 28.4`: minimum, median, maximum."""
    return " / ".join(f"{value:.1f}" for value in (min(values), statistics.median(values), max(values)))


def task_rows(runs: Sequence[Run]) -> list[tuple[str, float]]:
    """Each task's median over the runs, in the order of the first; tasks of one name count separately."""
    first = [name for name, _seconds in runs[0].tasks]
    same = [each for each in runs if [name for name, _seconds in each.tasks] == first]
    return [(name, statistics.median(each.tasks[index][1] for each in same)) for index, name in enumerate(first)]


def page(figures: dict[str, list[Run]], before: str, about: str) -> str:
    """The result in Markdown."""
    old = dict(re.findall(r"^\| ([\w/.]+) \| (\d[\d. /]+) \|", before, re.MULTILINE))
    lines = ["# Nothing to do", "", f"{about}. Seconds, min / median / max of {len(figures[PLAYBOOKS[0]])}; changed=0 in every run.", ""]
    lines += ["| playbook | seconds | before |", "|---|---|---|"]
    lines += [f"| {name} | {spread([each.seconds for each in runs])} | {old.get(name, '')} |" for name, runs in figures.items()]
    for name, runs in figures.items():
        rows = task_rows(runs)
        small = [seconds for _task, seconds in rows if seconds < SHOWN]
        lines += ["", f"## {name}: {len(rows) - 2} tasks, median seconds of each", "", "| task | seconds |", "|---|---:|"]
        lines += [f"| {task} | {seconds:.2f} |" for task, seconds in rows if seconds >= SHOWN]
        lines.append(f"| {len(small)} others, under {SHOWN} s each | {sum(small):.2f} |")
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="", help="a lab's name; without it one is made and removed")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--before", type=Path, help="an earlier noop.md, whose figures stand beside the new ones")
    arguments = parser.parse_args()
    before = arguments.before.read_text() if arguments.before else ""
    with common.server(arguments.lab) as server:
        server.site("all")
        load = os.getloadavg()[0]
        figures: dict[str, list[Run]] = {name: [] for name in PLAYBOOKS}
        for number in range(1, arguments.runs + 1):
            for name, runs in figures.items():
                runs.append(run(name, server.name))
                print(f"{number:2} {name}: {runs[-1].seconds:.1f} s", flush=True)
        about = server.about(load)
    bars = [
        common.Bar(name, task.partition(" [")[0][:44], seconds, f"{seconds:.2f} s", "#1f77b4")
        for name, runs in figures.items()
        for task, seconds in task_rows(runs)
        if seconds >= SHOWN
    ]
    common.keep("noop", page(figures, before, about), common.chart("Seconds of each task with nothing to do", bars, about, one_scale=True))
    print(page(figures, before, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
