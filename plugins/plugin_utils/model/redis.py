# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Redis, the shared one and each environment's user of it or own one: checks the inventory's values and fills in what follows from them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PREVIEW_KEYS
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment, Redis, RedisServer
from ansible_collections.shaka.platform.plugins.module_utils.quantities import QuantityError, parse_memory
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, check_unique
from ansible_collections.shaka.platform.plugins.plugin_utils.model.sizes import check_storage

ADMINISTRATOR = "REDIS_ADMIN_PASSWORD"  # each server has its own, in the group `shared` or the environment's
# What no environment gets: Redis's categories admin and dangerous, as far as they concern the server and not keys
WHOLE_SERVER = (
    "acl", "bgrewriteaof", "bgsave", "cluster", "config", "debug", "failover", "module", "monitor", "psync", "replicaof", "restore-asking", "save",
    "shutdown", "slaveof", "sync",
)  # fmt: skip
# What only a Redis of its own allows: it deletes, moves, stops or reads what is the others', and no prefix holds it back. A command with subcommands
# stands for all of them; those that only look are left to the inventory.
OTHERS_TOO = (
    "client", "client|kill", "client|no-evict", "client|pause", "client|unpause", "client|unblock", "copy", "flushall", "flushdb",
    "function", "function|delete", "function|dump", "function|flush", "function|kill", "function|load", "function|restore", "latency",
    "latency|reset", "memory", "memory|purge", "migrate", "move", "pfdebug", "pfselftest", "script", "script|debug", "script|flush", "script|kill",
    "select", "slowlog", "slowlog|get", "slowlog|reset", "swapdb",
)  # fmt: skip


def fill_in(redis: Redis, environment: str) -> None:
    """What follows from the environment's name."""
    redis["prefix"] = redis["prefix"] or f"{environment}:"
    redis["user"] = redis["user"] or environment
    redis["service"] = f"redis-{environment}"


def check(redis: Redis, path: str, problems: Problems) -> None:
    """Checks its user and, for a dedicated Redis, the sizes."""
    if not 0 <= redis["database"] <= 15:
        problems.add(f"{path}.database", "is outside 0-15, the databases of a Redis; use a number in that range", redis["database"])
    problems.check(f"{path}.user", rules.redis_user(redis["user"]), redis["user"])
    problems.check(f"{path}.prefix", rules.redis_prefix(redis["prefix"]), redis["prefix"])
    for command in redis["allow"]:
        problems.check(f"{path}.allow", _command(command, redis["dedicated"]), command)
    if redis["dedicated"]:
        check_server(redis, path, problems)


def check_server(redis: RedisServer, path: str, problems: Problems) -> None:
    """Checks the volume, and that maxmemory leaves a quarter of the memory free for buffers, fragmentation and pages copied by an AOF rewrite."""
    check_storage(redis["storage"], path, problems)
    try:
        if parse_memory(redis["maxmemory"]) * 4 > parse_memory(redis["limits"]["memory"]) * 3:
            text = f"is more than 3/4 of {path}.limits.memory ({redis['limits']['memory']}); lower it: Redis needs the rest for itself"
            problems.add(f"{path}.maxmemory", text, redis["maxmemory"])
    except QuantityError as error:
        problems.add(f"{path}.maxmemory", str(error), redis["maxmemory"])


def check_together(environments: Mapping[str, Environment], problems: Problems) -> None:
    """Each environment has a database, a user and a prefix of its own; a preview has its parent's database.

    No prefix is the beginning of another: the user of the shorter one would see the keys of the longer one.
    """
    previews = {f"platform_previews.{name}.redis": env["redis"] for name, env in environments.items() if "preview" in env}
    own = {f"platform_environments.{name}.redis": env["redis"] for name, env in environments.items() if "preview" not in env}
    for path, redis in own.items():
        if redis["prefix"].startswith(PREVIEW_KEYS):
            problems.add(f"{path}.prefix", f"starts with {PREVIEW_KEYS}, and keys of that name go with a preview; choose another", redis["prefix"])
    found = {**own, **previews}
    databases = ((f"{path}.database", redis["database"]) for path, redis in own.items() if not redis["dedicated"])
    check_unique(databases, "each environment has its own (0-15)", problems)
    check_unique(((f"{path}.user", redis["user"]) for path, redis in found.items()), "each environment has its own", problems)
    check_unique(((f"{path}.prefix", redis["prefix"]) for path, redis in found.items()), "each environment has its own", problems)
    for path, redis in found.items():
        mine = redis["prefix"]
        for other, theirs in ((where, each["prefix"]) for where, each in found.items() if where != path):
            if mine != theirs and mine.startswith(theirs):
                text = f"starts with {other}.prefix ({theirs}), whose user would see its keys; choose another"
                problems.add(f"{path}.prefix", text, mine)


def own_secrets(redis: Any) -> list[str]:
    """Names of the secrets that an environment's own Redis needs and its application does not get. `redis` may lack its defaults, or be misshapen."""
    return [ADMINISTRATOR] if isinstance(redis, Mapping) and redis.get("dedicated") is True else []


def _command(value: str, dedicated: bool) -> str | None:
    """A command, or command|subcommand, whose effect stays within the user's own keys. On a shared Redis it may show the names of the others'."""
    if not re.fullmatch(r"[a-z][a-z-]*(\|[a-z-]+)?", value):
        return "is not a Redis command; write it in lower case, such as info or client|list"
    if value.partition("|")[0] in WHOLE_SERVER:
        return "rules over the whole server; leave it to the user default, Redis's administrator"
    if not dedicated and value in OTHERS_TOO:
        return "reaches the other environments of the shared Redis; leave it out, or give this environment its own (dedicated: true)"
    return None
