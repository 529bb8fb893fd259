# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A moment in place of a backup: which it may be, the plan for it, and what the pod that recovers it has to know (roles/restore/files/recover.sh)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, points, wal
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import ChosenPoint
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.module_utils.restore import names
from ansible_collections.shaka.platform.plugins.module_utils.restore.choice import NoChoice
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import (
    BESIDE,
    SWAP,
    PlannedDatabase,
    RestorePlan,
    client_of,
    is_the_applications,
    live_name,
    require_one,
    role_names,
)  # fmt: skip

TEMPLATE = "postgres-recover"  # PodTemplate
KIND = "point in time"
GROWTH = 2.5  # the recovered files, their dump beside them, and WAL in between


def look(bucket: Bucket, environment: str, key: str, moment: str, origin: str) -> tuple[list[points.WalStore], ChosenPoint]:
    """What there is of an environment's points in time, and what recovers that moment. Raises NoChoice, StoreError.

    :arg key: the environment's BACKUP_KEY.
    """
    try:
        asked = points.requested(moment)
        if asked and asked > datetime.datetime.now(layout.UTC):
            raise NoChoice(f"{moment} has not come yet")
        found = points.stores(bucket, origin, bucket.prefix, environment, key)
        return found, points.choose(found, asked)
    except (ValueError, wal.Unrecoverable) as error:
        raise NoChoice(str(error)) from None


def make(chosen: ChosenPoint, source: Environment, target: Environment, stamp: str, beside: str, wanted: Sequence[str]) -> RestorePlan:
    """The plan for that moment.

    :arg wanted: the databases; none means all that the base backup has, but Postgres's own.
    :raises NoChoice: there is no such database, or the target has none for it.
    """
    base, origin, moment = chosen.base, chosen.store.origin, f"{chosen.moment.astimezone(layout.UTC):{wal.SHOWN}}"
    there = [str(name) for name in base.more["wal"]["databases"] if name != "postgres"]
    if missing := sorted(set(wanted) - set(there)):
        raise NoChoice(f"the base backup {base.stamp} has no database {', '.join(missing)}; it has {', '.join(there)}")
    taken = [name for name in there if not wanted or name in wanted]
    require_one(beside, taken, f"the base backup {base.stamp}")
    share = base.databases[0].database_bytes // len(there)  # the manifest has their sum
    databases = []
    for name in taken:
        live = beside or live_name(name, source, target)
        scratch = names.beside(live, names.RESTORE, stamp)
        databases.append(PlannedDatabase(name, live, scratch, "", 0, "", share, masked=is_the_applications(name, source)))
    kind = f"{KIND}: base backup {base.stamp} and {len(chosen.way.pieces)} objects of WAL"
    return RestorePlan(
        stamp, names.RESTORE, BESIDE if beside else SWAP, target["name"], target["namespace"], target["postgres"]["user"], client_of(target),
        source["name"], f"{origin.server}/{origin.system_identifier}", moment, kind, "", tuple(databases), (), role_names(source, target), moment,
        needed_room(chosen),
    )  # fmt: skip


def needed_room(chosen: ChosenPoint) -> int:
    """Bytes that the recovery takes."""
    received = sum(piece.end - piece.start for piece in chosen.way.pieces) // 2
    return int(chosen.base.databases[0].database_bytes * GROWTH) + received + 2**30


def instructions(chosen: ChosenPoint, source: Environment, plan: RestorePlan) -> str:
    """The plan of recover.sh: whole lines."""
    s3, base, way, origin = source["backup"]["s3"], chosen.base, chosen.way, chosen.store.origin
    dump = base.databases[0]
    lines = [
        f"until {chosen.moment.astimezone(layout.UTC):%Y-%m-%d %H:%M:%S+00}",
        f"origin {origin.folder('')}",
        f"folder {s3['bucket']}/{origin.folder(s3['prefix'])}",
        f"segment {way.base.segment_size}",
        f"base {base.stamp} {dump.bytes} {dump.sha256}",
        *(f"database {index} {database.name}" for index, database in enumerate(plan.databases)),
        *(f"wal {piece.name}" for piece in way.pieces),
    ]
    return "".join(f"{line}\n" for line in lines)
