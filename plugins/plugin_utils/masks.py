# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The SQL that masks personal data, as an inventory gives it: statements, and files of statements beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_FILE = re.compile(r"\S+\.sql")


def script(mask: Iterable[str], folder: Path) -> str:
    """All of it as one script for psql.

    :arg folder: of the inventory, where relative paths start.
    :raises OSError: a file cannot be read.
    """
    parts = [(folder / item).read_text(encoding="utf-8") if _FILE.fullmatch(item.strip()) else item for item in mask]
    return "".join(f"{part.strip().rstrip(';')};\n" for part in parts if part.strip())
