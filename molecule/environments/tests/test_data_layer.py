"""What an environment's data layer may have besides its defaults: roles, a pool, a Redis of its own."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest
from conftest import Server

CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
IMAGES = {"psql": "lab.local/postgres:15", "redis": "lab.local/redis:7"}
# Run in the client's pod, with what the API's pods are given
PSQL = {
    "application": 'PGPASSWORD=$DB_PASSWORD psql -h $DB_HOST -U $DB_USER -d $DB_NAME',
    "directly": 'PGPASSWORD=$DB_PASSWORD psql -h postgres-prod -U $DB_USER -d $DB_NAME',
    "superuser": 'PGPASSWORD=$DB_PASSWORD psql -h $DB_HOST -U postgres -d $DB_NAME',
    "stranger": 'PGPASSWORD=$REDIS_PASSWORD psql -h $DB_HOST -U $DB_USER -d $DB_NAME',
}  # fmt: skip


def client(app: str) -> str:
    """A pod like the API's by its label or not, from which everything may be tried: what is refused, the other side refuses."""
    name, labels = f"client-{app}", {"app": app, "part": "client"}
    source = {"envFrom": [{"configMapRef": {"name": "shaka-api-config"}}, {"secretRef": {"name": "shaka-api-secrets"}}]}
    containers = [
        {"name": kind, "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"], "securityContext": CONFINED, **source}
        for kind, image in IMAGES.items()
    ]
    spec = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, "containers": containers}
    spec["securityContext"] = {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}}
    policy = {"podSelector": {"matchLabels": {"part": "client"}}, "policyTypes": ["Egress"], "egress": [{}]}
    objects = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "client"}, "spec": policy},
    ]
    text = base64.b64encode(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode()).decode()
    return f"echo {text} | base64 -d | kubectl apply -n shaka-prod -f - && kubectl wait -n shaka-prod --for=condition=ready pod/{name} --timeout=90s"


@pytest.fixture(scope="module")
def clients(server: Server) -> Iterator[Server]:
    """The server with two clients in prod: one that counts as the API, and another."""
    server.run(f"{client('shaka-api')} && {client('stranger')} && sleep 2")  # policies reach a new pod's address within that (docs/isolation.md)
    yield server
    server.run("kubectl delete -n shaka-prod pod/client-shaka-api pod/client-stranger networkpolicy/client")


def ask(server: Server, container: str, command: str, app: str = "shaka-api") -> str:
    """What a command says in a client's pod, errors included."""
    text = base64.b64encode(command.encode()).decode()
    return server.run(f"kubectl exec -n shaka-prod client-{app} -c {container} -- sh -c 'echo {text} | base64 -d | sh' 2>&1", check=False).strip()


def sql(server: Server, how: str, *statements: str, app: str = "shaka-api") -> str:
    return ask(server, "psql", f"export PGCONNECT_TIMEOUT=5; {PSQL[how]} -XAtq " + " ".join(f'-c "{each}"' for each in statements), app)


def owner(server: Server, *statements: str, database: str = "shaka_production") -> str:
    """As the owners use it, in the pod."""
    commands = " ".join(f'-c "{each}"' for each in statements)
    return server.run(f"kubectl exec -n shaka-prod postgres-0 -- psql -XAtq -v ON_ERROR_STOP=1 -U shaka_production -d {database} {commands}").strip()


def redis(server: Server, *commands: str, app: str = "shaka-api") -> str:
    login = "redis-cli --no-auth-warning -h $REDIS_HOST --user $REDIS_USERNAME"
    return ask(server, "redis", "export REDISCLI_AUTH=$REDIS_PASSWORD; " + "; ".join(f"{login} {command}" for command in commands), app)


def test_the_application_reads_and_writes_rows_and_leaves_the_schema_to_the_owner(clients: Server) -> None:
    owner(clients, "drop table if exists goods", "create table goods (id bigint generated always as identity primary key, name text)")
    assert sql(clients, "application", "insert into goods (name) values ('a'), ('b')", "update goods set name = 'c' where name = 'b'") == ""
    assert sql(clients, "application", "select name from goods order by id", "delete from goods where name = 'a'", "select current_user").split() == [
        "a", "c", "shaka_app",
    ]  # fmt: skip
    schema = ("drop table goods", "alter table goods add column price int", "truncate goods", "create table mine ()", "create schema mine")
    refused = sql(clients, "application", *schema)
    assert len(re.findall(r"ERROR: .*(must be owner|permission denied)", refused)) == len(schema), refused
    owner(clients, "alter table goods add column price int")


def test_what_the_inventory_lists_is_there_and_its_setting_holds(clients: Server) -> None:
    assert (
        owner(clients, "select current_database(), count(*) from pg_extension where extname = 'pgcrypto'", database="shaka_reports")
        == "shaka_reports|1"
    )
    assert len(owner(clients, "select encode(gen_random_bytes(8), 'hex')")) == 16
    assert owner(clients, "show statement_timeout") == "47s"


def test_the_api_reaches_postgres_through_its_pool_alone(clients: Server) -> None:
    pool = clients.run("kubectl get pods -n shaka-prod -l app=pgbouncer -o jsonpath='{.items[0].status.podIP}'")
    assert sql(clients, "application", "select inet_client_addr()") == pool
    assert "Connection refused" in sql(clients, "directly", "select 1")
    assert "no such user" in sql(clients, "superuser", "select 1")
    assert "authentication failed" in sql(clients, "stranger", "select 1")
    assert "Connection refused" in sql(clients, "application", "select 1", app="stranger"), "only the API's pods may use the pool"


def test_more_clients_than_postgres_has_room_for_are_served(clients: Server) -> None:
    """pgbench with prepared statements, 60 clients at once for a Postgres of 50 connections."""
    owner(clients, "create or replace view one as select 1 as number")
    run = "PGPASSWORD=$DB_PASSWORD pgbench -n -M prepared -c 60 -j 2 -t 5 -h $DB_HOST -U $DB_USER -f /tmp/one.sql $DB_NAME"
    said = ask(clients, "psql", f"echo 'select number from one;' > /tmp/one.sql; {run}")
    assert "number of transactions actually processed: 300/300" in said, said


def test_a_redis_of_its_own_answers_under_the_usual_name_and_is_nobody_else_s(clients: Server) -> None:
    clients.run("kubectl exec -n shaka-shared redis-0 -- redis-cli -n 0 SET dev:mine kept")
    assert redis(clients, "SET any:key 1", "--scan --pattern 'any:*'", "FLUSHALL", "DBSIZE", "INFO server").splitlines()[:5] == [
        "OK", "any:key", "OK", "0", "# Server",
    ]  # fmt: skip
    assert clients.run("kubectl exec -n shaka-shared redis-0 -- redis-cli -n 0 GET dev:mine").strip() == "kept"
    users = clients.run("kubectl exec -n shaka-shared redis-0 -- redis-cli ACL USERS").split()
    assert sorted(users) == ["default", "dev", "staging"]
    assert "Connection refused" in redis(clients, "PING", app="stranger")
