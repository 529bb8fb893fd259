"""A changed password is put in force by a run in which everything that holds it follows, and by no other."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.filter.redis_servers import redis_servers
from ansible_collections.shaka.platform.plugins.module_utils.data.changeover import HASH, STAND_IN
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import LOGIN, DesiredPostgres, Passwords, left_alone, role_changes
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import Failed, PostgresInstance, desired_postgres
from ansible_collections.shaka.platform.plugins.module_utils.data.redis import digest
from ansible_collections.shaka.platform.plugins.module_utils.data.redis_instance import RedisInstance
from ansible_collections.shaka.platform.plugins.module_utils.data.scram import matches, verifier
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.modules import application_logins, postgres_databases, redis_users

SITE = Path(__file__).parents[2] / "playbooks/site.yml"
CHAIN = ["rotation before", "config", "apps", "rotation after"]


# --- which roles a run has ------------------------------------------------------------------------------------------------------------------


def site(only: Iterable[str] = ("all",), skip: Iterable[str] = ()) -> list[str]:
    """The roles of the site in a run with these tags, in their order, by Ansible's rule of tags."""
    plays = [play for play in yaml.safe_load(SITE.read_text()) if play.get("tags") != ["always"]]
    entries = [entry for play in plays for entry in play.get("roles", [])]
    chosen = [entry for entry in entries if {"all", *entry["tags"]} & {*only} and not {*entry["tags"]} & {*skip}]
    return [f"{entry['role'].rpartition('.')[2]} {entry.get('rotation_step', '')}".strip() for entry in chosen]


@pytest.mark.parametrize("part", ["rotation", "config", "apps", "api"])
def test_a_run_of_one_of_them_has_all_that_a_changed_password_concerns(part: str) -> None:
    assert site([part]) == CHAIN
    assert not set(CHAIN) & set(site(skip=[part]))


@pytest.mark.parametrize("part", ["postgres", "redis", "backup", "tenancy", "traefik"])
def test_a_run_of_another_part_begins_nothing_and_one_without_it_leaves_nothing_half_way(part: str) -> None:
    assert site([part]) == [part]
    assert [role for role in site(skip=[part]) if role in CHAIN] == CHAIN


def test_what_is_about_to_be_given_is_accepted_before_and_what_was_replaced_is_refused_after() -> None:
    whole = site()
    assert [role for role in whole if role in CHAIN] == CHAIN
    assert whole.index("config") < whole.index("postgres") < whole.index("redis") < whole.index("apps")


# --- Postgres -------------------------------------------------------------------------------------------------------------------------------

WANTED = DesiredPostgres("own", {"app": "app-new", "own": "own-new", "pgbouncer": "pool-new"}, ("shop",), (), "app", True)


@pytest.mark.parametrize(
    ("passwords", "left"),
    [(Passwords.APPLICATION, {"own", "pgbouncer"}), (Passwords.OTHERS, {"app"}), (Passwords.ALL, set())],
)
def test_whose_passwords_are_left_alone(passwords: Passwords, left: set[str]) -> None:
    assert left_alone(WANTED, passwords) == left
    roles = {name: {"password": verifier("old"), "plain": True, "ours": True} for name in WANTED.passwords}
    said = {change.summary for change in role_changes(WANTED, {"roles": roles, "databases": {"shop": "own"}}, {}, left)}
    assert {name for name in WANTED.passwords if f"password of {name}" not in said} == left


def test_a_role_that_is_not_there_is_made_whoever_holds_its_password() -> None:
    said = {change.summary for change in role_changes(WANTED, {"roles": {}, "databases": {}}, {}, left_alone(WANTED, Passwords.OTHERS))}
    assert {"role app", "role own", "role pgbouncer"} <= said


ENV: Any = {
    "name": "prod",
    "namespace": "shop",
    "reads": {"configmaps": "api-config", "secrets": "api-secrets"},
    "apps": {
        "api": {
            "name": "api", "path": "platform_environments.prod.api", "schedule": "", "config_hash": "new", "uses": ["postgres", "redis"],
        },
    },
    "postgres": {
        "user": "own", "app_user": "", "database": "shop", "databases": [], "extensions": [], "storage": "1Gi", "pgbouncer": {"enabled": True},
        "renamed_from": {"database": "", "user": ""},
    },
    "redis": {"user": "prod", "namespace": "shared", "prefix": "prod:", "database": 2, "allow": [], "dedicated": False},
    "backup": {"point_in_time": {"enabled": False}},
}  # fmt: skip
NEW = {"DB_PASSWORD": "db-new", "PGBOUNCER_PASSWORD": "pool-new", "REDIS_PASSWORD": "redis-new"}


def template(digest_: str, suffix: str = "") -> dict[str, Any]:
    return {
        "metadata": {"annotations": {HASH: digest_}},
        "spec": {"containers": [{"envFrom": [{"secretRef": {"name": f"api-secrets{suffix}"}}]}]},
        "status": {"phase": "Running"},
    }


class Server(Kubectl):
    """A server with one environment: what its Postgres and Redis hold, and the application's pods, which hold `given` (None: there is none)."""

    def __init__(self, given: dict[str, str] | None, pods: Iterable[dict[str, Any]] = (), **roles: str) -> None:
        super().__init__(["kubectl"], 1)
        role = {"plain": True, "login": True, "owns": False}
        self.roles = {name: {**role, "password": verifier(password), "ours": name != LOGIN} for name, password in roles.items()}
        self.redis: dict[str, list[str]] = {"default": [], "prod": [digest("redis-old")]}
        self.sent: list[str] = []
        self.objects: dict[str, Any] = {}
        if given is not None:
            running = list(pods) or [template("old")]
            self.objects = {
                "deployments/api": {
                    "kind": "Deployment",
                    "metadata": {"uid": "1"},
                    "spec": {"replicas": 1, "strategy": {"type": "RollingUpdate"}, "template": running[0]},
                    "status": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
                },
                "secrets/api-secrets": {"data": {name: base64.b64encode(value.encode()).decode() for name, value in given.items()}},
                "configmaps/api-config": {"data": {"DB_USER": "own"}},
                "pods": {"items": running},
            }

    def get(self, path: str) -> tuple[Any, str]:
        name = path.partition("?")[0]
        found = next((value for key, value in self.objects.items() if name.endswith(f"/{key}")), None)
        return (found, "") if found is not None else (None, "(NotFound)")

    def run(self, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        if arguments[0] == "patch":  # the pods follow at once
            spec = json.loads(text or "")[0]["value"]
            self.objects[arguments[1].replace("deployment/", "deployments/")]["spec"]["template"]["spec"] = spec
            self.objects["pods"]["items"] = [{**template("old"), "spec": spec}]
        if arguments[0] != "exec":
            self.sent.append(" ".join(arguments[:2]))
            return True, ""
        if "redis-0" in arguments:
            return True, self._redis(text or "")
        if "json_build_object" in (text or ""):
            databases = [{"database": name, "extensions": ["pg_stat_statements"], "missing": False} for name in ("postgres", "shop")]
            cluster = {"roles": self.roles, "databases": {"postgres": "postgres", "shop": "own"}, "lookup": True}
            return True, "\n".join(json.dumps(line) for line in (cluster, *databases))
        self.sent += [line for line in (text or "").splitlines() if "role" in line]
        return True, ""

    def _redis(self, text: str) -> str:
        answers: list[Any] = []
        for command in text.splitlines():
            if command == "ACL USERS":
                answers.append(list(self.redis))
            elif command.startswith("ACL CAT"):
                answers.append([])
            elif command.startswith("ACL GETUSER"):
                passwords = self.redis[command.split()[2]]
                answers.append({"flags": ["on"], "passwords": passwords, "commands": "", "keys": "~prod:*", "channels": "&prod:*", "selectors": []})
            else:
                self.sent.append(command)
                answers.append("OK")
        return "\n".join(map(json.dumps, answers))

    def did(self, words: str) -> bool:
        return any(words in line for line in self.sent)


def postgres(server: Server, passwords: Passwords, check: bool = False, env: Any = None) -> Any:
    env = env or ENV
    return PostgresInstance(server, env, desired_postgres(env, NEW), passwords, check).ensure(0, 0)


OLD_API = {"DB_PASSWORD": "db-old", "REDIS_PASSWORD": "redis-old"}


def test_a_run_of_postgres_alone_leaves_the_password_that_the_pods_hold() -> None:
    server = Server(OLD_API, own="db-old", pgbouncer="pool-old")
    state = postgres(server, Passwords.OTHERS)
    assert list(state.left) == ["own"] and not state.stand_in
    assert list(state.made) == ["prod: password of pgbouncer"] and not server.did('alter role "own" password') and not server.did("patch")


def test_a_password_that_no_application_holds_is_changed_by_whoever_meets_it() -> None:
    """An environment that comes back finds its volume with the password of before."""
    server = Server(None, own="db-old", pgbouncer="pool-new")
    state = postgres(server, Passwords.OTHERS)
    assert (list(state.made), list(state.left)) == (["prod: password of own"], [])
    assert server.did('alter role "own" password') and not server.did("patch")


@pytest.mark.parametrize(("passwords", "made_with"), [(Passwords.OTHERS, "db-old"), (Passwords.APPLICATION, "db-new"), (Passwords.ALL, "db-new")])
def test_a_new_volume_gets_the_password_that_pods_are_given_in_this_run(passwords: Passwords, made_with: str) -> None:
    server = Server(OLD_API, pgbouncer="pool-new")
    assert list(postgres(server, passwords).made) == ["prod: role own"]
    (made,) = (line for line in server.sent if line.startswith('create role "own"'))
    assert matches(made.split("'")[1], made_with)


def test_the_rotation_changes_the_password_once_the_pods_use_the_stand_in_and_leaves_the_pool_s() -> None:
    server = Server(OLD_API, own="db-old", pgbouncer="pool-old")
    state = postgres(server, Passwords.APPLICATION)
    assert state.stand_in and list(state.left) == ["pgbouncer"] and list(state.made) == ["prod: password of own"]
    assert [line for line in server.sent if line.startswith(("apply", "patch", "delete"))] == ["apply --server-side", "patch deployment/api"]
    changed = next(number for number, line in enumerate(server.sent) if line.startswith('alter role "own" password'))
    assert server.sent.index("patch deployment/api") < changed


def test_every_application_that_uses_the_database_moves_before_the_password_changes() -> None:
    """Also one that shares nothing with the first but the Secret; one that runs by the clock, or has no use for Postgres, does not."""
    api = ENV["apps"]["api"]
    more: dict[str, dict[str, Any]] = {"worker": {}, "report": {"schedule": "@daily"}, "web": {"uses": []}}
    env = {**ENV, "apps": {"api": api, **{name: {**api, "name": name, **keys} for name, keys in more.items()}}}
    server = Server(OLD_API, own="db-old", pgbouncer="pool-new")
    server.objects |= {f"deployments/{name}": copy.deepcopy(server.objects["deployments/api"]) for name in ("worker", "web")}
    assert postgres(server, Passwords.APPLICATION, env=env).stand_in
    patched = [number for number, line in enumerate(server.sent) if line.startswith("patch")]
    changed = next(number for number, line in enumerate(server.sent) if line.startswith('alter role "own" password'))
    assert [server.sent[number] for number in patched] == ["patch deployment/api", "patch deployment/worker"] and max(patched) < changed


def test_check_mode_says_what_would_be_changed_and_changes_nothing() -> None:
    server = Server(OLD_API, own="db-old", pgbouncer="pool-new")
    assert list(postgres(server, Passwords.APPLICATION, check=True).made) == ["prod: password of own"] and server.sent == []


@pytest.mark.parametrize(("suffix", "gone"), [("", True), (STAND_IN, False)], ids=["no pod uses it", "pods use it"])
def test_a_stand_in_goes_with_its_last_pod_and_only_in_a_run_with_the_rotation(suffix: str, gone: bool) -> None:
    now = {"DB_PASSWORD": "db-new"}
    there = {"own": "db-new", "pgbouncer": "pool-new", LOGIN: "any"}
    server = Server(now, [template("new", suffix)], **there)
    assert postgres(server, Passwords.OTHERS).made == [] and not server.did("drop role")
    state = postgres(server, Passwords.APPLICATION)
    assert state.stand_in is not gone and server.did(f'drop role "{LOGIN}"') is gone and server.did("delete --ignore-not-found") is gone


APP: Any = {**ENV, "postgres": {**ENV["postgres"], "app_user": "app"}}
WITH_OWNER = {**NEW, "DB_OWNER_PASSWORD": "owner-new"}


def with_app_user(server: Server, passwords: Passwords, finish: bool = False) -> Any:
    return PostgresInstance(server, APP, desired_postgres(APP, WITH_OWNER), passwords, False, finish).ensure(0, 0)


def test_an_app_user_that_comes_later_leaves_the_owner_s_password_until_no_pod_is_the_owner() -> None:
    server = Server({"DB_PASSWORD": "db-new"}, own="db-new", pgbouncer="pool-new")
    for passwords in (Passwords.APPLICATION, Passwords.OTHERS, Passwords.ALL):  # before, and in the role postgres
        state = with_app_user(server, passwords)
        assert "prod: role app" in state.made and list(state.waiting) == ["own"] and list(state.left) == []
    assert not server.did('alter role "own" password') and not server.did("patch")
    rolled = Server({"DB_PASSWORD": "db-new"}, [template("new")], own="db-new", app="db-new", pgbouncer="pool-new")
    state = with_app_user(rolled, Passwords.APPLICATION, finish=True)
    assert list(state.made) == ["prod: password of own"] and not state.waiting and rolled.did('alter role "own" password')


@pytest.mark.parametrize(("pods", "gone"), [("old", False), ("new", True)])
def test_a_role_that_left_the_inventory_logs_in_until_the_last_pod_that_does_is_gone(pods: str, gone: bool) -> None:
    server = Server({"DB_PASSWORD": "db-new"}, [template(pods)], own="db-new", app="db-new", pgbouncer="pool-new")
    state = postgres(server, Passwords.APPLICATION)
    assert server.did('alter role "app" nologin') is gone and list(state.waiting) == ([] if gone else ["app"])
    assert list(state.made) == (["prod: role app can no longer log in"] if gone else [])


# --- Redis ----------------------------------------------------------------------------------------------------------------------------------


def redis(server: Server, rotate: bool, in_run: bool = True) -> Any:
    (given,) = redis_servers(cast(Any, {"all_environments": {"prod": ENV}, "environments": {"prod": ENV} if in_run else {}}))
    given["users"][0]["commands"] = []
    return RedisInstance(server, given, {"prod": NEW}, rotate, False).ensure(0)


def test_the_rotation_makes_both_passwords_good_while_pods_hold_the_old_one() -> None:
    server = Server(OLD_API)
    state = redis(server, rotate=True)
    assert list(state.kept) == ["prod"] and server.did(f"#{digest('redis-old')}") and server.did(f"#{digest('redis-new')}") and server.did("ACL SAVE")


@pytest.mark.parametrize(("rotate", "in_run", "left"), [(False, True, ["prod"]), (True, False, []), (False, False, [])])
def test_a_run_that_does_not_roll_the_pods_leaves_the_password_of_redis(rotate: bool, in_run: bool, left: list[str]) -> None:
    server = Server(OLD_API)
    assert list(redis(server, rotate, in_run).left) == left and server.sent == []


def test_what_a_killed_rotation_left_stays_until_a_run_with_the_rotation() -> None:
    server = Server({"REDIS_PASSWORD": "redis-new"}, [template("new")])
    server.redis["prod"] = [digest("redis-old"), digest("redis-new")]
    assert redis(server, rotate=False) == ([], [], [], "") and server.sent == []
    assert list(redis(server, rotate=True).made) == ["shared: user prod: password"] and not server.did(digest("redis-old"))


@pytest.mark.parametrize(("rotate", "in_run", "made_with"), [(True, True, "redis-new"), (False, True, "redis-old"), (True, False, "redis-old")])
def test_a_new_volume_of_redis_gets_the_password_that_pods_are_given_in_this_run(rotate: bool, in_run: bool, made_with: str) -> None:
    server = Server(OLD_API)
    del server.redis["prod"]
    assert list(redis(server, rotate, in_run).made) == ["shared: user prod: all"] and server.did(f"ACL SETUSER prod reset on #{digest(made_with)} ~")


@pytest.mark.parametrize(("pods", "in_run", "stays"), [("old", True, True), ("old", False, True), ("new", True, False)])
def test_a_user_of_another_name_goes_once_no_pod_logs_in_as_it(pods: str, in_run: bool, stays: bool) -> None:
    """Deleted at once, its connections would end, and the application would be without Redis until its new pods run."""
    server = Server({"REDIS_PASSWORD": "redis-new"}, [template(pods)])
    server.redis |= {"earlier": [digest("redis-new")], "prod": [digest("redis-new")]}
    state = redis(server, rotate=True, in_run=in_run)
    assert server.did("ACL DELUSER earlier") is not stays and list(state.kept) == (["prod"] if stays else [])


def test_without_an_application_the_password_of_redis_is_set_at_once() -> None:
    server = Server(None)
    assert list(redis(server, rotate=False).made) == ["shared: user prod: password"] and not server.did(digest("redis-old"))


# --- the modules ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The parameters of all three modules; `server` is what they reach."""
    server = Server(OLD_API, own="db-old", pgbouncer="pool-old")
    for module in (application_logins, postgres_databases, redis_users):
        monkeypatch.setattr(module, "Kubectl", lambda *_arguments: server)
    servers = redis_servers(cast(Any, {"all_environments": {"prod": ENV}, "environments": {"prod": ENV}}))
    servers[0]["users"][0]["commands"] = []
    return {
        "environments": {"prod": ENV}, "servers": servers, "passwords": {"prod": NEW}, "image": "postgres:15", "rotate": False,
        "wait_timeout": 0, "rollout_timeout": 0, "kubectl": ["kubectl"], "server": server,
    }  # fmt: skip


def test_the_roles_of_postgres_and_redis_alone_name_what_is_not_in_force(given: dict[str, Any]) -> None:
    assert postgres_databases.run(given, False)["left"] == ["prod/DB_PASSWORD"]
    assert redis_users.run(given, False)["left"] == ["prod/REDIS_PASSWORD"]


def test_one_call_begins_the_rotation_of_both_and_names_what_is_to_be_finished(given: dict[str, Any]) -> None:
    found = application_logins.run(given, False)
    assert found["changes"] == ["prod: password of own", "shared: user prod: password"]
    assert found["unfinished"] == [
        "prod: its pods may still use the stand-in for its database user",
        "prod: its pods may still hold a replaced REDIS_PASSWORD",
    ]
    assert found["postgres"] == {"pending": {}, "left": ["prod"]} and found["redis"] == {"pending": {}}


def test_in_check_mode_nothing_is_begun_and_so_nothing_is_to_be_finished(given: dict[str, Any]) -> None:
    found = application_logins.run(given, True)
    assert found["changed"] and found["unfinished"] == [] and given["server"].sent == []


def test_a_database_that_does_not_answer_is_left_to_its_role_and_a_failure_at_the_end(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "run", lambda *_arguments, **_text: (False, "pods not found"))
    found = application_logins.run(given, False)
    assert found["postgres"]["pending"] == {"prod": "pods not found"} and found["redis"]["pending"] == {"shared": "pods not found"}
    assert len(found["unfinished"]) == 2
    monkeypatch.setattr("time.monotonic", iter(range(0, 10_000, 100)).__next__)
    with pytest.raises(Failed, match=r"(?s)Postgres does not answer.*Redis does not answer"):
        application_logins.run({**given, "wait_timeout": 1}, False)
