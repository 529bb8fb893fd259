# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The wheels of the server's Python environment: which ones fit a server, and how the controller gets them.

They come by `pip download`, from whatever index the controller's pip is configured for, and are kept in a cache. The requirements file has the sums.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.shaka.platform.plugins.module_utils.server.files import sha256_of
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import alone
from ansible_collections.shaka.platform.plugins.plugin_utils import cache

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")  # of the servers: Ubuntu 22.04, Debian 12, Ubuntu 24.04, Debian 13, Ubuntu 26.04
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
PATIENCE = 600  # seconds; for a download that another run makes, and for pip itself
WAY_OUT = "check the index that pip is configured for (pip config list), or use a bundle (platform_bundle)"


class WheelError(Exception):
    """Wheels that are missing; the text says which, and what to do."""


def sums(requirements: str) -> dict[str, str]:
    """The sha256 of every file that pip may take -> its project, from a requirements file with hashes."""
    found: dict[str, str] = {}
    for line in requirements.replace("\\\n", " ").splitlines():
        name, pinned, rest = line.partition("==")
        if pinned:
            found |= dict.fromkeys(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest), name.strip().lower())
    return found


def without(requirements: str, project: str) -> str:
    """The requirements file less one project."""
    lines = requirements.replace("\\\n", " ").splitlines()
    return "".join(f"{line}\n" for line in lines if not line.startswith(f"{project}=="))


def fits(name: str, python: str, machine: str) -> bool:
    """Whether a wheel, by its file's name (PEP 427), is for that Python (such as 3.11) and machine (such as x86_64)."""
    parts = name.removesuffix(".whl").split("-")
    if len(parts) < 5:
        return False
    interpreters, abi, platforms = parts[-3:]
    own, minor = "cp" + python.replace(".", ""), int(python.split(".")[1])
    runs = any(
        interpreter in ("py3", own) or (abi == "abi3" and interpreter.startswith("cp3") and int(interpreter[3:] or 0) <= minor)
        for interpreter in interpreters.split(".")
    )
    return runs and abi in ("none", "abi3", own) and any(part == "any" or part.endswith(f"_{machine}") for part in platforms.split("."))


def chosen(folder: Path, requirements: str, python: str, machine: str) -> list[Path]:
    """A folder's wheels for such a server, each whole by its sum; WheelError when a project has none."""
    known, found = sums(requirements), {}
    for wheel in sorted(folder.glob("*.whl")):
        if fits(wheel.name, python, machine) and (project := known.get(sha256_of(wheel))):
            found[project] = wheel
    lacking = sorted(set(known.values()) - set(found))
    if lacking:
        raise WheelError(f"{folder} has no wheel of {', '.join(lacking)} for Python {python} on {machine}")
    return sorted(found.values())


def download(pip: Sequence[str], requirements: Path, python: str, machine: str, target: Path) -> list[str]:
    """The command that brings the wheels for such a server into a folder."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    server = [f"--python-version={python}", "--implementation=cp", f"--platform=manylinux2014_{machine}"]
    return [*pip, "download", *options, *server, f"--dest={target}", f"--requirement={requirements}"]


def own_pip() -> list[str]:
    """The controller's pip."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    raise WheelError("the controller has no pip, which downloads the server's wheels: install it beside Ansible, or use a bundle (platform_bundle)")


def downloaded(requirements: Path, python: str, machine: str) -> list[Path]:
    """The wheels for such a server, from the cache, which asks the index once."""
    text = requirements.read_text(encoding="utf-8")
    place = cache.folder("wheels") / hashlib.sha256(f"{python} {machine}\n{text}".encode()).hexdigest()[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(place.parent, f"another run still downloads wheels into {place.parent}; wait for it", PATIENCE):
        try:
            return chosen(place, text, python, machine)
        except WheelError:
            shutil.rmtree(place, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as work:
            command = download(own_pip(), requirements, python, machine, Path(work) / "wheels")
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                why = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-4:])
                raise WheelError(f"the wheels for Python {python} on {machine} could not be downloaded; {WAY_OUT}:\n  {why}")
            chosen(Path(work) / "wheels", text, python, machine)
            (Path(work) / "wheels").rename(place)
        return chosen(place, text, python, machine)
