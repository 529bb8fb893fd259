# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides which of our objects to delete because they are no longer rendered. An object with data stays until somebody names it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import pod_template

from .identity import SET, Key, applied_by_us, key_of, of_preview

# Deleting one of these deletes data: a claim its volume, a namespace and a CustomResourceDefinition all objects in them.
GUARDED = {
    "Namespace": "namespaces",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "CustomResourceDefinition": "customresourcedefinitions",
}
# A namespace that is kept also keeps the objects that protect it, because workloads may still run in it. (Without ours, Kubernetes would make a
# ServiceAccount `default` whose pods get tokens.)
SHIELDS = ("NetworkPolicy", "ResourceQuota", "LimitRange", "ServiceAccount/default")
# What makes pods: the path before and after the namespace. Its pods run as one account.
WORKLOADS = (("/apis/apps/v1", "deployments"), ("/apis/apps/v1", "statefulsets"), ("/apis/apps/v1", "daemonsets"), ("/apis/batch/v1", "cronjobs"))
RULE = "must be persistentvolumeclaims/NAMESPACE/NAME, namespaces/NAME or customresourcedefinitions/NAME"
FORM = re.compile(r"(?:namespaces|customresourcedefinitions)/[^/\s]+|persistentvolumeclaims/[^/\s]+/[^/\s]+")


def reference(key: Key) -> str:
    """`persistentvolumeclaims/shaka-dev/data-postgres-0`; empty for a kind without data."""
    return "/".join(part for part in (GUARDED[key.kind], key.namespace, key.name) if part) if key.kind in GUARDED else ""


def malformed(names: Iterable[Any]) -> list[str]:
    """The entries of `delete` that could never match."""
    return [str(name) for name in names if not FORM.fullmatch(str(name))]


def unnamed(claims: Iterable[dict[str, Any]], delete: Iterable[str]) -> list[str]:
    """The PersistentVolumeClaims that `delete` does not name."""
    names = [f"persistentvolumeclaims/{claim['metadata']['namespace']}/{claim['metadata']['name']}" for claim in claims]
    return [name for name in names if name not in delete]


def left_over(listed: Iterable[dict[str, Any]], wanted: Collection[Key], params: Mapping[str, Any], held: Collection[str] = ()) -> dict[Key, str]:
    """The objects of this role that are no longer wanted, as `pruned` or `kept`; `held` are the namespaces with volumes that nobody named.

    A run narrowed to some environments leaves alone what it cannot judge: sets that it did not render, and the cluster-wide set, which may lack the
    part of the other environments.
    """
    rendered = {part["name"] for part in params["sets"]} - (set() if params["complete"] else {params["role"]})
    result: dict[Key, str] = {}
    for obj in listed:
        key, of = key_of(obj), (obj["metadata"].get("labels") or {}).get(SET)
        if key in wanted or not applied_by_us(obj) or obj["metadata"].get("deletionTimestamp") or not (params["complete"] or of in rendered):
            continue
        guarded = reference(key) and not goes(key, of, params["delete"])
        result[key] = "kept" if guarded or (key.kind == "Namespace" and key.name in held) else "pruned"
    namespaces = {key.name for key, action in result.items() if key.kind == "Namespace" and action == "kept"}
    return {key: "kept" if _shields(key) and key.namespace in namespaces else action for key, action in result.items()}


def goes(key: Key, of: str | None, delete: Collection[str]) -> bool:
    """Whether an object with data may be deleted: it is named, or is the namespace of a preview, which has no volume of the platform's.

    :arg of: its set.
    """
    return reference(key) in delete or (key.kind == "Namespace" and bool(of_preview(of or "")))


def account_of(workload: Mapping[str, Any]) -> str:
    """The ServiceAccount that the pods of a workload run as."""
    return str((pod_template(workload).get("spec") or {}).get("serviceAccountName") or "default")


def _shields(key: Key) -> bool:
    return key.kind in SHIELDS or f"{key.kind}/{key.name}" in SHIELDS


def why_kept(key: Key, held: Mapping[str, list[str]]) -> str:
    """What to name so that a kept object is deleted; empty for one that is deleted with its namespace."""
    if key.kind == "Namespace" and held.get(key.name):
        return f"{key} is kept for its volumes: name {', '.join(held[key.name])} in platform_delete as well"
    if key.kind == "ServiceAccount" and not _shields(key):
        return f"{key} is kept as long as a workload runs as it"
    return f"{key} is no longer wanted and kept: name {reference(key)} in platform_delete to delete it" if reference(key) else ""
