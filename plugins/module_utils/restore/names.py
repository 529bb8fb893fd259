# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of the databases that a restore makes and leaves beside a live one. Pure.

    NAME_restore_STAMP   is being filled; only an interrupted restore leaves one behind
    NAME_drill_STAMP     the same, of a drill
    NAME_export_STAMP    the same, a masked copy
    NAME_before_STAMP    what was live until that restore, kept until somebody drops it by name

STAMP is the moment that the restore began, in small letters, so that no statement has to quote the name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

RESTORE, DRILL, EXPORT, BEFORE = "restore", "drill", "export", "before"
UNFINISHED = (RESTORE, DRILL, EXPORT)
LONGEST = 63  # bytes of a name in Postgres
_BESIDE = re.compile(rf"(?P<name>.+)_(?P<purpose>{RESTORE}|{DRILL}|{EXPORT}|{BEFORE})_(?P<stamp>[0-9]{{8}}t[0-9]{{6}}z)")


@dataclass(frozen=True)
class BesideName:
    """What the name of such a database says; `name` may be a shortened one."""

    name: str
    purpose: str
    stamp: str


def beside(name: str, purpose: str, stamp: str) -> str:
    """The name for that purpose; a long one is shortened, and still tells two databases apart."""
    end = f"_{purpose}_{stamp.lower()}"
    if len(name.encode()) + len(end) > LONGEST:
        mark = hashlib.sha256(name.encode()).hexdigest()[:6]
        name = name.encode()[: LONGEST - len(end) - len(mark) - 1].decode(errors="ignore") + f"_{mark}"
    return name + end


def read(database: str) -> BesideName | None:
    """None for a database that no restore made."""
    found = _BESIDE.fullmatch(database)
    return BesideName(found["name"], found["purpose"], found["stamp"]) if found else None


def unfinished(database: str) -> bool:
    """Whether it is left of a restore that did not end."""
    found = read(database)
    return found is not None and found.purpose in UNFINISHED


def kept(database: str) -> bool:
    """Whether it is what was live before a restore."""
    found = read(database)
    return found is not None and found.purpose == BEFORE
