"""Writes the lock's wheels from requirements-server.txt, for every Python and architecture that a server may have: `python3 -m lab.wheel_lock`.

Their sums are those of the requirements file, which pip checks here; the addresses are the index's own, made of a file's BLAKE2 digest.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from lab import bundle, paths

LOCK = paths.ROOT / "roles/artifacts/files/wheels.yml"
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
HEADER = """\
---
# Written by `python3 -m lab.wheel_lock` from files/requirements-server.txt; do not edit. `python` and `arch` say which server a wheel is for.
# yamllint disable rule:line-length
"""


def _download(target: Path, requirements: Path, *options: str) -> bool:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [*command, "--only-binary=:all:", f"--dest={target}", f"--requirement={requirements}", *options], capture_output=True, check=False
    )
    return done.returncode == 0


def requirements() -> dict[str, str]:
    """Each requirement by its name, with its hashes."""
    text = bundle.REQUIREMENTS.read_text(encoding="utf-8").replace("\\\n", " ")
    return {line.split("==")[0]: line for line in text.splitlines() if "==" in line}


def entry(wheel: Path, **facts: str) -> dict[str, Any]:
    content = wheel.read_bytes()
    digest = hashlib.blake2b(content, digest_size=32).hexdigest()
    return {
        **facts,
        "version": wheel.name.split("-")[1],
        "path": f"wheels/{wheel.name}",
        "source": f"https://files.pythonhosted.org/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{wheel.name}",
        "sha256": {facts.get("arch", "any"): hashlib.sha256(content).hexdigest()},
    }


def wheels(work: Path) -> dict[str, dict[str, Any]]:
    """The pure wheel of a project where it has one, else one for each Python and architecture."""
    found: dict[str, dict[str, Any]] = {}
    for name, line in requirements().items():
        one = work / f"{name}.txt"
        one.write_text(line, encoding="utf-8")
        key = f"wheel_{name.replace('-', '_')}"
        pure = work / name
        if _download(pure, one, "--platform=any", "--implementation=py", "--abi=none", "--python-version=3.10"):
            found[key] = entry(next(pure.iterdir()))
            continue
        for python in bundle.PYTHONS:
            for arch, machine in ARCHITECTURES.items():
                place = work / f"{name}-{python}-{arch}"
                platform = f"--platform=manylinux2014_{machine}"
                if not _download(place, one, platform, "--implementation=cp", f"--python-version={python}"):
                    raise SystemExit(f"{name}: no wheel for Python {python} on {arch}; choose a version that has one")
                found[f"{key}_py{python.replace('.', '')}_{arch}"] = entry(next(place.iterdir()), python=python, arch=arch)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        files = wheels(Path(work))
    LOCK.write_text(HEADER + yaml.safe_dump({"platform_artifacts": {"files": files}}, sort_keys=True, width=200), encoding="utf-8")
    print(f"{len(files)} wheels in {LOCK}")


if __name__ == "__main__":
    main()
