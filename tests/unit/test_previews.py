"""Previews: what one has of its parent and what is its own, and what of it goes when it is over."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.filter.pick_secrets import pick_secrets
from ansible_collections.shaka.platform.plugins.filter.redis_servers import redis_servers
from ansible_collections.shaka.platform.plugins.module_utils.data.previews import HostedPreview, HostedPreviews, NotThePreviews, changes
from ansible_collections.shaka.platform.plugins.module_utils.data.redis import digest, preview_of
from ansible_collections.shaka.platform.plugins.module_utils.data.redis_instance import RedisInstance
from ansible_collections.shaka.platform.plugins.module_utils.data.scram import verifier
from ansible_collections.shaka.platform.plugins.module_utils.engine.identity import MANAGER, SET, key_of, of_preview
from ansible_collections.shaka.platform.plugins.module_utils.engine.pruning import left_over
from ansible_collections.shaka.platform.plugins.module_utils.verify.checks import Limits, evaluate
from ansible_collections.shaka.platform.plugins.module_utils.verify.probes import Https, PostgresAnswer, ProbeAnswer
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import ROLES, role_variables
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday import inventory as known
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday import tunnel
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday.status import labelled
from ansible_collections.shaka.platform.plugins.plugin_utils.model.resolve import Resolution
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import RenderedSet, render_role, scope_of
from test_model import INTERFACE, inventory, run, secret
from test_verify_checks import APP, MODEL, facts, pod
from test_verify_checks import NOW as VERIFIED

NOW = "2026-11-27T12:00:00+00:00"
LIVES, OVER = "2026-11-30T12:00:00Z", "2026-11-27T11:59:59Z"
IMAGE = "r.test/api@sha256:" + "0" * 64
DATA = ("tenancy", "config", "postgres", "redis", "apps")


def with_previews(parent: dict[str, Any] | None = None, run_of: dict[str, Any] | None = None, **previews: Any) -> dict[str, Any]:
    """The inventory with previews of prod, whose own part may have more."""
    data = copy.deepcopy(inventory())
    prod = data["platform_environments"]["prod"]
    prod |= {"quota": {}, "network": "zero_trust", "ingress": [{"namespace": "shared"}], **(parent or {})}
    named = {name.replace("_", "-"): {"of": "prod", "expires": LIVES, **entry} for name, entry in previews.items()}
    return {**data, "now": NOW, "platform_previews": named, "platform_preview_run": run_of or {}}


def resolved(data: dict[str, Any]) -> Resolution:
    resolution = run(data)
    assert resolution.problems == [], resolution.message()
    return resolution


def sets_of(resolution: Resolution, *roles: str) -> dict[str, RenderedSet]:
    scope = {**role_variables(DataLoader(), ROLES / "platform", "defaults"), "platform_name": "acme", "platform_postgres_uid": 999}
    scope["platform_images"] = {name: f"lock/{name}:1" for name in INTERFACE.images}
    found: dict[str, RenderedSet] = {}
    for role in roles:
        variables = scope_of(ROLES / role, DataLoader(), scope, resolution.model)
        found |= {
            part.name: part for part in render_role(ROLES / role, Templar(loader=DataLoader(), variables=variables), variables, resolution.model)
        }
    return found


def objects(resolution: Resolution, preview: str, *roles: str) -> dict[tuple[str, str], Any]:
    sets = [part for part in sets_of(resolution, *roles).values() if of_preview(part.name) == preview]
    return {(item["kind"], item["metadata"]["name"]): item for part in sets for item in part.objects}


# --- the model ------------------------------------------------------------------------------------------------------------------------------


def test_a_secret_in_a_preview_s_own_config_is_refused_once() -> None:
    value = inventory()["platform_secrets"]["prod"]["DB_PASSWORD"]
    data = with_previews(pr_1={"config": {"KEY": value, "PLAIN": "x"}})
    (problem,) = run(data).problems
    assert problem.path == "platform_previews.pr-1.config.KEY"
    assert "the value of platform_secrets.prod.DB_PASSWORD" in problem.text and value not in str(problem)


def test_a_preview_is_its_parent_with_a_place_and_data_of_its_own() -> None:
    parent = {
        "postgres": {"database": "shop", "app_user": "app", "databases": ["more"], "extensions": ["pgcrypto"], "pgbouncer": {"enabled": True}},
        "config": {"LEVEL": "debug", "DB_HOST": "elsewhere", "REDIS_HOST": "there"},
        "api": {"host": "acme.test", "hosts": ["www.acme.test"], "replicas": 3, "volumes": {"files": {"mount": "/data", "size": "5Gi"}}},
    }
    data = with_previews(parent, pr_12={"image": IMAGE, "config": {"LEVEL": "trace"}})
    data["platform_secrets"]["prod"] |= {"DB_OWNER_PASSWORD": secret("o"), "PGBOUNCER_PASSWORD": secret("p")}
    model = resolved(data).model
    assert list(model["environments"]) == ["dev", "prod"] and list(model["previews"]) == ["pr-12"]
    env = model["previews"]["pr-12"]
    assert env["namespace"] == "acme-pr-12" and env["preview"]["namespace"] == "acme-prod" and env["ingress"] == []
    config = env["config"]
    assert (config["DB_HOST"], config["DB_NAME"], config["DB_USER"]) == (
        "postgres-prod.acme-prod.svc.cluster.local", "acme_preview_pr_12", "acme_preview_pr_12",
    )  # fmt: skip
    assert (config["REDIS_HOST"], config["REDIS_KEY_PREFIX"], config["REDIS_USERNAME"], config["REDIS_DB"]) == (
        "redis-pr-12.acme-pr-12.svc.cluster.local", "preview.pr-12:", "pr-12", "1",
    )  # fmt: skip
    assert config["LEVEL"] == "trace"
    app = env["apps"]["api"]
    assert (app["hosts"], app["image"], app["replicas"], app["volumes"], app["writable"]["/data"]) == (["pr-12.acme.test"], IMAGE, 1, {}, "1Gi")
    assert model["all_environments"]["prod"]["apps"]["api"]["hosts"] == ["acme.test", "www.acme.test"], "the parent stays as it is"


def test_the_host_follows_the_template_and_the_other_images_what_the_parent_runs() -> None:
    data = with_previews(
        {"api": {"host": "acme.test"}, "apps": {"web": {"host": "web.test", "image": "r.test/web:1"}}}, pr_1={}, pr_2={"host": "{preview}.x.test"}
    )
    data |= {
        "platform_preview_host": "{preview}-{host}",
        "platform_releases": {"prod": {"apps": {"api": {"image": IMAGE}, "web": {"image": "r.test/web:2"}}}},
    }
    data["platform_previews"]["pr-2"] |= {"app": "web", "image": "r.test/web:3"}
    del data["platform_environments"]["prod"]["api"]["host"]
    data["platform_environments"]["prod"]["api"]["internal"] = True
    previews = resolved(data).model["previews"]
    assert previews["pr-1"]["apps"]["web"]["hosts"] == ["pr-1-web.test"] and previews["pr-2"]["apps"]["web"]["hosts"] == ["pr-2.x.test"]
    images = {name: [app["image"] for app in env["apps"].values()] for name, env in previews.items()}
    assert images == {"pr-1": [IMAGE, "r.test/web:2"], "pr-2": [IMAGE, "r.test/web:3"]}


def test_its_secrets_are_its_own_but_for_what_others_gave_to_its_parent() -> None:
    data = with_previews(pr_1={}, pr_2={})
    data["platform_environments"]["prod"]["secrets"] = ["JWT_SECRET", "STRIPE"]
    data["platform_secrets"]["prod"]["STRIPE"] = "sk_test"
    data["given"] = ["STRIPE"]
    resolution = resolved(data)
    names = ["DB_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET", "STRIPE", "BACKUP_KEY"]
    picked = pick_secrets(data["platform_secrets"], resolution.model["all_previews"], names)
    assert {name: list(values) for name, values in picked.items()} == dict.fromkeys(["pr-1", "pr-2"], names[:-1])
    assert picked["pr-1"]["STRIPE"] == picked["pr-2"]["STRIPE"] == "sk_test"
    own = [value for values in picked.values() for name, value in values.items() if name != "STRIPE"]
    assert len(set(own)) == 6 and all(len(value) == 64 for value in own)
    assert not set(own) & {value for group in data["platform_secrets"].values() for value in group.values()}
    assert picked == pick_secrets(data["platform_secrets"], resolution.model["all_previews"], names), "the next run finds the same"
    data["platform_secrets"]["shared"]["HASH_KEY"] = secret("another")
    assert not set(own) & set(pick_secrets(data["platform_secrets"], resolution.model["all_previews"], names)["pr-1"].values())


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"pr_1": {"of": "prdo"}}, "platform_previews.pr-1.of", "did you mean prod"),
        ({"pr_1": {"expires": "soon"}}, "platform_previews.pr-1.expires", "is not a moment"),
        ({"pr_1": {"expires": None}}, "platform_previews.pr-1", "lacks expires"),
        ({"pr_1": {"image": IMAGE, "app": "apo"}}, "platform_previews.pr-1.app", "did you mean api"),
        ({"pr_1": {"imagee": IMAGE}}, "platform_previews.pr-1.imagee", "did you mean image"),
        ({"dev": {}}, "platform_previews.dev", "is the name of an environment"),
        ({"s3": {}}, "platform_previews.s3", "is the name of an environment or a group"),
        ({"a" * 31: {}}, f"platform_previews.{'a' * 31}", "longer than 30"),
        ({f"pr_{number}": {} for number in range(6)}, "platform_previews", "platform_previews_most is 5"),
    ],
)
def test_what_cannot_be_made_is_refused(change: dict[str, Any], path: str, words: str) -> None:
    assert [problem.path for problem in run(with_previews(**change)).problems if words in problem.text] == [path]


def test_one_that_would_be_over_at_once_is_not_made() -> None:
    """As of -e preview_days=0, or of days that are not a number."""
    made = {"made": {"pr-2": {"of": "prod", "expires": OVER}}}
    (problem,) = run(with_previews(pr_1={}, run_of=made)).problems
    assert problem.path == "preview_days" and "would end pr-2 before it is made; use a whole number" in problem.text


@pytest.mark.parametrize(("name", "kind"), [("prod", "an environment"), ("shared", "a namespace")])
def test_nothing_else_is_taken_for_a_preview(name: str, kind: str) -> None:
    """A run that ended one would wait for a namespace that stays."""
    said = run(with_previews(run_of={"ended": [name]})).problems
    assert [f"is {kind} of the inventory and not a preview" in problem.text for problem in said] == [True]


def test_no_environment_has_keys_that_go_with_a_preview() -> None:
    data = with_previews({"redis": {"database": 1, "prefix": "preview.x:"}})
    assert ["keys of that name go with a preview" in problem.text for problem in run(data).problems] == [True]


def test_one_that_is_over_is_no_longer_made_and_is_named() -> None:
    resolution = resolved(with_previews(pr_1={}, pr_2={"expires": OVER}))
    model = resolution.model
    assert (list(model["previews"]), model["ended_previews"], model["complete"]) == (["pr-1"], ["pr-2"], True)
    assert [text for text in resolution.warnings if "platform_previews.pr-2: is over" in text]


def test_a_run_about_previews_has_no_environment_and_knows_whose_postgres_it_needs() -> None:
    made = resolved(with_previews(pr_1={}, run_of={"made": {"pr-2": {"of": "dev", "expires": LIVES}}})).model
    assert (made["environments"], list(made["previews"]), made["complete"], made["waited_preview"]) == ({}, ["pr-1", "pr-2"], False, "pr-2")
    assert list(made["preview_hosts"]) == ["dev", "prod"]
    ended = resolved(with_previews(pr_1={}, run_of={"ended": ["pr-1", "unknown"]})).model
    assert (ended["environments"], ended["previews"], ended["ended_previews"]) == ({}, {}, ["pr-1", "unknown"])
    assert list(ended["preview_hosts"]) == ["dev", "prod"], "it may have been of any"
    narrowed = resolved({**with_previews(pr_1={}, pr_2={"expires": OVER}), "platform_only": "dev"}).model
    assert (narrowed["previews"], narrowed["ended_previews"], narrowed["preview_hosts"]) == ({}, [], {})


# --- its objects ----------------------------------------------------------------------------------------------------------------------------


def test_all_that_a_preview_is_made_of_and_nothing_that_holds_data() -> None:
    parent = {"api": {"host": "acme.test", "volumes": {"files": {"mount": "/data", "size": "5Gi"}}, "migrate": {"command": ["db", "up"]}}}
    resolution = resolved(with_previews(parent, pr_1={"image": IMAGE}))
    found = objects(resolution, "pr-1", *DATA)
    assert {path.parents[2].name for path in ROLES.glob("*/templates/preview/*.j2")} == {*DATA}, "no backup, no restore"
    assert {kind for kind, _name in found} == {
        "Namespace", "ResourceQuota", "LimitRange", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "ConfigMap", "Secret", "Service",
        "Deployment", "Ingress", "Certificate", "Middleware",
    }  # fmt: skip
    assert {item["metadata"].get("namespace", "acme-pr-1") for item in found.values()} == {"acme-pr-1", "acme-prod"}
    (there,) = (item for item in found.values() if item["metadata"].get("namespace") == "acme-prod")
    assert there["kind"] == "NetworkPolicy" and there["spec"]["podSelector"] == {"matchLabels": {"app": "postgres"}}
    (rule,) = there["spec"]["ingress"]
    assert rule["from"][0]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "acme-pr-1"}}
    assert rule["from"][0]["podSelector"]["matchExpressions"][0]["values"] == ["acme-api", "acme-api-next"]
    egress = [each["to"][0] for each in found["NetworkPolicy", "api"]["spec"]["egress"]]
    spaces = [each["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for each in egress]
    assert spaces == ["acme-prod", "acme-shared"]
    (migrates,) = found["Deployment", "acme-api"]["spec"]["template"]["spec"]["initContainers"]
    assert (migrates["command"], migrates["image"]) == (["db", "up"], IMAGE)
    (runs,) = found["Deployment", "acme-api"]["spec"]["template"]["spec"]["containers"]
    assert migrates["envFrom"] == runs["envFrom"] and migrates["volumeMounts"] == runs["volumeMounts"]
    assert found["Secret", "acme-api-secrets"]["stringData"]["DB_PASSWORD"] == "@{pr-1/DB_PASSWORD}"


def test_the_shared_redis_and_the_router_know_it_and_its_parent_does_not_change() -> None:
    before, after = (sets_of(resolved(data), *DATA) for data in (with_previews(), with_previews(pr_1={})))
    changed = {name for name in before if before[name].objects != after[name].objects}
    assert changed == {"redis"}
    pairs = zip(before["redis"].objects, after["redis"].objects, strict=True)
    assert {one["kind"] for one, two in pairs if one != two} == {"NetworkPolicy"}


def test_a_broken_preview_stops_only_the_run_that_is_about_it() -> None:
    run_of = {"made": {"pr-2": {"of": "prod", "expires": LIVES}}}
    sets = sets_of(resolved(with_previews(pr_1={}, run_of=run_of)), "apps")
    assert {name: part.wait for name, part in sets.items() if of_preview(name)} == {"apps.preview.pr-1": False, "apps.preview.pr-2": True}


def test_one_that_is_over_is_rendered_empty_so_that_its_objects_go() -> None:
    sets = sets_of(resolved(with_previews(pr_1={}, run_of={"ended": ["pr-1"]})), *DATA)
    assert {name: part.objects for name, part in sets.items() if of_preview(name)} == {f"{role}.preview.pr-1": [] for role in DATA}


def test_its_namespace_is_deleted_unlike_that_of_an_environment() -> None:
    def namespace(name: str, of: str) -> dict[str, Any]:
        fields = [{"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:metadata": {}}}]
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {SET: of}, "managedFields": fields}}

    listed = [
        namespace("acme-pr-1", "tenancy.preview.pr-1"),
        namespace("acme-pr-2", "tenancy.preview.pr-2"),
        namespace("acme-preview", "tenancy.preview"),
    ]
    narrowed = {"sets": [{"name": "tenancy.preview.pr-1"}], "role": "tenancy", "complete": False, "delete": []}
    assert {key.name: action for key, action in left_over(listed, set(), narrowed).items()} == {"acme-pr-1": "pruned"}
    whole = {**narrowed, "complete": True}
    wanted = {key_of(listed[1])}
    assert {key.name: action for key, action in left_over(listed, wanted, whole).items()} == {"acme-pr-1": "pruned", "acme-preview": "kept"}
    assert left_over(listed[:1], set(), whole, {"acme-pr-1"}) == {key_of(listed[0]): "kept"}, "somebody has a volume in it"


# --- what people see -----------------------------------------------------------------------------------------------------------------------


def test_verify_shows_the_time_left_and_a_broken_preview_fails_no_run_of_the_site() -> None:
    app = {**APP, "path": "platform_previews.pr-1.apps.api", "hosts": ["pr-1.example.org"]}
    env: Any = {"namespace": "shaka-pr-1", "apps": {"api": app}, "preview": {"of": "prod", "expires": int(VERIFIED) + 3 * 86400}}
    model: Any = {**MODEL, "previews": {"pr-1": env}, "ended_previews": ["pr-2"]}
    base = facts()
    asked = {**base.https, "platform_previews.pr-1.apps.api pr-1.example.org": Https(502, True, "HTTP")}
    pods = [*(base.lists["pods"] or []), pod("api-1", "shaka-pr-2")]
    seen = base._replace(
        postgres={**base.postgres, "pr-1": PostgresAnswer(ProbeAnswer(True, "login"))}, redis={**base.redis, "pr-1": ProbeAnswer(True, "PING")},
        https=asked, lists={**base.lists, "pods": pods},
    )  # fmt: skip
    verdict = evaluate(model, seen, Limits(14), {})
    assert verdict.failures == [] and "pr-2: left: is over and still runs: ansible-playbook shaka.platform.preview_end" in verdict.findings
    assert [check.detail for check in verdict.checks if check.scope == "pr-1" and check.name == "left"] == ["3 d"]
    (table,) = [table for table in verdict.tables if table.title == "previews"]
    assert table.rows[0][:5] == ["pr-1", "prod", "login", "PING", "NONE"] and table.rows[0][-1] == "3 d" and list(table.failed) == [0]


def test_the_everyday_commands_know_a_preview_as_the_model_does() -> None:
    data = with_previews({"api": {"host": "acme.test"}}, pr_1={}, pr_2={"host": "{preview}.x.test"})
    model = resolved(data).model
    found = known.server("one", known.extract(data)).environments
    for name, env in model["previews"].items():
        mine, redis = found[name], env["redis"]
        assert (mine.namespace, mine.database, mine.owner) == (env["namespace"], env["postgres"]["database"], env["postgres"]["user"])
        assert tunnel.service(mine, "postgres") == (env["postgres"]["namespace"], env["postgres"]["service"])
        assert (mine.redis_database, mine.redis_prefix, mine.redis_user, mine.redis_namespace) == (
            redis["database"], redis["prefix"], redis["user"], redis["namespace"],
        )  # fmt: skip
        assert mine.hosts == {"api": env["apps"]["api"]["hosts"]}


@pytest.mark.parametrize(
    ("hours", "said"), [(None, "pr-1"), (72, "pr-1 (3 d left)"), (5, "pr-1 (5 h left)"), (0.5, "pr-1 (30 min left)"), (-1, "pr-1 (is over)")]
)
def test_the_status_has_the_time_left(hours: float | None, said: str) -> None:
    assert labelled("pr-1", None if hours is None else hours * 3600, 0) == said


# --- Postgres -------------------------------------------------------------------------------------------------------------------------------

PREVIEW = HostedPreview("pr-1", "acme_preview_pr_1", "its-password", 5)
ROLE = {"password": verifier("its-password")}
MADE: dict[str, Any] = {
    "roles": {"postgres": {}, "shop": {}, "acme_preview_pr_1": ROLE},
    "databases": {"postgres": "postgres", "shop": "shop", "acme_preview_pr_1": "acme_preview_pr_1"},
    "previews": {
        "databases": {"acme_preview_pr_1": "pr-1"}, "named": ["acme_preview_pr_1"], "roles": {"acme_preview_pr_1": "pr-1"},
        "connections": {"acme_preview_pr_1": 5}, "open": [],
    },
}  # fmt: skip
EMPTY: dict[str, Any] = {
    "roles": {"postgres": {}, "shop": {}},
    "databases": {"postgres": "postgres", "shop": "shop"},
    "previews": {"databases": {}, "named": [], "roles": {}, "connections": {}, "open": ["shop"]},
}


def statements(previews: HostedPreviews, cluster: dict[str, Any]) -> list[str]:
    return [statement for _summary, several in changes(previews, cluster) for statement in several]


def test_its_database_says_whose_it_is_and_no_preview_reaches_another() -> None:
    done = statements(HostedPreviews((PREVIEW,)), EMPTY)
    assert done[0] == "begin" and done[2:4] == ["comment on role \"acme_preview_pr_1\" is 'shaka.platform preview pr-1'", "commit"]
    assert "nocreaterole" in done[1] and "connection limit 5 password" in done[1]
    assert done[4] == 'create database "acme_preview_pr_1" owner "acme_preview_pr_1"'
    assert done[5] == "comment on database \"acme_preview_pr_1\" is 'shaka.platform preview pr-1'"
    assert done[6] == 'revoke connect, temporary on database "acme_preview_pr_1" from public'
    assert "'shop'" in done[7] and "from public" in done[7] and len(done) == 8
    assert "its-password" not in " ".join(done)
    assert statements(HostedPreviews((PREVIEW,), complete=True), MADE) == []


def test_its_connections_follow() -> None:
    more = {**MADE, "previews": {**MADE["previews"], "connections": {"acme_preview_pr_1": -1}}}
    assert statements(HostedPreviews((PREVIEW,)), more) == ['alter role "acme_preview_pr_1" connection limit 5']


def test_a_killed_run_is_continued() -> None:
    unnamed = {**MADE, "previews": {**MADE["previews"], "named": []}}
    assert [summary for summary, _several in changes(HostedPreviews((PREVIEW,)), unnamed)] == ["database acme_preview_pr_1 says whose it is"]
    assert statements(HostedPreviews(ended=frozenset(["pr-1"])), unnamed)[0] == 'drop database "acme_preview_pr_1" with (force)'


def test_what_is_not_a_previews_is_neither_taken_over_nor_dropped() -> None:
    for kind in ("roles", "databases"):
        cluster = {**EMPTY, kind: {**EMPTY[kind], "acme_preview_pr_1": {} if kind == "roles" else "shop"}}
        with pytest.raises(NotThePreviews, match="is there and not the preview's"):
            statements(HostedPreviews((PREVIEW,)), cluster)
        assert statements(HostedPreviews(ended=frozenset(["pr-1"]), complete=True), cluster) == []


@pytest.mark.parametrize(
    ("previews", "gone"),
    [
        (HostedPreviews(ended=frozenset(["pr-1"])), True),
        (HostedPreviews(complete=True), True),
        (HostedPreviews(), False),
        (HostedPreviews(ended=frozenset(["pr-2"])), False),
        (HostedPreviews((PREVIEW,), complete=True), False),
    ],
)
def test_only_one_that_is_over_is_dropped(previews: HostedPreviews, gone: bool) -> None:
    expected = ['drop database "acme_preview_pr_1" with (force)', 'drop owned by "acme_preview_pr_1"', 'drop role "acme_preview_pr_1"']
    assert statements(previews, MADE) == (expected if gone else [])


# --- Redis ----------------------------------------------------------------------------------------------------------------------------------


class Redis:
    """A Redis with users, that takes two turns to find the keys of database 1."""

    def __init__(self, **users: str) -> None:
        self.users, self.sent = users, list[str]()

    def execute(self, _namespace: str, _pod: str, *_command: str, text: str) -> tuple[bool, str]:
        return True, "\n".join(json.dumps(self.answer(line)) for line in text.splitlines())

    def answer(self, line: str) -> Any:
        if line == "ACL USERS":
            return ["default", *self.users]
        if line.startswith("ACL CAT"):
            return []
        if line.startswith("ACL GETUSER"):
            keys = self.users.get(line.split()[-1], "~*")
            return {"keys": keys, "channels": keys.replace("~", "&"), "flags": ["on"], "passwords": [digest("p")], "commands": "-@all"}
        self.sent.append(line)
        return ("7" if " 0 1 0 " in line else "0") if line.startswith("EVAL") else "OK"

    def find(self, _path: str) -> None:
        return None


@pytest.mark.parametrize(("given", "gone"), [({"ended": ["pr-1"]}, True), ({"complete": True}, True), ({}, False), ({"ended": ["pr-2"]}, False)])
def test_its_keys_go_before_its_user_and_only_when_it_is_over(given: dict[str, Any], gone: bool) -> None:
    server = Redis(**{"pr-1": "~preview.pr-1:*"})
    redis: Any = {"namespace": "shared", "users": [], "ended": [], "complete": False, **given}
    state = RedisInstance(server, redis, {}, False, False).ensure(0)  # type: ignore[arg-type]
    assert list(state.made) == (["shared: user pr-1: removed"] if gone else [])
    commands = [line.split()[0:2] if not line.startswith("EVAL") else "EVAL" for line in server.sent]
    removal = [["ACL", "SETUSER"], ["CLIENT", "KILL"], *["EVAL"] * 17, ["ACL", "DELUSER"], ["ACL", "SAVE"]]
    assert commands == (removal if gone else [])
    assert all(line.endswith(" preview.pr-1:*") for line in server.sent if line.startswith("EVAL"))


def test_a_former_environments_user_goes_and_its_keys_stay() -> None:
    server = Redis(old="~old:*")
    server_given: Any = {"namespace": "shared", "users": [], "ended": [], "complete": False}
    RedisInstance(server, server_given, {}, False, False).ensure(0)  # type: ignore[arg-type]
    assert server.sent == ["ACL DELUSER old", "ACL SAVE"]


@pytest.mark.parametrize(("keys", "name"), [("~preview.pr-1:*", "pr-1"), ("~preview:*", ""), ("~*", ""), ("~preview.pr-1:* ~*", ""), ("~prod:*", "")])
def test_a_user_is_a_previews_by_the_only_keys_that_it_may_have(keys: str, name: str) -> None:
    assert preview_of({"keys": keys}) == name


def test_the_shared_redis_has_the_users_of_all_previews() -> None:
    model = resolved(with_previews(pr_1={})).model
    (server,) = redis_servers(model)
    users = {user["name"]: (user["keys"], user["in_run"]) for user in server["users"]}
    assert users == {"dev": ("~dev:*", True), "prod": ("~prod:*", True), "pr-1": ("~preview.pr-1:*", True)}
    assert server["complete"] is True and server["ended"] == []
