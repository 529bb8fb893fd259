# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The order in which kinds are applied."""

from __future__ import annotations

from typing import Any

from .identity import group_of

# A kind comes after those that it needs. The kinds of one line are applied together.
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
