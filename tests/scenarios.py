"""Runs molecule's scenarios one after the other; the last lines say how each ended, and which tests failed with their reasons:

python3 -m tests.scenarios SCENARIO ...
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import paths

REASON_LINES = 25  # of a failed test: what it asserted, and what it got
SLOWEST, SLOW = 12, 20.0  # tests of a scenario that are named for their seconds, and from how many
OUTPUT_LINES = 40  # of a scenario that failed before its tests
COLOUR = r"\x1b\[[0-9;]*m"
DRAWN = re.compile(rf"^(?:\s|{COLOUR})*│(?:{COLOUR})* ?|{COLOUR}")  # molecule's frame around a program's lines


@dataclass(frozen=True)
class Outcome:
    """How one scenario ended."""

    scenario: str
    code: int
    seconds: float
    tests: int
    reasons: tuple[str, ...]
    slowest: tuple[str, ...] = ()

    def __str__(self) -> str:
        state = "passed" if self.code == 0 else f"FAILED ({self.code})"
        return f"{self.scenario:<14} {state:<12} {self.seconds:>6.0f} s {self.tests:>5} tests"


def failed_tests(report: ET.Element) -> Iterator[str]:
    """Of pytest's report: each failed test's name and the end of what it said."""
    for case in report.iter("testcase"):
        for fault in (*case.findall("failure"), *case.findall("error")):
            said = (fault.text or fault.get("message") or "").splitlines()
            yield "\n".join([f"{case.get('classname')}::{case.get('name')}", *(f"    {line}" for line in said[-REASON_LINES:])])


def slowest_tests(report: ET.Element) -> list[str]:
    """Of pytest's report: where a scenario's time goes."""
    taken = sorted(((float(case.get("time") or 0), f"{case.get('classname')}::{case.get('name')}") for case in report.iter("testcase")), reverse=True)
    return [f"{seconds:6.0f} s  {name}" for seconds, name in taken[:SLOWEST] if seconds >= SLOW]


def run(scenario: str, place: Path) -> Outcome:
    """Run one scenario, showing what it prints."""
    report, printed = place / f"{scenario}.xml", []
    environment = {**os.environ, "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={report}"}
    began = time.monotonic()
    command = ["molecule", "test", "--scenario-name", scenario]
    with subprocess.Popen(command, cwd=paths.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as molecule:
        for line in molecule.stdout or ():
            print(line, end="", flush=True)
            printed.append(DRAWN.sub("", line.rstrip()))
    tested = ET.parse(report).getroot() if report.exists() else ET.Element("testsuites")
    reasons = list(failed_tests(tested))
    if molecule.returncode and not reasons:
        fatal = max((number for number, line in enumerate(printed) if "fatal:" in line or "[ERROR]" in line), default=len(printed))
        reasons = ["\n".join(printed[max(0, fatal - OUTPUT_LINES // 2) : fatal + OUTPUT_LINES // 2])]
    return Outcome(
        scenario, molecule.returncode, time.monotonic() - began, len(list(tested.iter("testcase"))), tuple(reasons), tuple(slowest_tests(tested))
    )


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.scenarios", description="Run molecule's scenarios and sum up their failures.")
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO")
    with tempfile.TemporaryDirectory() as place:
        outcomes = [run(scenario, Path(place)) for scenario in parser.parse_args(words).scenarios]
    for outcome in outcomes:
        print("", *(f"{outcome.scenario}: {line}" for line in outcome.slowest), sep="\n")
    for outcome in outcomes:
        for reason in outcome.reasons:
            print(f"\n{outcome.scenario}: {reason}")
    print("", *outcomes, sep="\n", flush=True)
    return int(any(outcome.code for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
