# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The superuser's SQL around a restore: what is there, a new database like the live one, its extensions, and the swap. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.data.sql import as_owner_if_trusted, identifier, literal

# What is in the server. Sizes are in bytes.
SERVER = """
select json_build_object(
  'identifier', (select system_identifier::text from pg_control_system()),
  'version', current_setting('server_version'),
  'roles', (select json_object_agg(rolname, rolsuper) from pg_roles),
  'available', (select coalesce(json_object_agg(name, versions), '{}') from
    (select name, json_agg(version) as versions from pg_available_extension_versions group by name) a),
  'databases', (select json_object_agg(datname, json_build_object('owner', pg_get_userbyid(datdba), 'bytes', pg_database_size(oid),
      'open', datallowconn, 'row', to_jsonb(d) - 'datacl' || jsonb_build_object('encoding', pg_encoding_to_char(encoding),
      'tablespace', (select spcname from pg_tablespace where oid = dattablespace)))) from pg_database d where not datistemplate))
"""

# `plain`: planning a query of a table may run functions of its indexes, statistics or checks, which are its owner's, and which find nothing by our
# search path. So the superuser reads only tables without any, and takes the estimate of the others.
_TABLES = """
  select c.oid, n.nspname, c.relname, c.relkind, c.relpages, c.relrowsecurity,
    greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid), 0) as rows,
    not (c.relhassubclass or exists(select from pg_index where indrelid = c.oid and (indexprs is not null or indpred is not null))
      or exists(select from pg_statistic_ext where stxrelid = c.oid and stxexprs is not null)) as plain
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    and not exists(select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')
"""

# What is in a database: rows by estimate, and the newest moment in a column that has an index, or else by the statistics.
CONTENT = f"""
set statement_timeout = '20s';
with t as ({_TABLES}),
  stamped as (select t.nspname, t.relname, a.attname, t.plain and exists(select from pg_index i join pg_class x on x.oid = i.indexrelid
      join pg_am m on m.oid = x.relam and m.amname = 'btree' where i.indrelid = t.oid and i.indkey[0] = a.attnum and i.indpred is null) as indexed
    from t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
      and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype) order by t.rows desc limit 30)
select json_build_object(
  'tables', (select coalesce(json_object_agg(nspname || '.' || relname, rows), '{{}}') from t),
  'extensions', (select json_object_agg(extname, extversion) from pg_extension),
  'newest', (select max(moment) from (
      select substring(query_to_xml(format('select max(%I)::timestamptz as m from %I.%I where %I <= now()', attname, nspname, relname, attname),
        false, false, '')::text from '<m>(.*)</m>')::timestamptz as moment from stamped where indexed
      union all
      select bound from stamped s join pg_stats p on p.schemaname = s.nspname and p.tablename = s.relname and p.attname = s.attname,
        unnest(coalesce(p.histogram_bounds::text::timestamptz[], '{{}}') || coalesce(p.most_common_vals::text::timestamptz[], '{{}}')) bound
      where not s.indexed and bound <= now()) found))
"""


def create_like(name: str, owner: str, row: Mapping[str, Any] | None) -> str:
    """A new, empty database with the encoding and the collation of another one.

    :arg row: the other one's row of pg_database as JSON; without one, the server's defaults are taken.
    """
    words = [f"create database {identifier(name)} owner {identifier(owner)} template template0"]
    for option, key in (("encoding", "encoding"), ("lc_collate", "datcollate"), ("lc_ctype", "datctype")):
        if row and row.get(key):
            words.append(f"{option} {literal(str(row[key]))}")
    provider = {"i": "icu", "c": "libc", "b": "builtin"}.get(str((row or {}).get("datlocprovider")), "")
    locale = str((row or {}).get("datlocale") or (row or {}).get("daticulocale") or "")
    if provider:
        words.append(f"locale_provider {provider}")
        words += [f"{provider}_locale {literal(locale)}"] if locale and provider != "libc" else []
    if row and row.get("tablespace"):
        words.append(f"tablespace {identifier(str(row['tablespace']))}")
    return " ".join(words)


def create_schema(name: str, owner: str) -> str:
    """A schema that an extension is to be in; an entry of the dump that makes it is left out then."""
    return f"create schema if not exists {identifier(name)} authorization {identifier(owner)}"


def create_extension(name: str, schema: str, version: str, owner: str) -> str:
    """As the database's owner if it is one that any owner may have, else as the superuser: as the role postgres makes those of the inventory."""
    create = f"create extension if not exists {identifier(name)} schema {identifier(schema)}" + (f" version {literal(version)}" if version else "")
    return as_owner_if_trusted(name, owner, create)


def drop(names: Iterable[str]) -> list[str]:
    """Drop databases, with the sessions in them."""
    return [f"drop database if exists {identifier(name)} with (force)" for name in names]


# --- the swap ---------------------------------------------------------------------------------------------------------------------------------


def swap(pairs: Iterable[tuple[str, str, str]], live: Iterable[str], lock_seconds: int) -> list[str]:
    """Statements of one transaction that put new databases in the place of the live ones.

    A rename takes the database's lock, at which new sessions wait, and then waits up to 5 s for those that are there to end
    (PostgreSQL, CountOtherDBBackends): they are ended meanwhile, by `end_sessions`. Whatever fails, all names are as they were.

    :arg pairs: live name, name of the new database, name for what is live now.
    :arg live: the databases that exist.
    """
    statements, there = [f"set local lock_timeout = '{lock_seconds}s'"], set(live)
    for name, new, before in pairs:
        if name in there:
            statements.append(f"alter database {identifier(name)} rename to {identifier(before)}")
            statements.append(f"alter database {identifier(before)} with allow_connections false")
        statements.append(f"alter database {identifier(new)} rename to {identifier(name)}")
    return statements


def end_sessions(live: Iterable[int], new: Iterable[int], seconds: float) -> str:
    """Ends the sessions of the live databases, again and again until these refuse connections, or for so many seconds; those of the new ones once.

    Databases go by their oid: the same name is another one's after the swap.
    """
    first, second = (f"array[{', '.join(map(str, oids))}]::oid[]" for oids in (live, new))
    return (
        f"do $do$ begin perform pg_terminate_backend(pid) from pg_stat_activity where datid = any({second}); for i in 1..{int(seconds * 20)} loop "
        f"exit when not exists(select from pg_database where oid = any({first}) and datallowconn); "
        f"perform pg_terminate_backend(pid) from pg_stat_activity where datid = any({first}) and pid <> pg_backend_pid(); "
        "perform pg_sleep(0.05); perform pg_stat_clear_snapshot(); end loop; end $do$"
    )


def sessions(databases: Iterable[str]) -> str:
    """Who is connected, without what they do: a query may hold personal data."""
    names = ", ".join(literal(name) for name in databases)
    return f"""
select coalesce(json_agg(json_build_object('pid', pid, 'role', usename, 'application', application_name, 'state', state, 'database', datname,
  'seconds', round(extract(epoch from now() - coalesce(xact_start, backend_start)))) order by xact_start), '[]')
from pg_stat_activity where datname in ({names}) and pid <> pg_backend_pid()
"""


# --- the check --------------------------------------------------------------------------------------------------------------------------------

COUNTED_PAGES = 1280  # 10 MiB: tables up to that size are counted


def result(client: str) -> str:
    """What a restored database has. Small tables are counted, of the others the estimate is that of the ANALYZE just made.

    A table with row security is read last and not asked: its policies may need what the application sets for its session. The index of a partitioned
    table that not every partition has is in the dump as it is; one of a table that is not valid is not in a dump at all.

    :arg client: the role that the application connects as.
    """
    return f"""
with t as ({_TABLES})
select json_build_object(
  'tables', (select coalesce(json_object_agg(nspname || '.' || relname, case when plain and relpages <= {COUNTED_PAGES} then
      substring(query_to_xml(format('select count(*) as n from %I.%I', nspname, relname), false, false, '')::text from '<n>(.*)</n>')::bigint
      else rows end), '{{}}') from t),
  'readable', (select case when relrowsecurity then 'select 1' else format('select 1 from %I.%I limit 1', nspname, relname) end from t
    where has_table_privilege({literal(client)}, oid, 'select') and has_schema_privilege({literal(client)}, nspname, 'usage')
    order by relrowsecurity, nspname, relname limit 1),
  'extensions', (select json_object_agg(extname, extversion) from pg_extension),
  'unvalidated', (select coalesce(json_agg(format('%s on %s', conname, conrelid::regclass)), '[]') from pg_constraint where not convalidated),
  'invalid', (select coalesce(json_agg(indexrelid::regclass::text), '[]') from pg_index i join pg_class c on c.oid = indexrelid
    where not (indisvalid and indisready) and relkind = 'i'),
  'incomplete', (select coalesce(json_agg(indexrelid::regclass::text), '[]') from pg_index i join pg_class c on c.oid = indexrelid
    where not (indisvalid and indisready) and relkind = 'I'),
  'owner', (select pg_get_userbyid(datdba) from pg_database where datname = current_database()),
  'bytes', pg_database_size(current_database()))
"""
