# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The databases of previews in the Postgres of their parents: a part of the question, and the statements that make and drop them. Pure.

A preview's role says by its comment whose it is, which it cannot change itself; a database is its owner's, and one that has another owner says it by
its own comment. Nothing else is ever dropped, or taken over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from .scram import matches, verifier
from .sql import ADMIN, ATTRIBUTES, identifier, literal

MARK = "shaka.platform preview "  # begins the comment; the preview's name follows

_NAMED = f"substr({{}}, {len(MARK) + 1})"
_OWNER_COMMENT = "shobj_description(d.datdba, 'pg_authid')"  # first: the comment of a database is its owner's to change
_DATABASE_COMMENT = f"case when {_OWNER_COMMENT} like '{MARK}%' then {_OWNER_COMMENT} else shobj_description(d.oid, 'pg_database') end"
_ROLE_COMMENT = "shobj_description(r.oid, 'pg_authid')"
QUESTION = f"""
  'previews', json_build_object(
    'databases', (select coalesce(json_object_agg(d.datname, {_NAMED.format(_DATABASE_COMMENT)}), '{{}}')
      from pg_database d where {_DATABASE_COMMENT} like '{MARK}%'),
    'named', (select coalesce(json_agg(d.datname), '[]') from pg_database d where shobj_description(d.oid, 'pg_database') is not null),
    'roles', (select coalesce(json_object_agg(r.rolname, {_NAMED.format(_ROLE_COMMENT)}), '{{}}')
      from pg_roles r where {_ROLE_COMMENT} like '{MARK}%'),
    'connections', (select coalesce(json_object_agg(r.rolname, r.rolconnlimit), '{{}}') from pg_roles r where {_ROLE_COMMENT} like '{MARK}%'),
    'open', (select coalesce(json_agg(d.datname), '[]') from pg_database d
      where d.datname not in ('{ADMIN}', 'template0') and has_database_privilege('public', d.oid, 'CONNECT')))
"""
# Whoever could connect because everybody could still can, but for previews
_CLOSE = """do $do$ declare one name; begin
  for one in select rolname from pg_roles r
    where rolcanlogin and not rolsuper and coalesce(shobj_description(r.oid, 'pg_authid'), '') not like {mark}
  loop
    execute format('grant connect, temporary on database %I to %I', {database}, one);
  end loop;
  execute format('revoke connect, temporary on database %I from public', {database});
end $do$"""


class HostedPreview(NamedTuple):
    """A preview whose database is in this Postgres. `database` is its role's name, too, which may have so many `connections` at once."""

    name: str
    database: str
    password: str
    connections: int
    extensions: tuple[str, ...] = ()


class HostedPreviews(NamedTuple):
    """Those of one Postgres. `ended`: names of those that are over; with `complete`, any other that is not wanted is over as well."""

    wanted: tuple[HostedPreview, ...] = ()
    ended: frozenset[str] = frozenset()
    complete: bool = False

    def over(self, name: str) -> bool:
        return name in self.ended or (self.complete and name not in {preview.name for preview in self.wanted})


NO_PREVIEWS = HostedPreviews()


class NotThePreviews(Exception):
    """A database or role of a preview's name is something else; the text is for a person."""


def changes(previews: HostedPreviews, cluster: Mapping[str, Any], coming: Collection[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """(summary, statements in the database `postgres`) of each change; raises NotThePreviews.

    :arg cluster: the answer to the question.
    :arg coming: databases of the parent that the same run makes.
    """
    found = cluster.get("previews") or {"databases": {}, "named": [], "roles": {}, "connections": {}, "open": []}
    for database, name in found["databases"].items():
        if previews.over(name):
            yield f"preview {name} is over: database {database} is dropped", [f"drop database {identifier(database)} with (force)"]
    for role, name in found["roles"].items():
        if previews.over(name):
            yield f"preview {name} is over: role {role} is dropped", [f"drop owned by {identifier(role)}", f"drop role {identifier(role)}"]
    for preview in previews.wanted:
        yield from _made(preview, cluster, found)
    own = {preview.database for preview in previews.wanted}
    for database in sorted({*found["open"], *coming, *(own - {*cluster["databases"]})} if own else set()):
        if database in own:
            yield f"nobody else connects to {database}", [f"revoke connect, temporary on database {identifier(database)} from public"]
        elif database not in found["databases"]:
            close = _CLOSE.format(mark=literal(f"{MARK}%"), database=literal(database))
            yield f"previews cannot connect to {database}", [" ".join(close.split())]


def _made(preview: HostedPreview, cluster: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Its role with its comment at once, its database, and the comment of that."""
    role = cluster["roles"].get(preview.database)
    quoted, mark = identifier(preview.database), literal(MARK + preview.name)
    for kind, there, whose in (
        ("role", preview.database in cluster["roles"], found["roles"].get(preview.database)),
        ("database", preview.database in cluster["databases"], found["databases"].get(preview.database)),
    ):
        if there and whose != preview.name:
            raise NotThePreviews(f"the {kind} {preview.database} is there and not the preview's ({preview.name}): give the preview another name")
    limit = f"connection limit {preview.connections}"
    if role is None:
        create = f"create role {quoted} {ATTRIBUTES} {limit} password {literal(verifier(preview.password))}"
        yield f"role {preview.database} of preview {preview.name}", ["begin", create, f"comment on role {quoted} is {mark}", "commit"]
    elif not matches(role["password"], preview.password):
        yield f"password of {preview.database}", [f"alter role {quoted} password {literal(verifier(preview.password))}"]
    if role is not None and found["connections"].get(preview.database) != preview.connections:
        yield f"connections of {preview.database}", [f"alter role {quoted} {limit}"]
    if preview.database not in cluster["databases"]:
        create = f"create database {quoted} owner {quoted}"
        yield f"database {preview.database} of preview {preview.name}", [create, f"comment on database {quoted} is {mark}"]
    elif preview.database not in found["named"]:
        yield f"database {preview.database} says whose it is", [f"comment on database {quoted} is {mark}"]
