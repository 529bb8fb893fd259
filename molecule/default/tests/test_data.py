"""What the data layer promises its users: Redis holds each environment to its own, and Postgres's roles can do what they should."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Server
from redis_cli import redis

ATTACKS: dict[str, list[str]] = yaml.safe_load((Path(__file__).parent / "redis_attacks.yml").read_text())
COMMANDS = [command for commands in ATTACKS.values() for command in commands]
DENIED = re.compile(
    r"NOPERM|command (is )?not allowed|can't (access|run)|string exceeds maximum allowed size|bit offset is not an integer or out of range"
)
ALLOWED = [
    "SELECT 2", "SET prod:own 1", "INCR prod:own", "EXPIRE prod:own 600", "TTL prod:own", "HSET prod:hash a 1", "HSCAN prod:hash 0",
    "RPUSH prod:list 3 1",
    "ZADD prod:zset 1 a", "XADD prod:stream * a 1", "SADD prod:set a", "SSCAN prod:set 0", "PFADD prod:hll a", "SETBIT prod:bits 7 1",
    "GEOADD prod:geo 13.3 38.1 a", "PUBLISH prod:events x", "MULTI", "SET prod:own 2", "EXEC", "OBJECT ENCODING prod:own", "TYPE prod:own",
    "CLIENT ID",
    "CLIENT SETNAME api", "PING", "ECHO x", "TIME", "COMMAND COUNT", 'EVAL "return redis.call(\'INCR\', KEYS[1])" 1 prod:own',
    'SCRIPT LOAD "return 1"', "RENAME prod:own prod:was", "UNLINK prod:was",
]  # fmt: skip


def psql(server: Server, statement: str, user: str = "shaka_production", database: str = "shaka_production", check: bool = True) -> str:
    """psql as the operators use it."""
    text = base64.b64encode(statement.encode()).decode()
    command = f"echo {text} | base64 -d | kubectl exec -i -n shaka-prod postgres-0 -- psql -XAt -v ON_ERROR_STOP=1 -U {user} -d {database} 2>&1"
    return server.run(command, check=check).strip()


@pytest.fixture(scope="module")
def attacked(server: Server) -> Iterator[dict[str, str]]:
    """Every attack's answer, made in one connection while dev listens on its channel."""
    redis(
        server,
        [
            "DEL dev:list",
            "SET dev:canary safe",
            "DEL dev:stream",
            "RPUSH dev:list a",
            "SADD dev:set a",
            "XADD dev:stream * a 1",
            "PUBLISH dev:events x",
        ],
        "dev",
        0,
    )
    redis(server, ["SET staging:canary safe"], "staging", 1)
    redis(server, ["SET prod:own 1", "RPUSH prod:list 2 1"], "prod", 2)
    answers = redis(server, COMMANDS, "prod", 2)
    assert len(answers) == len(COMMANDS), answers
    yield dict(zip(COMMANDS, answers, strict=True))
    redis(server, ["DEL dev:canary", "DEL dev:list", "DEL dev:set", "DEL dev:stream"], "dev", 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_prod_s_redis_user_is_refused(attacked: dict[str, str], command: str) -> None:
    assert DENIED.search(attacked[command]), attacked[command]


def test_nothing_of_the_others_has_changed(server: Server, attacked: dict[str, str]) -> None:
    assert redis(server, ["GET dev:canary", "LLEN dev:list", "SCARD dev:set", "XLEN dev:stream"], "dev", 0) == ['"safe"', "1", "1", "1"]
    assert redis(server, ["GET staging:canary"], "staging", 1) == ['"safe"']
    assert json.loads(redis(server, ["CONFIG GET maxmemory"])[0]) == {"maxmemory": str(192 << 20)}


def test_the_usual_commands_work_within_the_prefix(server: Server) -> None:
    answers = redis(server, ALLOWED, "prod", 2)
    assert len(answers) == len(ALLOWED)
    assert [f"{command}: {answer}" for command, answer in zip(ALLOWED, answers, strict=True) if answer.startswith("error")] == []


def test_a_memory_flood_ends_at_maxmemory_and_kills_nobody(server: Server) -> None:
    """It evicts the others' keys, as docs/redis.md says of allkeys-lru; the server stays."""
    before = server.run("kubectl get pod -n shaka-shared redis-0 -o jsonpath='{.metadata.uid} {.status.containerStatuses[0].restartCount}'")
    answers = redis(server, "seq -f 'SETRANGE prod:flood:%g 100000 x' 4000", "prod", 2)
    assert answers == ["100001"] * 4000
    used = int(re.findall(r"used_memory:(\d+)", "\n".join(redis(server, ["INFO memory"])))[0])
    assert used < (192 << 20) + (16 << 20), "400 MB were written"
    after = server.run("kubectl get pod -n shaka-shared redis-0 -o jsonpath='{.metadata.uid} {.status.containerStatuses[0].restartCount}'")
    assert after == before
    redis(server, "seq -f 'UNLINK prod:flood:%g' 4000", "prod", 2)


def test_a_redis_user_changed_by_hand_is_drift_and_put_back_without_a_restart(server: Server) -> None:
    before = server.run("kubectl get pod -n shaka-shared redis-0 -o jsonpath='{.metadata.uid} {.status.startTime}'")
    redis(server, ["ACL SETUSER prod ~* +flushall", "ACL SETUSER intruder on nopass ~* +@all"])
    done = server.playbook("site.yml", "--tags", "redis", "--diff")
    assert done.returncode == 0, done.stdout
    assert "user prod: keys, commands" in done.stdout and "user intruder: removed" in done.stdout
    assert DENIED.search(redis(server, ["FLUSHALL"], "prod", 2)[0])
    assert server.run("kubectl get pod -n shaka-shared redis-0 -o jsonpath='{.metadata.uid} {.status.startTime}'") == before


def test_the_owner_is_no_superuser_and_the_superuser_is_not_reached_over_the_network(server: Server) -> None:
    assert psql(server, "select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = current_user") == "f|f|f"
    assert "must be superuser" in psql(server, "copy pg_class to program 'id'", check=False)
    password = "kubectl get secret shaka-api-secrets -n shaka-prod -o jsonpath='{.data.DB_PASSWORD}' | base64 -d"
    login = 'PGPASSWORD=$(cat) psql -XAt -h 127.0.0.1 -U {} -d postgres -c "select 41 + 1" 2>&1'
    for user, answer in (("shaka_production", "42"), ("postgres", "password authentication failed")):
        said = server.run(f"{password} | kubectl exec -i -n shaka-prod postgres-0 -- sh -c '{login.format(user)}'", check=False)
        assert answer in said


def test_slow_statements_are_logged_and_all_are_counted(server: Server) -> None:
    psql(server, "select pg_sleep(1.1) as slow_canary")
    assert re.search(r"duration: \d+.*slow_canary", server.run("kubectl logs -n shaka-prod postgres-0 --tail=20"))
    counted = "select sum(calls) >= 1 from pg_stat_statements s join pg_database d on d.oid = s.dbid where datname = 'shaka_production'"
    assert psql(server, f"{counted} and query like '%pg_sleep%'", "postgres", "postgres") == "t"


def test_postgres_runs_as_a_user_that_its_image_has_no_name_for(server: Server) -> None:
    """As 999 is in the official Alpine image, whose own user is 70."""
    asked = "kubectl exec -n shaka-prod postgres-0 -- sh -c 'id -u; getent passwd 70; getent passwd $(id -u) || echo none'"
    assert [line.split(":")[0] for line in server.run(asked).split()] == ["999", "postgres", "none"]
    inside = "kubectl exec -n shaka-prod postgres-0 --"
    assert "accepting connections" in server.run(f"{inside} pg_isready")
    assert server.run(f"{inside} psql -Atc 'select current_user'").strip() == "postgres"


def test_postgres_is_sized_by_its_container(server: Server) -> None:
    assert psql(server, "show shared_buffers; show max_connections; show max_wal_size; show fsync").split() == ["64MB", "50", "1GB", "on"]


REFUSED = [
    ({"platform_environments": {"prod": {"postgres": {"storage": "10Gi"}}}}, "does not shrink"),
    ({"platform_image_overrides": {"postgres": "lab.local/postgres:16"}}, "has data of Postgres 15"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED, ids=["a smaller volume", "another major version"])
def test_what_a_volume_cannot_follow_is_refused_before_anything_changes(server: Server, tmp_path: Path, change: dict[str, object], says: str) -> None:
    inventory = Path(__file__).parents[3] / "inventories/sandbox/group_vars/all/platform.yml"
    known = yaml.safe_load(inventory.read_text())
    if "platform_environments" in change:
        known["platform_environments"]["prod"]["postgres"]["storage"] = "10Gi"
        change = {"platform_environments": known["platform_environments"]}
    (tmp_path / "change.json").write_text(json.dumps(change))
    before = server.run("kubectl get statefulset,pvc -n shaka-prod -o jsonpath='{.items[*].metadata.resourceVersion}'")
    done = server.playbook("site.yml", "--tags", "postgres", "-e", f"@{tmp_path}/change.json")
    assert done.returncode == 2, done.stdout
    assert says in done.stdout and "shaka.platform.restore" in done.stdout
    assert server.run("kubectl get statefulset,pvc -n shaka-prod -o jsonpath='{.items[*].metadata.resourceVersion}'") == before
