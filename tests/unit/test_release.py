"""A release of an application: what may be asked for, its way, and what is beside the running pods at each step of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.plugin_utils.model import release
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.fit import make_plan
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import render_role, scope_of
from test_inputs import ROOT, Site

DIGEST = "@sha256:" + "1" * 64
OLD, NEW = f"registry.shaka-api.net/api{DIGEST}", "registry.shaka-api.net/api@sha256:" + "2" * 64


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


@pytest.fixture(scope="module")
def models(site: Site) -> Mapping[str, Any]:
    """The model of inventories/prod, by strategy of its prod."""
    changes: dict[str, dict[str, Any]] = {
        "rolling": {},
        "recreate": {"strategy": "recreate"},
        "blue_green": {"strategy": "blue_green"},
        "canary": {"strategy": "canary", "canary": {"steps": [{"weight": 20, "seconds": 5}], "header": "X-Canary", "cookie": "canary.v2"}},
    }
    models = {}
    for name, change in changes.items():
        given = {f"platform_environments/prod/api/{key}": value for key, value in change.items()}
        resolved = plain(site.resolve({**given, "platform_releases": {"prod": {"apps": {"api": {"image": OLD}}}}}), typed=True)
        assert resolved["problems"] == []
        models[name] = resolved["model"]
    return models


def variables(site: Site) -> dict[str, Any]:
    images = dict.fromkeys(("api", "postgres", "redis", "pgbouncer", "traefik", "backup_tools"), "lab.local/some:1")
    return {**site.variables, "platform_images": images, "inventory_hostname": "server", "ansible_facts": {}}


def rendered(site: Site, model: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The API's objects in prod, by kind and name."""
    scope = scope_of(ROOT / "roles/apps", site.loader, variables(site), model)
    parts = {part.name: part for part in render_role(ROOT / "roles/apps", Templar(loader=site.loader, variables=scope), scope, model)}
    return {(item["kind"], item["metadata"]["name"]): item for item in parts["apps.prod"].objects}


def state(model: Any, image: str = "", **beside: Any) -> Any:
    narrowed = release.with_image(model, "prod", "api", image)
    return release.releasing(narrowed, "prod", "api", {"image": NEW, "token": "t0k3n", **beside})


def test_at_rest_there_is_nothing_of_a_release(site: Site, models: Mapping[str, Any]) -> None:
    for model in models.values():
        objects = rendered(site, model)
        assert not [name for _kind, name in objects if "next" in name]
        assert image_of(objects["Deployment", "shaka-api"]) == OLD


def routes_of(objects: Mapping[tuple[str, str], Any]) -> list[dict[str, Any]]:
    return [route for (kind, _name), item in objects.items() if kind == "IngressRoute" for route in item["spec"]["routes"]]


def image_of(deployment: Mapping[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def test_a_candidate_is_beside_what_runs_and_only_the_gate_reaches_it(site: Site, models: Mapping[str, Any]) -> None:
    before = rendered(site, models["rolling"])
    objects = rendered(site, state(models["rolling"], replicas=1, gate=True))
    assert {key: objects[key] for key in before} == before  # what runs is not touched
    assert image_of(objects["Deployment", "shaka-api-next"]) == NEW
    selector = objects["Service", "shaka-api"]["spec"]["selector"]
    labels = objects["Deployment", "shaka-api-next"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() - labels.items()  # no user's request gets to it by the Service
    routes = routes_of(objects)
    assert len(routes) == 2 and all("Header(`X-Shaka-Release`, `t0k3n-" in route["match"] for route in routes)


@pytest.mark.parametrize(("weight", "shares"), [(20, {"shaka-api": 80, "shaka-api-next": 20}), (100, {"shaka-api-next": 100})])
def test_users_are_shared_by_weight_behind_the_same_guard(site: Site, models: Mapping[str, Any], weight: int, shares: dict[str, int]) -> None:
    objects = rendered(site, state(models["blue_green"], replicas=2, gate=True, weight=weight))
    host = models["blue_green"]["all_environments"]["prod"]["apps"]["api"]["host"]
    (users,) = [route for route in routes_of(objects) if route["match"] == f"Host(`{host}`)"]
    assert {service["name"]: service["weight"] for service in users["services"]} == shares
    annotations = objects["Ingress", "shaka-api"]["metadata"]["annotations"]
    own = annotations["traefik.ingress.kubernetes.io/router.middlewares"].split(",")
    assert [f"shaka-prod-{item['name']}@kubernetescrd" for item in users["middlewares"]] == own


def test_a_canary_is_chosen_by_header_and_by_cookie_before_it_is_by_weight(site: Site, models: Mapping[str, Any]) -> None:
    routes = routes_of(rendered(site, state(models["canary"], replicas=1, gate=True, weight=20)))
    chosen = [route for route in routes if "X-Canary" in route["match"] or r"canary\.v2=next" in route["match"]]
    weighed = min(route["priority"] for route in routes)
    assert len(chosen) == 2 and all(route["priority"] > weighed for route in chosen)
    assert all([service["name"] for service in route["services"]] == ["shaka-api-next"] for route in chosen)


def test_a_migration_is_a_job_of_the_new_image_that_reads_what_the_application_reads(site: Site) -> None:
    given = {"platform_environments/prod/api/migrate": {"command": ["/api", "migrate"], "seconds": 90}}
    model = plain(site.resolve(given), typed=True)["model"]
    objects = rendered(site, state(model, migrate=True))
    (job,) = [item for (kind, _name), item in objects.items() if kind == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    running = objects["Deployment", "shaka-api"]["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["command"], container["args"]) == (NEW, ["/api"], ["migrate"])
    assert job["spec"]["activeDeadlineSeconds"] == 90 and container["envFrom"] == running["envFrom"]


def test_no_application_may_have_the_name_of_another_s_part(site: Site) -> None:
    """Each name that a part of the API has at its edge or in a release, and that another application's part of that kind would have as well."""
    edge = {
        "rates": {"/login": {"average": 5}}, "streams": ["/feed"], "body_limit": "1Mi", "redirects": ["www.shaka-api.net"],
        "allow": ["198.18.0.0/15"], "maintenance": {"enabled": True}, "basic_auth": "EDGE_USERS",
    }  # fmt: skip
    given = {"platform_environments/prod/api/edge": edge, "platform_environments/prod/api/migrate": {"command": ["migrate"]}}
    given["platform_secrets/prod/EDGE_USERS"] = "ana:$2y$05$" + "a" * 53
    resolved = plain(site.resolve(given), typed=True)
    assert resolved["problems"] == []
    model = resolved["model"]
    endings: dict[str, set[str]] = {}
    for kind, name in rendered(site, state(model, replicas=1, gate=True, weight=20, migrate=True)):
        if name.startswith("shaka-api"):
            endings.setdefault(kind, set()).add(name.removeprefix("shaka-api"))
    shared = {long.removesuffix(short) for names in endings.values() for long in names for short in names if long != short and long.endswith(short)}
    assert shared == {"-next", "-rate-1", "-stream-1", "-redirect-1"}
    for ending in shared:
        (problem,) = site.resolve({"platform_environments/prod/apps": {f"api{ending}": {"image_of": "api", "protocol": "none"}}})["problems"]
        assert f"platform_environments.prod.apps.api{ending}" in str(problem)


def test_a_canary_below_a_wildcard_leaves_the_names_of_others_alone(site: Site) -> None:
    given = {"platform_environments/prod/api/strategy": "canary", "platform_environments/prod/api/hosts": ["*.shaka-api.net"]}
    given |= {"platform_environments/dev/api/host": "a.shaka-api.net", "platform_acme/kind": "self_signed"}
    model = plain(site.resolve({**given, "platform_releases": {"prod": {"apps": {"api": {"image": OLD}}}}}), typed=True)["model"]
    routes = [route["match"] for route in routes_of(rendered(site, state(model, replicas=1, gate=True, weight=20))) if "*." in route["match"]]
    assert routes and all("!Host(`a.shaka-api.net`)" in match for match in routes)


@pytest.mark.parametrize("strategy", ["canary", "blue_green"])
def test_users_of_another_application_s_path_on_the_same_host_stay_there(site: Site, strategy: str) -> None:
    """Its own route has a rule's length for its priority, which is below that of a release's routes."""
    other = {"image_of": "api", "host": "shaka-api.net", "paths": ["/files", "/v1/files"], "secrets": []}
    given = {"platform_environments/prod/api/strategy": strategy, "platform_environments/prod/apps": {"files": other}}
    given |= {"platform_environments/prod/api/paths": ["/", "/v1", "/v1/files/mine"], "platform_releases": {"prod": {"image": OLD}}}
    resolved = plain(site.resolve(given), typed=True)
    assert resolved["problems"] == []
    routes = routes_of(rendered(site, state(resolved["model"], replicas=1, gate=True, weight=100)))
    assert [route["match"] for route in routes if "X-Shaka-Release" not in route["match"]] == [
        "Host(`shaka-api.net`) && !PathPrefix(`/files`) && !PathPrefix(`/v1/files`)",
        "Host(`shaka-api.net`) && PathPrefix(`/v1`) && !PathPrefix(`/v1/files`)",
        "Host(`shaka-api.net`) && PathPrefix(`/v1/files/mine`)",
    ]


@pytest.mark.parametrize(("strategy", "trial", "weights"), [("rolling", 1, []), ("recreate", 0, []), ("blue_green", 2, [100]), ("canary", 1, [20])])
def test_the_way_of_each_strategy(models: Mapping[str, Any], strategy: str, trial: int, weights: list[int]) -> None:
    model = models[strategy]
    model["all_environments"]["prod"]["apps"]["api"]["replicas"] = 2
    way = release.plan(model, "prod", "api")
    assert (way["trial"], [step["weight"] for step in way["steps"]]) == (trial, weights)


def test_the_plan_counts_the_candidate_and_no_other_environment_s_rollout(site: Site, models: Mapping[str, Any]) -> None:
    def pods(model: Any) -> int:
        scope = scope_of(ROOT / "roles/apps", site.loader, variables(site), model)
        plan = make_plan(render_role(ROOT / "roles/apps", Templar(loader=site.loader, variables=scope), scope, model), model)
        return plan.rest.pods + plan.rollout.pods - make_plan([], model).rest.pods

    replicas = [env["apps"]["api"]["replicas"] for env in models["rolling"]["all_environments"].values()]
    for strategy, more in (("rolling", 1), ("blue_green", models["blue_green"]["all_environments"]["prod"]["apps"]["api"]["replicas"] + 1)):
        counted = release.counted(
            state(models[strategy], replicas=release.trial(models[strategy]["all_environments"]["prod"]["apps"]["api"])), "prod", "api"
        )
        counted["environments"] = counted["all_environments"]
        assert pods(counted) == sum(replicas) + more, strategy


@pytest.mark.parametrize(
    ("environment", "app", "image", "says"),
    [
        ("prd", "api", NEW, ["deploy_environment: 'prd'", "did you mean prod?"]),
        ("prod", "apo", NEW, ["deploy_app: 'apo'", "did you mean api?"]),
        ("prod", "api", "", ["deploy_image: ''", "is not given"]),
        ("prod", "api", "ghcr.io/example/api:1.4.2", ["deploy_image: 'ghcr.io/example/api:1.4.2'", "has no digest"]),
        ("prod", "api", "ghcr.io/example/api@sha256:12ab", ["64 hexadecimal digits"]),
        ("prod", "api", "https://ghcr.io/example/api" + DIGEST, ["is not an image reference"]),
        ("prod", "api", NEW, []),
    ],
)
def test_what_cannot_be_released_is_refused(models: Mapping[str, Any], environment: str, app: str, image: str, says: list[str]) -> None:
    text = release.refusal(models["rolling"], environment, app, image, "deploy")
    assert bool(text) == bool(says) and all(words in text for words in says), text


def test_steps_must_grow() -> None:
    api: Any = {
        "path": "api",
        "canary": {"steps": [{"weight": 50, "seconds": 5}, {"weight": 50, "seconds": 5}], "header": "X Canary", "cookie": ""},
        "gate": {"path": "", "seconds": 15, "max_errors": 0, "p95_factor": 3.0},
        "migrate": {"command": [], "seconds": 60},
    }
    problems = Problems()
    release.check(api, problems)
    assert [problem.path for problem in problems] == ["api.canary.steps[1].weight", "api.canary.header"]
