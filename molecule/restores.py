"""What the tests of restores share: backups made by hand in the bucket's folder or damaged there, what is in a database, a lost controller."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backups import sql, state_of
from conftest import ROOT, Server

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


DAMAGES = {"truncated": "in place of", "flipped bit": "was changed after it was written", "forged manifest": "not authentic"}  # -> what is said of it


def another_identity(place: Path) -> list[str]:
    """Arguments with a key that opens nothing here."""
    identity = place / "other.agekey"
    subprocess.run(["age-keygen", "-o", str(identity)], capture_output=True, check=True)
    return ["-e", f"restore_identity_file={identity}"]


@contextmanager
def damaged(folder: Path, how: str) -> Iterator[None]:
    """A backup is changed in the bucket, by somebody who may, for a while."""
    manifest = folder / "manifest"
    victim = manifest if how == "forged manifest" else next(folder.glob("*.age"))
    saved = victim.read_bytes()
    match how:
        case "truncated":
            victim.write_bytes(saved[:-100])
        case "flipped bit":
            middle = len(saved) // 2
            victim.write_bytes(saved[:middle] + bytes([saved[middle] ^ 1]) + saved[middle + 1 :])
        case "forged manifest":
            changed = saved.replace(b'"seconds":', b'"seconds":1', 1)
            assert changed != saved
            victim.write_bytes(changed)
        case _:
            raise ValueError(how)
    try:
        yield
    finally:
        victim.write_bytes(saved)


def start_restore(server: Server, *arguments: str) -> subprocess.Popen[str]:
    """The playbook, whose tasks are printed when they begin; nobody answers it."""
    command = ["ansible-playbook", "playbooks/restore.yml", "-i", "inventories/sandbox", "-e", f"lab_name={server.name}", *arguments]
    shown = {"ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true", "ANSIBLE_NOCOLOR": "true", "PYTHONUNBUFFERED": "1"}
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **shown}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip


def await_task(run: subprocess.Popen[str], task: str) -> None:
    """Until a task of the restore begins."""
    assert run.stdout
    printed = []
    for line in run.stdout:
        printed.append(line)
        if line.startswith("TASK [") and f" : {task}]" in line:
            return
    raise AssertionError(f"'{task}' did not begin:\n{''.join(printed[-20:])}")


def kill_in(server: Server, task: str, *arguments: str) -> None:
    """A restore's controller is gone, with all that it has started, a second after the task began."""
    run = start_restore(server, *arguments)
    await_task(run, task)
    time.sleep(1)
    assert run.poll() is None, f"the restore was over before it could be killed in '{task}'"
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def await_pod_over(server: Server, environment: str = "prod", seconds: float = 180, app: str = "postgres-restore") -> None:
    """Until a restore's pod has ended by itself: nobody asks it any more (restore_silence_seconds)."""
    phases = f"kubectl get pods -n shaka-{environment} -l app={app} -o jsonpath='{{.items[*].status.phase}}'"
    deadline = time.monotonic() + seconds
    time.sleep(5)  # what the controller has begun on the server may still make the pod
    while re.search("Pending|Running", server.run(phases)):
        assert time.monotonic() < deadline, f"a restore's pod still runs {seconds:.0f} s after its controller is gone"
        time.sleep(2)
