"""A lab server to prove things on: made anew with the same secrets each time, converged, interrupted, looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab import bundle, paths, sandbox
from lab.hosts import Lab

RESULTS = Path(__file__).parent / "results"
TOKEN = "SHAKA_PROVE"
SEEDED = ("secrets.json", "backup-identity.txt", "acme/ca.crt", "acme/ca.key", "acme/server.crt", "acme/server.key")
CHANGED = re.compile(r"^\S+ +: ok=\d+ +changed=(\d+) ", re.MULTILINE)
TASK = re.compile(r"^TASK \[(.+)\] \*", re.MULTILINE)
# Rows and checksum of a table: equal for equal rows, in whatever order they lie; the row's text has every column.
ROW_SUM = "select count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0) from {table} t"
SSH = "-o ControlMaster=no -o ControlPath=none -o ConnectTimeout=15 -o ServerAliveInterval=15".split()


@dataclass(frozen=True)
class SeededLab(Lab):
    """A lab whose secrets and authorities outlive the server, so that two servers can be compared."""

    seed: Path

    def _make_keys(self) -> None:
        super()._make_keys()
        kept, fresh = self.seed, self.state
        if not kept.exists():
            self.secrets()
            kept, fresh = self.state, self.seed
        for name in SEEDED:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copy2(kept / name, fresh / name)


@dataclass(frozen=True)
class Run:
    """One playbook run that ended, or was ended."""

    code: int
    seconds: float
    text: str

    @property
    def changed(self) -> int:
        """Tasks that changed something, on all hosts; -1 when the run had no recap."""
        counts = CHANGED.findall(self.text)
        return sum(map(int, counts)) if counts else -1

    @property
    def task(self) -> str:
        """The last task that began."""
        tasks = TASK.findall(self.text)
        return tasks[-1] if tasks else "(before the first task)"


class Failed(Exception):
    """Something that was to be proven does not hold; the text says what."""


class Practice:
    """The server of one lab, and the playbooks as a user runs them."""

    def __init__(self, name: str, out: Path | None = None) -> None:
        self.out = out or paths.cache() / "prove" / name
        self.out.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lab = SeededLab(name, self.out / "seed")

    # the server

    def fresh(self) -> None:
        """A bare server in place of whatever was there; on a loaded machine a container may come up too late once."""
        self.lab.down()
        try:
            self.ensure()
        except SystemExit as error:
            print(f"lab: {error}; again", flush=True)
            self.lab.down()
            self.ensure()

    def ensure(self) -> None:
        """A server; one that runs is kept."""
        self.lab.prepare(bundle.path(), memory=sandbox.MEMORY, cpus=sandbox.CPUS)
        sandbox.start(self.lab, memory=sandbox.MEMORY, cpus=sandbox.CPUS)

    def ssh(self, *options: str) -> list[str]:
        command = self.lab.ssh()
        return [*command[:-1], *SSH, command[-1], *options]

    def run(self, command: str, *, stdin: str = "", timeout: float = 180) -> str:
        """Run a command on the server; its output. Failed when it fails."""
        done = subprocess.run(self.ssh(command), input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise Failed(f"'{command[:80]}' on the server: {done.stderr.strip()[-500:]}")
        return done.stdout

    def python(self, program: Path, timeout: float = 300) -> Any:
        """Run a program of this directory with the server's Python; its JSON."""
        return json.loads(self.run("python3 -", stdin=program.read_text(), timeout=timeout))

    def k3s(self) -> str:
        """What changes when K3s or a pod is started anew."""
        columns = "N:.metadata.namespace,P:.metadata.name,S:.status.containerStatuses[*].state.running.startedAt"
        pods = f"kubectl get pods -A --no-headers -o custom-columns={columns}"
        return self.run(f"systemctl show k3s --property MainPID --value; {pods}")

    # playbooks

    def start(self, playbook: str, *arguments: str, log: Path, token: str) -> subprocess.Popen[bytes]:
        """Start a playbook; `token` marks all its processes, also those that leave the process group."""
        command = [str(sandbox.BIN / "ansible-playbook"), playbook, "-i", "inventories/sandbox", "-e", f"lab_name={self.lab.name}"]
        reports = ["-e", f"platform_report_dir={self.out / 'reports'}"]
        path = f"{sandbox.BIN}:{os.environ['PATH']}"
        # With skipped tasks shown, a task's name is printed when it begins, else with its result: interruptions wait for the name.
        shown = {"ANSIBLE_CONFIG": str(paths.ROOT / "ansible.cfg"), "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true"}
        environment = {**os.environ, "PATH": path, **shown, TOKEN: token}
        with log.open("wb") as output:
            return subprocess.Popen(
                [*command, *reports, *arguments], cwd=paths.ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def playbook(self, playbook: str, *arguments: str, log: Path, token: str, timeout: float = 1500) -> Run:
        """Run a playbook to its end. Its ssh masters are ended too: the next server has the same address and another key."""
        began = time.monotonic()
        process = self.start(playbook, *arguments, log=log, token=token)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = -1
        seconds = time.monotonic() - began
        kill_marked(token)
        process.wait()
        return Run(code, seconds, log.read_text(errors="replace"))

    def must(self, playbook: str, *arguments: str, log: Path, token: str, changed: int | None = None) -> Run:
        """Run a playbook that has to succeed, with exactly so many changes where that is said."""
        run = self.playbook(playbook, *arguments, log=log, token=token)
        if run.code != 0:
            raise Failed(f"{playbook} ended with {run.code} in '{run.task}', see {log}")
        if changed is not None and run.changed != changed:
            raise Failed(f"{playbook} reports changed={run.changed} instead of {changed}, see {log}")
        return run


def marked(token: str) -> list[int]:
    """The processes of this machine that were started with the token, however far they went from their parent."""
    needle = f"{TOKEN}={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and needle in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found


def kill_marked(token: str) -> int:
    """SIGKILL them all, again until none is left; how many there were."""
    killed: set[int] = set()
    while alive := [pid for pid in marked(token) if Path(f"/proc/{pid}/exe").exists()]:
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                continue
    return len(killed)


def spread(seconds: Iterable[float]) -> str:
    """min / median / max"""
    values = sorted(seconds)
    return f"{values[0]:.1f} / {statistics.median(values):.1f} / {values[-1]:.1f} s" if values else "-"


def machine() -> str:
    """What the figures were measured on."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return (
        f"{os.cpu_count()} x {model.group(1) if model else 'CPU'}, {memory:.0f} GiB; lab (stand-in for K3s); {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )


def markdown(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
