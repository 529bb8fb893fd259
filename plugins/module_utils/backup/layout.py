# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where backups lie in a bucket. Pure.

    PREFIX/SERVER/ENVIRONMENT/SYSTEM_IDENTIFIER/dumps/STAMP/DATABASE.dump.age, manifest
    PREFIX/SERVER/ENVIRONMENT/SYSTEM_IDENTIFIER/base/STAMP/base.tar.age, manifest
    PREFIX/SERVER/NAME/CLUSTER/redis/STAMP/redis.rdb.age, manifest                   (NAME is `shared`, or an environment)
    PREFIX/SERVER/ENVIRONMENT/SYSTEM_IDENTIFIER/wal/SEGMENT.START-END.STAMP.age      (see wal.py)

The server is the inventory's host, the system identifier Postgres's own; a Redis has none, and that of its cluster is in its place (cluster.py). So
two servers of one inventory, a copy of an inventory and a rebuilt server never write into one folder.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

UTC = datetime.timezone.utc  # noqa: UP017  # for the server's Python
DUMPS, BASE, WAL, REDIS = "dumps", "base", "wal", "redis"
MANIFEST = "manifest"
DRILL = "backup-drill"  # ConfigMap of an environment's last drill
ENCRYPTED = ".age"
COPIES = (DUMPS, REDIS)  # kinds that hold whole copies, each finished by its manifest and of an origin of its own
STAMP_FORMAT = "%Y%m%dT%H%M%SZ"
STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")


def redis_scope(name: str) -> str:
    """What the copies of a Redis are called, beside the backups of the environment of that name."""
    return f"{name}/{REDIS}"


def stamp(moment: datetime.datetime) -> str:
    """The name of a backup that begins at that moment: `20261126T100000Z`."""
    return moment.astimezone(UTC).strftime(STAMP_FORMAT)


def moment(text: str) -> datetime.datetime:
    """The moment that a stamp names; ValueError for any other text."""
    if not STAMP.fullmatch(text):
        raise ValueError(f"'{text}' is not a backup's name such as 20261126T100000Z")
    return datetime.datetime.strptime(text, STAMP_FORMAT).replace(tzinfo=UTC)


@dataclass(frozen=True, order=True)
class Origin:
    """Which Postgres a backup is of."""

    server: str  # the inventory's host
    environment: str
    system_identifier: str

    @property
    def name(self) -> str:
        """As `restore_origin` takes it, and tables show it."""
        return f"{self.server}/{self.system_identifier}"

    def folder(self, prefix: str) -> str:
        return "/".join(part for part in (prefix.strip("/"), self.server, self.environment, self.system_identifier) if part)


@dataclass(frozen=True, order=True)
class Found:
    """An object of a backup, by what its path says; `wal` has no stamp."""

    origin: Origin
    kind: str
    stamp: str
    name: str


def read(path: str, prefix: str) -> Found | None:
    """What an object's path below the bucket says; None for an object of others."""
    start = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    parts = path.removeprefix(start).split("/")
    if not path.startswith(start) or not all(parts) or len(parts) < 5:
        return None
    origin, kind, rest = Origin(*parts[:3]), parts[3], parts[4:]
    if kind == WAL and len(rest) == 1:
        return Found(origin, kind, "", rest[0])
    if kind in (DUMPS, BASE, REDIS) and len(rest) == 2 and STAMP.fullmatch(rest[0]):
        return Found(origin, kind, *rest)
    return None
