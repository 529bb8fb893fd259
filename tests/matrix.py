"""Runs test lanes with every supported pair of ansible-core and Python, each in an environment of its own outside the checkout:

python3 -m tests.matrix [--core 2.21] [--python 3.13] [--newest] [LANE ...]      (lanes: unit, packaging, sanity; default: unit sanity)

A pair whose Python is not on this machine is left out, and said to be; one that was asked for by both versions must be there.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import kubernetes_core, paths
from lab.steps import KEPT_DAYS


@dataclass(frozen=True)
class Core:
    """A release of ansible-core, the sum of its wheel, and the Pythons it runs on that the collection supports too."""

    release: str
    sha256: str
    pythons: tuple[str, ...]

    @property
    def minor(self) -> str:
        return self.release.rpartition(".")[0]


# From 2.20 on a controller has Python 3.12 or newer; the newest is last.
CORES = (
    Core("2.19.14", "d518d0e96fa75bedfe9b0a96d5b158aa712d092961824c115140c8677b88ff06", ("3.11", "3.12", "3.13")),
    Core("2.20.10", "2c7a88ff9bf36a9cfb3bc3838fa6222ea54feedf7f7d94ef9a2ae7591345bfdc", ("3.12", "3.13")),
    Core("2.21.5", "08886f9f3e23d129aa98a01271c4a47833516e1cb7c737a246788cb474f41222", ("3.12", "3.13")),
)
LANES = {
    "unit": ("pytest", "-q", "tests/unit"),
    "packaging": ("pytest", "-q", "tests/packaging"),
    "sanity": ("tests/sanity.sh",),
}
# Of requirements.txt: large, and no lane here runs them.
LEFT_OUT = frozenset({"ansible-core", "ansible-lint", "black", "kubernetes", "molecule", "mypy", "ruff"})


@dataclass(frozen=True)
class Pair:
    """One ansible-core on one Python."""

    core: Core
    python: str

    def __str__(self) -> str:
        return f"ansible-core {self.core.release} on Python {self.python}"


def pairs(core: str = "", python: str = "", newest: bool = False) -> list[Pair]:
    """The supported pairs, oldest first; of one core or Python where these are given, and the newest alone on request."""
    found = [Pair(each, version) for each in CORES if core in ("", each.minor) for version in each.pythons if python in ("", version)]
    return found[-1:] if newest else found


def requirements(core: Core, locked: str) -> str:
    """The lock of the development environment with another ansible-core, and without what the lanes do not use."""
    blocks = re.split(r"^(?=[a-z])", locked, flags=re.MULTILINE)
    kept = [block for block in blocks if block.partition("==")[0] not in LEFT_OUT]
    return "".join([*kept, f"ansible-core=={core.release} --hash=sha256:{core.sha256}\n"])


def candidates(version: str, environment: Mapping[str, str]) -> Iterator[Path]:
    """Where a Python of this version may lie: on the PATH, and among pyenv's."""
    if on_path := shutil.which(f"python{version}", path=environment.get("PATH")):
        yield Path(on_path)
    root = Path(environment.get("PYENV_ROOT") or Path(environment.get("HOME", "/")) / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)


def find_python(version: str, environment: Mapping[str, str]) -> Path | None:
    """The first candidate that is what its name says: a shim of pyenv may be none."""
    says = [f"import sys, venv, ensurepip; raise SystemExit('%d.%d' % sys.version_info[:2] != '{version}')"]
    return next(
        (path for path in candidates(version, environment) if subprocess.run([path, "-c", *says], capture_output=True, check=False).returncode == 0),
        None,
    )


def environment_for(pair: Pair, python: Path) -> Path:
    """The pair's virtual environment, made when it is not there whole; named after all that goes into it."""
    wanted = requirements(pair.core, (paths.ROOT / "requirements.txt").read_text(encoding="utf-8"))
    key = hashlib.sha256("\n".join([wanted, kubernetes_core.REQUIREMENTS.read_text(), str(python)]).encode()).hexdigest()[:12]
    top = paths.cache() / "matrix"
    place = top / f"{pair.core.minor}-{pair.python}-{key}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            print(f"{pair}: making its environment", flush=True)
            for old in top.glob(f"{pair.core.minor}-{pair.python}-*"):
                if old != place and old.stat().st_mtime < time.time() - KEPT_DAYS * 86400:
                    shutil.rmtree(old, ignore_errors=True)
            (place / "requirements.txt").write_text(wanted, encoding="utf-8")
            subprocess.run([python, "-m", "venv", "--clear", place / "venv"], check=True)
            install: list[str | Path] = [
                place / "venv/bin/python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--require-hashes",
            ]
            subprocess.run([*install, "--requirement", place / "requirements.txt"], check=True)
            subprocess.run([place / "venv/bin/python", "-m", "lab.kubernetes_core"], cwd=paths.ROOT, check=True)
            (place / "ready").touch()
        os.utime(place)
    return place / "venv"


def run(pair: Pair, venv: Path, lane: str) -> bool:
    """One lane with the pair's programs first on the PATH; says how it ended."""
    environment = {
        **os.environ,
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{paths.ROOT / '.ansible/collections'}{os.pathsep}{paths.ROOT}",
    }
    print(f"{pair}: {lane}", flush=True)
    began = time.monotonic()
    code = subprocess.run(LANES[lane], cwd=paths.ROOT, env=environment, check=False).returncode
    print(f"{pair}: {lane} {'passed' if code == 0 else f'FAILED ({code})'} in {time.monotonic() - began:.0f} s", flush=True)
    return code == 0


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.matrix", description="Run test lanes with the supported versions.")
    parser.add_argument("--core", default="", choices=["", *(core.minor for core in CORES)], help="this ansible-core alone")
    parser.add_argument("--python", default="", help="this Python alone, as in 3.13")
    parser.add_argument("--newest", action="store_true", help="the newest pair alone")
    parser.add_argument("lanes", nargs="*", metavar="LANE", help=f"{', '.join(LANES)} (default: unit sanity)")
    given = parser.parse_args(words)
    if unknown := set(given.lanes) - set(LANES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the lanes are {', '.join(LANES)}")
    chosen = pairs(given.core, given.python, given.newest)
    if not chosen:
        parser.error(f"the collection does not support ansible-core {given.core or '(any)'} on Python {given.python}")
    told: list[str] = []
    failed = False
    for pair in chosen:
        python = find_python(pair.python, os.environ)
        if python is None:
            failed |= bool(given.core and given.python)
            told.append(f"{pair}: left out, as this machine has no Python {pair.python}")
            continue
        venv = environment_for(pair, python)
        passed = {lane: run(pair, venv, lane) for lane in given.lanes or ("unit", "sanity")}
        failed |= not all(passed.values())
        told.append(f"{pair}: " + ", ".join(f"{lane} {'passed' if well else 'FAILED'}" for lane, well in passed.items()))
    print("\n".join(["", *told]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
