# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One rename puts a file of the controller in place, so that a killed run, or a power failure, leaves the old or the new file."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: str | bytes, mode: int | None = None) -> None:
    """Replace a file's content and mode at once; without a mode it gets the user's own (umask). The name on the way is hidden, so that no vars plugin
    reads it, and this process's own.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else 0o600), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
