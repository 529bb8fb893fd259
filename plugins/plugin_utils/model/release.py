# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases of an application: what the inventory may say of them, the way that one takes, and the model while it lasts. Pure."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any, TypedDict, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import (
    App,
    CanaryStep,
    Gate,
    Migrate,
    Model,
    ReleaseState,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, nearest

NEXT = "-next"  # ends the name of a candidate
LONGEST = 3600  # seconds of a step or a gate
WEIGHTS = (10, 50, 100)  # percent, the steps of a canary unless the inventory has its own


class ReleasePlan(TypedDict):
    """The way of a release.

    `trial`: pods that are tried without users, at first; `pull`: whether the image comes before all else, as pods end before their successors start.
    """

    app: str
    name: str
    candidate: str
    kind: str
    namespace: str
    host: str
    path: str
    strategy: str
    trial: int
    pull: bool
    steps: list[CanaryStep]
    gate: Gate
    migrate: Migrate
    config_hash: str


# --- the inventory --------------------------------------------------------------------------------------------------------------------------


def check(app: App, problems: Problems) -> None:
    """The canary's steps and names, the gate and the migration."""
    path, canary, gate, migrate = app["path"], app["canary"], app["gate"], app["migrate"]
    before = 0
    for index, step in enumerate(canary["steps"]):
        where = f"{path}.canary.steps[{index}]"
        if not before < step["weight"] <= 100:
            problems.add(
                f"{where}.weight", f"must be more than {before} and at most 100 percent: each step gives the new release more users", step["weight"]
            )
        before = max(before, step["weight"])
        problems.check(f"{where}.seconds", _seconds(step["seconds"], 1), step["seconds"])
    header, cookie = str(canary["header"]), str(canary["cookie"])
    problems.check(f"{path}.canary.header", rules.request_header(header) if header else None, header)
    if cookie and (not rules.TOKEN.fullmatch(cookie) or "`" in cookie):  # which ends a text in Traefik's rules
        problems.add(f"{path}.canary.cookie", "is not the name of a cookie; use letters, digits and hyphens, such as canary", cookie)
    problems.check(f"{path}.gate.path", rules.url_path(gate["path"]) if gate["path"] else None, gate["path"])
    problems.check(f"{path}.gate.seconds", _seconds(gate["seconds"], 0), gate["seconds"])
    if not 0 <= gate["max_errors"] <= 100:
        problems.add(f"{path}.gate.max_errors", "is a share of the gate's requests; use 0 to 100 percent", gate["max_errors"])
    if gate["p95_factor"] < 1:
        problems.add(f"{path}.gate.p95_factor", "must be at least 1, which is as slow as the running release", gate["p95_factor"])
    problems.check(f"{path}.migrate.seconds", _seconds(migrate["seconds"], 1), migrate["seconds"])
    if migrate["command"] and (source := app["image_of"]):
        problems.add(f"{path}.migrate.command", f"never runs, as the application is released with {source}, whose image it has; move it to {source}")
    for flaw in rules.words(migrate["command"]):
        problems.add(f"{path}.migrate.command", flaw)


def _seconds(value: int, least: int) -> str | None:
    return None if least <= value <= LONGEST else f"must be {least} to {LONGEST} seconds"


# --- one release ----------------------------------------------------------------------------------------------------------------------------


def refusal(model: Model, environment: str, key: str, image: str, playbook: str) -> str:
    """Why this release may not begin: the variable, its value, the rule and the fix. Empty when it may be.

    :arg playbook: `deploy`, or `rollback`, whose image is found in the records.
    """
    known = list(model["all_environments"])
    if environment not in known:
        return f"{playbook}_environment: {rules.shown(environment)} is not an environment; {nearest(environment, known)}"
    apps = model["all_environments"][environment]["apps"]
    if key not in apps:
        return f"{playbook}_app: {rules.shown(key)} is not an application of {environment}; {nearest(key, apps)}"
    if source := apps[key]["image_of"]:
        return f"{playbook}_app: {rules.shown(key)} has the image of {source} (image_of), and is released with it; release {source}"
    if playbook != "deploy":
        return ""
    flaw = rules.image(image) if image else "is not given"
    if flaw is None and "@sha256:" not in image:
        flaw = "has no digest, so that what runs could change under its name; write registry/name@sha256:... as your registry or CI shows it"
    return f"deploy_image: {rules.shown(image)} {flaw}" if flaw else ""


def judged(app: App) -> bool:
    """Whether a request through the edge can tell how it is: gRPC has no paths unless the inventory names one."""
    return app["served"] and (app["protocol"] == "http" or bool(app["gate"]["path"]))


def steps(app: App) -> list[CanaryStep]:
    """The users' shares on the way; none where they meet the new release pod by pod, or do not come through the edge."""
    seconds = max(1, app["gate"]["seconds"])
    if app["served"] and app["strategy"] == "blue_green":
        return [{"weight": 100, "seconds": seconds}]
    if app["served"] and app["strategy"] == "canary":
        return app["canary"]["steps"] or [{"weight": weight, "seconds": seconds} for weight in WEIGHTS]
    return []


def trial(app: App) -> int:
    """Pods of the candidate: enough for the largest share of the users that it gets. What nobody asks through the edge has none."""
    if app["strategy"] == "recreate" or not app["served"]:
        return 0
    most = max((step["weight"] for step in steps(app)), default=0)
    return max(1, math.ceil((app["autoscale"]["max"] or app["replicas"]) * most / 100))


def pull(apps: Iterable[App], key: str) -> bool:
    """Whether pods of an application, or of one with its image, end before there is one that pulls the new image."""
    return any(app["strategy"] == "recreate" and not app["schedule"] for app in apps if key in (app["key"], app["image_of"]))


def plan(model: Model, environment: str, key: str) -> ReleasePlan:
    """The way of a release of an application."""
    env = model["all_environments"][environment]
    app = env["apps"][key]
    own = app["checks"].get("readinessProbe", {}).get("httpGet", {}).get("path", "")
    return {
        "app": key,
        "name": app["name"],
        "candidate": app["name"] + NEXT,
        "kind": "cronjobs" if app["schedule"] else "deployments",
        "namespace": env["namespace"],
        "host": app["host"],
        "path": app["gate"]["path"] or own or app["asked"],
        "strategy": app["strategy"],
        "trial": trial(app),
        "pull": pull(env["apps"].values(), key),
        "steps": steps(app),
        "gate": cast(Gate, {**app["gate"], "seconds": app["gate"]["seconds"] if judged(app) else 0}),
        "migrate": app["migrate"],
        "config_hash": app["config_hash"],
    }


def with_image(model: Model, environment: str, key: str, image: str) -> Model:
    """The model of this environment alone, with nothing of a release beside it.

    :arg image: of the application and of those that have its image; empty is the inventory's.
    """
    result = copy.copy(model)
    env = copy.deepcopy(model["all_environments"][environment])
    for app in env["apps"].values() if image else ():
        if key in (app["key"], app["image_of"]):
            app["image"] = image
    result["environments"] = {environment: env}
    result["all_environments"] = {**model["all_environments"], environment: env}
    result["complete"], result["previews"], result["ended_previews"] = False, {}, []
    return result


def releasing(model: Model, environment: str, key: str, state: dict[str, Any]) -> Model:
    """The model of `with_image` while a release lasts.

    :arg state: keys of ReleaseState; what it leaves out is not there.
    """
    env = model["environments"][environment]
    none: ReleaseState = {
        "app": key, "name": env["apps"][key]["name"] + NEXT, "image": "", "token": "", "replicas": 0, "weight": 0, "migrate": False, "gate": False,
    }  # fmt: skip
    env["release"] = cast(ReleaseState, {**none, **state})
    return model


def counted(model: Model, environment: str, key: str) -> Model:
    """The model as the fit plan counts it while a release lasts: nothing else rolls out at the same time."""
    result = copy.copy(model)
    result["all_environments"] = copy.deepcopy(model["all_environments"])
    for name, env in result["all_environments"].items():
        for app in env["apps"].values():
            together = name == environment and key in (app["key"], app["image_of"])
            # without shares the candidate is gone before the pods are replaced, and has left its room to them
            if not together or (app["key"] == key and not steps(app)):
                app["strategy"] = "recreate"
    return result
