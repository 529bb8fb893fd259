# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's modules as Ansible packs them for a server, kept from run to run."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import ansible
from ansible import constants
from ansible.plugins.loader import module_utils_loader
from ansible_collections.shaka.platform.plugins.plugin_utils import cache
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import ROOT
from ansible_collections.shaka.platform.plugins.plugin_utils.whole_file import replace_file

MODULES = "ansible_collections.shaka.platform.plugins.modules."  # what the names of our modules' packed files start with
KEPT = 4  # versions of the collection whose modules stay packed


def packed_here() -> Path:
    """Where Ansible puts the modules that it packs in this run. It looks there before it packs one."""
    return Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")


def sources() -> list[Path]:
    """The directories with whatever a packed module has in it."""
    plugins = ROOT / "plugins"
    others = (Path(name) for name in str(module_utils_loader.print_paths()).split(os.pathsep))
    return [plugins / "modules", plugins / "module_utils", *others]


def digest(folders: Iterable[Path]) -> str:
    """Sum of all that makes a packed module what it is: Ansible, Python, and every file's path and content."""
    total = hashlib.sha256(f"{ansible.__version__} {sys.version}".encode())
    for path in sorted({path for folder in folders for path in folder.rglob("*.py")}):
        content = path.read_bytes()
        total.update(f"{path} {len(content)}\n".encode() + content)
    return total.hexdigest()[:32]


class PackedModules:
    """The files of packed modules, as they are kept and as a run uses them.

    Packing one takes 0.15 to 0.35 s, as the imports of all its files are followed; a run has sixteen. The files hold code alone, no arguments.
    Each is kept behind its own sum: Ansible unpickles them, and would fail in every run with one that is damaged.

    :arg root: directory of all versions' files, used only where nobody else can write.
    :arg here: where Ansible looks in this run.
    :arg folders: see `sources`.
    """

    def __init__(self, root: Path, here: Path, folders: Iterable[Path]) -> None:
        self.here, self.folders = here, list(folders)
        self.kept = root / digest(self.folders)
        self.laid: set[str] = set()  # names of those that this run got

    def lay_out(self) -> None:
        """Give this run what there is. Raises OSError."""
        if not cache.ours(self.kept):
            return
        self.here.mkdir(parents=True, exist_ok=True)
        for path in self.kept.iterdir():
            total, _line, content = path.read_bytes().partition(b"\n")
            if path.name.startswith(MODULES) and total == _sum(content):
                replace_file(self.here / path.name, content)
                self.laid.add(path.name)
        os.utime(self.kept)  # used last

    def keep(self) -> None:
        """Keep what this run has packed, unless its sources have changed meanwhile. Raises OSError."""
        there = list(self.here.iterdir()) if self.here.is_dir() else []
        packed = [path for path in there if path.name.startswith(MODULES) and path.suffix != ".lock" and path.name not in self.laid]
        if not packed or digest(self.folders) != self.kept.name or not cache.make(self.kept):
            return
        for path in packed:
            content = path.read_bytes()
            replace_file(self.kept / path.name, _sum(content) + b"\n" + content)
        for old in sorted(self.kept.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)


def _sum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def packed_modules() -> PackedModules:
    """Those of this collection, as it is now. Raises OSError, RuntimeError where there is no place for them."""
    return PackedModules(cache.folder("modules"), packed_here(), sources())
