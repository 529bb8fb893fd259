# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is of backups in a bucket: each with the verdict on its manifest and its objects. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, manifest
from ansible_collections.shaka.platform.plugins.module_utils.backup.schedule import CronSchedule

COLUMNS = ["environment", "origin", "backup", "database", "size", "of", "kind", "verified", "drilled", "next due"]
BY_HAND = "by hand only"


def backups(objects: Mapping[str, int], manifests: Mapping[str, bytes], prefix: str, key: str) -> list[dict[str, Any]]:
    """The newest first. `flaw` says why one does not count, and is empty for one that does.

    :arg objects: path below the bucket -> bytes. :arg manifests: path -> content. :arg key: the environment's BACKUP_KEY.
    """
    folders: dict[tuple[layout.Origin, str], dict[str, int]] = {}
    for path, size in objects.items():
        found = layout.read(path, prefix)
        if found is not None and found.kind in layout.COPIES:
            folders.setdefault((found.origin, found.stamp), {})[found.name] = size
    signed = {(found.origin, found.stamp): content for path, content in manifests.items() if (found := layout.read(path, prefix)) is not None}
    listed = [_backup(*place, held, signed.get(place), key) for place, held in folders.items()]
    return sorted(listed, key=lambda each: (each["backup"], each["environment"]), reverse=True)


def _backup(origin: layout.Origin, stamp: str, held: Mapping[str, int], content: bytes | None, key: str) -> dict[str, Any]:
    common = {"environment": origin.environment, "server": origin.server, "system_identifier": origin.system_identifier, "backup": stamp}
    empty: dict[str, Any] = {**common, "kind": "", "finished": "", "seconds": 0, "databases": []}
    if content is None:
        return {**empty, "flaw": "has no manifest: it was cut off, or is being made"}
    try:
        read = manifest.read(content, key, origin, stamp)
    except manifest.Unusable as error:
        return {**empty, "flaw": str(error)}
    databases = [{"name": dump.name, "bytes": dump.bytes, "database_bytes": dump.database_bytes, "seconds": dump.seconds} for dump in read.databases]
    wrong = [f"{dump.object} has {held.get(dump.object, 0)} of {dump.bytes} bytes" for dump in read.databases if held.get(dump.object) != dump.bytes]
    whole = {**common, "kind": read.kind, "finished": read.finished, "seconds": read.seconds, "databases": databases}
    return {**whole, "flaw": "; ".join(wrong)}


def with_drill_and_due(found: Iterable[Mapping[str, Any]], drill: Mapping[str, str], due: str) -> list[dict[str, Any]]:
    """The same backups with `verified`, `drilled` and `next_due`.

    :arg drill: of the environment's last drill, what its ConfigMap keeps. :arg due: when the environment's next backup is.
    """
    drilled = f"{drill['finished']}, {drill.get('seconds', '?')} s" if drill.get("finished") else ""
    return [
        {**each, "verified": not each["flaw"], "drilled": drilled if each["backup"] == drill.get("stamp") else "", "next_due": due} for each in found
    ]


def next_due(schedule: str, zone: str, now: datetime.datetime) -> str:
    """When the next backup is due, as a stamp; '' where that cannot be told from the schedule alone."""
    if not schedule:
        return BY_HAND
    try:
        moment = CronSchedule(schedule, zone).next(now)
    except ValueError:
        return ""
    return layout.stamp(moment) if moment else ""


def rows(found: Sequence[Mapping[str, Any]], environment: str, due: str) -> tuple[list[list[str]], list[int]]:
    """Cells for COLUMNS, a row for each database of the backups of `with_drill_and_due`, and the positions of those that do not count."""
    if not found:
        return [[environment, "-", "none", *["-"] * 6, due or "-"]], []
    table: list[list[str]] = []
    failed: list[int] = []
    for each in found:
        for database in each["databases"] or [{"name": "-", "bytes": 0, "database_bytes": 0}]:
            failed += [len(table)] if each["flaw"] else []
            start = [each["environment"], f"{each['server']}/{each['system_identifier']}", each["backup"], database["name"]]
            sizes = [shown_size(database["bytes"]), shown_size(database["database_bytes"])]
            verified = "yes" if each["verified"] else f"no: {each['flaw']}"
            table.append([*start, *sizes, each["kind"] or "-", verified, each["drilled"] or "-", "" if table else due or "-"])
    return table, failed


def shown_size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
