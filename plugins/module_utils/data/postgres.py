# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Postgres's roles, databases, extensions and privileges: a query for the present ones, and the statements that make the desired ones. Pure.

The superuser `postgres`, who has no password, runs them inside the pod; the owner of the databases is not a superuser. Nothing is ever dropped, since
it may contain data. pg_stat_statements is in the database `postgres`, where it shows the statements of all databases and is part of no dump (only a
superuser could restore it).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import previews, wal_archive
from .scram import matches, verifier
from .sql import ADMIN, ATTRIBUTES, as_owner_if_trusted, identifier, literal

LOGIN = "password_rotation"  # stands in for the application's role while that role's password changes
STATISTICS = "pg_stat_statements"
POOLER = "pgbouncer"
# PgBouncer's query for a client's verifier; never a superuser's. It is in the database `postgres`, and so in no dump.
LOOKUP = (
    "select rolname::text, rolpassword from pg_authid where rolname = asked and rolcanlogin and not rolsuper "
    "and (rolvaliduntil is null or rolvaliduntil > now())"
)
OURS = "shaka.platform"  # the comment of a role that the platform made, and takes the login from once the inventory no longer has it


@dataclass(frozen=True)
class DesiredPostgres:
    """The desired content of one environment's Postgres. Passwords by role; the first of the databases is the application's."""

    owner: str
    passwords: Mapping[str, str]
    databases: tuple[str, ...]
    extensions: tuple[str, ...] = ()
    app_user: str = ""
    pooled: bool = False
    archived: bool = False  # whether its WAL is archived
    renamed_database: str = ""  # the earlier name of the first database
    renamed_owner: str = ""  # the earlier name of the owner

    @property
    def client(self) -> str:
        """The role that the application connects as."""
        return self.app_user or self.owner


class Passwords(enum.Enum):
    """Whose changed passwords a call puts in force: those that their holders get in the same run, too."""

    APPLICATION = "application"  # what the application's pods connect with
    OTHERS = "others"
    ALL = "all"


def left_alone(desired: DesiredPostgres, passwords: Passwords) -> frozenset[str]:
    """The roles whose password stays as it is when the inventory has another one."""
    client = frozenset({desired.client})
    return {Passwords.APPLICATION: frozenset(desired.passwords) - client, Passwords.OTHERS: client, Passwords.ALL: frozenset()}[passwords]


@dataclass
class SqlChange:
    """Statements for one database, with a summary in words (without any secret)."""

    database: str
    summary: str
    statements: list[str] = field(default_factory=list)


# --- the question ---------------------------------------------------------------------------------------------------------------------------

_CLUSTER = f"""
select json_build_object(
  'roles', (select coalesce(json_object_agg(rolname, json_build_object('password', rolpassword, 'expires', rolvaliduntil,
      'login', rolcanlogin, 'ours', shobj_description(oid, 'pg_authid') = '{OURS}', 'owns', exists(select from pg_shdepend s
        left join pg_database d on d.oid = s.dbid where s.refclassid = 'pg_authid'::regclass and s.refobjid = a.oid and s.deptype = 'o'
        and (s.dbid = 0 or d.datname = any(string_to_array(:'databases', ',')))),
      'plain', rolcanlogin and rolreplication = (rolname = '{wal_archive.ROLE}') and not (rolsuper or rolcreatedb or rolcreaterole or rolbypassrls))),
      '{{}}') from pg_authid a),
  'archive', {wal_archive.QUESTION},
  {previews.QUESTION},
  'databases', (select json_object_agg(datname, pg_get_userbyid(datdba)) from pg_database),
  'lookup', (select p.prosecdef and p.prosrc = :'lookup' and has_schema_privilege(r.oid, n.oid, 'USAGE')
      and has_function_privilege(r.oid, p.oid, 'EXECUTE') and not has_function_privilege('public', p.oid, 'EXECUTE')
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_roles r on r.rolname = n.nspname
    where n.nspname = 'pgbouncer' and p.proname = 'user_lookup'));
"""
# The application's privileges: on the schema, on every existing table and sequence, and by default on those that the owner will make.
_DATABASE = """
select json_build_object('database', current_database(),
  'extensions', (select json_agg(extname) from pg_extension),
  'missing', (select count(*) = 0 from app)
    or (select coalesce(bool_or(not has_schema_privilege(app.oid, 'public', 'USAGE')), false) from app)
    or (select coalesce(bool_or(not (has_table_privilege(app.oid, c.oid, 'SELECT') and has_table_privilege(app.oid, c.oid, 'INSERT')
          and has_table_privilege(app.oid, c.oid, 'UPDATE') and has_table_privilege(app.oid, c.oid, 'DELETE'))), false)
        from app, pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relowner = own.oid)
    or (select coalesce(bool_or(not has_sequence_privilege(app.oid, c.oid, 'USAGE')), false)
        from app, pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'S' and c.relowner = own.oid)
    or (select coalesce(bool_or((select count(*) from pg_default_acl d, aclexplode(d.defaclacl) a where d.defaclrole = own.oid
          and d.defaclnamespace = 'public'::regnamespace and a.grantee = app.oid) < 6), false) from app))
from (select to_regrole(:'owner')::oid as oid) own;
"""


def question(desired: DesiredPostgres, others: Iterable[str] = ()) -> str:
    """A psql script that prints one line of JSON per answer. `others`: further databases whose extensions are asked for."""
    lines = ["\\set QUIET on", "\\pset format unaligned", "\\pset tuples_only on", f"\\set owner {literal(desired.owner)}"]
    lines += [f"\\set databases {literal(','.join(desired.databases))}", f"\\set lookup {literal(LOOKUP)}", " ".join(_CLUSTER.split())]
    app = f"with app as (select oid from pg_roles where rolname = {literal(desired.app_user)}) "
    for database in (ADMIN, *desired.databases, *others):
        lines += [
            f"select exists(select from pg_database where datname = {literal(database)}) as found \\gset",
            "\\if :found",
            f"\\connect {identifier(database)}",
            app + " ".join(_DATABASE.split()),
            "\\endif",
        ]
    return "\n".join(lines) + "\n"


# --- the answer -----------------------------------------------------------------------------------------------------------------------------


def role_changes(
    desired: DesiredPostgres, cluster: Mapping[str, Any], databases: Mapping[str, Mapping[str, Any]], left: Collection[str] = ()
) -> list[SqlChange]:
    """The changes in their order: roles, databases, then the content of each database. `left`: the roles whose password stays as it is."""
    changes = [*_roles(desired, cluster["roles"], left), *_handover(desired, cluster)]
    if desired.pooled and not cluster.get("lookup"):
        changes.append(SqlChange(ADMIN, f"the look-up of verifiers by {POOLER}", list(_lookup())))
    archive = (wal_archive.additions if desired.archived else wal_archive.removal)(cluster.get("archive") or {})
    changes += [SqlChange(ADMIN, summary, statements) for summary, statements in archive]
    for name in desired.databases:
        owner = cluster["databases"].get(name)
        if owner is None:
            changes.append(SqlChange(ADMIN, f"database {name}", [f"create database {identifier(name)} owner {identifier(desired.owner)}"]))
        elif owner not in (desired.owner, desired.renamed_owner):
            changes.append(SqlChange(ADMIN, f"owner of database {name}", [f"alter database {identifier(name)} owner to {identifier(desired.owner)}"]))
    for name, extensions in ((ADMIN, (STATISTICS,)), *((name, desired.extensions) for name in desired.databases)):
        inside = databases.get(name, {})
        for extension in extensions:
            present = extension in (inside.get("extensions") or [])
            changes += [] if present else [SqlChange(name, f"extension {extension} in {name}", [create_extension(extension, desired.owner, name)])]
        if desired.app_user and name != ADMIN and inside.get("missing", True):
            changes.append(SqlChange(name, f"privileges of {desired.app_user} in {name}", list(grants(desired.app_user, desired.owner, name))))
    return changes


def create_extension(extension: str, owner: str, database: str) -> str:
    """Make a trusted extension as the database's owner, so that a restore by the owner can replace it; any other as the superuser."""
    create = f"create extension if not exists {identifier(extension)}"
    return create if database == ADMIN else as_owner_if_trusted(extension, owner, create)


def _roles(desired: DesiredPostgres, present: Mapping[str, Mapping[str, Any]], left: Collection[str]) -> Iterator[SqlChange]:
    if (present.get(ADMIN) or {}).get("password") is not None:
        yield SqlChange(ADMIN, f"no password of {ADMIN}: it connects inside the pod only", [f"alter role {identifier(ADMIN)} password null"])
    for name, password in desired.passwords.items():
        quoted, role = identifier(name), present.get(name)
        attributes = wal_archive.ATTRIBUTES if name == wal_archive.ROLE else ATTRIBUTES
        if role is None:
            mark = f"comment on role {quoted} is {literal(OURS)}"
            yield SqlChange(ADMIN, f"role {name}", [f"create role {quoted} {attributes} password {literal(verifier(password))}", mark])
            continue
        if not role["ours"]:
            yield SqlChange(ADMIN, f"role {name} is the platform's", [f"comment on role {quoted} is {literal(OURS)}"])
        if not role["plain"]:
            yield SqlChange(ADMIN, f"role {name} is not a superuser and can log in", [f"alter role {quoted} {attributes}"])
        if name not in left and outdated(desired, present, name):
            yield SqlChange(ADMIN, f"password of {name}", [f"alter role {quoted} password {literal(verifier(password))}"])
        if role.get("expires") not in (None, "infinity"):
            yield SqlChange(ADMIN, f"password of {name} does not expire", [f"alter role {quoted} valid until 'infinity'"])


# --- other names, and roles that go -----------------------------------------------------------------------------------------------------------


def rename(desired: DesiredPostgres, cluster: Mapping[str, Any]) -> list[SqlChange]:
    """The first database gets its new name, if it has the earlier one still. Its sessions are ended: a rename waits for nobody."""
    old, new = desired.renamed_database, desired.databases[0]
    if old not in cluster["databases"] or new in cluster["databases"]:
        return []
    ending = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = {literal(old)} and pid <> pg_backend_pid()"
    statements = [f"alter database {identifier(old)} with allow_connections false", ending]
    statements += ["begin", f"alter database {identifier(old)} rename to {identifier(new)}"]
    statements += [f"alter database {identifier(new)} with allow_connections true", "commit"]
    return [SqlChange(ADMIN, f"database {old} is called {new}", statements)]


def _handover(desired: DesiredPostgres, cluster: Mapping[str, Any]) -> Iterator[SqlChange]:
    """The owner takes over what an earlier role of another name has. That one may go on with it, as a member, until its last pod is gone."""
    role = cluster["roles"].get(desired.renamed_owner)
    if role is None or not role["owns"]:
        return
    old, new = identifier(desired.renamed_owner), identifier(desired.owner)
    summary = f"{desired.owner} owns what {desired.renamed_owner} had"
    yield SqlChange(ADMIN, summary, [f"grant {new} to {old}", *_settings(desired.renamed_owner, desired.owner)])
    for name in _present(desired, cluster):
        yield SqlChange(name, summary, [f"reassign owned by {old} to {new}"])


def former_roles(desired: DesiredPostgres, roles: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The roles of the platform's making that can log in and that the inventory does not have."""
    kept = {*desired.passwords, wal_archive.ROLE}  # the archive's role has rules of its own
    ours = {name for name, role in roles.items() if role["ours"]} | {desired.renamed_owner}
    return sorted(name for name in ours & {*roles} - kept if roles[name]["login"])


def no_more_login(name: str, desired: DesiredPostgres, cluster: Mapping[str, Any]) -> list[SqlChange]:
    """A role can no longer log in, and nobody is logged in as it. It stays, with what others may have granted to it."""
    role, summary = identifier(name), f"role {name} can no longer log in"
    ending = f"select pg_terminate_backend(pid) from pg_stat_activity where usename = {literal(name)}"
    changes = [SqlChange(ADMIN, summary, [f"alter role {role} nologin password null", ending])]
    if name == desired.renamed_owner:
        owner = identifier(desired.owner)
        changes[0].statements.append(f"revoke {owner} from {role}")
        changes += [SqlChange(database, summary, [f"reassign owned by {role} to {owner}"]) for database in _present(desired, cluster)]
    return changes


def _present(desired: DesiredPostgres, cluster: Mapping[str, Any]) -> list[str]:
    return [name for name in desired.databases if name in cluster["databases"]]


def _lookup() -> Iterable[str]:
    yield f"create schema if not exists {POOLER}"
    yield f"drop function if exists {POOLER}.user_lookup(text)"
    yield (
        f"create function {POOLER}.user_lookup(asked text) returns table (role text, verifier text) language sql stable security definer "
        f"set search_path = pg_catalog as {literal(LOOKUP)}"
    )
    yield f"revoke all on function {POOLER}.user_lookup(text) from public"
    yield f"grant usage on schema {POOLER} to {POOLER}"
    yield f"grant execute on function {POOLER}.user_lookup(text) to {POOLER}"


# --- the stand-in of the application's role -------------------------------------------------------------------------------------------------


def outdated(desired: DesiredPostgres, present: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    """Whether a role exists with another password than it should have."""
    role = present.get(name)
    return role is not None and not matches(role["password"], desired.passwords[name])


# The value of a parameter that is a list of names already has its quotes. These are the same parameters as in pg_dump (variable_is_guc_list_quote).
_SETTINGS = """
do $do$ declare one record; begin
  for one in select case when d.datname is not null then format('in database %I', d.datname) else '' end as place,
      split_part(setting, '=', 1) as name, substr(setting, strpos(setting, '=') + 1) as value
    from pg_db_role_setting r left join pg_database d on d.oid = r.setdatabase, unnest(r.setconfig) setting where r.setrole = to_regrole({of})
  loop
    execute format('alter role %I %s set %I to %s', {to}, one.place, one.name, case when one.value <> '' and one.name in
      ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries') then one.value else quote_literal(one.value) end);
  end loop;
end $do$
"""


def _settings(of: str, to: str) -> list[str]:
    """One role gets the settings of another."""
    return [" ".join(_SETTINGS.format(of=literal(identifier(of)), to=literal(to)).split())]


def login(user: str, password: str) -> SqlChange:
    """A login that acts as the user: what it makes belongs to the user, and it has the user's own settings."""
    name, quoted = identifier(LOGIN), identifier(user)
    create = literal(f"create role {name}")
    statements = [
        f"do $do$ begin if to_regrole({literal(name)}) is null then execute {create}; end if; end $do$",
        f"alter role {name} {ATTRIBUTES} inherit valid until 'infinity' password {literal(verifier(password))}",
        f"grant {quoted} to {name}",
        f"alter role {name} reset all",
        *_settings(user, LOGIN),
        f"alter role {name} set role = {literal(user)}",
    ]
    return SqlChange(ADMIN, f"stand-in for {user}", statements)


def no_login(user: str, databases: Iterable[str]) -> list[SqlChange]:
    """Drops the login. Whatever it made as itself goes to the user."""
    name, summary = identifier(LOGIN), f"no stand-in for {user}"
    handover = [SqlChange(database, summary, [f"reassign owned by {name} to {identifier(user)}", f"drop owned by {name}"]) for database in databases]
    return [*handover, SqlChange(ADMIN, summary, [f"drop role {name}"])]


def grants(app_user: str, of: str, database: str) -> Iterable[str]:
    """What an application may do that connects as another role than the owner: read and write rows, now and later."""
    app, owner = identifier(app_user), identifier(of)
    yield f"grant connect, temporary on database {identifier(database)} to {app}"  # beside previews, not everybody has it
    yield f"grant usage on schema public to {app}"
    yield f"grant select, insert, update, delete on all tables in schema public to {app}"
    yield f"grant usage, select on all sequences in schema public to {app}"
    yield f"alter default privileges for role {owner} in schema public grant select, insert, update, delete on tables to {app}"
    yield f"alter default privileges for role {owner} in schema public grant usage, select on sequences to {app}"


def script(changes: Iterable[SqlChange]) -> str:
    """A psql script without a transaction, since CREATE DATABASE cannot be in one; the next run completes an interrupted one."""
    lines, current = ["\\set QUIET on", "\\set ON_ERROR_STOP on", "\\set VERBOSITY terse"], ADMIN
    for change in changes:
        if change.database != current:
            lines.append(f"\\connect {identifier(change.database)}")
            current = change.database
        lines += [f"{statement};" for statement in change.statements]
    return "\n".join(lines) + "\n"
