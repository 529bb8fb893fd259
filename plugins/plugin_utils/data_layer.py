# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Postgres and Redis of an environment: what follows from the inventory's values, and what is wrong with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils import postgres_settings, rules
from ansible_collections.shaka.platform.plugins.plugin_utils.problems import Problems
from ansible_collections.shaka.platform.plugins.plugin_utils.quantities import QuantityError, parse_cpu, parse_memory
from ansible_collections.shaka.platform.plugins.plugin_utils.sizes import check_sizes, check_storage

OWNER_SECRET = "DB_OWNER_PASSWORD"
WHOLE_SERVER = (
    "acl", "bgrewriteaof", "bgsave", "cluster", "config", "debug", "failover", "module", "monitor", "psync", "replicaof", "restore-asking", "save",
    "shutdown", "slaveof", "sync",
)  # fmt: skip


def check_postgres(postgres: dict[str, Any], platform: str, path: str, problems: Problems) -> None:
    """Roles, databases, extensions and settings; fills in the settings and where a job finds the owner's password."""
    own = {"name": "postgres-owner", "key": OWNER_SECRET}
    postgres["owner_secret"] = own if postgres["app_user"] else {"name": f"{platform}-api-secrets", "key": "DB_PASSWORD"}
    if postgres["app_user"]:
        problems.add(f"{path}.app_user", rules.role(postgres["app_user"]), postgres["app_user"])
        if postgres["app_user"] == postgres["user"]:
            problems.add(f"{path}.app_user", "is also the owner; leave it out, or name a role of its own", postgres["app_user"])
    for name in postgres["databases"]:
        flaw = "is there already; leave it out" if name == postgres["database"] else rules.database(name)
        problems.add(f"{path}.databases", flaw, name)
    for name in postgres["extensions"]:
        flaw = None if re.fullmatch(r"[a-z][a-z0-9_-]*", name) else "is no name of an extension; use one such as pgcrypto or uuid-ossp"
        problems.add(f"{path}.extensions", flaw, name)
    try:
        memory, cpu = parse_memory(str(postgres["limits"]["memory"])), parse_cpu(str(postgres["limits"]["cpu"]))
        storage = parse_memory(str(postgres["storage"]))
    except QuantityError:  # a problem already
        return
    for name, text in postgres_settings.problems(postgres["settings"], memory):
        problems.add(f"{path}.settings.{name}", text, postgres["settings"][name])
    postgres["settings"] = postgres_settings.settings(postgres["settings"], memory, cpu, storage)


def check_redis(redis: dict[str, Any], path: str, limit_range: Mapping[str, Any], problems: Problems) -> None:
    """What its user may do besides the usual, and the sizes of a Redis of its own."""
    for command in redis["allow"]:
        problems.add(f"{path}.allow", _command(command), command)
    if redis["dedicated"]:
        check_sizes(redis, path, problems, limit_range)
        check_redis_sizes(redis, path, problems)


def check_redis_sizes(redis: Mapping[str, Any], path: str, problems: Problems) -> None:
    """The volume; and a quarter of the memory for what maxmemory does not count: buffers, fragments, pages copied while the AOF is rewritten."""
    check_storage(redis, path, problems)
    try:
        if parse_memory(redis["maxmemory"]) * 4 > parse_memory(redis["limits"]["memory"]) * 3:
            text = f"is more than 3/4 of {path}.limits.memory ({redis['limits']['memory']}); lower it: Redis needs the rest for itself"
            problems.add(f"{path}.maxmemory", text, redis["maxmemory"])
    except QuantityError as error:
        problems.add(f"{path}.maxmemory", str(error), redis["maxmemory"])


def _command(value: str) -> str | None:
    """A command, or command|subcommand, that does not rule over the whole server."""
    if not re.fullmatch(r"[a-z][a-z-]*(\|[a-z-]+)?", value):
        return "is no Redis command; write it in lower case, such as info or client|list"
    if value.partition("|")[0] in WHOLE_SERVER:
        return "rules over the whole server; leave it to the user default, Redis's administrator"
    return None
