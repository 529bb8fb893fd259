# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One rename puts a file of the server in place, so that readers, and the disk after a power failure, have the old or the new file."""

from __future__ import annotations

import os
from pathlib import Path


def put(partial: Path, dest: Path, mode: int) -> None:
    """Give a complete file, on the same file system, its owner, mode and name; its content is on the disk before it gets the name."""
    with partial.open("rb") as source:
        if os.geteuid() == 0:
            os.fchown(source.fileno(), 0, 0)
        os.fchmod(source.fileno(), mode)
        os.fsync(source.fileno())
    partial.rename(dest)


def replace(dest: Path, text: str, mode: int) -> None:
    """Replace a file's content and mode at once; its directories are made (0755)."""
    dest.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    partial = dest.with_name(f"{dest.name}.shaka-new")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(text, encoding="utf-8")
    put(partial, dest, mode)
