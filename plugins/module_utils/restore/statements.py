# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the few statements of a dump that its database's owner may not run: extensions, privileges, settings of the database. Pure.

They are run by the superuser, and a dump is written by whoever owned the database: so each is taken apart into the tokens of SQL's lexical rules
(PostgreSQL: Lexical Structure), and only what has one of the shapes below is put together again. Anything else is refused, not passed on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.shaka.platform.plugins.module_utils.data.sql import identifier

Tokens = tuple[str, ...]
_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*)
    |(?P<quoted>"(?:[^"\0]|"")+")
    |(?P<string>[eE]'(?:[^'\\\0]|\\.|'')*'|'(?:[^'\0]|'')*')
    |(?P<dollar>\$(?P<tag>(?:[A-Za-z_][A-Za-z_0-9]*)?)\$.*?\$(?P=tag)\$)
    |(?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z_0-9$\x80-\U0010ffff]*)
    |(?P<number>[0-9][0-9.]*)
    |(?P<mark>[^\s"'$\w\\])
    """,
    re.VERBOSE | re.DOTALL,
)
_META = re.compile(r"\\[^\n]*\n?")  # psql's own commands, which pg_restore writes between statements


class UnreadableStatement(Exception):
    """Text that is not SQL, or a statement of another kind than was asked for."""


@dataclass(frozen=True)
class DumpExtension:
    """An extension that a dump needs."""

    name: str
    schema: str


@dataclass(frozen=True)
class Privilege:
    """GRANT, REVOKE or ALTER DEFAULT PRIVILEGES. `roles`: whom it names. `early`: other objects need it while they are made."""

    tokens: Tokens
    roles: tuple[str, ...]
    early: bool = False

    @property
    def text(self) -> str:
        return " ".join(self.tokens)


@dataclass(frozen=True)
class DatabaseSetting:
    """A property of the database. `roles`: whose setting in it this is, if it is one's. `early`: other objects need it while they are made."""

    tokens: Tokens
    roles: tuple[str, ...] = ()
    early: bool = False

    @property
    def text(self) -> str:
        return " ".join(self.tokens)


def statements(text: str) -> Iterator[Tokens]:
    """Each statement of a script, as its tokens; comments and psql's own commands left out. Raises UnreadableStatement."""
    tokens: list[str] = []
    position = 0
    while position < len(text):
        if not tokens and (meta := _META.match(text, position)):
            position = meta.end()
            continue
        found = _TOKEN.match(text, position)
        if found is None:
            raise UnreadableStatement(f"what follows is no SQL: {text[position : position + 20]!r}")
        position = found.end()
        if found["space"] is not None:
            continue
        if found[0] == ";":
            if tokens:
                yield tuple(tokens)
            tokens = []
        else:
            tokens.append(found[0])
    if tokens:
        yield tuple(tokens)


def name_of(token: str) -> str:
    """The identifier that a token is; what is not quoted is in small letters already."""
    return token[1:-1].replace('""', '"') if token.startswith('"') else token


def _is(tokens: Sequence[str], words: str, at: int = 0) -> bool:
    expected = words.split()
    return [token.upper() for token in tokens[at : at + len(expected)]] == expected


def _is_name(token: str) -> bool:
    return bool(re.fullmatch(r'"(?:[^"\0]|"")+"|[a-z_\x80-\U0010ffff][a-z_0-9$\x80-\U0010ffff]*', token))


# --- extensions -------------------------------------------------------------------------------------------------------------------------------


def extensions(script: str) -> list[DumpExtension]:
    """Those that a script creates, in its order: one that another needs comes first."""
    found = []
    for tokens in statements(script):
        if _is(tokens, "CREATE EXTENSION IF NOT EXISTS") and _is(tokens, "WITH SCHEMA", 6) and len(tokens) == 9:
            found.append(DumpExtension(name_of(tokens[5]), name_of(tokens[8])))
        elif _is(tokens, "CREATE EXTENSION"):
            raise UnreadableStatement(f"CREATE EXTENSION in an unknown shape: {' '.join(tokens)[:80]}")
    return found


# --- privileges -------------------------------------------------------------------------------------------------------------------------------

_NEEDED_EARLY = ("FOREIGN DATA WRAPPER", "LANGUAGE")  # to make a server, or a function


def privileges(script: str) -> list[Privilege]:
    """The privileges of a script, in its order; those of the database as a whole are left out, see `database_settings`.

    A superuser who grants does so in the owner's name, so `SET SESSION AUTHORIZATION` around a statement is not needed.
    """
    found = []
    for tokens in statements(script):
        if _is(tokens, "GRANT") or _is(tokens, "REVOKE"):
            place = _object(tokens)
            if place is not None and not _is(tokens, "DATABASE", place):
                early = any(_is(tokens, words, place) for words in _NEEDED_EARLY)
                found.append(Privilege(tokens, _grantees(tokens), early))
        elif _is(tokens, "ALTER DEFAULT PRIVILEGES FOR ROLE") and len(tokens) > 6:
            found.append(Privilege(tokens, (name_of(tokens[5]), *_grantees(tokens))))
    return found


def _object(tokens: Tokens) -> int | None:
    """Where the kind of object begins that something is granted on; None where a role is granted."""
    depth = 0
    for position, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth == 0 and token.upper() == "ON":
            return position + 1
    return None


def _grantees(tokens: Tokens) -> tuple[str, ...]:
    """The roles at the statement's end: TO or FROM, names with commas, perhaps WITH GRANT OPTION."""
    end = len(tokens) - 3 if _is(tokens, "WITH GRANT OPTION", len(tokens) - 3) else len(tokens)
    position = end
    names: list[str] = []
    while position > 0 and _is_name(tokens[position - 1]) | (tokens[position - 1] == "PUBLIC"):
        if tokens[position - 1] != "PUBLIC":
            names.insert(0, name_of(tokens[position - 1]))
        position -= 1
        if position > 0 and tokens[position - 1] == ",":
            position -= 1
            continue
        break
    if position <= 0 or tokens[position - 1].upper() not in ("TO", "FROM"):
        raise UnreadableStatement(f"a privilege in an unknown shape: {' '.join(tokens)[:80]}")
    return tuple(names)


def allowed(given: Iterable[Privilege], roles: Collection[str]) -> tuple[list[Privilege], list[str]]:
    """Those that name only roles that exist, and the names of the roles that are missing."""
    kept, missing = [], []
    for privilege in given:
        absent = [role for role in privilege.roles if role not in roles]
        missing += absent
        if not absent:
            kept.append(privilege)
    return kept, sorted(set(missing))


# --- the database as a whole ------------------------------------------------------------------------------------------------------------------


def database_settings(script: str, name: str) -> list[DatabaseSetting]:
    """What a dump says of its database as a whole, for a database of that name: settings, its privileges, its comment, its connection limit."""
    found = []
    for tokens in statements(script):
        place, roles = _database_place(tokens)
        if place is not None:
            early = _is(tokens, "SET SEARCH_PATH", place + 1)
            found.append(DatabaseSetting((*tokens[:place], identifier(name), *tokens[place + 1 :]), roles, early))
    return found


def _database_place(tokens: Tokens) -> tuple[int | None, tuple[str, ...]]:
    """Where the database's name is in a statement that counts, and whom it names."""
    if _is(tokens, "ALTER DATABASE") and ((_is(tokens, "SET", 3) and not _is(tokens, "TABLESPACE", 4)) or _is(tokens, "CONNECTION LIMIT =", 3)):
        return 2, ()
    if _is(tokens, "COMMENT ON DATABASE") and _is(tokens, "IS", 4) and len(tokens) == 6:
        return 3, ()
    if _is(tokens, "ALTER ROLE") and _is(tokens, "IN DATABASE", 3) and _is(tokens, "SET", 6):
        return 5, (name_of(tokens[2]),)
    if _is(tokens, "GRANT") or _is(tokens, "REVOKE"):
        place = _object(tokens)
        if place is not None and _is(tokens, "DATABASE", place):
            return place + 1, _grantees(tokens)
    return None, ()


# A role that was made by hand, without the attributes of a superuser
_NEW_ROLE = re.compile(
    r"(?i)\$do\$ begin if to_regrole\('(?:[^']|'')*'\) is null then create role "
    r'(?P<role>"(?:[^"]|"")+"|[a-z_][a-z_0-9$]*) (?:no)?login (?:no)?inherit; end if; end \$do\$'
)


def role_statements(lines: Iterable[str]) -> list[DatabaseSetting]:
    """Roles, memberships and settings of roles, as a backup's manifest has them; what is of one database is left to its dump. The rest is refused.

    `roles` of a statement that makes a role are none, as it needs none.
    """
    found = []
    for line in lines:
        for tokens in statements(line):
            if _is(tokens, "DO") and len(tokens) == 2 and _NEW_ROLE.fullmatch(tokens[1]):
                found.append(DatabaseSetting(tokens))
            elif _is(tokens, "GRANT") and len(tokens) == 4 and _is(tokens, "TO", 2):
                found.append(DatabaseSetting(tokens, (name_of(tokens[1]), name_of(tokens[3]))))
            elif _is(tokens, "ALTER ROLE") and _is(tokens, "SET", 3):
                found.append(DatabaseSetting(tokens, (name_of(tokens[2]),)))
            elif not (_is(tokens, "ALTER ROLE") and _is(tokens, "IN DATABASE", 3)) and not (_is(tokens, "ALTER DATABASE") and _is(tokens, "SET", 3)):
                raise UnreadableStatement(f"neither a role nor the setting of one: {' '.join(tokens)[:80]}")
    return found


# --- owners -----------------------------------------------------------------------------------------------------------------------------------


def owners(script: str, roles: Collection[str]) -> list[str]:
    """The statements that hand an object to one of these roles; everything else in the script is left out."""
    return [
        " ".join(tokens)
        for tokens in statements(script)
        if _is(tokens, "ALTER") and len(tokens) > 5 and _is(tokens, "OWNER TO", len(tokens) - 3) and name_of(tokens[-1]) in roles
    ]


# --- another environment ----------------------------------------------------------------------------------------------------------------------


def renamed(given: Iterable[Privilege], names: Mapping[str, str]) -> list[Privilege]:
    """The same privileges for an environment whose roles have other names."""
    return [
        replace(
            privilege, tokens=_with_names(privilege.tokens, privilege.roles, names), roles=tuple(names.get(role, role) for role in privilege.roles)
        )
        for privilege in given
    ]


def _with_names(tokens: Tokens, roles: Collection[str], names: Mapping[str, str]) -> Tokens:
    """Only where roles are named: after FOR ROLE, and at the end."""
    changed = list(tokens)
    ends = [position for position, token in enumerate(tokens) if token.upper() in ("TO", "FROM")]
    for position in range(len(tokens)):
        named = position > ends[-1] or _is(tokens, "FOR ROLE", position - 2)
        if named and (role := name_of(tokens[position])) in roles and role in names:
            changed[position] = identifier(names[role])
    return tuple(changed)
