# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The order in which kinds are applied, and what a HorizontalPodAutoscaler takes out of our hands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .identity import Key, applied_fields, group_of, key_of

# What an object needs comes before it. Kinds of one line are applied together.
RANKS: tuple[tuple[str, ...], ...] = (
    ("Namespace",),
    ("PriorityClass", "RuntimeClass"),
    ("CustomResourceDefinition",),
    ("ResourceQuota", "LimitRange"),
    ("ServiceAccount",),
    ("ClusterRole", "Role"),
    ("ClusterRoleBinding", "RoleBinding"),
    ("NetworkPolicy",),
    ("ConfigMap",),
    ("Secret",),
    ("StorageClass", "PersistentVolume", "PersistentVolumeClaim"),
    ("Service",),
    ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "Job", "HorizontalPodAutoscaler", "PodDisruptionBudget"),
    ("CronJob",),
    ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "APIService"),
    ("IngressClass",),
    ("Ingress",),
)
RANK = {kind: rank for rank, kinds in enumerate(RANKS) for kind in kinds}
OTHER = len(RANKS)  # a kind of Kubernetes itself that is not named above
CUSTOM = len(RANKS) + 1


def built_in(group: str) -> bool:
    """True for Kubernetes' own API groups; only CustomResourceDefinitions and aggregated APIs bring other ones."""
    return "." not in group or (group.endswith(".k8s.io") and group not in ("metrics.k8s.io", "gateway.networking.k8s.io", "snapshot.storage.k8s.io"))


def rank(obj: dict[str, Any]) -> int:
    """The place of an object in the order; custom resources come last, once their webhooks answer."""
    return RANK.get(obj["kind"], OTHER) if built_in(group_of(obj["apiVersion"])) else CUSTOM


def autoscaled(objects: Iterable[dict[str, Any]]) -> set[Key]:
    """The workloads whose `replicas` belong to a HorizontalPodAutoscaler among `objects`."""
    found = set()
    for obj in objects:
        if obj["kind"] == "HorizontalPodAutoscaler":
            target = (obj.get("spec") or {}).get("scaleTargetRef") or {}
            found.add(Key(group_of(target.get("apiVersion", "")), target.get("kind", ""), key_of(obj).namespace, target.get("name", "")))
    return found


def without_replicas(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as it is applied when an autoscaler owns its size."""
    return {**obj, "spec": {key: value for key, value in (obj.get("spec") or {}).items() if key != "replicas"}}


def with_replicas(obj: dict[str, Any]) -> dict[str, Any]:
    """The object with the default said aloud: of a field that nobody set, the API server does not note who scales it (seen with 1.36)."""
    if group_of(obj["apiVersion"]) != "apps" or obj["kind"] not in ("Deployment", "StatefulSet"):
        return obj
    return {**obj, "spec": {"replicas": 1, **(obj.get("spec") or {})}}


def holds_replicas(obj: dict[str, Any]) -> bool:
    """True when `replicas` in the cluster is what we applied: leaving it out would scale the workload to one pod until the autoscaler acts."""
    return "f:replicas" in (applied_fields(obj).get("f:spec") or {})
