# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks an inventory's quantities: requests, limits, LimitRanges and quotas, each by itself and against the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.model_types import App, Environment, Space
from ansible_collections.shaka.platform.plugins.module_utils.quantities import (
    QuantityError,
    format_resource,
    parse_memory,
    parse_resource,
    resource_kind,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.amounts import Amounts, quota_shortfalls
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, nearest

Bounds = Mapping[str, Mapping[str, int]]  # min, max, default, default_request -> resource -> number

# What runs in every environment and is sized by its role's variables, by the beginning of their names: a backup, and cert-manager's HTTP-01 solver
# while a certificate is issued. The fit plan counts the rendered objects; this is for a quota that could never work.
BACKUP_JOB = "backup_"
JOBS = (BACKUP_JOB, "cert_manager_solver_")
NOTHING: Mapping[str, Mapping[str, str]] = {"requests": {}, "limits": {}}
# No container or volume is smaller than this: a smaller number lacks its unit.
LEAST_BYTES = 1 << 20
QUOTAS = (
    "requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "requests.storage", "pods", "services", "secrets", "configmaps",
    "persistentvolumeclaims", "requests.ephemeral-storage", "limits.ephemeral-storage",
)  # fmt: skip
# Names that people use -> names that a ResourceQuota knows
QUOTA_NAMES = {"cpu": "requests.cpu", "memory": "requests.memory", "storage": "requests.storage", "volumes": "persistentvolumeclaims"}


def size_flaw(name: str, value: int) -> str | None:
    """What is wrong with an amount of a resource, or None."""
    if value == 0:
        return "must be more than 0"
    if resource_kind(name) == "memory" and value < LEAST_BYTES:
        return f"is {value} bytes; write the unit, such as {value}Mi" if value < 1 << 16 else "is less than 1Mi; write the unit, such as 64Mi"
    return None


def amounts(values: Mapping[str, Any], path: str, problems: Problems, zero: bool = False) -> dict[str, int]:
    """The quantities of a dictionary as numbers. What is not a quantity is reported and left out. `zero`: 0 is allowed, as in a quota."""
    numbers: dict[str, int] = {}
    for name, text in values.items():
        last = "disk" if path.startswith("platform_server") and name == "requests.storage" else name
        try:
            number = parse_resource(name, str(text))
        except QuantityError as error:
            problems.add(f"{path}.{last}", str(error), text)
            continue
        flaw = None if zero and number == 0 else size_flaw(name, number)
        problems.check(f"{path}.{last}", flaw, text)
        if flaw is None:
            numbers[name] = number
    return numbers


def check_storage(storage: str, path: str, problems: Problems) -> None:
    """The size of the volume of Postgres or Redis."""
    check_amount(storage, f"{path}.storage", problems)


def check_amount(storage: str, path: str, problems: Problems) -> None:
    """The size of a volume or a folder."""
    try:
        problems.check(path, size_flaw("requests.storage", parse_memory(storage)), storage)
    except QuantityError as error:
        problems.add(path, str(error), storage)


def scratch(storage: str) -> str:
    """What a restore or a recovery may write: a dump encrypted and in the clear, or a database with its WAL, of a volume of this size."""
    try:
        return format_resource("requests.storage", 2 * parse_memory(storage) + (1 << 30))
    except QuantityError:
        return "1Gi"  # reported elsewhere


def sized(options: Mapping[str, Any], values: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every part of an environment that has requests and limits, at any depth, and is not switched off: its path and itself."""
    for name, option in options.items():
        inner = option.get("options") or {}
        if option["type"] == "dict" and inner:
            part = values[name]
            if {"requests", "limits"} <= inner.keys() and part.get("enabled", part.get("dedicated", True)):
                yield f"{path}.{name}", part
            yield from sized(inner, part, f"{path}.{name}")


def sized_by_roles(roles: Mapping[str, Mapping[str, Any]], variables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What roles size by variables of their own, by the beginning of these names: for `backup_` the values of backup_requests and backup_limits."""
    options = {name: option for role in roles.values() for name, option in role.items()}
    values = {name: variables.get(name, option.get("default")) for name, option in options.items()}
    starts = [name.removesuffix("requests") for name in options if name.endswith("_requests") and name.removesuffix("requests") + "limits" in options]
    return {start: {part: values[start + part] for part in ("requests", "limits")} for start in starts}


def check_sizes(item: Mapping[str, Any], start: str, problems: Problems, limit_range: Bounds | None, space: str = "") -> None:
    """Checks request <= limit, and both within the namespace's LimitRange (https://kubernetes.io/docs/concepts/policy/limit-range/).

    :arg start: of the variables' names, such as `platform_redis.` or `backup_`.
    :arg space: of the variables' names of the namespace, such as `platform_environments.prod.`, where they are not clear from `start`.
    """
    requests = amounts(item["requests"], f"{start}requests", problems)
    limits = amounts(item["limits"], f"{start}limits", problems)
    for name in ("cpu", "memory"):
        request, limit = requests.get(name), limits.get(name)
        if request is not None and limit is not None and request > limit:
            text = f"is more than its limit {item['limits'][name]}; lower it, or raise {start}limits.{name}"
            problems.add(f"{start}requests.{name}", text, item["requests"][name])
        least, most = (limit_range or {}).get("min", {}).get(name), (limit_range or {}).get("max", {}).get(name)
        if request is not None and least is not None and request < least:
            text = f"is under its namespace's LimitRange minimum {format_resource(name, least)}, which would refuse the pod"
            text += f"; raise it or lower {space}limits.min.{name}"
            problems.add(f"{start}requests.{name}", text, item["requests"][name])
        if limit is not None and most is not None and limit > most:
            text = f"is over the LimitRange maximum {format_resource(name, most)} of its namespace; lower it or raise {space}limits.max.{name}"
            problems.add(f"{start}limits.{name}", text, item["limits"][name])


def canonical_quota(quota: Mapping[str, Any], path: str, problems: Problems) -> dict[str, str]:
    """The quota by Kubernetes' own names."""
    result: dict[str, str] = {}
    for name, value in quota.items():
        known = QUOTA_NAMES.get(str(name), str(name))
        if known in quota and known != name:
            problems.add(f"{path}.quota.{name}", f"is another name of {known}, which is there too; leave one out", value)
        elif resource_kind(known) is None:
            problems.add(f"{path}.quota.{name}", f"is not a resource that a ResourceQuota counts; {nearest(known, QUOTAS)}")
        else:
            result[known] = str(value)
    return result


def check_bounds(space: Space, path: str, problems: Problems) -> Bounds:
    """Checks quota and LimitRange of an environment or namespace; returns the LimitRange in numbers."""
    space["quota"] = canonical_quota(space["quota"], path, problems)
    amounts(space["quota"], f"{path}.quota", problems, zero=True)
    limits = {bound: dict(sizes) for bound, sizes in space["limits"].items() if isinstance(sizes, Mapping)}
    bounds = {bound: amounts(sizes, f"{path}.limits.{bound}", problems) for bound, sizes in limits.items()}
    order = [("min", "default_request"), ("default_request", "default"), ("default", "max")]
    for name in ("cpu", "memory", "ephemeral-storage"):
        for low, high in order:
            a, b = bounds[low].get(name), bounds[high].get(name)
            if a is not None and b is not None and a > b:
                text = f"is more than limits.{high}.{name} ({limits[high][name]}); lower it or raise the other"
                text += " (a LimitRange goes min <= default_request <= default <= max)"
                problems.add(f"{path}.limits.{low}.{name}", text, limits[low][name])
    return bounds


def _demand(item: Mapping[str, Any], pods: int, storage: str = "0") -> Amounts:
    """How much of a quota `pods` pods of these sizes take; quantities that do not parse count as 0 (they are already reported)."""

    def number(name: str, text: object) -> int:
        try:
            return parse_resource(name, str(text))
        except QuantityError:
            return 0

    disk = number("requests.storage", storage)
    requests, limits = item["requests"], item["limits"]
    return Amounts(
        cpu_request=number("cpu", requests.get("cpu", 0)) * pods,
        cpu_limit=number("cpu", limits.get("cpu", 0)) * pods,
        memory_request=number("memory", requests.get("memory", 0)) * pods,
        memory_limit=number("memory", limits.get("memory", 0)) * pods,
        pods=pods,
        disk=disk,
        claims=1 if disk else 0,
    )


def most_pods(app: App) -> int:
    """Pods of an application at the peak: the autoscaler's most, and the extra one of a rolling update."""
    if app["schedule"]:
        return 1
    return (app["autoscale"]["max"] or app["replicas"]) + (1 if app["strategy"] == "rolling" else 0)


def _peak(env: Environment, jobs: Iterable[Mapping[str, Any]]) -> Amounts:
    """What an environment needs at most: Postgres, its applications as they roll, and the jobs (a backup, an ACME solver)."""
    point_in_time = env["backup"]["point_in_time"]
    return Amounts.total(
        [
            _demand(env["postgres"], 1, env["postgres"]["storage"]),
            *(_demand(app, most_pods(app)) for app in env["apps"].values()),
            *(_demand(NOTHING, 0, volume["size"]) for app in env["apps"].values() for volume in app["volumes"].values()),
            _demand(env["redis"], 1, env["redis"]["storage"]) if env["redis"]["dedicated"] else Amounts(),
            _demand(env["postgres"]["pgbouncer"], 2) if env["postgres"]["pgbouncer"]["enabled"] else Amounts(),
            _demand(point_in_time, 2) if point_in_time["enabled"] else Amounts(),
            *(_demand(job, 1) for job in jobs),
        ]
    )


def as_the_quota_leaves(env: Environment, job: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A job's sizes, its CPU limit lowered to what an environment's quota leaves: with less of it a job takes longer, and works."""
    room = _cpu_beyond_peak(env, others)
    wanted, least = (amounts(job[part], "", Problems()).get("cpu") for part in ("limits", "requests"))
    if room is not None and wanted is not None and least is not None and least <= room < wanted:
        return {**job, "limits": {**job["limits"], "cpu": format_resource("cpu", room)}}
    return dict(job)


def _cpu_beyond_peak(env: Environment, jobs: Iterable[Mapping[str, Any]]) -> int | None:
    """Millicores that the quota has beyond what the environment needs at most; None without a quota of CPU."""
    quota = amounts(env["quota"], "", Problems(), zero=True).get("limits.cpu")
    return None if quota is None else quota - _peak(env, jobs).cpu_limit


def spare_cpu(env: Environment, jobs: Iterable[Mapping[str, Any]]) -> int | None:
    """Millicores that the quota has beyond the environment's peak, which a restore may take for a while; None without such a quota."""
    room = _cpu_beyond_peak(env, jobs)
    return None if room is None else max(room, 0)


def check_quota(env: Environment, path: str, jobs: Iterable[Mapping[str, Any]], problems: Problems) -> None:
    """Checks that the quota covers the environment's peak."""
    for name, hard, needed in quota_shortfalls(amounts(env["quota"], path, Problems(), zero=True), _peak(env, jobs)):
        text = f"is less than the {format_resource(name, needed)} that the environment needs at its peak"
        text += " (Postgres, the applications with their updates' extra pods, a backup, a certificate's solver); raise it"
        problems.add(f"{path}.quota.{name}", text, format_resource(name, hard))
