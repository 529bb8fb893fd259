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
    declared_databases,
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

    :arg wanted: the databases; none means all that the base backup has and the source's inventory, too: beside these there are those of previews.
    :raises NoChoice: there is no such database, or the target has none for it.
    """
    base, origin, moment = chosen.base, chosen.store.origin, f"{chosen.moment.astimezone(layout.UTC):{wal.SHOWN}}"
    there, declared = _there(chosen), declared_databases(source)
    if missing := sorted(set(wanted) - {*there, *declared}):  # what the inventory has may have been made since
        raise NoChoice(f"the base backup {base.stamp} has no database {', '.join(missing)}; it has {', '.join(there)}")
    taken = list(wanted) or [name for name in there if name in declared or is_the_applications(name, source)]
    if not taken:
        text = f"the base backup {base.stamp} has none of the inventory's databases, but {', '.join(there)}"
        raise NoChoice(f"{text}: name those to restore (-e restore_database=...)")
    require_one(beside, taken, f"the base backup {base.stamp}")
    share = base.databases[0].database_bytes // len(there if wanted else taken)  # the manifest has their sum
    databases = []
    for name in taken:
        live = beside or live_name(name, source, target)
        scratch = names.beside(live, names.RESTORE, stamp)
        databases.append(PlannedDatabase(name, live, scratch, "", 0, "", share, masked=is_the_applications(name, source)))
    kind = f"{KIND}: base backup {base.stamp} and {len(chosen.way.pieces)} objects of WAL"
    return RestorePlan(
        stamp, names.RESTORE, BESIDE if beside else SWAP, target["name"], target["namespace"], target["postgres"]["user"], client_of(target),
        source["name"], origin.name, moment, kind, "", tuple(databases), (), role_names(source, target), moment,
        needed_room(chosen),
    )  # fmt: skip


def left_out(chosen: ChosenPoint, source: Environment, plan: RestorePlan) -> str:
    """A word on databases that a restore of all leaves out; '' where there are none."""
    taken, declared = {database.name for database in plan.databases}, declared_databases(source)
    others = [name for name in _there(chosen) if name not in taken]
    others += [name for name in declared[1:] if name not in (*taken, *others)]
    return f"not restored, as only the inventory or only the base backup has it: {', '.join(others)} (-e restore_database=...)" if others else ""


def _there(chosen: ChosenPoint) -> list[str]:
    return [str(name) for name in chosen.base.more["wal"]["databases"] if name != "postgres"]


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
