# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which data of a server an inventory would leave behind, so that something starts on empty data in its place. Pure.

Data lies in a claim of a namespace, under a database's name, a Redis number and prefix, or the names of an application and its volume. An inventory
that no longer has one of these is refused, unless it says so: `platform_retire` names what stays behind, `postgres.renamed_from` what is named anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment, Model
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

RETIRE = "platform_retire"
POSTGRES, REDIS = "postgres-pvc", "redis-pvc"
APPS = "apps."  # begins the names of the sets of an environment's applications


def check_retired(names: Sequence[str], spaces: Mapping[str, Any], environments: Mapping[str, Environment], problems: Problems) -> None:
    """What is retired is not in the inventory at the same time: an entry left over would allow the next mistake."""
    there = {*environments, *(path.partition(".")[2] for path in spaces), *(space["namespace"] for space in spaces.values())}
    for name in names:
        environment, _slash, rest = str(name).partition("/")
        env = environments.get(environment)
        databases = [env["postgres"]["database"], *env["postgres"]["databases"]] if env else []
        if not rest and name in there:
            problems.add(RETIRE, "is still in the inventory; remove it here, or there", name)
        elif rest and rest in databases:
            problems.add(RETIRE, f"is still in platform_environments.{environment}.postgres; remove it here, or there", name)
        elif env and rest in (volumes := _volumes(env)):
            problems.add(RETIRE, f"is still {volumes[rest]}; remove it here, or there", name)


def _volumes(env: Environment) -> dict[str, str]:
    """Claim -> where the inventory has the volume of an application."""
    return {volume["claim"]: f"{app['path']}.volumes.{name}" for app in env["apps"].values() for name, volume in app["volumes"].items()}


def left_behind(claims: Sequence[Mapping[str, Any]], model: Model, retire: Collection[str], delete: Collection[str]) -> list[str]:
    """The problems, each as `variable: text`.

    :arg claims: what module_utils/data/claims.py found on the server.
    :arg retire: platform_retire, what is meant to stay behind.
    :arg delete: platform_delete: data that is meant to be deleted is meant to go.
    """
    claims = [claim for claim in claims if f"persistentvolumeclaims/{claim['namespace']}/{claim['name']}" not in delete]
    environments = {env["namespace"]: env for env in model["all_environments"].values()}
    spaces = {*environments, *(space["namespace"] for space in model["namespaces"].values())}
    empty = [env for env in environments.values() if not any((env["namespace"], POSTGRES) == (one["namespace"], one["name"]) for one in claims)]
    problems: list[str] = []
    gone: dict[str, list[Mapping[str, Any]]] = {}
    for claim in claims:
        record, env = claim["data"], environments.get(claim["namespace"])
        if claim["namespace"] not in spaces:
            if claim["used"]:
                gone.setdefault(claim["namespace"], []).append(claim)
        elif claim["name"] == POSTGRES and env:
            problems += _postgres(env, record, retire)
        elif claim["name"] == REDIS and claim["used"]:
            problems += _redis(claim["namespace"], record, environments, retire)
    return [*_gone(gone, model, empty, retire), *problems, *_applications(claims, environments, retire)]


def _gone(gone: Mapping[str, Sequence[Mapping[str, Any]]], model: Model, empty: Sequence[Environment], retire: Collection[str]) -> Iterator[str]:
    """Namespaces with data that the inventory no longer has."""
    for namespace, claims in gone.items():
        name = _name_of(claims[0])
        if {name, namespace} & {*retire}:
            continue
        held = ", ".join(_described(claim) for claim in claims)
        here = model["all_environments"].get(name) or model["namespaces"].get(name)
        platform = claims[0]["platform"]
        if platform != model["name"]:
            yield (
                f"platform_name: is '{model['name']}', and this server has the platform '{platform}' with data in {namespace} ({held}), beside which "
                f"everything would start empty; set it back to {platform}, or name {RETIRE}: [{namespace}] if that is to stay behind"
            )
        elif here:
            part = "environments" if name in model["all_environments"] else "namespaces"
            yield (
                f"platform_{part}.{name}.namespace: is '{here['namespace']}', where it would start empty, and its data is in {namespace} ({held}); "
                f"set it back to {namespace}, or name {RETIRE}: [{namespace}] if that data is to stay behind"
            )
        else:
            new = " or ".join(f"platform_environments.{env['name']}" for env in empty)
            renamed = f"if it was renamed to {' or '.join(env['name'] for env in empty)}, give {new} its namespace ({namespace}); " if empty else ""
            part = "environments" if "." in claims[0]["set"] else "namespaces"
            yield (
                f"platform_{part}: '{name}' is not in it, and this server has its data in {namespace} ({held}), whose workloads would be removed; "
                f"put it back; {renamed}if it is to go, name {RETIRE}: [{name}], and its volumes are kept"
            )


def _postgres(env: Environment, record: Mapping[str, Any], retire: Collection[str]) -> Iterator[str]:
    """Databases and their owner under other names than on the server."""
    spec, path = env["postgres"], f"platform_environments.{env['name']}.postgres"
    wanted, renamed = [spec["database"], *spec["databases"]], spec["renamed_from"]
    had: list[str] = record.get("databases") or []
    for number, database in enumerate(had):
        meant = database in wanted or f"{env['name']}/{database}" in retire or database == renamed["database"]
        if meant:
            continue
        leave = f"name {RETIRE}: [{env['name']}/{database}] if its data is to stay behind, in no backup"
        if number == 0:
            yield (
                f"{path}.database: is '{spec['database']}', and this server has '{database}': the application would not find its data; set it back, "
                f"rename it with renamed_from: {{database: {database}}}, or {leave}"
            )
        else:
            yield f"{path}.databases: lacks '{database}', which this server has; list it again, or {leave}"
    owner = record.get("user") or spec["user"]
    if owner not in (spec["user"], renamed["user"]):
        yield (
            f"{path}.user: is '{spec['user']}', and on this server the data is {owner}'s; set it to {owner}, or hand everything over with "
            f"renamed_from: {{user: {owner}}}"
        )


def _applications(claims: Sequence[Mapping[str, Any]], environments: Mapping[str, Environment], retire: Collection[str]) -> Iterator[str]:
    """Volumes of applications under other names than on the server. Of one that went alone, the volume stays as documented."""
    there = {(claim["namespace"], claim["name"]) for claim in claims}
    for claim in claims:
        env, name = environments.get(claim["namespace"]), claim["name"]
        wanted = _volumes(env) if env and claim["used"] and str(claim["set"]).startswith(APPS) else {}
        new = [path for other, path in wanted.items() if (claim["namespace"], other) not in there]
        if env and new and name not in wanted and f"{env['name']}/{name}" not in retire:
            yield (
                f"platform_environments.{env['name']}.apps: nothing in it has the volume {name} of {claim['size']}, which an application has on this "
                f"server, and {', '.join(new)} would start empty; name application and volume as before, or name {RETIRE}: [{env['name']}/{name}] if "
                "that is to stay behind"
            )


def _redis(namespace: str, record: Mapping[str, Any], environments: Mapping[str, Environment], retire: Collection[str]) -> Iterator[str]:
    """Keys of an environment in another Redis, number or prefix than where it would look for them."""
    for space, had in record.items():
        env = environments.get(space)
        if env is None:
            continue
        redis, path = env["redis"], f"platform_environments.{env['name']}.redis"
        entry = f"{env['name']}/redis/{had['database']}"
        if entry in retire:
            continue
        leave = f"or name {RETIRE}: [{entry}] if they are to stay behind: they are not moved, and take memory until they are deleted"
        if redis["namespace"] != namespace and not redis["dedicated"] and namespace != env["namespace"]:
            yield (
                f"platform_redis.namespace: puts the Redis into {redis['namespace']}, and the keys of {env['name']} are in that of {namespace}; "
                f"set it back, {leave}"
            )
        elif redis["namespace"] != namespace:
            yield f"{path}.dedicated: is {str(redis['dedicated']).lower()}, and its keys are in the Redis of {namespace}; set it back, {leave}"
        elif redis["database"] != had["database"]:
            yield f"{path}.database: is {redis['database']}, and its keys are in {had['database']}; set it back, {leave}"
        elif redis["prefix"] != had["prefix"] and not redis["dedicated"]:
            yield f"{path}.prefix: is '{redis['prefix']}', and its keys begin with '{had['prefix']}'; set it back, {leave}"


def _name_of(claim: Mapping[str, Any]) -> str:
    """The environment's name by the claim's set, `<role>.<environment>`; else its namespace's, without the platform."""
    _role, dot, name = str(claim["set"]).partition(".")
    return name if dot else str(claim["namespace"]).removeprefix(f"{claim['platform']}-")


def _described(claim: Mapping[str, Any]) -> str:
    databases = claim["data"].get("databases") or []
    inside = f", databases {', '.join(databases)}" if databases else ""
    return f"{claim['name']} of {claim['size']}{inside}"
