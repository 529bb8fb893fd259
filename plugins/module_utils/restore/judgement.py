# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a restored database is what the backup says, before it is put in place. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import PlannedDatabase

FEW = 1000  # rows up to which an estimate may be far off
WIDE = 2.0  # an estimate is as good as the last ANALYZE: more than twice or less than half of it is worth a look


class RestoreVerdict(NamedTuple):
    """`wrong` refuses the swap, `notes` are for a person to read."""

    wrong: tuple[str, ...]
    notes: tuple[str, ...]
    rows: int
    tables: int


def judge(database: PlannedDatabase, found: Mapping[str, Any], owner: str, extensions: Collection[str], masked: bool) -> RestoreVerdict:
    """What one restored database lacks.

    :arg found: the answer to `databases.result`.
    :arg extensions: those that the dump needs.
    :arg masked: rows may have been taken away on purpose.
    """
    wrong, notes = [], []
    tables: Mapping[str, int] = found["tables"]
    if missing := sorted(set(database.tables) - set(tables)):
        wrong.append(f"{_some(missing)} of the backup is missing")
    for name, estimate in sorted(database.tables.items()):
        rows = tables.get(name)
        if rows is None or max(rows, estimate) < FEW:
            continue
        if not masked and (rows * WIDE < estimate or rows > estimate * WIDE):
            notes.append(f"{name} has {rows} rows, the backup's estimate is {estimate}")
    if found["invalid"]:
        wrong.append(f"the index {_some(found['invalid'])} is not valid")
    if lacking := sorted(set(extensions) - set(found["extensions"] or {})):
        wrong.append(f"the extension {_some(lacking)} is missing")
    if found["owner"] != owner:
        wrong.append(f"its owner is {found['owner']} in place of {owner}")
    if found["incomplete"]:
        notes.append(f"indexes that not every partition has, as in the backup: {_some(found['incomplete'])}")
    if found["unvalidated"]:
        notes.append(f"constraints that the backup has as NOT VALID: {_some(found['unvalidated'])}")
    return RestoreVerdict(tuple(wrong), tuple(notes), sum(tables.values()), len(tables))


def _some(names: Collection[str]) -> str:
    shown = list(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
