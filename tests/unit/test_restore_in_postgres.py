"""A restore's own statements and scripts in a real Postgres: what a database may have, and how it comes back."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import POD
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore.judgement import RestoreVerdict
from ansible_collections.shaka.platform.plugins.module_utils.restore.overview import look
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import PlannedDatabase, RestorePlan
from ansible_collections.shaka.platform.plugins.module_utils.restore.restoration import Restoration, RestoreFailed
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import Superuser

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
SCRIPTS = Path(__file__).parents[2] / "roles/restore/files"
pytestmark = pytest.mark.skipif(not (PROGRAMS / "initdb").exists(), reason="needs Debian's package postgresql-15")
TABLES = """select coalesce(json_object_agg(nspname || '.' || relname, 0), '{}') from pg_class c join pg_namespace n on n.oid = relnamespace
  where relkind = 'r' and nspname !~ '^pg_' and nspname <> 'information_schema'"""


class Server:
    """A Postgres of this machine in the place of the pod, and the script of the restore's pod beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.variables = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "PGHOST": str(folder), "LC_ALL": "C"}
        self.script = folder / "restore.sh"
        self.script.write_text((SCRIPTS / "restore.sh").read_text())
        (folder / "pod.sh").write_text((SCRIPTS / "pod.sh").read_text().replace("${WORK:-/work}", str(self.work)))

    def find(self, _path: str) -> None:
        """There is no pod whose CPU limit could be raised."""

    def own(self, *command: str) -> None:
        """Run as a user that is not root, which Postgres refuses to be."""
        as_other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        subprocess.run([*as_other, *command], env=self.variables, cwd="/", check=True, capture_output=True)

    def sql(self, text: str, database: str = "shop") -> str:
        done = self.call(["psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", database], text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(self, command: list[str], text: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, env={**self.variables, **more})

    def execute(self, _namespace: str, pod: str, *command: str, text: str | None = None) -> tuple[bool, str]:
        """As Kubectl has it."""
        if pod == POD:
            done = self.call([*command], text)
        else:
            done = self.call(["bash", str(self.script), *command[2:]], text, PGUSER="app", APP_USER="client", APP_PASSWORD="")
        return done.returncode == 0, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def content(self, database: str) -> list[str]:
        """All of a database as SQL, under one name."""
        text = self.call(["pg_dump", "--username=postgres", "--create", database]).stdout.replace(database, "it")
        return [line for line in text.splitlines() if not re.match(r"\\(un)?restrict |--|$", line)]

    def restored(self, made: str) -> tuple[RestoreVerdict, list[str]]:
        """A database of these statements, dumped by its owner and restored: the verdict, and what differs."""
        self.sql(
            "drop database if exists shop with (force); drop database if exists shop_new with (force); create database shop owner app", "postgres"
        )
        self.sql(f"grant usage on schema public to client; set role app; {made}")
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        (self.work / "databases").write_text("0 shop_new\n")
        done = self.call(["pg_dump", "--format=custom", "--username=app", f"--file={self.work}/0.dump", "shop"])
        assert done.returncode == 0, done.stderr
        database = PlannedDatabase("shop", "shop", "shop_new", "o", 1, "d", 1, json.loads(self.sql(TABLES)))
        plan = RestorePlan("20261127T000000Z", "restore", "swap", "prod", "n", "app", "client", "prod", "o", "b", "k", "f", (database,))
        restoration = Restoration(cast(Kubectl, self), plan, 2)
        restoration.pod._pod = "of-the-restore"
        restoration.pod.call("open")
        until = time.monotonic() + 60
        while not restoration.advance().done:
            assert time.monotonic() < until
            time.sleep(0.05)
        changes = difflib.unified_diff(self.content("shop"), self.content("shop_new"), n=0, lineterm="")
        return restoration.check()["shop"], [line for line in changes if not line.startswith(("---", "+++", "@@"))]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    given = Server(folder)
    given.own("initdb", "-D", f"{folder}/data", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
    control = ("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log")
    given.own(*control, "-o", f"-k {folder} -c listen_addresses= -c fsync=off", "start")
    try:
        given.sql("create role app login; create role client login; create role reporter login", "postgres")
        yield given
    finally:
        given.own(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder)


ROW_SECURITY = """
create table invoices (id int, tenant int); insert into invoices values (1, 1); grant select on invoices to client;
alter table invoices enable row level security;
create policy own on invoices using (tenant = current_setting('app.tenant')::int);
"""
PARTITIONED = """
create table events (id int, at date) partition by range (at);
create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
create table events_rest partition of events default;
create index by_id on only events (id); create index by_id_2026 on events_2026 (id);
alter index by_id attach partition by_id_2026; insert into events values (1, '2026-02-02'); grant select on events_rest to client;
"""
OF_ALL_KINDS = r"""
create schema "My Schema"; create type mood as enum ('a', 'b'); create domain small as int check (value < 9);
create type span as range (subtype = float8, subtype_diff = float8mi);
create table "My Schema"."T;able 'x"" app" ("a b" int generated always as identity, "select" mood,
  twice small generated always as (2) stored, s span);
insert into "My Schema"."T;able 'x"" app" ("select") values ('a'); grant select ("a b") on "My Schema"."T;able 'x"" app" to reporter;
create table "a
b" (id int); grant select on "a
b" to reporter;
create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table parent (id int primary key, x text collate loose) with (fillfactor = 50); create table child (y int) inherits (parent);
alter table parent cluster on parent_pkey; grant select on parent to client; create statistics st (dependencies) on id, x from parent;
create function plus(int, int) returns int language sql immutable as 'select $1 + $2';
create operator <+> (leftarg = int, rightarg = int, function = plus);
create aggregate total (int) (sfunc = plus, stype = int, initcond = '0');
create type boxed as (v int); create function unboxed(boxed) returns int language sql as 'select ($1).v';
create cast (boxed as int) with function unboxed(boxed);
create text search configuration pt (copy = portuguese); create text search dictionary stop (template = simple, stopwords = english);
alter text search configuration pt alter mapping for asciiword with stop;
create function touch() returns trigger language plpgsql as 'begin return new; end';
create trigger t before insert on parent for each row execute function touch(); alter table parent disable trigger t;
create constraint trigger late after insert on child deferrable initially deferred for each row execute function touch();
create rule kept as on delete to child do instead nothing; create publication pub for table parent where (id > 3);
create view guarded with (security_barrier) as select id from parent where id > 0 with check option;
create conversion lat for 'UTF8' to 'LATIN1' from utf8_to_iso8859_1; create procedure p(inout x int) language plpgsql as 'begin x := 1; end';
grant execute on procedure p(int) to reporter; create function body() returns bigint language sql begin atomic select count(*) from parent; end;
alter default privileges revoke execute on functions from public; alter default privileges in schema "My Schema" grant select on tables to reporter;
select lo_from_bytea(4711, 'abc'); comment on large object 4711 is 'it''s'; grant select on large object 4711 to client;
comment on table parent is E'a\nb\\connect postgres; --';
create table one (id int primary key, other int); create table two (id int primary key, one int references one);
alter table one add foreign key (other) references two deferrable;
"""
# Functions whose bodies name something without its schema, where rows, an index and a view need them. No CHECK reads another table's rows, which
# Postgres does not support: whether they are there depends on which of the tables is filled first.
SEARCHED = """
create table towns (name text primary key); insert into towns values ('A'), ('B'); grant select on towns to client;
create function low(text) returns text language sql immutable as 'select lower($1)';
create function known(text) returns bool language plpgsql as 'begin return low($1) in (''a'', ''b''); end';
create function plain(text) returns text language sql immutable as 'select low($1)';
create function number() returns bigint language plpgsql as 'begin return (select count(*) from towns); end';
create table homes (id int primary key, town text check (known(town)), key text generated always as (plain(town)) stored);
insert into homes select 1, name from towns where name = 'A'; create index by_town on homes (plain(town));
create table rooms (home int references homes); insert into rooms values (1); create index on rooms (home);
create materialized view counted as select number() as n; create unique index on counted (n); create materialized view again as select * from counted;
"""
OTHER_PATH = (
    """
reset role; create schema app authorization app; alter database shop set search_path to app, public; set role app; set search_path to app;
"""
    + SEARCHED
    + "grant usage on schema app to client;"
)


@pytest.mark.parametrize(
    ("made", "notes"),
    [
        (OF_ALL_KINDS, ()),
        (ROW_SECURITY, ()),
        (ROW_SECURITY + "create table towns (id int); grant select on towns to client;", ()),
        (PARTITIONED, ("indexes that not every partition has, as in the backup: public.by_id",)),
        (SEARCHED, ()),
        (OTHER_PATH, ()),
    ],
    ids=["of all kinds", "row security", "row security and another table", "an index that a partition lacks", "names to be searched", "another path"],
)
def test_a_database_comes_back_as_it_was(server: Server, made: str, notes: tuple[str, ...]) -> None:
    verdict, changes = server.restored(made)
    assert (verdict.wrong, verdict.notes, changes) == ((), notes, [])


def test_the_superuser_runs_nothing_of_the_owners(server: Server) -> None:
    told = "create table told (who text);"
    tell = "create function tell() returns int language plpgsql as 'begin insert into public.told values (user); return 1; end';"
    hidden = "create function hide() returns int language plpgsql immutable as 'begin perform public.tell(); return 1; end';"
    used = "create function used(int) returns int language sql immutable as 'select public.hide() + $1'; create table t (id int, at timestamptz);"
    indexed = "create index on t (used(id)); create index on t (at); create statistics s on used(id), at from t; delete from told"
    server.restored(f"{told} {tell} {hidden} {used} {indexed}")
    look(Superuser(cast(Kubectl, server), "n"), ["shop", "shop_new"])
    for database in ("shop", "shop_new"):
        assert server.sql("select * from told where who = 'postgres'", database) == ""


def test_what_is_there_is_seen_whatever_its_indexes_need(server: Server) -> None:
    server.restored(SEARCHED + "alter table homes add at timestamptz default '2026-01-02'; create index on homes (at)")
    seen = look(Superuser(cast(Kubectl, server), "n"), ["shop"])
    assert (seen.problem, seen.empty) == ("", False)


def test_nothing_is_granted_on_what_is_left_out(server: Server) -> None:
    verdict, _changes = server.restored("reset role; create foreign data wrapper own; grant usage on foreign data wrapper own to app, client")
    assert verdict.wrong == ()


def test_what_its_owner_may_not_make_fails_with_its_name(server: Server) -> None:
    with pytest.raises(RestoreFailed, match=r"FUNCTION hidden\(integer\).*only superuser can define a leakproof function"):
        server.restored(
            "reset role; create function hidden(int) returns int language sql leakproof as 'select 1'; alter function hidden owner to app"
        )


def test_a_backup_of_before_there_was_an_app_user_lets_it_work_at_once(server: Server) -> None:
    """Else the application could read nothing until the next run of the site."""
    before = "reset role; revoke all on schema public from client; set role app; create table orders (id serial); insert into orders default values"
    verdict, changed = server.restored(before)
    assert verdict.wrong == () and not [note for note in verdict.notes if "may read none" in note]
    assert [line for line in changed if not line.startswith("+") or "client" not in line] == []
    assert server.sql("set role client; insert into orders default values; select count(*) from orders", "shop_new").split() == ["2"]
    server.sql("set role app; create table later (id int); set role client; select * from later", "shop_new")
