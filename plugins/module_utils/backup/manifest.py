# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The manifest of a backup: what was backed up, and a proof that it was this platform's own server that says so. Pure.

It is written last, so that a backup counts from the moment its manifest is there. Two lines: compact JSON, and the hexadecimal HMAC-SHA256
(RFC 2104) of the first line's bytes, keyed with the environment's secret BACKUP_KEY. Encryption alone proves no sender: whoever knows the recipient
and may write to the bucket could put a dump there, which a restore would run as SQL.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Origin

FORMAT = 1
LARGEST = 4 * 1024 * 1024  # bytes of a manifest; what is larger is none


class Unusable(Exception):
    """The manifest cannot be trusted or read; the text says why."""


@dataclass(frozen=True)
class Dump:
    """One database of a backup. `bytes` and `sha256` are those of the encrypted object, `tables` the estimated rows of each `schema.table`."""

    name: str
    object: str
    bytes: int
    sha256: str
    database_bytes: int
    seconds: float
    tables: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A backup. `kind`: scheduled, manual, before-restore or base. `postgres`: its version, '' for a Redis.

    `roles`: settings of roles, as SQL, that a dump does not hold.
    """

    origin: Origin
    kind: str
    platform: str
    cluster: str
    postgres: str
    stamp: str
    finished: str
    seconds: float
    databases: tuple[Dump, ...]
    roles: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(dump.bytes for dump in self.databases)


def signature(line: bytes, key: str) -> str:
    """The second line's text."""
    return hmac.new(key.encode(), line, hashlib.sha256).hexdigest()


def read(content: bytes, key: str, origin: Origin, stamp: str) -> Manifest:
    """The manifest that lies at that place.

    :arg key: the environment's BACKUP_KEY.
    :raises Unusable: it is not authentic, not complete, or of another place.
    """
    if len(content) > LARGEST:
        raise Unusable(f"the manifest has {len(content)} bytes, more than any has")
    line, _newline, rest = content.partition(b"\n")
    if not hmac.compare_digest(signature(line, key).encode(), rest.strip()):
        raise Unusable("the manifest is not authentic: it was written with another BACKUP_KEY, or by somebody else, or changed")
    try:
        raw = json.loads(line)
        if raw["format"] != FORMAT:
            raise Unusable(f"the manifest has format {raw['format']}, this version of the collection reads {FORMAT}")
        found = _manifest(raw)
    except (ValueError, KeyError, TypeError) as error:
        raise Unusable(f"the manifest cannot be read: {type(error).__name__} {error}") from None
    if (found.origin, found.stamp) != (origin, stamp):
        raise Unusable(f"the manifest is of {found.origin.folder('')} {found.stamp}, and was put into another place")
    return found


def _manifest(raw: Mapping[str, Any]) -> Manifest:
    known = {
        "format",
        "kind",
        "platform",
        "server",
        "cluster",
        "environment",
        "system_identifier",
        "postgres",
        "stamp",
        "finished",
        "seconds",
        "databases",
        "roles",
    }
    return Manifest(
        Origin(str(raw["server"]), str(raw["environment"]), str(raw["system_identifier"])),
        kind=str(raw["kind"]),
        platform=str(raw["platform"]),
        cluster=str(raw["cluster"]),
        postgres=str(raw.get("postgres", "")),
        stamp=str(raw["stamp"]),
        finished=str(raw["finished"]),
        seconds=float(raw["seconds"]),
        databases=tuple(_dump(each) for each in raw["databases"]),
        roles=tuple(str(line) for line in raw.get("roles", ())),
        more={name: value for name, value in raw.items() if name not in known},
    )


def _dump(raw: Mapping[str, Any]) -> Dump:
    tables = {str(name): int(rows) for name, rows in raw.get("tables", {}).items()}
    return Dump(
        str(raw["name"]), str(raw["object"]), int(raw["bytes"]), str(raw["sha256"]), int(raw["database_bytes"]), float(raw["seconds"]), tables
    )
