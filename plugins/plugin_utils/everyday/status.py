# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs, as a table: for `shaka status` and playbooks/status.yml. Pure: Kubernetes' objects in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from . import memory

PREVIEWS = "platform_previews."  # whose sizes are their parents'
INVENTORY = "shaka.platform/inventory"  # the annotation with the variable that an object comes from
MEMORY = ("environment", "app", "memory requested", "limit", "now", "peak", "set instead")
NO_PEAK = "the server's kernel counts no peak of a container's memory: it needs Linux 5.19 and cgroup v2"
HEAD = ("environment", "app", "ready", "restarts", "last run", "image", "hosts", "what is wrong")


def short(image: str) -> str:
    """An image without its registry, its digest as short as people compare it."""
    name, at, digest = image.rpartition("@")
    last = (name if at else image).rsplit("/", 1)[-1]
    return f"{last}@{digest.removeprefix('sha256:')[:12]}" if at else last


def trouble(pod: Mapping[str, Any]) -> str:
    """Why a pod is not ready, in Kubernetes' word; empty when it is."""
    status = pod.get("status", {})
    conditions = {entry["type"]: entry for entry in status.get("conditions", [])}
    if pod["metadata"].get("deletionTimestamp") or conditions.get("Ready", {}).get("status") == "True":
        return ""
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting", {}).get("reason")
        if waiting and waiting not in ("PodInitializing", "ContainerCreating"):
            return str(waiting)
    return str(conditions.get("PodScheduled", {}).get("reason") or status.get("reason") or "not ready")


def restarts(pods: Iterable[Mapping[str, Any]]) -> int:
    """How often the containers of pods were restarted."""
    return sum(int(container.get("restartCount", 0)) for pod in pods for container in pod.get("status", {}).get("containerStatuses", []))


def seconds_of(text: str) -> float | None:
    """Seconds since the epoch of a moment, in UTC where it names no zone; none for what is not one, which a run of the site refuses."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def labelled(name: str, expires: float | None, now: float) -> str:
    """An environment's name; a preview's with the time that it has left. `expires` and `now` in seconds since the epoch."""
    if expires is None:
        return name
    return f"{name} ({f'{period(expires - now)} left' if expires > now else 'is over'})"


def period(seconds: float) -> str:
    """A time for a person."""
    hours = seconds / 3600
    return f"{hours / 24:.0f} d" if hours >= 48 else f"{hours:.0f} h" if hours >= 2 else f"{hours * 60:.0f} min"


class Workload(NamedTuple):
    """A Deployment or StatefulSet, and its pods."""

    environment: str
    app: str
    object: Mapping[str, Any]
    pods: list[Mapping[str, Any]]


def workloads(items: Sequence[Mapping[str, Any]], platform: str, environments: Mapping[str, Mapping[str, Any]]) -> Iterator[Workload]:
    """Those of the environments.

    :arg items: pods, Deployments and StatefulSets of all namespaces.
    :arg environments: name -> namespace, and `hosts` by application.
    """
    pods = [item for item in items if item["kind"] == "Pod"]
    for name, env in environments.items():
        for item in items:
            metadata = item["metadata"]
            if item["kind"] not in ("Deployment", "StatefulSet") or metadata["namespace"] != env["namespace"]:
                continue
            labels = item["spec"]["selector"]["matchLabels"]
            own = [
                pod
                for pod in pods
                if pod["metadata"]["namespace"] == metadata["namespace"] and labels.items() <= pod["metadata"].get("labels", {}).items()
            ]
            app = metadata["name"].removeprefix(f"{platform}-") if item["kind"] == "Deployment" else metadata["name"]
            yield Workload(name, app, item, own)


def row(found: Workload, hosts: Sequence[str]) -> tuple[str, ...]:
    """How many of its pods are ready, and what is wrong with the others."""
    wanted = found.object["spec"].get("replicas", 1)
    ready = found.object.get("status", {}).get("readyReplicas", 0)
    wrong = sorted({reason for pod in found.pods if (reason := trouble(pod))}) or (["no pods"] if ready < wanted else [])
    image = short(container(found)["image"])
    return found.environment, found.app, f"{ready}/{wanted}", str(restarts(found.pods)), "", image, " ".join(hosts), ", ".join(wrong)


def clock_rows(
    items: Iterable[Mapping[str, Any]], platform: str, environments: Mapping[str, Mapping[str, Any]], now: float
) -> Iterator[tuple[str, ...]]:
    """What runs by the clock: when it ran last, and whether that ended well.

    :arg now: seconds since the epoch.
    """
    for name, env in environments.items():
        for item in items:
            if item["kind"] != "CronJob" or item["metadata"]["namespace"] != env["namespace"]:
                continue
            spec, state = item["spec"], item.get("status", {})
            began, well = (seconds_of(state.get(key) or "") for key in ("lastScheduleTime", "lastSuccessfulTime"))
            last = "now" if state.get("active") else f"{period(now - began)} ago" if began else "never"
            wrong = ["suspended"] if spec.get("suspend") else []
            wrong += ["its last run failed"] if began and not state.get("active") and (well or 0.0) < began else []
            image = short(spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"])
            yield name, item["metadata"]["name"].removeprefix(f"{platform}-"), "", "", last, image, "", ", ".join(wrong)


def container(found: Workload) -> Mapping[str, Any]:
    """Its container: each pod of the platform has one."""
    return dict(found.object["spec"]["template"]["spec"]["containers"][0])


def memory_row(found: Workload, used: Mapping[str, memory.Used], now: datetime) -> tuple[str, ...]:
    """What its container asked for, what the pod that takes most has now and had at most, and which value of the inventory to set instead."""
    sizes = container(found).get("resources", {})
    request, limit = (memory.size(sizes.get(kind, {}).get("memory")) for kind in ("requests", "limits"))
    known = [(used[key], started, killed) for key, started, killed in map(memory.of_pod, found.pods) if key in used]
    cells = (found.environment, found.app, memory.amount(request), memory.amount(limit))
    if not known:
        return (*cells, "", "", "")
    most, started, _killed = max(known, key=lambda each: each[0].held)
    hours = (now - datetime.fromisoformat(started)).total_seconds() / 3600 if started else 0.0
    place = found.object["metadata"].get("annotations", {}).get(INVENTORY, "")
    wanted = memory.advice(request, limit, most, any(killed for _used, _started, killed in known), hours)
    text = ", ".join(f"{place}.{key}: {memory.amount(number)}" for key, number in wanted if place and not place.startswith(PREVIEWS))
    return (*cells, memory.amount(most.now), memory.amount(most.peak), text)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; one that is empty in all lines is left out."""
    shown = [index for index in range(len(head)) if any(line[index] for line in lines)]
    widths = [max(len(line[index]) for line in [head, *lines]) for index in shown]
    return "\n".join("  ".join(line[index].ljust(width) for index, width in zip(shown, widths, strict=True)).rstrip() for line in [head, *lines])


def status(
    items: Sequence[Mapping[str, Any]],
    platform: str,
    environments: Mapping[str, Mapping[str, Any]],
    counters: str | None = None,
    now: datetime | None = None,
) -> str:
    """The table of one server, and that of its memory.

    :arg items: pods, Deployments, StatefulSets and CronJobs of all namespaces.
    :arg counters: what memory.COMMAND printed; None is not asked for.
    """
    now = now or datetime.now(UTC)
    found = list(workloads(items, platform, environments))
    rows = [row(each, environments[each.environment].get("hosts", {}).get(each.app, [])) for each in found]
    rows += clock_rows(items, platform, environments, now.timestamp())
    if not rows:
        return "nothing runs in " + ", ".join(environments)
    shown = table(HEAD, sorted(rows, key=lambda cells: list(environments).index(cells[0])))
    if counters is None:
        return shown
    used = memory.used(counters)
    lines = [memory_row(each, used, now) for each in found]
    return f"{shown}\n\n{table(MEMORY, lines)}" + ("" if used else f"\n{NO_PEAK}")
