# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of contents of a dump (`pg_restore --create --list`), sorted by who can make each entry. Pure.

The database's owner makes the objects. The superuser makes extensions, gives privileges and sets the database's properties, by statements that the
module `statements` has taken apart. What else only a superuser could make (an event trigger, say) is left out, and said: it would run functions that
the dump's author wrote, as the superuser.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

_LINE = re.compile(r"(?P<number>\d+); \d+ \d+ (?P<rest>.+)")
# Kinds of two words and more, so that the first word is not taken for the kind
_KINDS = (
    "ACCESS METHOD", "CHECK CONSTRAINT", "DATABASE PROPERTIES", "DEFAULT ACL", "EVENT TRIGGER", "FK CONSTRAINT", "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE", "INDEX ATTACH", "LARGE OBJECT", "MATERIALIZED VIEW DATA", "MATERIALIZED VIEW", "OPERATOR CLASS", "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE", "PUBLICATION TABLES IN SCHEMA", "PUBLICATION TABLE", "ROW SECURITY", "SECURITY LABEL", "SEQUENCE OWNED BY",
    "SEQUENCE SET", "SHELL TYPE", "SUBSCRIPTION TABLE", "TABLE ATTACH", "TABLE DATA", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "USER MAPPING",
)  # fmt: skip
_SUPERUSERS = (
    "ACCESS METHOD", "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "SUBSCRIPTION TABLE",
    "SUBSCRIPTION", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "TRANSFORM",
)  # fmt: skip
_BY_SUPERUSER = ("ACL", "DATABASE", "DATABASE PROPERTIES", "DEFAULT ACL", "EXTENSION")  # whose statements `statements` reads
_DATA = ("BLOBS", "MATERIALIZED VIEW DATA", "SEQUENCE SET", "TABLE DATA")
_ABOUT = ("ACL", "COMMENT", "SECURITY LABEL")  # entries about another entry, which their tag names


class UnreadableContents(Exception):
    """The list is not that of a dump."""


@dataclass(frozen=True)
class TocEntry:
    """One entry. `rest`: schema, name and owner as the list has them, which names with spaces leave ambiguous."""

    line: str
    kind: str
    rest: str

    def of(self, roles: Collection[str]) -> bool:
        """Whether it belongs to one of these roles."""
        return any(self.rest.endswith(f" {role}") for role in roles)

    @property
    def title(self) -> str:
        return f"{self.kind} {self.rest.removeprefix('- ').rstrip()}"


class Sorted(NamedTuple):
    """The lines of the list that the owner restores, those of them that become another role's, and what is left out, in words."""

    restored: list[str]
    of_others: list[str]
    left_out: list[str]


def entries(listing: str) -> list[TocEntry]:
    """Every entry of the list. Raises UnreadableContents."""
    found = []
    for line in listing.splitlines():
        if not line or line.startswith(";"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UnreadableContents(f"not a line of a dump's contents: {line[:80]!r}")
        rest = match["rest"]
        kind = next((kind for kind in _KINDS if rest.startswith(f"{kind} ")), rest.partition(" ")[0])
        found.append(TocEntry(line, kind, rest[len(kind) + 1 :]))
    if not found:
        raise UnreadableContents("the dump has no contents")
    return found


def database_owner(listed: Iterable[TocEntry]) -> str:
    """Who owned the database; '' when the dump does not say."""
    return next((entry.rest.rsplit(" ", 1)[-1] for entry in listed if entry.kind == "DATABASE"), "")


def sort(listed: Collection[TocEntry], superusers: Collection[str], others: Collection[str], schemas: Collection[str], elsewhere: bool) -> Sorted:
    """Who makes what.

    :arg others: the roles that exist besides superusers and the database's owner: objects that were theirs become theirs again.
    :arg schemas: those that the superuser made already, for an extension.
    :arg elsewhere: for another environment: no login to a foreign server is carried along.
    """
    result = Sorted([], [], [])
    mapped = {*others, database_owner(listed), "public"}
    for entry in listed:
        if entry.kind in _BY_SUPERUSER or _about(entry, ("DATABASE", "EXTENSION")):
            continue
        if (_is_of(entry, "SCHEMA", "public") and entry.of(superusers)) or _of_schema(entry, schemas):
            continue
        if _only_superusers(entry, superusers) or (entry.kind == "USER MAPPING" and (elsewhere or not _mapped(entry, mapped))):
            result.left_out.append(entry.title)
        else:
            result.restored.append(entry.line)
            if entry.kind not in _DATA and entry.of(others):
                result.of_others.append(entry.line)
    return result


def _about(entry: TocEntry, kinds: Iterable[str]) -> bool:
    return entry.kind in _ABOUT and entry.rest.startswith(tuple(f"- {kind} " for kind in kinds))


def _only_superusers(entry: TocEntry, superusers: Collection[str]) -> bool:
    """An entry of such a kind, or about one; a publication of a superuser's is of all tables."""
    if entry.kind in _SUPERUSERS or (_about(entry, _SUPERUSERS) and entry.of(superusers)):
        return True
    return entry.kind.startswith("PUBLICATION") and entry.of(superusers)


def _is_of(entry: TocEntry, kind: str, name: str) -> bool:
    return (entry.kind == kind and entry.rest.startswith(f"- {name} ")) or (entry.kind in _ABOUT and entry.rest.startswith(f"- {kind} {name} "))


def _of_schema(entry: TocEntry, schemas: Collection[str]) -> bool:
    return entry.kind == "SCHEMA" and any(entry.rest.startswith(f"- {schema} ") for schema in schemas)


def _mapped(entry: TocEntry, roles: Collection[str]) -> bool:
    return any(entry.rest.startswith(f"- USER MAPPING {role} SERVER ") for role in roles)
