"""What the tests of restores share: backups made by hand in the bucket's folder, and what is in a database."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import subprocess
from pathlib import Path

from backups import sql, state_of
from conftest import Server

PROD = ("shaka_production", "shaka_reports")
# What the superuser has made by hand, and what the owner has: extensions of both kinds, schemas, privileges, settings, large objects.
BY_SUPERUSER = """
do $$ begin if to_regrole('reporter') is null then create role reporter login; end if; end $$;
grant usage on foreign data wrapper postgres_fdw to shaka_production;
create schema if not exists billing authorization shaka_production;
alter database shaka_production set work_mem to '5MB';
alter role reporter in database shaka_production set statement_timeout to '30s';
revoke connect on database shaka_production from public;
grant connect on database shaka_production to reporter, shaka_app;
comment on database shaka_production is 'the ''real'' one; \\d';
"""
BY_OWNER = """
set role shaka_production;
create table customers (id bigserial primary key, email text not null, seen timestamptz default now());
create table billing.invoices (id int primary key, customer bigint references customers (id), total numeric check (total >= 0), pdf oid);
insert into customers (email) select 'u' || i || '@example.com' from generate_series(1, 2000) i;
insert into billing.invoices select i, i, i * 1.5 from generate_series(1, 1000) i;
update billing.invoices set pdf = lo_from_bytea(0, decode('00ff10', 'hex')) where id <= 3;
do $$ begin perform lo_create(777); end $$;
grant select on large object 777 to reporter;
create view billing.totals as select customer, sum(total) from billing.invoices group by 1;
create materialized view billing.monthly as select count(*) from billing.invoices;
grant usage on schema billing to reporter;
grant select on billing.invoices to reporter;
alter default privileges in schema billing grant select on tables to reporter;
create trigger touched before update on customers for each row execute function moddatetime(seen);
create server elsewhere foreign data wrapper postgres_fdw options (host '127.0.0.1');
create user mapping for shaka_production server elsewhere options (user 'x', password 'y');
"""
MIGRATION = """
set role shaka_production;
create table orders (id int primary key, customer bigint references customers (id));
insert into orders select i, i from generate_series(1, 10) i;
create view open_orders as select orders.id, email from orders join customers on customers.id = customer;
alter table customers drop column seen cascade;
delete from billing.invoices where id > 500;
"""


def pod(server: Server, command: str, environment: str = "prod") -> str:
    """Run a command in the environment's Postgres pod."""
    return server.run(f"kubectl exec -i -n shaka-{environment} postgres-0 -- bash -c {json.dumps(command)}")


def content(server: Server, database: str) -> str:
    """All of a database as SQL, its own properties included, under one name; also of one that refuses connections."""
    closed = sql(server, f"select not datallowconn from pg_database where datname = '{database}'", "postgres") == "t"
    if closed:
        sql(server, f"alter database {database} allow_connections true", "postgres")
    text = pod(server, f"pg_dump -U postgres --create {database}")
    if closed:
        sql(server, f"alter database {database} allow_connections false", "postgres")
    # psql's fence has another word each time; a list of privileges has no order
    lines = [line.replace(database, "it") for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
    return "\n".join(lines)


def databases(server: Server, environment: str = "prod") -> list[str]:
    """The databases of the platform, and what restores left."""
    found = sql(server, "select datname from pg_database where not datistemplate and datname <> 'postgres' order by 1", "postgres", environment)
    return found.split()


def backup(server: Server, *names: str, environment: str = "prod", kind: str = "manual", key: str = "") -> Path:
    """A backup in the form of the design, put where the bucket keeps it; the folder of its objects."""
    namespace = f"shaka-{environment}"
    system = sql(server, "select system_identifier from pg_control_system()", "postgres", environment)
    now = datetime.datetime.now(datetime.UTC)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    folder = state_of(server) / "s3/shaka-backups/shaka/sandbox" / environment / system / "dumps" / stamp
    folder.mkdir(parents=True)
    entries, recipient = [], server.lab["backup_recipient"]
    for name in names:
        dump = f"kubectl exec -n {namespace} postgres-0 -- pg_dump -U postgres -Fc {name}"
        whole = ["ssh", *server.ssh_options, f"root@{server.lab['address']}", f"{dump} | /var/lib/shaka/tools/age -r {recipient}"]
        sealed = subprocess.run(whole, capture_output=True, check=True, timeout=300).stdout
        (folder / f"{name}.dump.age").write_bytes(sealed)
        size, tables = sql(server, ESTIMATES, name, environment).split("|", 1)
        digest = hashlib.sha256(sealed).hexdigest()
        sizes = {"bytes": len(sealed), "sha256": digest, "database_bytes": int(size), "seconds": 1.0}
        entries.append({"name": name, "object": f"{name}.dump.age", **sizes, "tables": json.loads(tables)})
    whole_manifest = {
        "format": 1, "kind": kind, "platform": "shaka", "server": "sandbox", "cluster": "x", "environment": environment, "system_identifier": system,
        "postgres": "15", "stamp": stamp, "finished": now.strftime("%FT%TZ"), "seconds": 2.0, "databases": entries, "roles": [],
    }  # fmt: skip
    line = json.dumps(whole_manifest, separators=(",", ":")).encode()
    secret = key or server.lab["secrets"][environment]["BACKUP_KEY"]
    (folder / "manifest").write_bytes(line + b"\n" + hmac.new(secret.encode(), line, hashlib.sha256).hexdigest().encode() + b"\n")
    return folder


ESTIMATES = """
analyze;
select pg_database_size(current_database()), coalesce(json_object_agg(n.nspname || '.' || c.relname, greatest(c.reltuples, 0)::bigint), '{}')
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""
