# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Postgres needs so that its WAL can be archived from outside: a role that may stream it, and the rule that lets that role in. Pure.

The images' own pg_hba.conf lets nobody stream from another pod. The rule is added to the file in the volume and the file is read again, so that
switching the archive on or off restarts no Postgres. The replication slots are the archive's own; when it is switched off they go, since a slot that
nobody reads holds WAL back (up to max_slot_wal_keep_size).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ROLE = "wal_archive"
SLOTS = r"wal\_archive%"  # for LIKE
ATTRIBUTES = "login nosuperuser nocreatedb nocreaterole replication nobypassrls"
RULE = f"host replication {ROLE} all scram-sha-256"
REMOVED = f"no archive of WAL: {ROLE} cannot log in, and its slots are dropped"

# A value for the question's JSON. A rule counts once the server has read it: the file may have been written by a run that was killed then.
QUESTION = f"""
(select json_build_object(
  'access', pg_conf_load_time() >= (pg_stat_file(current_setting('hba_file'))).modification and exists(select from pg_hba_file_rules
    where type = 'host' and database = '{{replication}}' and user_name = '{{{ROLE}}}' and address = 'all' and auth_method = 'scram-sha-256'),
  'statistics', coalesce((select pg_has_role(oid, 'pg_read_all_stats', 'member') from pg_roles where rolname = '{ROLE}'), false),
  'login', exists(select from pg_roles where rolname = '{ROLE}' and rolcanlogin),
  'slots', (select count(*) from pg_replication_slots where slot_name like '{SLOTS}')))
"""
_ADD_RULE = f"""
do $do$ begin
  if not exists(select from pg_hba_file_rules where database = '{{replication}}' and user_name = '{{{ROLE}}}' and auth_method = 'scram-sha-256') then
    execute format('copy (select %L) to program %L', '{RULE}', format('cat >> "%s"', current_setting('hba_file')));
  end if;
end $do$
"""
_NO_SLOTS = f"""
do $do$ begin
  for tries in 1..100 loop
    perform pg_terminate_backend(pid) from pg_stat_activity where usename = '{ROLE}';
    perform pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like '{SLOTS}' and not active;
    exit when not exists(select from pg_replication_slots where slot_name like '{SLOTS}');
    perform pg_sleep(0.1);
  end loop;
end $do$
"""


def additions(present: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """(summary, statements) for what is missing besides the role itself, which comes before."""
    if not present.get("access"):
        yield f"access of {ROLE} to the stream of WAL", [" ".join(_ADD_RULE.split()), "select pg_reload_conf()"]
    if not present.get("statistics"):
        yield f"sight of {ROLE} of how far its stream has come", [f"grant pg_read_all_stats to {ROLE}"]


def removal(present: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """(summary, statements) where WAL is no longer to be archived. The role stays, like everything that was made."""
    if present.get("login") or present.get("slots"):
        yield REMOVED, [f"alter role {ROLE} nologin", " ".join(_NO_SLOTS.split())]
