# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one restore is going to do. Pure; it travels through the play as a dictionary, without any secret."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.module_utils.restore import names
from ansible_collections.shaka.platform.plugins.module_utils.restore.choice import NoChoice, StoredBackup

POSTGRES = "postgres-restore"
SWAP, BESIDE, SCRATCH = "swap", "beside", "scratch"  # what becomes of the new databases in the end


@dataclass(frozen=True)
class PlannedDatabase:
    """One database. `name`: in the backup; `live`: the name that it gets; `scratch`: while it is filled."""

    name: str
    live: str
    scratch: str
    object: str  # bucket and path
    bytes: int
    sha256: str
    database_bytes: int
    tables: Mapping[str, int] = field(default_factory=dict)
    masked: bool = False  # whether the inventory's masks are for it

    @property
    def rows(self) -> int:
        return sum(self.tables.values())


@dataclass(frozen=True)
class RestorePlan:
    """A restore of some databases of one backup into one environment. `source`: the environment that the backup is of."""

    stamp: str  # when this restore began: part of all names that it makes
    purpose: str
    end: str
    environment: str
    namespace: str
    owner: str
    client: str
    source: str
    origin: str
    backup: str
    kind: str
    finished: str
    databases: tuple[PlannedDatabase, ...]
    roles: tuple[str, ...] = ()
    renamed_roles: Mapping[str, str] = field(default_factory=dict)
    moment: str = ""  # that is recovered from base backup and WAL, in place of a backup's own
    recovery_bytes: int = 0  # that such a recovery takes in the pod's volume
    pod: str = POSTGRES  # what its pods are called: whether databases are restored, or a Redis

    @property
    def job(self) -> str:
        return f"{self.pod}-{self.stamp.lower()}"

    @property
    def pod_bytes(self) -> int:
        """What the pod's volume takes at most."""
        return self.recovery_bytes or needed_room(self.databases)

    @property
    def elsewhere(self) -> bool:
        """Whether the backup is of another environment than it goes to."""
        return self.source != self.environment

    @property
    def scratch_names(self) -> list[str]:
        return [database.scratch for database in self.databases]

    def before(self, database: PlannedDatabase) -> str:
        """The name that the live database gets at the swap."""
        return names.beside(database.live, names.BEFORE, self.stamp)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> RestorePlan:
        databases = tuple(PlannedDatabase(**database) for database in raw["databases"])
        return cls(**{**raw, "databases": databases, "roles": tuple(raw["roles"])})


def stamp_now() -> str:
    return layout.stamp(datetime.datetime.now(layout.UTC))


def make(backup: StoredBackup, source: Environment, target: Environment, purpose: str, stamp: str, beside: str = "") -> RestorePlan:
    """The plan for a backup that may be restored.

    :arg beside: the name of a database of its own to restore into, in place of a swap.
    :raises NoChoice: what the backup has does not fit the target.
    """
    read = backup.manifest
    if read is None:
        raise NoChoice(f"the backup {backup.stamp} is not restored: {backup.problem}")
    require_one(beside, [dump.name for dump in read.databases], f"the backup {backup.stamp}")
    s3 = source["backup"]["s3"]
    folder = f"{s3['bucket']}/{backup.origin.folder(s3['prefix'])}/{layout.DUMPS}/{backup.stamp}"
    databases = []
    for dump in read.databases:
        live = beside or live_name(dump.name, source, target)
        databases.append(
            PlannedDatabase(
                dump.name, live, names.beside(live, purpose, stamp), f"{folder}/{dump.object.rpartition('/')[2]}", dump.bytes, dump.sha256,
                dump.database_bytes, dict(dump.tables), is_the_applications(dump.name, source),
            )
        )  # fmt: skip
    end = BESIDE if beside else SCRATCH if purpose in (names.DRILL, names.EXPORT) else SWAP
    return RestorePlan(
        stamp, purpose, end, target["name"], target["namespace"], target["postgres"]["user"], client_of(target), source["name"], backup.origin.name,
        backup.stamp, read.kind, read.finished, tuple(databases), read.roles, role_names(source, target),
    )  # fmt: skip


def require_one(beside: str, there: Sequence[str], what: str) -> None:
    """Something to restore, and one database where it gets a name of its own, which stays. Raises NoChoice."""
    if not there:
        raise NoChoice(f"{what} has no databases")
    if beside and names.read(beside):
        raise NoChoice(f"restore_as is {beside}, which is called like what a restore makes, and drops again: take another name")
    if beside and len(there) != 1:
        raise NoChoice(f"restore_as names one database, and {what} has {len(there)}: add -e restore_database=... with one of {', '.join(there)}")


def make_copy(target: Environment, database: str, purpose: str, stamp: str, size: int, masked: bool) -> RestorePlan:
    """The plan for a file of the controller: a database out of it, or one into it.

    :arg size: bytes of the file, or of the database.
    """
    one = PlannedDatabase(database, database, names.beside(database, purpose, stamp), "", size, "", size, masked=masked)
    end = SCRATCH if purpose == names.EXPORT else SWAP
    return RestorePlan(
        stamp, purpose, end, target["name"], target["namespace"], target["postgres"]["user"], client_of(target), target["name"], "", "a file", "file",
        "", (one,),
    )  # fmt: skip


def declared_databases(env: Environment) -> list[str]:
    """An environment's databases, the application's first."""
    return [env["postgres"]["database"], *env["postgres"]["databases"]]


def client_of(env: Environment) -> str:
    """The role that an environment's application connects as."""
    return env["postgres"]["app_user"] or env["postgres"]["user"]


def live_name(name: str, source: Environment, target: Environment) -> str:
    """The target's database for one of the source's: the application's for the application's, any other by its name. Raises NoChoice."""
    if is_the_applications(name, source):
        return target["postgres"]["database"]
    if source["name"] == target["name"]:
        return name
    if name in target["postgres"]["databases"]:
        return name
    where = f"platform_environments.{target['name']}.postgres.databases"
    raise NoChoice(f"{target['name']} has no database {name}: add it to {where}, or restore others (-e restore_database=...)")


def is_the_applications(name: str, source: Environment) -> bool:
    """Whether that is what an environment's application works with, also in a backup of before it was renamed."""
    return name in (source["postgres"]["database"], source["postgres"]["renamed_from"]["database"])


def require_the_applications(plan: RestorePlan, target: Environment) -> None:
    """What restores a whole environment brings its application's database back. Raises NoChoice."""
    own = target["postgres"]["database"]
    if plan.end == SWAP and own not in [database.live for database in plan.databases]:
        there = ", ".join(database.name for database in plan.databases)
        raise NoChoice(
            f"{plan.backup} has no {own}, with which the application works, but {there}: where it had another name then, say so in "
            f"platform_environments.{target['name']}.postgres.renamed_from.database; or name one that is there (-e restore_database=...)"
        )


def role_names(source: Environment, target: Environment) -> dict[str, str]:
    """The target's roles for the source's."""
    if source["name"] == target["name"]:
        return {}
    found = {source["postgres"]["user"]: target["postgres"]["user"]}
    if source["postgres"]["app_user"]:
        found[source["postgres"]["app_user"]] = client_of(target)
    return found


def needed_room(databases: Sequence[PlannedDatabase]) -> int:
    """Bytes that the pod's volume takes at most: every dump, and one of them encrypted as well."""
    return sum(database.bytes for database in databases) + max(database.bytes for database in databases) + 64 * 2**20
