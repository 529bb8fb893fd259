# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases of an application: what the inventory may say of them, the way that one takes, and the model while it lasts. Pure."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from typing import Any, TypedDict, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import (
    CanaryStep,
    Environment,
    Gate,
    HttpApi,
    Migrate,
    Model,
    ReleaseState,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, nearest

APP = "api"  # the application of an environment
NEXT = "-next"  # ends the name of a candidate
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: a header's name, and (RFC 6265) a cookie's
LONGEST = 3600  # seconds of a step or a gate
WEIGHTS = (10, 50, 100)  # percent, the steps of a canary unless the inventory has its own


class ReleasePlan(TypedDict):
    """The way of a release. `trial`: pods that are tried without users, at first; none means that the old ones end before the new ones start."""

    app: str
    name: str
    candidate: str
    namespace: str
    host: str
    path: str
    strategy: str
    trial: int
    steps: list[CanaryStep]
    gate: Gate
    migrate: Migrate
    config_hash: str


def application(env: Environment, app: str) -> HttpApi:
    """One of an environment's applications."""
    return cast(HttpApi, cast(dict[str, Any], env)[app])


def applications(env: Environment) -> list[str]:
    """Their names."""
    return [APP] if APP in env else []


# --- the inventory --------------------------------------------------------------------------------------------------------------------------


def released(releases: Any, environment: str, app: str = APP) -> str:
    """The image that was deployed last, if any. `{prod: {image: ...}}` is that of the application `api`."""
    entry = releases.get(environment) if isinstance(releases, dict) else None
    own = entry.get(app) if isinstance(entry, dict) else None
    if isinstance(own, dict):
        return str(own.get("image") or "")
    return str(entry.get("image") or "") if isinstance(entry, dict) and app == APP else ""


def variable(releases: Any, environment: str, app: str = APP) -> str:
    """Which of its variables says so; empty when none does."""
    if not released(releases, environment, app):
        return ""
    own = isinstance(releases[environment].get(app), dict)
    return f"platform_releases.{environment}.{app}.image" if own else f"platform_releases.{environment}.image"


def check_releases(releases: Mapping[str, Any], environments: Mapping[str, Environment], problems: Problems) -> None:
    """What was deployed belongs to environments and applications of the inventory."""
    for name, entry in releases.items():
        path = f"platform_releases.{name}"
        if name not in environments:
            problems.add(path, f"belongs to no environment; remove it; {nearest(name, environments)}")
        elif not isinstance(entry, dict):
            problems.add(path, "must be a dictionary (application: {image: reference})", entry)
        else:
            known = [*applications(environments[name]), "image"]
            for key in entry:
                if key not in known:
                    problems.add(f"{path}.{key}", f"is not an application of {name}; {nearest(str(key), known)}")


def check(api: HttpApi, path: str, problems: Problems) -> None:
    """The canary's steps and names, the gate and the migration."""
    canary, gate, migrate = api["canary"], api["gate"], api["migrate"]
    before = 0
    for index, step in enumerate(canary["steps"]):
        where = f"{path}.canary.steps[{index}]"
        if not before < step["weight"] <= 100:
            problems.add(
                f"{where}.weight", f"must be more than {before} and at most 100 percent: each step gives the new release more users", step["weight"]
            )
        before = max(before, step["weight"])
        problems.check(f"{where}.seconds", _seconds(step["seconds"], 1), step["seconds"])
    for kind in ("header", "cookie"):
        name = str(canary[kind])
        if name and not TOKEN.fullmatch(name):
            problems.add(f"{path}.canary.{kind}", f"is not the name of a {kind}; use letters, digits and hyphens, such as X-Canary", name)
    problems.check(f"{path}.gate.path", rules.url_path(gate["path"]) if gate["path"] else None, gate["path"])
    problems.check(f"{path}.gate.seconds", _seconds(gate["seconds"], 0), gate["seconds"])
    if not 0 <= gate["max_errors"] <= 100:
        problems.add(f"{path}.gate.max_errors", "is a share of the gate's requests; use 0 to 100 percent", gate["max_errors"])
    if gate["p95_factor"] < 1:
        problems.add(f"{path}.gate.p95_factor", "must be at least 1, which is as slow as the running release", gate["p95_factor"])
    problems.check(f"{path}.migrate.seconds", _seconds(migrate["seconds"], 1), migrate["seconds"])
    if any(not part for part in migrate["command"][:1]):
        problems.add(f"{path}.migrate.command", "begins with an empty text; name the program first")


def _seconds(value: int, least: int) -> str | None:
    return None if least <= value <= LONGEST else f"must be {least} to {LONGEST} seconds"


# --- one release ----------------------------------------------------------------------------------------------------------------------------


def refusal(model: Model, environment: str, app: str, image: str, playbook: str) -> str:
    """Why this release is not begun: the variable, its value, the rule and the fix. Empty when it may be.

    :arg playbook: `deploy`, or `rollback`, whose image is found in the records.
    """
    known = list(model["all_environments"])
    if environment not in known:
        return f"{playbook}_environment: {rules.shown(environment)} is not an environment; {nearest(environment, known)}"
    apps = applications(model["all_environments"][environment])
    if app not in apps:
        return f"{playbook}_app: {rules.shown(app)} is not an application of {environment}; {nearest(app, apps)}"
    if playbook != "deploy":
        return ""
    flaw = rules.image(image) if image else "is not given"
    if flaw is None and "@sha256:" not in image:
        flaw = "has no digest, so that what runs could change under its name; write registry/name@sha256:... as your registry or CI shows it"
    return f"deploy_image: {rules.shown(image)} {flaw}" if flaw else ""


def steps(api: HttpApi) -> list[CanaryStep]:
    """The users' shares on the way; none where they meet the new release pod by pod."""
    seconds = max(1, api["gate"]["seconds"])
    if api["strategy"] == "blue_green":
        return [{"weight": 100, "seconds": seconds}]
    if api["strategy"] == "canary":
        return api["canary"]["steps"] or [{"weight": weight, "seconds": seconds} for weight in WEIGHTS]
    return []


def trial(api: HttpApi) -> int:
    """Pods of the candidate: enough for the largest share of the users that it gets."""
    if api["strategy"] == "recreate":
        return 0
    most = max((step["weight"] for step in steps(api)), default=0)
    return max(1, math.ceil(api["replicas"] * most / 100))


def plan(model: Model, environment: str, app: str) -> ReleasePlan:
    """The way of a release of an application."""
    env = model["all_environments"][environment]
    api = application(env, app)
    return {
        "app": app,
        "name": api["name"],
        "candidate": api["name"] + NEXT,
        "namespace": env["namespace"],
        "host": api["host"],
        "path": api["gate"]["path"] or api["readiness"],
        "strategy": api["strategy"],
        "trial": trial(api),
        "steps": steps(api),
        "gate": api["gate"],
        "migrate": api["migrate"],
        "config_hash": env["config_hash"],
    }


def with_image(model: Model, environment: str, app: str, image: str) -> Model:
    """The model of this environment alone, its application with that image (empty: as the inventory has it), and with nothing beside it."""
    result = copy.copy(model)
    env = copy.deepcopy(model["all_environments"][environment])
    if image:
        application(env, app)["image"] = image
    result["environments"] = {environment: env}
    result["all_environments"] = {**model["all_environments"], environment: env}
    result["complete"] = False
    return result


def releasing(model: Model, environment: str, app: str, state: dict[str, Any]) -> Model:
    """The model of `with_image` while a release lasts.

    :arg state: keys of ReleaseState; what it leaves out is not there.
    """
    env = model["environments"][environment]
    name = application(env, app)["name"]
    none: ReleaseState = {
        "app": app, "name": name + NEXT, "image": "", "token": "", "replicas": 0, "weight": 0, "migrate": False, "gate": False,
    }  # fmt: skip
    env["release"] = cast(ReleaseState, {**none, **state})
    return model


def counted(model: Model, environment: str) -> Model:
    """The model as the fit plan counts it while a release lasts: no other environment rolls out at the same time."""
    result = copy.copy(model)
    result["all_environments"] = {}
    for name, env in model["all_environments"].items():
        copied = copy.deepcopy(env)
        rolls = name == environment and steps(application(env, APP))  # else the candidate is gone before the pods are replaced
        for app in () if rolls else applications(copied):
            application(copied, app)["strategy"] = "recreate"
        result["all_environments"][name] = copied
    return result
