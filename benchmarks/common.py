"""What the comparisons share: a lab server of their own, bars, and where figures are kept."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
CACHE = Path(os.environ.get("SHAKA_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/shaka-platform")
LAB = "bench"  # the lab of a comparison that is not given one
BAR, GAP, LEFT, WIDTH = 17, 14, 270, 540  # pixels


@dataclass(frozen=True)
class Bar:
    """One figure of a chart."""

    group: str
    label: str
    value: float
    note: str
    colour: str


class Server:
    """A lab's server."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lab = json.loads((CACHE / "labs" / name / "lab.json").read_text())
        options = ["-i", self.lab["key"], "-o", f"UserKnownHostsFile={self.lab['known_hosts']}", "-o", "LogLevel=ERROR"]
        self.ssh = ["ssh", *options, f"root@{self.lab['address']}"]

    def run(self, command: str, stdin: str = "") -> str:
        """What a command says; the comparison ends where it fails."""
        done = subprocess.run([*self.ssh, command], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{command} failed on the server: {done.stdout}{done.stderr}")
        return done.stdout

    def about(self, load: float) -> str:
        """The day, the machine, its load before the run, and the Kubernetes."""
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        version = self.run("k3s --version").splitlines()[0]
        return f"{today}, {os.cpu_count()} CPUs ({platform.machine()}), load {load:.1f} before the run; lab: {version}"

    def site(self, tags: str, *options: str, playbook: str = "site.yml") -> None:
        """A part of the site, or of a playbook with some of its roles; says how it failed."""
        command = ["ansible-playbook", playbook, "-i", "inventories/sandbox", "-e", f"lab_name={self.name}", "--tags", tags, *options]
        print(f"{playbook} --tags {tags}", flush=True)
        with tempfile.TemporaryFile() as log:
            if subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode:
                log.seek(0)
                raise SystemExit(log.read().decode()[-4000:])


@contextmanager
def server(given: str) -> Iterator[Server]:
    """The lab of that name; without one, a lab of one's own, removed afterwards."""
    if given:
        yield Server(given)
        return
    lab = [sys.executable, "-m", "lab"]
    subprocess.run([*lab, "up", "--name", LAB], cwd=ROOT, check=True)
    try:
        yield Server(LAB)
    finally:
        subprocess.run([*lab, "down", "--name", LAB], cwd=ROOT, check=True)


def chart(title: str, bars: Sequence[Bar], footer: str, *, one_scale: bool) -> str:
    """Bars in groups as SVG; all on one linear scale, or each group on its own."""
    y, shapes = 48, []
    for group in dict.fromkeys(bar.group for bar in bars):
        members = [bar for bar in bars if bar.group == group]
        longest = max(bar.value for bar in (bars if one_scale else members))
        shapes.append(f'<text x="20" y="{y + 13}" font-weight="bold">{group}</text>')
        y += BAR
        for bar in members:
            size = max(1.0, WIDTH * bar.value / longest)
            shapes.append(f'<text x="{LEFT - 12}" y="{y + 12}" text-anchor="end">{bar.label}</text>')
            shapes.append(f'<rect x="{LEFT}" y="{y}" width="{size:.1f}" height="{BAR - 2}" fill="{bar.colour}"/>')
            shapes.append(f'<text x="{LEFT + size + 6:.1f}" y="{y + 12}">{bar.note}</text>')
            y += BAR
        y += GAP
    style = "font-family: system-ui, sans-serif; font-size: 12px"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1020 {y + 20}" style="{style}"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="20" y="26" font-size="15" font-weight="bold">{title}</text>{"".join(shapes)}'
        f'<text x="20" y="{y + 8}" fill="#666">{footer}</text></svg>\n'
    )


def keep(name: str, text: str, picture: str) -> None:
    """Write a comparison's results, which are committed."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.svg").write_text(picture)
