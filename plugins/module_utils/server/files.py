# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes files on the server. One rename puts each in place, so that readers, and the disk after a power failure, have the old or the new file."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from ansible_collections.shaka.platform.plugins.module_utils.server import whole
from ansible_collections.shaka.platform.plugins.module_utils.server.home import with_rights_of_its_home
from ansible_collections.shaka.platform.plugins.module_utils.server.ledger import remember


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def place(partial: Path, dest: Path, mode: int) -> None:
    """Give a complete file, on the same file system, its owner, mode and name; what was there is remembered."""
    remember(dest)
    with_rights_of_its_home(dest, lambda: whole.put(partial, dest, mode))


def write_whole(dest: Path, text: str, mode: int, mark: str = "") -> None:
    """Replace a file's content and mode at once; what was there is remembered, and with a `mark` only that lines were marked with it."""
    remember(dest, mark=mark)
    with_rights_of_its_home(dest, lambda: whole.replace(dest, text, mode))


def move(source: Path, dest: Path) -> None:
    """Move a file, also to another file system."""
    shutil.move(str(source), str(dest))


def parse_mode(text: str) -> int:
    """'0755' -> 0o755; ValueError for anything that is not an octal number."""
    return int(text, 8)
