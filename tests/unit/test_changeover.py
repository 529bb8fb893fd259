"""A password that was replaced: which pods hold which, and the login that stands in for a database user meanwhile."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.data import changeover, stand_in
from ansible_collections.shaka.platform.plugins.module_utils.data.changeover import HASH, Application, Applications, Held, held, redirected, stands_in
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import DesiredPostgres, login, no_login, outdated, script
from ansible_collections.shaka.platform.plugins.module_utils.data.scram import verifier
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import PasswordReader, PasswordReaders

APP: PasswordReader = {"name": "api", "path": "platform_environments.prod.api", "schedule": "", "config_hash": "new", "uses": ["postgres"]}
ENV: PasswordReaders = {"namespace": "shop", "reads": {"configmaps": "api-config", "secrets": "api-secrets"}, "apps": {"api": APP}}


def pod(digest: str, suffix: str = "") -> dict[str, Any]:
    """A pod, or a template of pods, that reads its Secret in every way there is."""
    return {
        "metadata": {"annotations": {HASH: digest}},
        "spec": {
            "containers": [
                {
                    "name": "api",
                    "envFrom": [{"configMapRef": {"name": f"api-config{suffix}"}}, {"secretRef": {"name": f"api-secrets{suffix}"}}],
                    "env": [{"name": "JWT", "valueFrom": {"secretKeyRef": {"name": f"api-secrets{suffix}", "key": "JWT"}}}],
                }
            ],
            "volumes": [{"name": "secrets", "secret": {"secretName": f"api-secrets{suffix}"}}, {"name": "tmp", "emptyDir": {}}],
        },
        "status": {"phase": "Running"},
    }


NEW, OLD, STANDING_IN = pod("new"), pod("old"), pod("new", "-stand-in")


@pytest.mark.parametrize(
    ("template", "pods", "found"),
    [
        (NEW, [NEW, NEW], Held.NEW), (NEW, [], Held.NEW), (NEW, [NEW, OLD], Held.BOTH), (NEW, [NEW, STANDING_IN], Held.BOTH),
        (OLD, [OLD], Held.OLD), (OLD, [NEW], Held.OLD), (STANDING_IN, [NEW], Held.OLD),
    ],
)  # fmt: skip
def test_pods_that_end_count_and_a_stand_in_is_not_the_new_password(template: dict[str, Any], pods: list[dict[str, Any]], found: Held) -> None:
    assert held(template, pods, "new") is found


def test_every_reference_is_redirected_and_back() -> None:
    names = {name: name + changeover.STAND_IN for name in ("api-config", "api-secrets")}
    there = redirected(NEW["spec"], names)
    assert there == STANDING_IN["spec"] and stands_in({"spec": there})
    assert redirected(there, {stand_in: name for name, stand_in in names.items()}) == NEW["spec"]


class Cluster(Kubectl):
    """What the API server would answer."""

    def __init__(self, **objects: Any) -> None:
        super().__init__(["kubectl"], 1)
        self.objects, self.ran = objects, list[tuple[tuple[str, ...], str]]()

    def get(self, path: str) -> tuple[Any, str]:
        name = path.partition("?")[0].rpartition("/")[2].replace("-", "_")
        return (self.objects[name], "") if name in self.objects else (None, f'Error from server (NotFound): "{name}" not found')

    def run(self, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        self.ran.append((arguments, text or ""))
        return True, ""


def deployment(template: dict[str, Any], strategy: str = "RollingUpdate", replicas: int = 1) -> dict[str, Any]:
    return {"metadata": {"uid": "1"}, "spec": {"replicas": replicas, "strategy": {"type": strategy}, "template": template}}


def secret(password: str) -> dict[str, Any]:
    return {"data": {"DB_PASSWORD": base64.b64encode(password.encode()).decode(), "JWT": "a2VwdA=="}}


@pytest.mark.parametrize(
    ("objects", "needed"),
    [
        ({}, False),
        ({"api": deployment(OLD), "api_secrets": secret("old"), "pods": {"items": [OLD]}}, True),
        ({"api": deployment(OLD, "Recreate"), "api_secrets": secret("old"), "pods": {"items": [OLD]}}, False),
        ({"api": deployment(OLD, replicas=0), "api_secrets": secret("old"), "pods": {"items": []}}, False),
        ({"api": deployment(NEW), "api_secrets": secret("wanted"), "pods": {"items": [NEW]}}, False),
        ({"api": deployment(NEW), "api_secrets": secret("wanted"), "pods": {"items": [NEW, OLD]}}, True),
        ({"api": deployment(OLD), "api_secrets": secret("wanted"), "pods": {"items": [NEW]}}, True),
    ],
)
def test_a_stand_in_is_needed_by_pods_that_roll_and_hold_another_password(objects: dict[str, Any], needed: bool) -> None:
    assert stand_in.needed(Application(Cluster(**objects), ENV, APP), "wanted") is needed


WORKER: PasswordReader = {**APP, "name": "worker"}
CRON: PasswordReader = {**APP, "name": "cron", "schedule": "@daily"}


@pytest.mark.parametrize(
    ("apps", "objects", "found"),
    [
        ([], {}, Held.NEW),
        ([APP, WORKER], {"api": deployment(NEW), "worker": deployment(NEW)}, Held.NEW),
        ([APP, WORKER], {"api": deployment(NEW), "worker": deployment(OLD)}, Held.OLD),
        ([APP, WORKER], {"api": deployment(NEW)}, Held.NEW),
        ([APP, {**WORKER, "uses": ["redis"]}], {"api": deployment(NEW), "worker": deployment(OLD)}, Held.NEW),
        ([CRON], {"cron": {"spec": {"jobTemplate": {"spec": {"template": NEW}}}}}, Held.NEW),
        ([CRON], {"cron": {"spec": {"jobTemplate": {"spec": {"template": NEW}}}}, "pods": {"items": [OLD]}}, Held.BOTH),
    ],
)
def test_every_application_that_uses_the_server_counts(apps: list[PasswordReader], objects: dict[str, Any], found: Held) -> None:
    """A job that runs by the clock holds the password too, as long as it runs."""
    env: PasswordReaders = {**ENV, "apps": {app["name"]: app for app in apps}}
    applications = Applications(Cluster(api_secrets=secret("wanted"), **objects), env, "postgres")
    assert applications.held("DB_PASSWORD", "wanted") is found and applications.there() is bool(objects)
    assert not any(stand_in.needed(each, "other") for each in applications.members if each.scheduled), "a job cannot be rolled"


def test_an_answer_that_did_not_come_is_not_taken_for_nothing() -> None:
    class Silent(Cluster):
        def get(self, path: str) -> tuple[Any, str]:
            return None, "no answer within 30 s"

    with pytest.raises(Unanswered):
        Application(Silent(), ENV, APP).held("REDIS_PASSWORD", "wanted")


def test_a_stand_in_that_pods_may_use_keeps_its_password_and_is_not_made_again() -> None:
    """A run that was killed while the pods changed over is gone on with."""
    ready = {**deployment(STANDING_IN), "kind": "Deployment", "status": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}}
    cluster = Cluster(api=ready, api_secrets_stand_in=secret("of before"), pods={"items": [STANDING_IN]})
    made: list[str] = []
    stand_in.change_over(Application(cluster, ENV, APP), made.append, 0)
    assert made == ["of before"] and cluster.ran == []


def test_an_application_that_does_not_follow_gets_its_user_back() -> None:
    stuck = {**deployment(OLD), "kind": "Deployment", "status": {"replicas": 2, "updatedReplicas": 1}}
    cluster = Cluster(api=stuck, api_secrets=secret("old"), api_config={"data": {"DB_USER": "shop", "PORT": "1"}}, pods={"items": [OLD]})
    with pytest.raises(stand_in.NotFollowed, match="1 old pods are still there"):
        stand_in.change_over(Application(cluster, ENV, APP), lambda _password: None, 0)
    (made, objects), (_there, first), (_back, last) = cluster.ran
    config, secrets = json.loads(objects)["items"]
    assert config["data"] == {"DB_USER": "password_rotation", "PORT": "1"} and secrets["data"]["JWT"] == "a2VwdA=="
    assert secrets["data"]["DB_PASSWORD"] not in (" ".join(made), secret("old")["data"]["DB_PASSWORD"])
    assert json.loads(first)[0]["value"] == pod("old", "-stand-in")["spec"] and json.loads(last)[0]["value"] == OLD["spec"]


def test_the_application_s_role_is_the_one_that_is_looked_at() -> None:
    wanted = DesiredPostgres("own", {"app": "one", "own": "two"}, ("shop",), (), "app")
    roles = {"app": {"password": verifier("one")}, "own": {"password": verifier("other")}}
    assert not outdated(wanted, roles, wanted.client) and outdated(wanted, {"app": {"password": verifier("other")}}, wanted.client)
    assert not outdated(wanted, {}, wanted.client), "a role that is not there has no clients"


def test_no_statement_holds_the_stand_in_s_password_and_what_it_made_is_handed_over_before_it_goes() -> None:
    assert "secret-one" not in script([login("shop", "secret-one")])
    gone = script(no_login("shop", ["shop", "more"]))
    assert gone.index('\\connect "shop"') < gone.index("reassign owned") < gone.index('\\connect "more"') < gone.index("drop role")
