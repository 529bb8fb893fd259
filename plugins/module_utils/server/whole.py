# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One rename puts a file of the server in place, so that readers, and the disk after a power failure, have the old or the new file."""

from __future__ import annotations

import os
import re
from pathlib import Path

PARTIAL = ".shaka-new"


def text_of(path: Path) -> str:
    """The text of a file that others write too, in whatever coding and locale; `replace` writes the same bytes."""
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def put(partial: Path, dest: Path, mode: int) -> None:
    """Give a complete file, on the same file system, its owner, mode and name; its content is on the disk before it gets the name."""
    with partial.open("rb") as source:
        if os.geteuid() == 0:
            os.fchown(source.fileno(), 0, 0)
        os.fchmod(source.fileno(), mode)
        os.fsync(source.fileno())
    partial.rename(dest)


def link(dest: Path, target: str) -> None:
    """Make a name a link, in place of what it is."""
    partial = partial_of(dest)
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.rename(dest)


def partial_of(dest: Path) -> Path:
    """The name of a file on its way, this process's own; what a killed process left under its own is removed."""
    for path in unfinished(dest):
        if not _runs(path.name.removesuffix(PARTIAL).rpartition(".")[2]):
            path.unlink(missing_ok=True)
    return dest.with_name(f"{dest.name}.{os.getpid()}{PARTIAL}")


def unfinished(dest: Path) -> list[Path]:
    """What lies beside a file under the names of files on their way to it."""
    return [path for path in dest.parent.glob(f"*{PARTIAL}") if re.fullmatch(rf"{re.escape(dest.name)}(\.\d+)?{re.escape(PARTIAL)}", path.name)]


def _runs(process: str) -> bool:
    return process == str(os.getpid()) or Path("/proc", process, "stat").exists()


def replace(dest: Path, text: str, mode: int) -> None:
    """Replace a file's content and mode at once; its directories are made (0755)."""
    dest.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    partial = partial_of(dest)
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode(errors="surrogateescape"))  # what another wrote need not be UTF-8
        put(partial, dest, mode)
    finally:
        partial.unlink(missing_ok=True)
