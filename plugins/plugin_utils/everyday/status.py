# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs, as a table: for `shaka status` and playbooks/status.yml. Pure: Kubernetes' objects in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HEAD = ("environment", "app", "ready", "restarts", "image", "hosts", "what is wrong")


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
    """How often the containers of pods began anew."""
    return sum(int(container.get("restartCount", 0)) for pod in pods for container in pod.get("status", {}).get("containerStatuses", []))


def labelled(name: str, expires: float | None, now: float) -> str:
    """An environment's name; a preview's with the time that it has left. `expires` and `now` in seconds since the epoch."""
    if expires is None:
        return name
    hours = (expires - now) / 3600
    left = f"{hours / 24:.0f} d left" if hours >= 48 else f"{hours:.0f} h left" if hours >= 2 else f"{hours * 60:.0f} min left"
    return f"{name} ({left if hours > 0 else 'is over'})"


def rows(items: Sequence[Mapping[str, Any]], platform: str, environments: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A row for each Deployment and StatefulSet of the environments.

    :arg items: pods, Deployments and StatefulSets of all namespaces.
    :arg environments: name -> namespace, and `hosts` by application.
    """
    pods = [item for item in items if item["kind"] == "Pod"]
    found: list[tuple[str, ...]] = []
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
            wanted = item["spec"].get("replicas", 1)
            ready = item.get("status", {}).get("readyReplicas", 0)
            wrong = sorted({reason for pod in own if (reason := trouble(pod))}) or (["no pods"] if ready < wanted else [])
            found.append((
                name, app, f"{ready}/{wanted}", str(restarts(own)), short(item["spec"]["template"]["spec"]["containers"][0]["image"]),
                " ".join(env.get("hosts", {}).get(app, [])), ", ".join(wrong),
            ))  # fmt: skip
    return found


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; one that is empty in all lines is left out."""
    shown = [index for index in range(len(head)) if any(line[index] for line in lines)]
    widths = [max(len(line[index]) for line in [head, *lines]) for index in shown]
    return "\n".join("  ".join(line[index].ljust(width) for index, width in zip(shown, widths, strict=True)).rstrip() for line in [head, *lines])


def status(items: Sequence[Mapping[str, Any]], platform: str, environments: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of one server."""
    lines = rows(items, platform, environments)
    return table(HEAD, lines) if lines else "nothing runs in " + ", ".join(environments)
