# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the controller keeps what it made or downloaded once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

OTHERS = stat.S_IWGRP | stat.S_IWOTH


def folder(concern: str) -> Path:
    """The directory of one concern: shaka-platform/<concern> in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shaka-platform" / concern


def make(path: Path) -> bool:
    """Make such a directory, its parents with it; whether code may be kept there (`ours`). Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.mkdir(exist_ok=True, mode=0o700)
    return ours(path)


def ours(path: Path) -> bool:
    """Whether it is a directory that nobody but this user and root could have put there or written to, so that code may be read from it.

    As sshd's StrictModes looks at a user's keys: at the directories above it, too. In a sticky one others cannot replace what is this user's.
    """
    try:
        place = path.resolve(strict=True)
        states = [each.stat() for each in (place, *place.parents)]
    except OSError:
        return False
    mine, above = states[0], states[1:]
    if not stat.S_ISDIR(mine.st_mode) or mine.st_uid != os.geteuid() or mine.st_mode & OTHERS:
        return False
    return all(state.st_uid in (0, os.geteuid()) and (not state.st_mode & OTHERS or state.st_mode & stat.S_ISVTX) for state in above)
