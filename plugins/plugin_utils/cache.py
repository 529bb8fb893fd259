# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the controller keeps what it made or downloaded once."""

from __future__ import annotations

import os
from pathlib import Path


def folder(concern: str) -> Path:
    """The directory of one concern: shaka-platform/<concern> in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shaka-platform" / concern


def ours(path: Path) -> bool:
    """Whether it is a directory in which nobody but this user can write, so that code may be read from it."""
    if path.is_symlink() or not path.is_dir():
        return False
    state = path.stat()
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022
