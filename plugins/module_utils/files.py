# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files on the server: written whole, put in place by one rename, so that a reader or a power cut sees the old or the new file."""

from __future__ import annotations

import hashlib
import os


def sha256_of(path: str) -> str:
    """The sha256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def place(partial: str, dest: str, mode: int) -> None:
    """Give a complete file, on the same file system, its mode and its name; it is on the disk before it has the name."""
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fchown(descriptor, 0, 0) if os.geteuid() == 0 else None
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(partial, dest)


def write_whole(dest: str, text: str, mode: int) -> None:
    """Replace a file's content and mode at once; its directories are made (0755)."""
    os.makedirs(os.path.dirname(dest), mode=0o755, exist_ok=True)
    partial = f"{dest}.shaka-new"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        target.write(text)
    place(partial, dest, mode)


def parse_mode(text: str) -> int:
    """'0755' -> 0o755; ValueError for anything that is no octal number."""
    return int(text, 8)
