# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An environment's Postgres: checks the inventory's values and fills in what follows from them. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Postgres, SecretKey
from ansible_collections.shaka.platform.plugins.module_utils.quantities import QuantityError, parse_cpu, parse_memory
from ansible_collections.shaka.platform.plugins.plugin_utils.model import postgres_settings, rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems
from ansible_collections.shaka.platform.plugins.plugin_utils.model.sizes import check_storage

OWNER_SECRET = "DB_OWNER_PASSWORD"
POOLER_SECRET = "PGBOUNCER_PASSWORD"
POOLER = "pgbouncer"  # its Postgres role, which may look up the password verifiers of the other roles
OTHERS = 10  # connections that the pool leaves to backups, administrators and Postgres's own reserve


def own_secrets(postgres: Any) -> list[str]:
    """Names of the secrets that Postgres needs and the application's pods do not get. `postgres` may lack its defaults, or be misshapen."""
    if not isinstance(postgres, Mapping):
        return []
    owner = [OWNER_SECRET] if postgres.get("app_user") else []
    pooler = postgres.get("pgbouncer")
    return owner + ([POOLER_SECRET] if isinstance(pooler, Mapping) and pooler.get("enabled") is True else [])


def fill_in(postgres: Postgres, platform: str, environment: str, namespace: str) -> None:
    """What follows from names: database, roles, Services, and where a job finds the owner's password."""
    postgres["namespace"] = namespace
    postgres["database"] = postgres["database"] or f"{platform}_{environment}".replace("-", "_")
    postgres["user"] = postgres["user"] or postgres["database"]
    postgres["service"] = f"postgres-{environment}"
    postgres["pgbouncer"]["service"] = f"pgbouncer-{environment}"
    own: SecretKey = {"name": "postgres-owner", "key": OWNER_SECRET}
    postgres["owner_secret"] = own if postgres["app_user"] else {"name": f"{platform}-api-secrets", "key": "DB_PASSWORD"}


def check(postgres: Postgres, path: str, problems: Problems) -> None:
    """Checks volume, roles, databases, extensions and settings; fills in the derived settings."""
    check_storage(postgres["storage"], path, problems)
    problems.check(f"{path}.database", rules.database(postgres["database"]), postgres["database"])
    if postgres["user"] != postgres["database"] or rules.database(postgres["database"]) is None:
        problems.check(f"{path}.user", rules.role(postgres["user"]), postgres["user"])
    for name in ("database", "user"):
        before, now = postgres["renamed_from"][name], postgres[name]
        taken = postgres["databases"] if name == "database" else [postgres["app_user"]]
        problems.check(f"{path}.renamed_from.{name}", _earlier_name(before, now, taken), before)
    if postgres["app_user"]:
        problems.check(f"{path}.app_user", rules.role(postgres["app_user"]), postgres["app_user"])
        if postgres["app_user"] == postgres["user"]:
            problems.add(f"{path}.app_user", "is also the owner; leave it out, or name a role of its own", postgres["app_user"])
    for number, name in enumerate(postgres["databases"]):
        there = name in (postgres["database"], *postgres["databases"][:number])
        flaw = "is there already; leave it out" if there else rules.database(name)
        problems.check(f"{path}.databases", flaw, name)
    for name in postgres["extensions"]:
        flaw = None if re.fullmatch(r"[a-z][a-z0-9_-]*", name) else "is not the name of an extension; use one such as pgcrypto or uuid-ossp"
        problems.check(f"{path}.extensions", flaw, name)
    try:
        memory, cpu = parse_memory(str(postgres["limits"]["memory"])), parse_cpu(str(postgres["limits"]["cpu"]))
        storage = parse_memory(str(postgres["storage"]))
    except QuantityError:  # already reported as a problem
        return
    for name, text in postgres_settings.problems(postgres["settings"], memory):
        problems.add(f"{path}.settings.{name}", text, postgres["settings"][name])
    postgres["settings"] = postgres_settings.settings(postgres["settings"], memory, cpu, storage)
    if postgres["pgbouncer"]["enabled"]:
        _check_pool(postgres, f"{path}.pgbouncer", problems)


def _earlier_name(before: str, now: str, taken: Collection[str]) -> str | None:
    if before and before == now:
        return "is the present name; leave it out"
    return "is in use under that name; leave it out" if before and before in taken else None


def _check_pool(postgres: Postgres, path: str, problems: Problems) -> None:
    """The pool's connections fit into max_connections also during a rollout, when two poolers run, each with a pool per database."""
    pooler = postgres["pgbouncer"]
    connections = postgres["settings"]["max_connections"]
    pools = 2 * (1 + len(postgres["databases"]))
    most = (int(connections) - OTHERS) // pools if re.fullmatch("[0-9]+", connections) else 0
    pooler["pool_size"] = pooler["pool_size"] or most
    if not 1 <= pooler["pool_size"] <= most:
        text = f"must be 1 to {most}: {pools} pools while it rolls out, and {OTHERS} others, stay within max_connections ({connections})"
        problems.add(f"{path}.pool_size", f"{text}; change it, or raise limits.memory of Postgres", pooler["pool_size"])
    if pooler["clients"] < pooler["pool_size"]:
        problems.add(f"{path}.clients", f"is less than its pool_size ({pooler['pool_size']}); raise it", pooler["clients"])
    if POOLER in (postgres["database"], *postgres["databases"]):
        problems.add(f"{path.rpartition('.')[0]}.database", "is the pool's own console, which no client of a database reaches; name another", POOLER)
    for name, role in (("user", postgres["user"]), ("app_user", postgres["app_user"])):
        if role == POOLER:
            problems.add(f"{path.rpartition('.')[0]}.{name}", "is the pool's own role; name another", role)
