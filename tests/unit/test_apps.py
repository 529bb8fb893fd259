"""An environment's applications: none, one or many; what each is given, and what is made of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.module_utils.verify.probes import hosts_of
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import ROLES, role_variables
from ansible_collections.shaka.platform.plugins.plugin_utils.model.edge import asked_certificates
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.fit import make_plan
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import RenderedSet, render_role, scope_of
from test_model import INTERFACE, change, inventory, run, secret

MANY = """
api: {image: "r.test/api:1", host: acme.test, replicas: 2}
web: {image: "r.test/web:2", host: web.test, port: 8080, readiness: /, secrets: [], config: [DB_HOST], reaches: [search]}
worker: {image_of: api, args: [work], protocol: none, secrets: [DB_PASSWORD]}
report: {image_of: api, args: [report], schedule: "0 6 * * 1", time_zone: America/Sao_Paulo, secrets: [REDIS_PASSWORD]}
search: {image: "r.test/search:3", protocol: tcp, port: 7700, uid: 2000, secrets: [], volumes: {index: {mount: /data, size: 2Gi}}}
calls: {image: "r.test/calls:4", protocol: h2c, internal: true, secrets: [], probes: {readiness: {type: grpc, service: calls}},
        autoscale: {min: 2, max: 4, memory: 70}, writable: {/var/cache: 10Mi}}
"""


def many(**changes: Any) -> dict[str, Any]:
    """The inventory with several applications in prod, some of their keys changed."""
    apps = yaml.safe_load(MANY)
    for key, values in changes.items():
        apps[key].update(values)
    data = change("platform_environments/prod/apps", apps)
    del data["platform_environments"]["prod"]["api"]
    data["platform_environments"]["prod"] |= {"quota": {}, "network": "zero_trust"}
    return data


def of_prod(data: dict[str, Any]) -> Any:
    resolution = run(data)
    assert resolution.problems == [], resolution.message()
    return resolution.model["environments"]["prod"]


def rendered(data: dict[str, Any], role: str = "apps") -> list[RenderedSet]:
    resolution = run(data)
    assert resolution.problems == [], resolution.message()
    scope = {**role_variables(DataLoader(), ROLES / "platform", "defaults"), "platform_name": "acme", "inventory_hostname": "server"}
    scope["platform_images"] = {name: f"lock/{name}:1" for name in INTERFACE.images}
    variables = scope_of(ROLES / role, DataLoader(), scope, resolution.model)
    return render_role(ROLES / role, Templar(loader=DataLoader(), variables=variables), variables, resolution.model)


def objects(data: dict[str, Any], role: str = "apps") -> dict[tuple[str, str], Any]:
    """What a role makes in prod, by kind and name."""
    return {(item["kind"], item["metadata"]["name"]): item for part in rendered(data, role) if part.environment == "prod" for item in part.objects}


def pods_of(item: dict[str, Any]) -> dict[str, Any]:
    spec = item["spec"]["jobTemplate"]["spec"] if item["kind"] == "CronJob" else item["spec"]
    return dict(spec["template"])


def environment_of(item: dict[str, Any]) -> dict[str, Any]:
    """The variables of a pod's container: name -> where from."""
    (container,) = pods_of(item)["spec"]["containers"]
    return {each["name"]: each.get("value") or "/".join(each["valueFrom"]) for each in container.get("env", [])}


# --- none, one, many ------------------------------------------------------------------------------------------------------------------------


def test_api_beside_apps_is_the_application_of_that_name() -> None:
    short, whole = of_prod(inventory())["apps"]["api"], inventory()
    env = whole["platform_environments"]["prod"]
    env["apps"] = {"api": env.pop("api")}
    assert of_prod(whole)["apps"]["api"] == {**short, "path": "platform_environments.prod.apps.api"}
    assert short["name"] == "acme-api" and short["path"] == "platform_environments.prod.api"


def test_a_release_of_another_servers_environment_is_not_to_be_removed() -> None:
    """Without it, that server's next run would bring an older image back."""
    found = run(change("platform_releases", {"eu": {"apps": {"api": {"image": "r.test/api@sha256:" + "1" * 64}}}})).problems
    assert [problem.path for problem in found] == ["platform_releases.eu"]
    assert "where another server has that environment, keep each server's releases in its own host_vars (release_file)" in str(found[0])


def test_a_release_of_an_api_that_is_no_more_is_named() -> None:
    data = change("platform_environments/prod/api", None) | {"platform_releases": {"prod": {"image": "r.test/api:7"}}}
    assert [problem.path for problem in run(data).problems] == ["platform_releases.prod.image"]


def test_an_environment_waits_for_its_first_application() -> None:
    data = change("platform_environments/prod/api", None)
    data["platform_environments"]["prod"]["network"] = "zero_trust"
    env = of_prod(data)
    assert env["apps"] == {} and "PORT" not in env["config"]
    assert objects(data) == {}
    assert objects(data, "config").keys() == {("ConfigMap", "acme-api-config"), ("Secret", "acme-api-secrets")}


@pytest.mark.parametrize(("platform", "key"), [("acme", "solver"), ("default", "deny"), ("redis", "prod"), ("postgres", "prod"), ("redis", "backup")])
def test_an_application_has_no_name_of_the_platform_s_own_objects(platform: str, key: str) -> None:
    data = many() | {"platform_name": platform}
    data["platform_environments"]["prod"]["apps"][key] = {"image": "r.test/a:1", "internal": True, "secrets": []}
    (problem,) = [problem for problem in run(data).problems if problem.path == f"platform_environments.prod.apps.{key}"]
    assert f"makes the name {platform}-{key}, which the platform's own objects have; rename it" in problem.text


def test_each_application_has_its_own_objects_and_no_others() -> None:
    found = objects(many())
    kinds = {name: {kind for kind, other in found if other == f"acme-{name}"} for name in yaml.safe_load(MANY)}
    assert kinds == {
        "api": {"ServiceAccount", "Deployment", "Service", "PodDisruptionBudget", "Ingress"},
        "web": {"ServiceAccount", "Deployment", "Service", "Ingress", "NetworkPolicy"},
        "worker": {"ServiceAccount", "Deployment", "NetworkPolicy"},
        "report": {"ServiceAccount", "CronJob", "NetworkPolicy"},
        "search": {"ServiceAccount", "Deployment", "Service", "NetworkPolicy"},
        "calls": {"ServiceAccount", "Deployment", "Service", "NetworkPolicy", "HorizontalPodAutoscaler", "PodDisruptionBudget"},
    }
    assert {name for kind, name in found if kind == "PersistentVolumeClaim"} == {"acme-search-index"}
    assert {name for kind, name in found if kind == "Certificate"} == {"acme-api-tls", "acme-web-tls"}


def test_the_certificates_that_are_counted_are_those_that_are_made() -> None:
    """Five orders of an authority stay, also when another one had as many between them."""
    data = many(api={"hosts": ["alias.acme.test"], "edge": {"redirects": ["www.acme.test", "old.acme.test"]}})
    made = {name: item["spec"] for (kind, name), item in objects(data).items() if kind == "Certificate"}
    asked = {each.name: each.hosts for each in asked_certificates({"prod": of_prod(data)})}
    assert {name: spec["dnsNames"] for name, spec in made.items()} == asked and len(asked) == 4
    assert all(spec["revisionHistoryLimit"] >= 2 * 5 for spec in made.values())


@pytest.mark.parametrize("name", yaml.safe_load(MANY))
def test_every_pod_is_restricted_and_has_an_account_of_its_own(name: str) -> None:
    found = objects(many())
    spec = pods_of(found.get(("CronJob", f"acme-{name}")) or found["Deployment", f"acme-{name}"])["spec"]
    (container,) = spec["containers"]
    user = 2000 if name == "search" else 1001
    assert spec["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert spec["automountServiceAccountToken"] is False and spec["serviceAccountName"] == f"acme-{name}"


# --- images ---------------------------------------------------------------------------------------------------------------------------------


def test_an_application_with_another_s_image_follows_its_release() -> None:
    new = "r.test/api@sha256:" + "1" * 64
    data = many() | {"platform_releases": {"prod": {"image": new, "apps": {"web": {"image": "r.test/web:9"}}}}}
    images = {key: app["image"] for key, app in of_prod(data)["apps"].items()}
    assert images["api"] == images["worker"] == images["report"] == new
    assert (images["web"], images["search"]) == ("r.test/web:9", "r.test/search:3")


def test_a_release_of_api_may_stand_with_the_others() -> None:
    data = many() | {"platform_releases": {"prod": {"apps": {"api": {"image": "r.test/api:7"}}}}}
    assert of_prod(data)["apps"]["worker"]["image"] == "r.test/api:7"


# --- configuration --------------------------------------------------------------------------------------------------------------------------


def test_an_application_sees_what_it_names_and_one_that_names_nothing_sees_all() -> None:
    found = objects(many())
    (api,) = pods_of(found["Deployment", "acme-api"])["spec"]["containers"]
    assert "env" not in api and len(api["envFrom"]) == 2
    assert environment_of(found["Deployment", "acme-web"]) == {"DB_HOST": "configMapKeyRef", "PORT": "8080"}
    worker = environment_of(found["Deployment", "acme-worker"])
    assert worker["DB_PASSWORD"] == "secretKeyRef" and "REDIS_PASSWORD" not in worker and worker["PLANS"] == "configMapKeyRef"


@pytest.mark.parametrize(
    ("path", "value", "rolled"),
    [
        ("platform_environments/prod/config/PLANS", {"pro": 2}, {"api", "worker", "report", "search", "calls"}),
        ("platform_environments/prod/config/DB_HOST", "db.test", {"api", "web", "worker", "report", "search", "calls"}),
        ("platform_secrets/prod/DB_PASSWORD", secret("other"), {"api", "worker"}),
        ("platform_secrets/prod/REDIS_PASSWORD", secret("other"), {"api", "report"}),
    ],
)
def test_pods_follow_what_they_see_and_nothing_else(path: str, value: Any, rolled: set[str]) -> None:
    data = copy.deepcopy(many())
    *parents, last = path.split("/")
    place = data
    for key in parents:
        place = place[key]
    place[last] = value
    before, then = of_prod(many())["apps"], of_prod(data)["apps"]
    assert {key for key in then if before[key]["config_hash"] != then[key]["config_hash"]} == rolled


# --- who reaches whom -----------------------------------------------------------------------------------------------------------------------


def peers(policy: dict[str, Any], way: str) -> set[str]:
    """The values of the label `app` that a policy lets in or out to."""
    rules = policy["spec"].get(way, [])
    selectors = [peer.get("podSelector", {}) for rule in rules for peer in rule["from" if way == "ingress" else "to"]]
    names = [expression["values"] for selector in selectors for expression in selector.get("matchExpressions", [])]
    return {name for values in names for name in values} | {selector["matchLabels"]["app"] for selector in selectors if "matchLabels" in selector}


def test_only_who_sees_the_password_reaches_the_server() -> None:
    found = objects(many())
    out = {name: peers(found["NetworkPolicy", name], "egress") for name in ("api", "acme-web", "acme-worker", "acme-report")}
    assert out["api"] == {"postgres", "redis"} and out["acme-worker"] == {"postgres"} and out["acme-report"] == {"redis"}
    assert out["acme-web"] == {"acme-search", "acme-search-next"}
    assert peers(found["NetworkPolicy", "acme-search"], "ingress") == {"acme-web", "acme-web-next"}
    assert "ingress" not in found["NetworkPolicy", "acme-worker"]["spec"]


def of_server(data: dict[str, Any], role: str, name: str) -> Any:
    """Who may connect to a server of the platform, as its NetworkPolicy says; None: nobody."""
    found = [item for part in rendered(data, role) for item in part.objects if (item["kind"], item["metadata"]["name"]) == ("NetworkPolicy", name)]
    here = [item["spec"].get("ingress") for item in found if item["metadata"]["namespace"] in ("acme-prod", "acme-shared")]
    (rules,) = here
    return rules


def test_where_no_application_is_nobody_connects_to_the_servers() -> None:
    """An empty list of peers would let everybody in."""
    data = many()
    data["platform_environments"]["prod"]["apps"] = {}
    del data["platform_environments"]["dev"]["api"]
    (rule,) = of_server(data, "postgres", "postgres")
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchExpressions"][0]["values"] == ["postgres-backup", "postgres-restore"]
    assert of_server(data, "redis", "redis") is None


def test_a_server_s_policy_names_each_environment_s_own_applications() -> None:
    (rule,) = of_server(many(), "redis", "redis")
    found = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]: peer["podSelector"]["matchExpressions"][0]["values"]
        for peer in rule["from"]
    }
    assert found == {"acme-dev": ["acme-api", "acme-api-next"], "acme-prod": ["acme-api", "acme-api-next", "acme-report"]}


def test_what_a_release_tries_beside_an_application_is_in_its_policies() -> None:
    (selector,) = objects(many())["NetworkPolicy", "api"]["spec"]["podSelector"]["matchExpressions"]
    assert selector["values"] == ["acme-api", "acme-api-next"]


# --- sizes ----------------------------------------------------------------------------------------------------------------------------------


def test_the_fit_plan_counts_an_autoscaler_s_most_and_a_job_s_pods() -> None:
    data = many()
    plan = make_plan(rendered(data), run(data).model)
    rows = {row.component: row for row in plan.rows if row.namespace == "acme-prod"}
    assert (rows["acme-calls"].rest.pods, rows["acme-calls"].rollout.pods, rows["acme-api"].rest.pods) == (4, 1, 2)
    assert rows["job acme-report"].job.pods == 1 and rows["acme-search"].rest.claims == 1
    assert rows["acme-worker"].variable == "platform_environments.prod.apps.worker"
    assert "replicas" not in objects(data)["Deployment", "acme-calls"]["spec"]


# --- probes ---------------------------------------------------------------------------------------------------------------------------------

COMMAND = {"probes": {"liveness": {"type": "exec", "command": ["alive"]}}}


@pytest.mark.parametrize(
    ("key", "changes", "field", "asked"),
    [
        ("api", {}, "readinessProbe", {"httpGet": {"path": "/readyz", "port": "http"}}),
        ("api", {}, "startupProbe", {"httpGet": {"path": "/healthz", "port": "http"}}),
        ("api", {"probes": {"readiness": {"path": "/ok?full=1", "port": 9000}}}, "readinessProbe", {"httpGet": {"path": "/ok?full=1", "port": 9000}}),
        ("search", {}, "livenessProbe", {"tcpSocket": {"port": "tcp"}}),
        ("calls", {}, "readinessProbe", {"grpc": {"port": 3000, "service": "calls"}}),
        ("worker", {}, "livenessProbe", None),
        ("worker", COMMAND, "livenessProbe", {"exec": {"command": ["alive"]}}),
        ("worker", COMMAND, "startupProbe", {"exec": {"command": ["alive"]}}),
        ("worker", COMMAND, "readinessProbe", None),
        ("api", {"probes": {"startup": {"type": "none"}}}, "startupProbe", None),
    ],
)
def test_health_is_asked_as_the_protocol_has_it(key: str, changes: dict[str, Any], field: str, asked: Any) -> None:
    (container,) = pods_of(objects(many(**{key: changes}))["Deployment", f"acme-{key}"])["spec"]["containers"]
    found = container.get(field)
    assert (found and {name: value for name, value in found.items() if isinstance(value, dict)}) == asked


@pytest.mark.parametrize(
    ("key", "startup", "seconds"),
    [("api", {}, 300), ("api", {"period": 10, "failures": 90}, 1140), ("api", {"type": "none", "failures": 900}, 300), ("worker", {}, 300)],
)
def test_a_rollout_is_given_up_after_the_time_that_a_start_may_take(key: str, startup: dict[str, Any], seconds: int) -> None:
    """A run that waits longer (apps_wait_seconds) ended at this deadline."""
    assert objects(many(**{key: {"probes": {"startup": startup}}}))["Deployment", f"acme-{key}"]["spec"]["progressDeadlineSeconds"] == seconds


@pytest.mark.parametrize(
    ("key", "probes", "refused", "says"),
    [
        (
            "api",
            {"startup": {"path": "/boot"}},
            "startup.path",
            "'/boot' is not asked, as its type is empty, which means what liveness asks; set type to http,",
        ),
        ("api", {"startup": {"type": "http", "path": "/boot"}}, "", ""),
        ("api", {"readiness": {"command": ["check"]}}, "readiness.command", "its type is empty, which means http; set type to exec,"),
        ("api", {"liveness": {"type": "tcp", "path": "/x"}}, "liveness.path", "its type is tcp; set type to http,"),
        ("api", {"liveness": {"type": "none", "path": "/x"}}, "", ""),  # switched off for now
        ("api", {"readiness": {"port": 9000}}, "", ""),
        ("calls", {"readiness": {"service": "calls"}}, "readiness.service", "which means tcp; set type to grpc,"),
        ("worker", {"liveness": {"port": 9000}}, "liveness.port", "which means none; set type to http or tcp or grpc,"),
    ],
)
def test_what_a_probe_does_not_ask_is_refused(key: str, probes: dict[str, Any], refused: str, says: str) -> None:
    problems = run(many(**{key: {"probes": probes}})).problems
    assert [problem.path for problem in problems] == ([f"platform_environments.prod.apps.{key}.probes.{refused}"] if refused else [])
    assert all(says in problem.text for problem in problems)


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, (True, "/readyz")),
        ({"paths": ["/v1"]}, (False, "/v1")),
        ({"paths": ["/ready"]}, (False, "/ready")),
        ({"paths": ["/v1", "/readyz"]}, (True, "/readyz")),
        ({"protocol": "h2c"}, (False, "/")),
    ],
)
def test_verify_asks_where_the_edge_leads(changes: dict[str, Any], asked: tuple[bool, str]) -> None:
    api = of_prod(many(api=changes))["apps"]["api"]
    assert (api["asks_readiness"], api["asked"]) == asked


def test_a_wildcard_is_a_further_host_that_nobody_can_ask() -> None:
    """Its certificate and its route have it; verify asks at the first host alone. An authority that proves hosts by HTTP is refused for it."""
    data = many(api={"hosts": ["*.acme.test"]})
    data["platform_acme"] |= {"kind": "self_signed"}
    assert hosts_of(of_prod(data)["apps"]["api"]) == ["acme.test"]
    made = objects(data)
    assert made["Certificate", "acme-api-tls"]["spec"]["dnsNames"] == ["acme.test", "*.acme.test"]
    assert [rule["host"] for rule in made["Ingress", "acme-api"]["spec"]["rules"]] == ["acme.test"]
    assert [rule["host"] for rule in made["Ingress", "acme-api-wildcard"]["spec"]["rules"]] == ["*.acme.test"]


def test_an_application_s_own_name_goes_before_another_s_wildcard_whatever_the_paths() -> None:
    """Traefik takes the highest priority, which is a rule's length unless it is said (seen in 3.7.15: Host("a.b") && PathPrefix("/"))."""
    data = many(api={"hosts": ["*.acme.test"], "paths": ["/a/path/that/is/longer/than/any/name"]}, web={"host": "a.acme.test"})
    data["platform_acme"] |= {"kind": "self_signed"}
    made = objects(data)
    priority = "traefik.ingress.kubernetes.io/router.priority"
    assert priority not in made["Ingress", "acme-web"]["metadata"]["annotations"]
    assert int(made["Ingress", "acme-api-wildcard"]["metadata"]["annotations"][priority]) < len('Host("a.b") && PathPrefix("/")')


def test_below_a_wildcard_the_longer_path_goes_first_with_its_guard() -> None:
    edge = {"rates": {"/login": {"average": 1}}}
    data = many(api={"hosts": ["*.acme.test"], "paths": ["/", "/a/longer/path"], "edge": edge})
    data["platform_acme"] |= {"kind": "self_signed"}
    found = {}
    for (kind, _name), item in objects(data).items():
        if kind == "Ingress" and item["spec"]["rules"][0]["host"] == "*.acme.test":
            (path,) = item["spec"]["rules"][0]["http"]["paths"]
            found[path["path"]] = int(item["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.priority"])
    assert sorted(found, key=lambda path: found[path]) == ["/", "/login", "/a/longer/path"]


@pytest.mark.parametrize(
    ("edge", "paths", "key"),
    [
        ({"rates": {"/shop/login": {}}}, ["/shop"], "rates./shop/login"),
        ({"rates": {"/shop": {}}}, ["/shop"], "rates./shop"),
        ({"streams": ["/shop/files"], "body_limit": "1Mi"}, ["/shop"], "streams"),
        ({"rates": {"/shopping": {}}}, ["/shop"], "rates./shopping"),  # the beginning of a text to Traefik
        ({"rates": {"/login": {}}, "streams": ["/files"], "body_limit": "1Mi"}, ["/shop"], ""),
        ({"rates": {"/sh": {}}}, ["/shop"], ""),  # the longer path goes first
    ],
)
def test_a_part_takes_no_requests_of_another_application_on_its_host(edge: dict[str, Any], paths: list[str], key: str) -> None:
    problems = run(many(api={"edge": edge}, web={"host": "acme.test", "paths": paths})).problems
    assert [problem.path for problem in problems] == ([f"platform_environments.prod.apps.api.edge.{key}"] if key else [])
    assert all("where platform_environments.prod.apps.web answers on acme.test" in problem.text for problem in problems)


def test_a_part_may_be_below_a_longer_path_of_its_own() -> None:
    api = {"paths": ["/", "/shop/api"], "edge": {"rates": {"/shop/api/login": {}}}}
    assert run(many(api=api, web={"host": "acme.test", "paths": ["/shop"]})).problems == []


def test_a_certificate_does_not_name_what_its_wildcard_stands_for() -> None:
    """Let's Encrypt answers "is redundant with a wildcard domain in the same request"; the name still has its route, and its certificate."""
    data = many(api={"host": "api.acme.test", "hosts": ["acme.test", "*.acme.test", "a.b.acme.test"]})
    data["platform_acme"] |= {"kind": "self_signed"}
    made, named = objects(data), ["acme.test", "*.acme.test", "a.b.acme.test"]
    assert made["Certificate", "acme-api-tls"]["spec"]["dnsNames"] == named
    assert named in [each.hosts for each in asked_certificates({"prod": of_prod(data)})]
    assert [rule["host"] for rule in made["Ingress", "acme-api"]["spec"]["rules"]] == ["api.acme.test", "acme.test", "a.b.acme.test"]
    assert "api.acme.test" in run(data).model["hosts"]


@pytest.mark.parametrize(("kind", "more", "right"), [("acme", 99, True), ("acme", 100, False), ("self_signed", 100, True)])
def test_a_certificate_has_no_more_names_than_an_authority_issues(kind: str, more: int, right: bool) -> None:
    data = many(api={"hosts": [f"customer-{number}.test" for number in range(more)]})
    data["platform_acme"] |= {"kind": kind}
    paths = [problem.path for problem in run(data).problems if "names, and an authority issues at most 100" in problem.text]
    assert paths == ([] if right else ["platform_environments.prod.apps.api.hosts"])


@pytest.mark.parametrize(
    ("api", "path", "says"),
    [
        ({"hosts": ["*.acme.test"]}, "platform_acme.challenge", "proves no wildcard such as *.acme.test"),
        ({"host": "*.acme.test"}, "platform_environments.prod.apps.api.host", "at which nobody can ask"),
        ({"hosts": ["a.*.acme.test"]}, "platform_environments.prod.apps.api.hosts", "is not a host name"),
    ],
)
def test_a_wildcard_that_cannot_be_served_is_refused(api: dict[str, Any], path: str, says: str) -> None:
    (problem,) = [str(each) for each in run(many(api=api)).problems if path in str(each)]
    assert says in problem
