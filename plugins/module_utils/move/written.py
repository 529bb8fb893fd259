# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was written into the environments' databases since a move was complete, as Postgres counts it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, until_answered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.module_utils.move import record
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import Superuser

POSTGRES_SECONDS = 60  # that a Postgres may take to answer
COUNTS = """
select json_build_object('since', (select stats_reset from pg_stat_database where datname = current_database()),
  'tables', (select coalesce(json_object_agg(schemaname || '.' || relname, n_tup_ins + n_tup_upd + n_tup_del), '{}') from pg_stat_user_tables
    where n_tup_ins + n_tup_upd + n_tup_del > 0))
"""
ANEW = "do $do$ begin perform pg_stat_reset(); end $do$"


def begin(kubectl: Kubectl, environments: Mapping[str, Environment], now: str) -> None:
    """Count from now on, and note since when. Raises Unanswered, RefusedStatement."""
    counted = {}
    for place, superuser, database in _databases(kubectl, environments):
        superuser.run([ANEW], database)
        counted[place] = _counts(superuser, database)["since"]
    record.write(kubectl, {**record.read(kubectl), record.COMPLETE: now, record.COUNTED: json.dumps(counted)})


def since(kubectl: Kubectl, environments: Mapping[str, Environment]) -> list[str]:
    """One line for each table that was written into; none where no move was complete. Raises Unanswered, RefusedStatement."""
    counted = json.loads(record.read(kubectl).get(record.COUNTED, "{}"))
    found = []
    for place, superuser, database in _databases(kubectl, environments):
        if place not in counted:
            continue
        counts = _counts(superuser, database)
        if counts["since"] != counted[place]:
            found.append(
                f"{place}: unknown, as Postgres counts only since {counts['since'] or 'it was started'} (it crashed, or somebody reset them)"
            )
        found += [f"{place}: {rows} rows of {table}" for table, rows in sorted(counts["tables"].items())]
    return found


def _databases(kubectl: Kubectl, environments: Mapping[str, Environment]) -> Iterator[tuple[str, Superuser, str]]:
    for env in environments.values():
        for database in (env["postgres"]["database"], *env["postgres"]["databases"]):
            yield f"{env['name']}/{database}", Superuser(kubectl, env["namespace"]), database


def _counts(superuser: Superuser, database: str) -> dict[str, Any]:
    counts: dict[str, Any] = until_answered(lambda: superuser.ask(COUNTS, database), time.monotonic() + POSTGRES_SECONDS)
    return counts
