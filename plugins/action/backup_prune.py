# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Deletes the backups that no span keeps; see the module of the same name for its documentation."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, manifest, points
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Found, Origin
from ansible_collections.shaka.platform.plugins.module_utils.backup.retention import RetentionVerdict, Spans, StoredDump, hindrance, plan
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket, Credentials, Listed, StoreError
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import tools
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import Upstream, UpstreamError
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction

ARGUMENT_SPEC: dict[str, Any] = {
    "server": {"type": "str", "required": True},
    "environments": {"type": "dict", "required": True},
    "redis_copies": {"type": "dict", "default": {}},
    "keys": {"type": "dict", "required": True, "no_log": True},
    "access_key": {"type": "str", "required": True, "no_log": True},
    "secret_key": {"type": "str", "required": True, "no_log": True},
    "current": {"type": "dict", "required": True},
    "failed": {"type": "list", "elements": "str", "default": []},
    "delete": {"type": "list", "elements": "str", "default": []},
    "floor": {"type": "int", "default": 3},
    "lock": {"type": "dict", "required": True},
    "bundle": {"type": "str", "default": ""},
    "mirrors": {"type": "dict", "default": {}},
}
COLUMNS = ["environment", "backup", "kind", "MiB", "", "why"]


class ActionModule(ControllerAction):
    """Runs on the controller alone."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        try:
            bundle = Path(arguments["bundle"]) if arguments["bundle"] else None
            rclone = tools.own_rclone(arguments["lock"], bundle, Upstream(arguments["mirrors"], 30))
            result = prune(rclone, arguments, bool(self._task.check_mode), datetime.datetime.now(layout.UTC))
        except (StoreError, UpstreamError, tools.ToolsError, ValueError, OSError) as error:
            return {"failed": True, "msg": str(error)}
        return result


def prune(rclone: Path, arguments: Mapping[str, Any], check_mode: bool, now: datetime.datetime) -> dict[str, Any]:
    """The task's result. Raises StoreError."""
    credentials = Credentials(arguments["access_key"], arguments["secret_key"])
    deleted: list[str] = []
    findings: list[str] = []
    rows: list[list[str]] = []
    for name, kind, backup in sources(arguments):
        s3 = backup["s3"]
        if not s3["endpoint"]:
            continue
        group = name.partition("/")[0]
        bucket, key = Bucket(s3, credentials, rclone), str((arguments["keys"].get(group) or {}).get("BACKUP_KEY") or "")
        named = [stamp for of_which, _slash, stamp in (each.rpartition("/") for each in arguments["delete"]) if of_which == name]
        folder = "/".join(part for part in (bucket.prefix, arguments["server"], group) if part)
        listed = bucket.list(folder)
        manifests = bucket.read_all(folder, f"/*/{kind}/*/{layout.MANIFEST}", 2 * manifest.LARGEST)
        for origin, parts in sorted(by_origin(listed, s3["prefix"], kind).items()):
            stored = [of(manifests, origin, stamp, found, key) for stamp, found in sorted(parts.items())]
            running = arguments["current"].get(name) or None
            what, compared = ("cluster", []) if kind == layout.REDIS else ("Postgres", stored)  # a Redis may well hold much less than it did
            why = hindrance(origin, compared, running, name in arguments["failed"], what)
            if why:
                findings.append(f"{name}: no backup was deleted of {origin.folder('')}: {why}")
            for verdict in plan(stored, Spans(**backup["keep"], floor=arguments["floor"]), now, named):
                goes = verdict.goes and not why
                rows.append(row(name, verdict, goes, why))
                if goes:
                    deleted.append(f"{name}/{verdict.stored.stamp}")
                    if not check_mode:
                        remove(bucket, [entry.path for _found, entry in parts[verdict.stored.stamp]])
        if kind == layout.REDIS:
            continue
        hindered = [text for text in findings if text.startswith(f"{name}: ")]
        for store in points.sorted_out(bucket, listed, "", s3["prefix"], name, key) if not hindered else ():
            bases, pieces = points.retired(store, backup["point_in_time"]["base_keep"])
            folder = store.origin.folder(s3["prefix"])
            deleted += [f"{name}/{stamp}" for stamp in bases] + ([f"{name}: {len(pieces)} objects of WAL"] if pieces else [])
            rows += [[name, stamp, "base", "", "deleted", "older than those that base_keep keeps"] for stamp in bases]
            rows += [[name, "", "WAL", "", f"{len(pieces)} deleted", "no recovery needs it"]] if pieces else []
            if not check_mode:
                for stamp in bases:
                    remove(bucket, [f"{folder}/{layout.BASE}/{stamp}/{part}" for part in (layout.MANIFEST, "base.tar.age")])
                bucket.delete(f"{folder}/{layout.WAL}/{piece}" for piece in pieces)
    doubtful = [position for position, cells in enumerate(rows) if cells[-1].startswith("kept: the manifest")]
    title = "backups, and what is deleted" if not check_mode else "backups, and what would be deleted"
    table = {"title": title, "columns": COLUMNS, "rows": rows, "failed": doubtful}
    return {"changed": bool(deleted), "deleted": deleted, "platform_findings": findings, "platform_table": [table]}


def sources(arguments: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """What is pruned: its name, its kind, and its `backup`."""
    dumps = [(str(name), layout.DUMPS, env["backup"]) for name, env in arguments["environments"].items()]
    return dumps + [(layout.redis_scope(name), layout.REDIS, copy["backup"]) for name, copy in arguments["redis_copies"].items()]


def by_origin(listed: list[Listed], prefix: str, kind: str) -> dict[Origin, dict[str, list[tuple[Found, Listed]]]]:
    """Origin -> stamp -> the objects of that dump, or of that copy of a Redis. What is of another kind is left alone."""
    result: dict[Origin, dict[str, list[tuple[Found, Listed]]]] = defaultdict(lambda: defaultdict(list))
    for entry in listed:
        found = layout.read(entry.path, prefix)
        if found and found.kind == kind:
            result[found.origin][found.stamp].append((found, entry))
    return result


def of(manifests: Mapping[str, bytes], origin: Origin, stamp: str, objects: list[tuple[Found, Listed]], key: str) -> StoredDump:
    """One backup, by its manifest where it has one."""
    path = next((entry.path for found, entry in objects if found.name == layout.MANIFEST), "")
    if not path:
        return StoredDump(stamp, "")
    try:
        read = manifest.read(manifests.get(path, b""), key, origin, stamp)
    except manifest.Unusable as error:
        return StoredDump(stamp, "unknown", sum(entry.bytes for _found, entry in objects), str(error))
    return StoredDump(stamp, read.kind, read.bytes)


def remove(bucket: Bucket, paths: list[str]) -> None:
    """A backup, its manifest first: what is deleted half counts no more. Raises StoreError."""
    manifests = [path for path in paths if path.rpartition("/")[2] == layout.MANIFEST]
    bucket.delete(manifests)
    bucket.delete(path for path in paths if path not in manifests)


def row(environment: str, verdict: RetentionVerdict, goes: bool, hindered: str) -> list[str]:
    size = f"{verdict.stored.bytes / 2**20:.1f}" if verdict.stored.bytes else ""
    why = f"kept: {hindered}" if verdict.goes and hindered else verdict.why
    return [environment, verdict.stored.stamp, verdict.stored.kind or "unfinished", size, "deleted" if goes else "", why]
