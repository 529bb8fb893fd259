# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the server's files say of an account."""

from __future__ import annotations

from pathlib import Path


def entries_of(name: str, database: str, root: Path) -> list[list[str]]:
    """The fields of an account in /etc/passwd or /etc/shadow: one list, or none where there is no such account."""
    lines = (root / "etc" / database).read_text(encoding="utf-8", errors="replace").splitlines()
    return [fields for fields in (line.split(":") for line in lines) if fields[0] == name]


def key_lines(text: str) -> list[str]:
    """The lines of an authorized_keys file that are keys."""
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
