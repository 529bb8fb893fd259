"""Releases that nobody notices: good ones, bad ones and killed ones, while 100 requests a second come in over HTTPS.

    python3 -m prove.releases --rounds 10 --kills 10                (PYTHONPATH=.:tests)

Deploys and rollbacks by each strategy; releases that crash, never become ready, fail their migration, cannot be pulled, are out of quota, fail
or die after a while, or are slow, each of which is undone by itself, with the reason in the last lines; deploys that are killed at a random point,
after which the next deploy, or the site, has to put it right. No request may fail in any of it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from digests import tag
from prove.kills import interrupt
from prove.load import load
from prove.practice import RESULTS, Failed, Practice, Run, machine, markdown, spread

DEPLOY, ROLLBACK, SITE, DRIFT = "playbooks/deploy.yml", "playbooks/rollback.yml", "site.yml", "playbooks/drift.yml"
RATE, WORKERS, LONGEST = 100.0, 24, 420.0
LAST_LINES = 40
STRATEGIES = ("rolling", "blue_green", "canary")
# what the playbook's last lines must say of each bad release
BAD = {
    "crashes": r"CrashLoopBackOff|not ready after|failed: .*requests through the edge",
    "unready": r"pods are available",
    "fails": r"requests through the edge failed.*500(.|\n)*has no column",
    "dies": r"requests through the edge failed|CrashLoopBackOff",
    "slow": r"more than 3 times as long",
    "migration": r"column .*visits.colour.* does not exist",
    "nowhere": r"ErrImagePull|ImagePullBackOff",
    "quota": r"exceeded quota",
}
GATE = {"path": "/hello", "seconds": 10}
SETTINGS: dict[str, Any] = {
    "platform_profile": "releases",
    "release_ready_seconds": 40,
}


@dataclass
class Figures:
    """What was seen."""

    rows: list[list[object]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    requests: int = 0


class Releases:
    """One lab with the two good versions and the bad ones, each under its digest."""

    def __init__(self, practice: Practice) -> None:
        self.practice, self.number = practice, 0
        self.digests: dict[str, str] = {}

    def prepare(self) -> None:
        self.settle("rolling")
        self.practice.must(SITE, *self._options(), log=self.practice.out / "converge.log", token="converge")
        self.digests = tag(self.practice.run)
        self.digests["nowhere"] = "lab.local/nowhere@sha256:" + "0" * 64

    def settle(self, strategy: str, migrate: bool = True) -> None:
        """The inventory's settings for what comes next."""
        steps = [{"weight": weight, "seconds": 4} for weight in (10, 50)]
        api: dict[str, Any] = {
            "strategy": strategy, "gate": GATE, "canary": {"steps": steps},
            "migrate": {"command": ["/api", "migrate"] if migrate else [], "seconds": 60},
            "edge_rate": {"average": 100000, "burst": 100000}, "limits": {"cpu": "1", "memory": "128Mi"},
        }  # fmt: skip
        profile = {"releases": {"environments": {"prod": {"api": api}}}}
        (self.practice.out / "settings.json").write_text(json.dumps({**SETTINGS, "platform_profiles": profile}))

    def _options(self) -> tuple[str, ...]:
        return ("-e", f"@{self.practice.out / 'settings.json'}")

    def playbook(self, playbook: str, *arguments: str) -> Run:
        self.number += 1
        name = f"{self.number:03}-{Path(playbook).stem}"
        return self.practice.playbook(playbook, *self._options(), *arguments, log=self.practice.out / f"{name}.log", token=name)

    def deploy(self, version: str) -> Run:
        return self.playbook(DEPLOY, "-e", "deploy_environment=prod", "-e", f"deploy_image={self.digests[version]}")

    def kill(self, version: str, seconds: float) -> dict[str, Any] | None:
        self.number += 1
        name = f"{self.number:03}-killed"
        words = (*self._options(), "-e", "deploy_environment=prod", "-e", f"deploy_image={self.digests[version]}")
        log = self.practice.out / f"{name}.log"
        return interrupt(self.practice, seconds, log, name, on_server=self.number % 3 == 0, playbook=DEPLOY, arguments=words)

    def image(self) -> str:
        return self.practice.run("kubectl -n shaka-prod get deployment shaka-api -o jsonpath='{.spec.template.spec.containers[0].image}'")

    def leftovers(self) -> str:
        """What is there of a release, beside the record."""
        kinds = "deployments,services,jobs,ingressroutes.traefik.io,middlewares.traefik.io"
        names = self.practice.run(f"kubectl -n shaka-prod get {kinds} -o name").split()
        return " ".join(name for name in names if "next" in name or "release" in name)

    def other(self) -> str:
        """The good version that does not run."""
        return "1" if self.image() == self.digests["2"] else "2"

    @contextmanager
    def load(self, figures: Figures, what: str) -> Iterator[None]:
        """Requests meanwhile, of which none may fail."""
        lab = json.loads((self.practice.lab.state / "lab.json").read_text())
        with load(lab, "prod", path="/hello", rate=RATE, workers=WORKERS, longest=LONGEST, per_connection=20) as client:
            yield
        figures.requests += client.answered
        if client.failed:
            figures.failed.append(f"{what}: {len(client.failed)} of {client.answered + len(client.failed)} requests failed, first {client.failed[0]}")
        print(f"{what}: {client.answered} requests answered, {len(client.failed)} failed", flush=True)


def good(releases: Releases, figures: Figures, strategy: str, rounds: int) -> None:
    """Deploys and rollbacks."""
    releases.settle(strategy)
    seconds: dict[str, list[float]] = {"deploy": [], "rollback": []}
    releases.playbook(SITE)
    with_failures = len(figures.failed)
    before = figures.requests
    for number in range(1, rounds + 1):
        for kind in seconds:
            wanted = releases.digests[releases.other()] if kind == "deploy" else ""
            with releases.load(figures, f"{strategy} {kind} {number}"):
                run = releases.deploy(releases.other()) if kind == "deploy" else releases.playbook(ROLLBACK, "-e", "rollback_environment=prod")
            if run.code or (wanted and releases.image() != wanted) or releases.leftovers():
                figures.failed.append(
                    f"{strategy} {kind} {number}: ended with {run.code} in '{run.task}', {releases.image()} runs, {releases.leftovers()}"
                )
            seconds[kind].append(run.seconds)
    agrees = releases.playbook(DRIFT)
    if agrees.code:
        figures.failed.append(f"{strategy}: the drift check after it ends with {agrees.code}")
    for kind, taken in seconds.items():
        figures.rows.append([f"{strategy}: {kind}", rounds, spread(taken), figures.requests - before, len(figures.failed) - with_failures])


def bad(releases: Releases, figures: Figures, fault: str, strategy: str) -> None:
    """One bad release, which has to be undone by itself."""
    releases.settle(strategy, migrate=fault == "migration")
    releases.playbook(SITE)
    running, before, problems = releases.image(), figures.requests, len(figures.failed)
    with no_room(releases.practice, fault == "quota"), releases.load(figures, f"{strategy}, {fault}"):
        run = releases.deploy(releases.other() if fault == "quota" else fault)
    end = "\n".join(run.text.splitlines()[-LAST_LINES:])
    if run.code == 0 or not re.search(BAD[fault], end):
        figures.failed.append(f"{strategy}, {fault}: ended with {run.code}, and its last lines do not say {BAD[fault]}")
    if releases.image() != running or releases.leftovers():
        figures.failed.append(f"{strategy}, {fault}: {releases.image()} runs in place of {running}; left over: {releases.leftovers()}")
    figures.rows.append([f"{strategy}: {fault}", 1, spread([run.seconds]), figures.requests - before, len(figures.failed) - problems])


@contextmanager
def no_room(practice: Practice, wanted: bool) -> Iterator[None]:
    """The namespace's quota at what is used, meanwhile."""
    if not wanted:
        yield
        return
    name, used, hard = practice.run(
        "kubectl -n shaka-prod get resourcequota -o jsonpath='{.items[0].metadata.name} {.items[0].status.used.pods} {.items[0].spec.hard.pods}'"
    ).split()

    def put(pods: str) -> None:
        practice.run(f"""kubectl -n shaka-prod patch resourcequota {name} --type=merge -p '{{"spec": {{"hard": {{"pods": "{pods}"}}}}}}'""")

    put(used)
    try:
        yield
    finally:
        put(hard)


def killed(releases: Releases, figures: Figures, number: int, seed: int, undisturbed: float) -> None:
    """One deploy that is killed; the next deploy, or the site, puts it right."""
    rng = random.Random(f"{seed}-{number}")
    strategy, after = STRATEGIES[number % len(STRATEGIES)], (DEPLOY, SITE)[number // len(STRATEGIES) % 2]
    releases.settle(strategy)
    releases.playbook(SITE)
    running, wanted, before, problems = releases.image(), releases.other(), figures.requests, len(figures.failed)
    with releases.load(figures, f"kill {number}, {strategy}"):
        cut = releases.kill(wanted, 8 + rng.random() * (undisturbed - 8))
        run = releases.deploy(wanted) if after == DEPLOY and cut else releases.playbook(SITE)
    right = releases.image() in ((releases.digests[wanted],) if after == DEPLOY else (running, releases.digests[wanted]))
    again = releases.playbook(SITE)
    if run.code or not right or releases.leftovers() or again.code or again.changed:
        figures.failed.append(
            f"kill {number} ({strategy}, {cut}): {after} ended with {run.code} in '{run.task}', {releases.image()} runs, {releases.leftovers()}; "
            f"the site after it: {again.code}, changed={again.changed}"
        )
    where = f"{cut['at']} s, {cut['task']}" if cut else "it had ended"
    row = [f"{strategy}: killed after {where}; then {Path(after).stem}", 1, spread([run.seconds]), figures.requests - before]
    figures.rows.append([*row, len(figures.failed) - problems])


def report(figures: Figures, seed: int) -> str:
    columns = ["what", "times", "seconds (min / median / max)", "requests", "problems"]
    listed = "".join(f"- {line}\n" for line in figures.failed)
    text = (
        f"# Releases under load\n\n{machine()}. {figures.requests} requests at {RATE:.0f} a second over HTTPS, flood guard off; "
        f"{'none failed' if not figures.failed else 'problems below'}.\nGate of {GATE['seconds']} s, two pods, seed {seed}.\n\n"
    )
    return f"{text}{markdown(columns, figures.rows)}{listed and chr(10) + listed}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; its server is made and converged if need be")
    parser.add_argument("--rounds", type=int, default=10, help="deploys and rollbacks of each strategy")
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES))
    parser.add_argument("--bad", nargs="*", default=list(BAD), help="kinds of bad releases")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--out", type=Path, help="where logs go (default: the lab's cache)")
    parser.add_argument("--report", type=Path, default=RESULTS / "releases.md")
    parser.add_argument("--keep", action="store_true", help="leave the server there")
    arguments = parser.parse_args()
    practice, figures = Practice(arguments.lab_name, arguments.out), Figures()
    practice.ensure()
    releases = Releases(practice)
    releases.prepare()
    for strategy in arguments.strategies if arguments.rounds else ():
        good(releases, figures, strategy, arguments.rounds)
    for number, fault in enumerate(arguments.bad):
        bad(releases, figures, fault, STRATEGIES[number % 2])
    for number in range(arguments.kills):
        killed(releases, figures, number, arguments.seed, undisturbed=60)
    arguments.report.parent.mkdir(exist_ok=True)
    text = report(figures, arguments.seed)
    arguments.report.write_text(text)
    print(text)
    if not arguments.keep:
        practice.lab.down()
    return 1 if figures.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"releases: {error}")
