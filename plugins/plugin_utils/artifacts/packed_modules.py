# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's modules as Ansible packs them for a server, kept from run to run."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import ansible
from ansible import constants
from ansible.plugins.loader import module_utils_loader
from ansible_collections.shaka.platform.plugins.plugin_utils import cache
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import ROOT

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

    :arg kept: directory of the files. Ansible unpickles them, so it is used only where nobody else can write.
    :arg here: where Ansible looks in this run.
    """

    def __init__(self, kept: Path, here: Path) -> None:
        self.kept, self.here = kept, here

    def lay_out(self) -> None:
        """Give this run what there is."""
        if not self._is_ours():
            return
        self.here.mkdir(parents=True, exist_ok=True)
        for path in self.kept.iterdir():
            if path.name.startswith(MODULES):
                shutil.copyfile(path, self.here / path.name)
        os.utime(self.kept)

    def keep(self) -> None:
        """Keep what this run has packed."""
        self.kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.kept.mkdir(exist_ok=True, mode=0o700)
        if not self._is_ours():
            return
        for path in self._packed():
            part = self.kept / f".{os.getpid()}"
            shutil.copyfile(path, part)
            part.replace(self.kept / path.name)
        for old in sorted(self.kept.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def _packed(self) -> Iterator[Path]:
        for path in self.here.iterdir() if self.here.is_dir() else ():
            if path.name.startswith(MODULES) and path.suffix != ".lock" and not (self.kept / path.name).exists():
                yield path

    def _is_ours(self) -> bool:
        """Whether nobody but this user could have written what is kept."""
        return cache.ours(self.kept.parent) and cache.ours(self.kept)


def packed_modules() -> PackedModules:
    """Those of this collection, as it is now."""
    return PackedModules(cache.folder("modules") / digest(sources()), packed_here())
