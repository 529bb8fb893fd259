# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person reads before a restore: the backups that there are, what is in place now and what comes instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, wal
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import WalStore
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.restore import databases
from ansible_collections.shaka.platform.plugins.module_utils.restore.choice import StoredBackup
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import BESIDE, SCRATCH, RestorePlan
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import amount
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import RefusedStatement, Superuser

SHOWN = 25  # backups in the list


class ShownTable(TypedDict):
    """A table for the callback progress to print."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class LiveDatabase:
    """A database that is there now. `rows` and `newest` as far as they are known."""

    bytes: int
    rows: int
    tables: int
    newest: str

    @property
    def empty(self) -> bool:
        return self.tables == 0


@dataclass(frozen=True)
class LiveServer:
    """An environment's Postgres before a restore. `problem`: why nothing is known."""

    databases: Mapping[str, LiveDatabase]
    identifier: str = ""
    problem: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing that a backup could keep."""
        return all(database.empty for database in self.databases.values())


def look(superuser: Superuser, wanted: Sequence[str]) -> LiveServer:
    """What is in these databases."""
    try:
        server = superuser.ask(databases.SERVER)
        found = {name: each for name, each in server["databases"].items() if name in wanted and each["open"]}
        return LiveServer({name: _read(superuser, name, each) for name, each in found.items()}, server["identifier"])
    except (Unanswered, RefusedStatement) as error:
        return LiveServer({}, problem=str(error) or "no answer")


def _read(superuser: Superuser, name: str, described: Mapping[str, Any]) -> LiveDatabase:
    content = superuser.ask(databases.CONTENT, name)
    return LiveDatabase(int(described["bytes"]), sum(content["tables"].values()), len(content["tables"]), str(content["newest"] or ""))


def backups_table(backups: Sequence[StoredBackup], identifier: str, environment: str, what: str = "Postgres") -> ShownTable:
    """:arg identifier: of the Postgres that runs now; of a Redis that of its cluster."""
    rows = []
    for backup in backups[:SHOWN]:
        read = backup.manifest
        own = f"this {what}" if backup.origin.system_identifier == identifier else backup.origin.name
        size = amount(read.bytes) if read else ""
        rows.append([backup.stamp, shown_moment(backup.stamp), size, read.kind if read else "?", own, backup.problem or "authentic, complete"])
    more = f" (the newest {SHOWN} of {len(backups)})" if len(backups) > SHOWN else ""
    return {"title": f"backups of {environment}{more}", "columns": ["restore_backup", "taken (UTC)", "size", "kind", "of", "state"], "rows": rows}


def moments_table(found: Sequence[WalStore], environment: str) -> ShownTable:
    """What can be recovered, of each Postgres."""
    rows = []
    for store in found:
        windows = wal.windows(store.bases, store.pieces)
        spans = [f"{since:{wal.SHOWN}} to {until:{wal.SHOWN}}" for since, until in windows] or ["nothing"]
        rows.append([store.origin.name, str(len(store.bases)), ", ".join(spans), "; ".join(store.flaws)])
    return {"title": f"points in time of {environment}", "columns": ["of", "base backups", "can be recovered", "flaws"], "rows": rows}


def plan_table(plan: RestorePlan, live: LiveServer, drilled: str) -> ShownTable:
    """:arg drilled: how long the restore took in the last drill, in words."""
    rows = []
    for database in plan.databases:
        now = live.databases.get(database.live)
        there = f"{amount(now.bytes)}, about {now.rows} rows{_newest(now)}" if now else "no such database" if not live.problem else "unknown"
        comes = f"{amount(database.database_bytes)}, about {database.rows} rows in {len(database.tables)} tables"
        comes = f"as it was at {plan.moment}" if plan.moment else comes
        then = "stays" if plan.end == BESIDE else f"is kept as {plan.before(database)}" if now else ""
        rows.append([database.live, there, comes, then])
    source = f" of {plan.source}" if plan.elsewhere else ""
    finished = f", finished {plan.finished}" if plan.finished else ""
    title = f"restore {plan.backup}{source} ({plan.kind}{finished}, from {plan.origin}) into {plan.environment}; {drilled}"
    return {"title": title, "columns": ["database", "now", "comes", "what is there now"], "rows": rows}


def copy_table(plan: RestorePlan, live: LiveServer) -> ShownTable:
    """Of one database to or from a file of the controller."""
    (database,) = plan.databases
    now = live.databases.get(database.live)
    there = f"{amount(now.bytes)}, about {now.rows} rows{_newest(now)}" if now else "no such database"
    if plan.end == SCRATCH:
        then = "copied, masked by backup.mask" if database.masked else "copied as it is"
    else:
        then = f"replaced by {amount(database.bytes)} of the file, and kept as {plan.before(database)}" if now else "made of the file"
    return {"title": f"{database.live} of {plan.environment}", "columns": ["now", "then"], "rows": [[there, then]]}


def drill_text(record: Mapping[str, str] | None) -> str:
    """What is known of the last drill, from the ConfigMap that it wrote."""
    if not record or "stamp" not in record:
        return "never drilled" if not record else f"the only drill failed: {record.get('problem', '?')}"
    return f"the last drill ({record.get('stamp', '?')}) took {record.get('seconds', '?')} s"


def _newest(now: LiveDatabase) -> str:
    return f", newest {now.newest[:16].replace('T', ' ')}" if now.newest else ""


def shown_moment(stamp: str) -> str:
    """A stamp for a person."""
    return layout.moment(stamp).strftime("%Y-%m-%d %H:%M:%S")
