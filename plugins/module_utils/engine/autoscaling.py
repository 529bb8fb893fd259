# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A workload's `replicas` belongs to the HorizontalPodAutoscaler that targets it, where there is one; we leave the field alone then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .client import Api, segment
from .identity import Key, applied_fields, group_of, key_of
from .item import Item

SCALER = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}


def autoscaled(objects: Iterable[dict[str, Any]]) -> set[Key]:
    """The workloads whose `replicas` belong to a HorizontalPodAutoscaler among `objects`."""
    targets = set()
    for obj in objects:
        if obj["kind"] == SCALER["kind"]:
            target = (obj.get("spec") or {}).get("scaleTargetRef") or {}
            targets.add(Key(group_of(target.get("apiVersion", "")), target.get("kind", ""), key_of(obj).namespace, target.get("name", "")))
    return targets


def without_replicas(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as it is applied when an autoscaler owns its size."""
    return {**obj, "spec": {key: value for key, value in (obj.get("spec") or {}).items() if key != "replicas"}}


def with_replicas(obj: dict[str, Any]) -> dict[str, Any]:
    """The object with the default of `replicas` written out: the API server does not record who scales a field that nobody set (seen with 1.36)."""
    if group_of(obj["apiVersion"]) != "apps" or obj["kind"] not in ("Deployment", "StatefulSet"):
        return obj
    return {**obj, "spec": {"replicas": 1, **(obj.get("spec") or {})}}


def holds_replicas(obj: dict[str, Any]) -> bool:
    """True when `replicas` in the cluster is what we applied: leaving it out would scale the workload to one pod until the autoscaler acts."""
    return "f:replicas" in (applied_fields(obj).get("f:spec") or {})


def leave_to_autoscalers(api: Api, items: list[Item]) -> None:
    """Leaves `replicas` out of each existing workload that an autoscaler targets: one of this call, or one in the cluster that has acted already."""
    owned = autoscaled(item.desired for item in items)
    for item in items:
        replicas = ((item.before or {}).get("spec") or {}).get("replicas")
        if item.before is None or replicas is None:
            continue
        if item.key in owned and holds_replicas(item.before):
            # Until now the field is ours, and leaving it out would remove it: apply its present value until the autoscaler takes it over.
            item.desired = {**item.desired, "spec": {**item.desired["spec"], "replicas": replicas}}
        elif "replicas" in (item.desired.get("spec") or {}) and not holds_replicas(item.before):
            path = f"/apis/{SCALER['apiVersion']}/namespaces/{segment(item.key.namespace)}/horizontalpodautoscalers"
            scalers = (api.get(path) or {}).get("items") or []
            if item.key in autoscaled({**each, **SCALER} for each in scalers):
                item.desired = without_replicas(item.desired)
