# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Redis's ACL users: the query for the present ones, and the commands that make the desired ones. Pure.

Redis rewrites a user's rules into others of the same meaning, differently in each version. So both sides are expanded into the commands
that they allow, by the server's own categories. Passwords are compared and set as the SHA-256 that Redis keeps.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..conventions import PREVIEW_KEYS

ADMIN = "default"
CATEGORIES = [
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo", "stream", "pubsub", "admin", "fast",
    "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
]  # fmt: skip
Categories = Mapping[str, frozenset[str]]


class User(NamedTuple):
    """What one user may do, and the SHA-256 of its password."""

    name: str
    keys: str
    channels: str
    commands: Sequence[str]
    password: str


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def copier(key: str) -> User:
    """The user that copies a Redis to S3 as a replica gets it, and may do nothing else. Its pods make the same password of BACKUP_KEY."""
    return User("redis-backup", "", "", ("-@all", "+ping", "+psync", "+replconf", "+sync"), digest(digest(f"redis-backup {key}")))


def question() -> str:
    """Commands for redis-cli; each answer is one line of JSON."""
    return "\n".join(["ACL USERS", *(f"ACL CAT {name}" for name in CATEGORIES)]) + "\n"


def question_users(names: Iterable[str]) -> str:
    return "".join(f"ACL GETUSER {name}\n" for name in names)


def preview_of(user: Mapping[str, Any]) -> str:
    """The preview whose user it is, by the only keys that it may have; the empty text for any other user."""
    found = re.fullmatch(rf"~{re.escape(PREVIEW_KEYS)}([a-z0-9-]+):\*", str(user["keys"]))
    return found[1] if found else ""


# Part of the keys of a prefix in one database, so that nobody waits for long; the answer is where to go on, 0 at the end.
_FORGET = (
    "redis.call('SELECT', ARGV[1]) local at = ARGV[2] for turn = 1, 20 do local found = redis.call('SCAN', at, 'MATCH', ARGV[3], 'COUNT', 500) "
    "at = found[1] for each, key in ipairs(found[2]) do redis.call('UNLINK', key) end if at == '0' then break end end return at"
)


def forget(cursors: Mapping[int, str], preview: str) -> str:
    """Commands that remove keys of a preview; each answers with the next cursor. :arg cursors: database -> where to go on."""
    return "".join(f'EVAL "{_FORGET}" 0 {database} {cursor} {PREVIEW_KEYS}{preview}:*\n' for database, cursor in cursors.items())


def answers(output: str) -> list[Any]:
    return [json.loads(line) for line in output.splitlines() if line.strip()]


def allowed(rules: Iterable[str], categories: Categories) -> frozenset[str]:
    """The commands that rules allow; a command with subcommands counts as these."""
    every = frozenset().union(*categories.values())
    containers = {name.partition("|")[0] for name in every if "|" in name}
    result: set[str] = set()
    for rule in rules:
        name = rule[1:].lower()
        if name == "@all":
            chosen = set(every)
        elif name.startswith("@"):
            chosen = set(categories.get(name[1:], ()))
        else:
            chosen = {name, *(item for item in every | result if item.startswith(f"{name}|"))}
        result = result | chosen if rule[0] == "+" else result - chosen
    return frozenset(result - containers)


def unknown(rules: Iterable[str], categories: Categories) -> list[str]:
    """The commands that rules allow by name and that this Redis does not have: it refuses the whole user for one."""
    every = frozenset().union(*categories.values())
    containers = {name.partition("|")[0] for name in every if "|" in name}
    named = [rule[1:] for rule in rules if rule.startswith("+") and not rule.startswith("+@")]
    # of a command without subcommands, what follows the mark is its first argument
    known = {name for name in named if name in every or name in containers or (name.partition("|")[0] in every - containers)}
    return [name for name in named if every and name not in known]


def others(user: User, present: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The SHA-256 of each password that a user has besides the desired one."""
    return sorted({*present.get(user.name, {}).get("passwords", ())} - {user.password})


def differences(
    desired: Sequence[User],
    present: Mapping[str, Mapping[str, Any]],
    categories: Categories,
    kept: Container[str] = (),
    left: Container[str] = (),
    spared: Collection[str] = (),
) -> list[tuple[str, str]]:
    """(summary, command for redis-cli) of each change.

    :arg kept: the users whose other passwords stay valid besides the desired one.
    :arg left: the users whose passwords stay as they are.
    :arg spared: users that are not desired and stay.
    """
    changes: list[tuple[str, str]] = []
    for user in desired:
        now = present.get(user.name)
        old = set(now["passwords"]) if now else set()
        passwords = old if user.name in left else {user.password, *old} if user.name in kept else {user.password}
        parts = [] if now else ["all"]
        if now:
            flags = set(now["flags"])
            parts += ["state"] if "on" not in flags or "nopass" in flags else []
            parts += ["keys"] if now["keys"] != user.keys or now.get("selectors") else []
            parts += ["channels"] if now["channels"] != user.channels else []
            parts += ["commands"] if allowed(now["commands"].split(), categories) != allowed(user.commands, categories) else []
            parts += ["password"] if old != passwords else []
        if parts:
            rules = [*(f"#{password}" for password in sorted(passwords)), user.keys, user.channels, *user.commands]
            changes.append((f"user {user.name}: {', '.join(parts)}", " ".join(["ACL SETUSER", user.name, "reset", "on", *filter(None, rules)])))
    known = {ADMIN, *spared, *(user.name for user in desired)}
    changes += [(f"user {name}: removed", f"ACL DELUSER {name}") for name in sorted(present) if name not in known]
    return changes
