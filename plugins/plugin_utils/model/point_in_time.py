# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An environment's recovery to any point in time: whether it is on, and what it needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

SECRET = "WAL_PASSWORD"
PRODUCTION = "prod"  # the environment where it is on by default, once there is somewhere to keep backups
ROUND = 20  # seconds between two looks for WAL to archive
# What Postgres needs for a stream of WAL, a base backup beside it, and the slots of both; each is the default of Postgres 15 or less.
LEAST = {"max_wal_senders": 4, "max_replication_slots": 2}


def is_on(name: str, backup: Any, endpoint: str) -> bool:
    """Whether an environment is archived. `backup`: its part of the inventory, which may lack its defaults; `endpoint`: where its backups go."""
    given = backup.get("point_in_time") if isinstance(backup, Mapping) else None
    enabled = given.get("enabled") if isinstance(given, Mapping) else None
    return bool(endpoint) and name == PRODUCTION if enabled is None else enabled is True


def check(env: Environment, path: str, problems: Problems) -> None:
    """Checks the inventory's values, and Postgres's settings and roles that would stand in the way."""
    point, where, postgres = env["backup"]["point_in_time"], f"{path}.backup.point_in_time", f"{path}.postgres"
    problems.check(f"{where}.base_schedule", rules.cron(point["base_schedule"]), point["base_schedule"])
    if point["base_keep"] < 1:
        problems.add(f"{where}.base_keep", "must be 1 or more: WAL without a base backup before it brings nothing back", point["base_keep"])
    if point["max_lag_seconds"] < 2 * ROUND:
        problems.add(f"{where}.max_lag_seconds", f"must be {2 * ROUND} or more: WAL is looked for every {ROUND} s", point["max_lag_seconds"])
    if not point["enabled"]:
        return
    if not env["backup"]["s3"]["endpoint"]:
        problems.add(f"{where}.enabled", "needs somewhere to keep WAL; fill in platform_s3, or set it to false", True)
    settings = env["postgres"]["settings"]
    if settings.get("wal_level") == "minimal":
        problems.add(
            f"{postgres}.settings.wal_level", "leaves nothing to recover a point in time from; leave it out, or switch backup.point_in_time off"
        )
    for name, least in LEAST.items():
        if name in settings and not (re.fullmatch("[0-9]+", settings[name]) and int(settings[name]) >= least):
            problems.add(f"{postgres}.settings.{name}", f"must be {least} or more for backup.point_in_time; leave it out", settings[name])
