# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ACL rules of an environment's Redis user (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/). Pure.

An allow list: every command that is not named is denied, including those that a later Redis adds. Valid from Redis 7.0 on, whose ACLs know key
prefixes but no database numbers. So the prefix isolates the environments, and no allowed command reaches keys outside it.
"""

from __future__ import annotations

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Redis, RedisRights

# Commands that name all their keys in their arguments, so that Redis can check each against the prefix.
DATA = ["string", "hash", "list", "set", "sortedset", "stream", "bitmap", "hyperloglog", "geo"]
KEYS = [
    "del", "exists", "expire", "expireat", "expiretime", "object", "persist", "pexpire", "pexpireat", "pexpiretime", "pttl", "rename", "renamenx",
    "touch", "ttl", "type", "unlink", "dump",
]  # fmt: skip
CHANNELS = ["publish", "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "spublish", "ssubscribe", "sunsubscribe"]
# Scripts run with the user's own rights. Those that act on all scripts (SCRIPT FLUSH, KILL; FUNCTION) stay denied.
SCRIPTS = ["eval", "eval_ro", "evalsha", "evalsha_ro", "script|load", "script|exists"]
CONNECTION = [
    "auth", "hello", "ping", "echo", "quit", "reset", "time", "command", "client|id", "client|info", "client|getname", "client|setname",
    "client|reply",
]  # fmt: skip
TRANSACTIONS = ["multi", "exec", "discard", "watch", "unwatch"]
# Additional for a dedicated instance: commands that are dangerous only to other users.
DEDICATED = ["scan", "keys", "randomkey", "dbsize", "flushdb", "flushall", "copy", "move", "swapdb", "sort", "sort_ro", "info", "restore", "pubsub"]


def commands(redis: Redis) -> list[str]:
    """The rules about commands, `-@all` first."""
    rules = ["-@all", *(f"+@{category}" for category in DATA), "-@dangerous", "-@admin"]
    rules += [f"+{name}" for name in (*KEYS, *CHANNELS, *SCRIPTS, *CONNECTION, *TRANSACTIONS)]
    rules += [f"+{name}" for name in DEDICATED] + ["+select"] if redis["dedicated"] else [f"+select|{redis['database']}"]
    return rules + [f"+{name}" for name in redis["allow"]]


def user(redis: Redis) -> RedisRights:
    """What a user may do: keys, channels and commands."""
    pattern = "*" if redis["dedicated"] else f"{redis['prefix']}*"
    return {"keys": f"~{pattern}", "channels": f"&{pattern}", "commands": commands(redis)}
