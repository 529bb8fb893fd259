# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is of backups in a bucket: each with the verdict on its manifest and its objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, manifest

COLUMNS = ["environment", "origin", "backup", "database", "size", "of", "kind", "verdict"]
AUTHENTIC = "authentic"


def backups(objects: Mapping[str, int], manifests: Mapping[str, bytes], prefix: str, key: str) -> list[dict[str, Any]]:
    """The newest first. `flaw` says why one does not count, and is empty for one that does.

    :arg objects: path below the bucket -> bytes. :arg manifests: path -> content. :arg key: the environment's BACKUP_KEY.
    """
    folders: dict[tuple[layout.Origin, str], dict[str, int]] = {}
    for path, size in objects.items():
        found = layout.read(path, prefix)
        if found is not None and found.kind == layout.DUMPS:
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


def rows(found: Iterable[Mapping[str, Any]]) -> tuple[list[list[str]], list[int]]:
    """Cells for COLUMNS, a row for each database, and the positions of those that do not count."""
    table: list[list[str]] = []
    failed: list[int] = []
    for each in found:
        for database in each["databases"] or [{"name": "-", "bytes": 0, "database_bytes": 0}]:
            failed += [len(table)] if each["flaw"] else []
            start = [each["environment"], f"{each['server']}/{each['system_identifier']}", each["backup"], database["name"]]
            table.append([*start, size(database["bytes"]), size(database["database_bytes"]), each["kind"] or "-", each["flaw"] or AUTHENTIC])
    return table, failed


def size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
