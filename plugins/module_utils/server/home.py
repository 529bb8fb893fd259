# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes directories below a user's home, in which root then writes; a link that the user put there could lead elsewhere."""

from __future__ import annotations

import os
from pathlib import Path


def make_parent(dest: Path, owner: int, mode: int) -> None:
    """Make a file's directory, which belongs to the file's owner. OSError for one that belongs to another user, or is a link."""
    parent = dest.parent
    if parent.is_symlink() and owner != 0:
        raise OSError(f"{parent} is a symbolic link, through which {dest.name} of another user could be overwritten: remove it")
    if parent.is_dir():
        if owner != 0 and parent.stat().st_uid not in (0, owner):
            raise OSError(f"{parent} belongs to user {parent.stat().st_uid}, not to {owner}, whose {dest.name} belongs there")
        return
    parent.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    parent.mkdir()
    if os.geteuid() == 0:
        os.chown(parent, owner, -1)
    parent.chmod(mode)
