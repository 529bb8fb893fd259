# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fit plan: compares what the rendered objects request with what one server has. Pure; it asks no cluster.

It counts as the scheduler does (https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/): requests, not use. Its peak is the
moment when all Deployments of one role roll out (the site applies one role after the other) while every scheduled job runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Object
from ansible_collections.shaka.platform.plugins.module_utils.engine.identity import INVENTORY
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Acme, Model, Server, Space
from ansible_collections.shaka.platform.plugins.module_utils.quantities import (
    QuantityError,
    format_memory,
    format_resource,
    parse_count,
    parse_cpu,
    parse_memory,
    parse_resource,
    resource_kind,
    show_memory,
)
from ansible_collections.shaka.platform.plugins.module_utils.quantities import (
    format_cpu as show_cpu,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.amounts import Amounts, quota_shortfalls
from ansible_collections.shaka.platform.plugins.plugin_utils.report.tables import RULE, table

EPHEMERAL = "ephemeral-storage"

# What K3s itself runs: requests and limits of its packaged manifests (https://github.com/k3s-io/k3s/tree/master/manifests).
PACKAGED = {"coredns": ("100m", "70Mi", "170Mi"), "metrics-server": ("100m", "70Mi", ""), "local-path-provisioner": ("0", "0", "")}


class Rendered(Protocol):
    """The part of rendering.RenderedSet that the plan reads."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def environment(self) -> str | None: ...
    @property
    def objects(self) -> list[dict[str, Any]]: ...
    @property
    def patches(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Row:
    """One workload: its need at rest, what a rollout or a job adds, and the variable that sizes it."""

    component: str
    namespace: str
    role: str
    rest: Amounts = field(default_factory=Amounts)
    rollout: Amounts = field(default_factory=Amounts)
    job: Amounts = field(default_factory=Amounts)
    by_hand: Amounts = field(default_factory=Amounts)  # one run of a suspended CronJob: counts in the namespace's quota alone
    variable: str = ""

    @property
    def most(self) -> Amounts:
        return self.rest + self.rollout + self.job


@dataclass
class FitPlan:
    """Rows, totals and what follows from them."""

    rows: list[Row]
    server: Amounts
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    server_name: str = ""

    @property
    def rest(self) -> Amounts:
        return Amounts.total(row.rest for row in self.rows)

    @property
    def rollout(self) -> Amounts:
        """The largest rollout of one role, each measure by itself."""
        result = Amounts()
        for role in {row.role for row in self.rows}:
            result = _larger(result, Amounts.total(row.rollout for row in self.rows if row.role == role))
        return result

    @property
    def jobs(self) -> Amounts:
        return Amounts.total(row.job for row in self.rows)

    @property
    def peak(self) -> Amounts:
        return self.rest + self.rollout + self.jobs

    def as_dict(self) -> dict[str, Any]:
        """For fit.json: CPU in millicores, memory and disk in bytes."""
        rows = [asdict(row) for row in self.rows]
        totals = {name: asdict(getattr(self, name)) for name in ("rest", "rollout", "jobs", "peak", "server")}
        return {"status": "findings" if self.findings else "clean", "rows": rows, "totals": totals, "findings": self.findings, "notes": self.notes}

    def text(self) -> str:
        """The table for the screen, with the verdict as its last lines."""

        def cells(name: str, namespace: str, pods: str, a: Amounts, limits: bool = True) -> list[str]:
            cpu_limit, memory_limit = (a.cpu_limit, a.memory_limit) if limits else (0, 0)
            sizes = [show_cpu(a.cpu_request), show_cpu(cpu_limit), show_memory(a.memory_request), show_memory(memory_limit), show_memory(a.disk)]
            return [name, namespace, pods, *(size if size not in ("0", "0Mi") else "" for size in sizes)]

        body: list[Sequence[str]] = []
        for row in self.rows:
            if row.job.pods:
                body.append(cells(row.component, row.namespace, f"+{row.job.pods}", row.job))
            elif row.rest != Amounts():
                more = row.rollout.pods
                body.append(cells(row.component, row.namespace, f"{row.rest.pods}+{more}" if more else str(row.rest.pods), row.rest))
        left = self.server + self.peak * -1
        left = replace(left, **{name: 0 for _measure, name, _key in _MEASURES if not getattr(self.server, name)})
        body += [
            RULE,
            cells("at rest", "", str(self.rest.pods), self.rest),
            cells("+ the largest rollout", "", str(self.rollout.pods), self.rollout),
            cells("+ scheduled jobs", "", str(self.jobs.pods), self.jobs),
            cells("= at the peak", "", str(self.peak.pods), self.peak),
            cells("the server", "", str(self.server.pods), self.server, limits=False),
            cells("left", "", str(left.pods), left, limits=False),
        ]
        head = ["workload", "namespace", "pods", "CPU", "limit", "memory", "limit", "disk"]
        lines = [f"Fit plan{f' of {self.server_name}' if self.server_name else ''}: what is requested (pods n+m: m more while it rolls out)"]
        lines += ["", table(head, body, right="  rrrrrr"), ""]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"DOES NOT FIT: {finding}" for finding in self.findings]
        if not self.findings:
            disk = show_memory(left.disk) if self.server.disk else "unknown"
            lines.append(
                f"FITS, with {show_cpu(left.cpu_request)} CPU, {show_memory(left.memory_request)} memory, {disk} disk and {left.pods} pods left."
            )
        return "\n".join(lines)


# --- one pod --------------------------------------------------------------------------------------------------------------------------------


def _number(values: Object, name: str, default: int) -> int:
    return parse_resource(name, str(values[name])) if name in values else default


def _container(container: Object, defaults: Mapping[str, Mapping[str, int]]) -> Amounts:
    """Requests and limits of one container after admission: a missing request is the limit, and both default to the LimitRange."""
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    numbers: dict[str, int] = {}
    for name in ("cpu", "memory"):
        limit = _number(limits, name, defaults.get("default", {}).get(name, 0))
        fallback = limit if name in limits else defaults.get("default_request", {}).get(name, 0)
        numbers[f"{name}_limit"], numbers[f"{name}_request"] = limit, _number(requests, name, fallback)
    for part, values, default in (("request", requests, "default_request"), ("limit", limits, "default")):
        numbers[f"ephemeral_{part}"] = _number(values, EPHEMERAL, defaults.get(default, {}).get(EPHEMERAL, 0))
    return Amounts(**numbers)


def containers(pod: Object) -> Iterator[Object]:
    """Every container of a pod's spec, init containers included."""
    yield from pod.get("containers") or []
    yield from pod.get("initContainers") or []


def _pod(pod: Object, defaults: Mapping[str, Mapping[str, int]]) -> Amounts:
    """What one pod needs: its containers and sidecars together, or its largest init container beside the sidecars before it, if that is more."""
    running = Amounts.total(_container(item, defaults) for item in pod.get("containers") or [])
    sidecars, start = Amounts(), Amounts()
    for item in pod.get("initContainers") or []:
        amounts = _container(item, defaults)
        if item.get("restartPolicy") == "Always":
            sidecars += amounts
            amounts = Amounts()
        start = _larger(start, sidecars + amounts)
    disk = sum(
        _size((volume.get("emptyDir") or {}).get("sizeLimit"))
        for volume in pod.get("volumes") or []
        if (volume.get("emptyDir") or {}).get("medium") != "Memory"
    )
    most = _larger(running + sidecars, start)
    return replace(most, pods=1, disk=disk + most.ephemeral_request)


def _larger(a: Amounts, b: Amounts) -> Amounts:
    return Amounts(*(max(x, y) for x, y in zip(a.numbers(), b.numbers(), strict=True)))


def _size(text: object) -> int:
    return parse_memory(str(text)) if text else 0


def _surge(spec: Object, replicas: int) -> int:
    """Pods beyond `replicas` while a Deployment rolls (maxSurge, 25 % rounded up unless given)."""
    strategy = spec.get("strategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return 0
    surge = str((strategy.get("rollingUpdate") or {}).get("maxSurge", "25%"))
    return math.ceil(replicas * int(surge[:-1]) / 100) if surge.endswith("%") else int(surge)


def pod_spec(item: Object) -> Object | None:
    """The pod's spec inside a workload, or None for any other object."""
    spec = item.get("spec") or {}
    match item.get("kind"):
        case "Pod":
            return dict(spec)
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
            return dict((spec.get("template") or {}).get("spec") or {})
        case "CronJob":
            return dict((((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}).get("spec") or {})
    return None


def _claim(item: Object) -> Amounts:
    return Amounts(disk=_size((((item.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")), claims=1)


def _mounts(item: Object, claim: Object) -> bool:
    volumes = (pod_spec(item) or {}).get("volumes") or []
    return any((volume.get("persistentVolumeClaim") or {}).get("claimName") == claim["metadata"]["name"] for volume in volumes)


def _mounted_claims(rendered: Rendered) -> dict[str, Object]:
    """The set's claims that a workload of the set mounts by name: their disk belongs to the workload's row."""
    claims = {str(item["metadata"]["name"]): item for item in rendered.objects if item.get("kind") == "PersistentVolumeClaim"}
    return {name: claim for name, claim in claims.items() if any(_mounts(item, claim) for item in rendered.objects)}


# --- the whole plan -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Space:
    """A namespace's LimitRange and quota in numbers, and their path in the inventory."""

    path: str
    limits: Mapping[str, Mapping[str, int]]
    quota: Mapping[str, int]


def _spaces(model: Model) -> dict[str, _Space]:
    def numbers(values: Object) -> dict[str, int]:
        return {name: parse_resource(name, str(text)) for name, text in values.items() if resource_kind(name)}

    result: dict[str, _Space] = {}
    environments = model.get("all_environments") or model["environments"]
    spaces: list[tuple[str, Space]] = [(f"platform_environments.{name}", env) for name, env in environments.items()]
    spaces += [(f"platform_previews.{name}", env) for name, env in (model.get("all_previews") or {}).items()]
    spaces += [(f"platform_namespaces.{name}", space) for name, space in model["namespaces"].items()]
    for path, space in spaces:
        bounds = space["limits"]
        limits = {
            "min": numbers(bounds["min"]),
            "max": numbers(bounds["max"]),
            "default": numbers(bounds["default"]),
            "default_request": numbers(bounds["default_request"]),
        }
        result[space["namespace"]] = _Space(path, limits, numbers(space["quota"]))
    return result


def variable(item: Object, rendered: Rendered) -> str:
    """The inventory's dictionary that sizes a workload, as far as its annotation and its role tell."""
    path = str(((item.get("metadata") or {}).get("annotations") or {}).get(INVENTORY, ""))
    if rendered.environment and path in ("", f"platform_environments.{rendered.environment}"):
        return f"platform_environments.{rendered.environment}.{rendered.role}"
    if rendered.role == "redis":
        return "platform_redis"
    return path or rendered.role


def _sized_by(path: str, key: str) -> str:
    """The variable behind a key of a workload: a key of the inventory's dictionary, or a role's own <role>_requests."""
    return f"{path}.{key}" if path.startswith("platform_") else f"{path}_{key}"


def _scaled(rendered: Rendered) -> dict[tuple[str, str], int]:
    """The most pods of each workload that an autoscaler of the set owns, by kind and name."""
    scalers = [item["spec"] for item in rendered.objects if item.get("kind") == "HorizontalPodAutoscaler"]
    return {(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]): int(spec["maxReplicas"]) for spec in scalers}


def _row(item: Object, rendered: Rendered, defaults: Mapping[str, Mapping[str, int]], namespace: str) -> Row | None:
    kind, name = item.get("kind"), (item.get("metadata") or {}).get("name", "?")
    spec: Object = item.get("spec") or {}

    def row(component: str, **needs: Amounts) -> Row:
        return Row(component, namespace, rendered.role, variable=variable(item, rendered), **needs)

    if kind == "PersistentVolumeClaim":
        return row(f"claim {name}", rest=_claim(item))
    if kind == "Service" and spec.get("type") == "LoadBalancer":
        return row(f"K3s ServiceLB for {name}", rest=Amounts(pods=1))
    pod = pod_spec(item)
    if pod is None:
        return None
    one = _pod(pod, defaults)
    if kind in ("CronJob", "Job"):
        parallel = one * int(spec.get("parallelism") or ((spec.get("jobTemplate") or {}).get("spec") or {}).get("parallelism") or 1)
        return row(f"job {name}", by_hand=parallel) if spec.get("suspend") else row(f"job {name}", job=parallel)
    replicas = 1 if kind in ("Pod", "DaemonSet") or spec.get("replicas") is None else int(spec["replicas"])
    replicas = _scaled(rendered).get((str(kind), str(name)), replicas)
    claims = Amounts.total(_claim(claim) for claim in spec.get("volumeClaimTemplates") or []) * replicas
    surge = _surge(spec, replicas) if kind == "Deployment" else 0
    return row(str(name), rest=one * replicas + claims, rollout=one * surge)


def _server_rows(server: Server) -> list[Row]:
    reserved = server["reserved"]
    own = Amounts(cpu_request=parse_cpu(reserved["cpu"]), memory_request=parse_memory(reserved["memory"]), disk=parse_memory(reserved["disk"]))
    rows = [Row("system and K3s (reserved)", "", "k3s", own, variable="platform_server.reserved")]
    for name, (cpu, memory, limit) in PACKAGED.items():
        need = Amounts(parse_cpu(cpu), 0, parse_memory(memory), _size(limit), pods=1)
        rows.append(Row(f"K3s: {name}", "kube-system", "k3s", need))
    return rows


def _container_findings(item: Object, rendered: Rendered, space: _Space | None, server: Amounts) -> Iterator[str]:
    """A container larger than the server or outside its namespace's LimitRange: it would be killed or refused."""
    name = (item.get("metadata") or {}).get("name", "?")
    for container in containers(pod_spec(item) or {}):
        amounts = _container(container, space.limits if space else {})
        who = f"container {container.get('name')} of {item.get('kind')} {name}{f' ({rendered.environment})' if rendered.environment else ''}"
        path = variable(item, rendered)
        if server.memory_request and amounts.memory_limit > server.memory_request:
            yield f"{who} may use {format_memory(amounts.memory_limit)}, more memory than the server has; lower {_sized_by(path, 'limits.memory')}"
        if space is None:
            continue
        for resource, request, limit in (("cpu", amounts.cpu_request, amounts.cpu_limit), ("memory", amounts.memory_request, amounts.memory_limit)):
            least, most = space.limits.get("min", {}).get(resource, 0), space.limits.get("max", {}).get(resource, 0)
            if request < least:
                text = f"requests {format_resource(resource, request)} {resource}, under the LimitRange minimum {format_resource(resource, least)}"
                yield f"{who} {text}; raise {_sized_by(path, f'requests.{resource}')} or lower {space.path}.limits.min.{resource}"
            if most and limit > most:
                text = f"is limited to {format_resource(resource, limit)} {resource}, over the LimitRange maximum {format_resource(resource, most)}"
                yield f"{who} {text}; lower {_sized_by(path, f'limits.{resource}')} or raise {space.path}.limits.max.{resource}"


_MEASURES = [
    ("CPU", "cpu_request", "requests.cpu"),
    ("memory", "memory_request", "requests.memory"),
    ("disk", "disk", "storage"),
    ("pods", "pods", "replicas"),
]


def _shown(measure: str, value: int) -> str:
    if measure == "pods":
        return str(value)
    return show_cpu(value) if measure == "CPU" else show_memory(value)


def _total_findings(plan: FitPlan) -> Iterator[str]:
    for measure, attribute, key in _MEASURES:
        has, needs = getattr(plan.server, attribute), getattr(plan.peak, attribute)
        if not has or needs <= has:
            continue
        by_variable: dict[str, int] = {}
        for row in plan.rows:
            if row.variable and row.variable != "platform_server.reserved":
                by_variable[row.variable] = by_variable.get(row.variable, 0) + getattr(row.most, attribute)
        largest = sorted(((value, name) for name, value in by_variable.items() if value), reverse=True)[:4]
        change = ", ".join(f"{_sized_by(name, key)} ({_shown(measure, value)})" for value, name in largest)
        short = f"{measure}: needs {_shown(measure, needs)} of {_shown(measure, has)}, {_shown(measure, needs - has)} too much"
        yield f"{short}; lower the largest: {change}; or take a larger server (platform_server)"


def _notes(plan: FitPlan, spaces: Mapping[str, _Space]) -> Iterator[str]:
    server = plan.server
    for space in spaces.values():
        measures = {
            "requests.cpu": server.cpu_request,
            "requests.memory": server.memory_request,
            "limits.cpu": server.cpu_request,
            "limits.memory": server.memory_request,
            "pods": server.pods,
        }
        over = [f"{name} {format_resource(name, hard)}" for name, hard in space.quota.items() if measures.get(name) and hard > measures[name]]
        if over:
            yield f"{space.path}.quota allows more than this server has ({', '.join(over)}); it cannot be filled here"
    if server.memory_request and plan.rest.memory_limit > server.memory_request:
        limits, has = show_memory(plan.rest.memory_limit), show_memory(server.memory_request)
        yield f"memory limits add up to {limits} on {has}: not all pods can be at their limit at once"
    missing = [name for name, attribute, _key in _MEASURES if not getattr(server, attribute)]
    if missing:
        yield f"the server's {', '.join(missing)} is not known yet (platform_server, or its facts once it is reached) and was not compared"


# Kind -> what a quota calls it. A Certificate has its key in a Secret, and each namespace gets the ConfigMap kube-root-ca.crt.
COUNTED_KINDS = {"Service": "services", "Secret": "secrets", "Certificate": "secrets", "ConfigMap": "configmaps"}


# What one certificate takes beside that while it is issued: the Secret of its next key, and the Service of the pod that answers by HTTP-01.
ISSUING = {"secrets": 1}
ISSUING_BY_HTTP = {"secrets": 1, "services": 1}


def _object_findings(sets: Sequence[Rendered], spaces: Mapping[str, _Space], acme: Acme) -> Iterator[str]:
    """Quotas that leave no room for the objects themselves."""
    issuing = ISSUING_BY_HTTP if acme["kind"] == "acme" and acme["challenge"] == "http01" else ISSUING
    for namespace, space in spaces.items():
        counts = {"services": 0, "secrets": 0, "configmaps": 1}
        kinds = [
            str(item.get("kind"))
            for rendered in sets
            for item in rendered.objects
            if (item.get("metadata") or {}).get("namespace") == namespace and item.get("kind") in COUNTED_KINDS
        ]
        for kind in kinds:
            counts[COUNTED_KINDS[kind]] += 1
        for counted, count in counts.items():
            extra = issuing.get(counted, 0) if "Certificate" in kinds else 0
            has, needs, when = space.quota.get(counted), count + extra, " while a certificate is issued" if extra else ""
            if has is not None and has < needs:
                yield f"{space.path}.quota.{counted} {has} is less than the {needs} that the platform has there{when}; raise it"


def counted_size(size: Server, facts: Object) -> Server:
    """The model's server as the plan counts it: of each size the smaller of the inventory's and the server's own, where its facts are known.

    A server with less than it should have counts with what it has. Disk counts in whole GiB.
    """

    def smaller(described: int, found: int) -> int:
        return min((value for value in (described, found) if value), default=0)

    cpu = smaller(parse_cpu(size["cpu"] or "0"), int(facts.get("processor_vcpus") or 0) * 1000)
    memory = smaller(_size(size["memory"]), int(facts.get("memtotal_mb") or 0) << 20)
    disk = smaller(_size(size["disk"]), int(facts.get("disk_total") or 0) >> 30 << 30)
    counted = size.copy()
    counted["cpu"] = show_cpu(cpu) if cpu else ""
    counted["memory"] = format_memory(memory) if memory else ""
    counted["disk"] = format_memory(disk) if disk else ""
    return counted


def make_plan(sets: Sequence[Rendered], model: Model, server_name: str = "") -> FitPlan:
    """The plan of everything the roles render, for all environments, on the model's server.

    :raises QuantityError: an object holds a quantity that Kubernetes would refuse; the message names the object.
    """
    size = model["server"]
    server = Amounts(
        cpu_request=parse_cpu(size["cpu"] or "0"), memory_request=_size(size["memory"]), pods=parse_count(str(size["pods"])), disk=_size(size["disk"])
    )
    spaces = _spaces(model)
    plan = FitPlan(_server_rows(size), server, server_name=server_name)
    for rendered in sorted(sets, key=lambda item: item.environment is not None):
        claims = _mounted_claims(rendered)
        for item in [*rendered.objects, *rendered.patches]:
            if item.get("kind") == "PersistentVolumeClaim" and item["metadata"]["name"] in claims:
                continue
            namespace = str((item.get("metadata") or {}).get("namespace", ""))
            space = spaces.get(namespace)
            try:
                row = _row(item, rendered, space.limits if space else {}, namespace)
                for claim in claims.values() if pod_spec(item) else ():
                    if row and _mounts(item, claim):
                        row = replace(row, rest=row.rest + _claim(claim))
                plan.findings += _container_findings(item, rendered, space, server)
            except QuantityError as error:
                raise QuantityError(
                    f"{item.get('kind')} {namespace}/{(item.get('metadata') or {}).get('name')} of set {rendered.name}: {error}"
                ) from error
            if row is not None:
                plan.rows.append(row)
    plan.findings += _total_findings(plan)
    for namespace, space in spaces.items():
        own = [row for row in plan.rows if row.namespace == namespace]
        need = Amounts.total(row.most for row in own)
        for name, hard, needed in quota_shortfalls(space.quota, need):
            text = f"{format_resource(name, hard)} is less than the {format_resource(name, needed)} that its pods need at the peak; raise it"
            plan.findings.append(f"{space.path}.quota.{name} {text}")
        for name, hard, needed in quota_shortfalls(space.quota, need + Amounts.total(row.by_hand for row in own)):
            if needed > hard and not any(f"{space.path}.quota.{name} " in finding for finding in plan.findings):
                text = (
                    f"leaves no room for a manual job during a rollout (which needs {format_resource(name, needed)} of {format_resource(name, hard)})"
                )
                plan.notes.append(f"{space.path}.quota.{name} {text}")
    plan.findings += _object_findings(sets, spaces, model["acme"])
    plan.notes += _notes(plan, spaces)
    return plan
