# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of our objects the render no longer has, and which of these stay until somebody names them: what holds data goes only on request."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .identity import SET, Key, applied_by_us, key_of

# Deleting one of these deletes data: a claim its volume, a namespace and a CustomResourceDefinition all objects in them.
GUARDED = {
    "Namespace": "namespaces",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "CustomResourceDefinition": "customresourcedefinitions",
}
# A namespace that stays keeps what shields it, as long as workloads may still be in it; Kubernetes would make an account `default` with tokens.
SHIELDS = ("NetworkPolicy", "ResourceQuota", "LimitRange", "ServiceAccount/default")
RULE = "must be persistentvolumeclaims/NAMESPACE/NAME, namespaces/NAME or customresourcedefinitions/NAME"
FORM = re.compile(r"(?:namespaces|customresourcedefinitions)/[^/\s]+|persistentvolumeclaims/[^/\s]+/[^/\s]+")


def reference(key: Key) -> str:
    """`persistentvolumeclaims/shaka-dev/data-postgres-0`; the empty text for a kind that is not guarded."""
    return "/".join(part for part in (GUARDED[key.kind], key.namespace, key.name) if part) if key.kind in GUARDED else ""


def malformed(names: Iterable[Any]) -> list[str]:
    """The entries of `delete` that could never match."""
    return [str(name) for name in names if not FORM.fullmatch(str(name))]


def unnamed(claims: Iterable[dict[str, Any]], delete: Iterable[str]) -> list[str]:
    """The PersistentVolumeClaims that nobody named."""
    names = [f"persistentvolumeclaims/{claim['metadata']['namespace']}/{claim['metadata']['name']}" for claim in claims]
    return [name for name in names if name not in delete]


def left_over(listed: Iterable[dict[str, Any]], wanted: Collection[Key], params: Mapping[str, Any], held: Collection[str] = ()) -> dict[Key, str]:
    """The objects of this role that are no longer wanted, as `pruned` or `kept`; `held` are the namespaces with volumes that nobody named.

    A narrowed run has not rendered the other sets, and what it rendered once for all environments may lack their part: it leaves both alone.
    """
    rendered = {part["name"] for part in params["sets"]} - (set() if params["complete"] else {params["role"]})
    found: dict[Key, str] = {}
    for obj in listed:
        key, of = key_of(obj), (obj["metadata"].get("labels") or {}).get(SET)
        if key in wanted or not applied_by_us(obj) or obj["metadata"].get("deletionTimestamp") or not (params["complete"] or of in rendered):
            continue
        guarded = reference(key) and reference(key) not in params["delete"]
        found[key] = "kept" if guarded or (key.kind == "Namespace" and key.name in held) else "pruned"
    kept = {key.name for key, action in found.items() if key.kind == "Namespace" and action == "kept"}
    return {key: "kept" if _shields(key) and key.namespace in kept else action for key, action in found.items()}


def _shields(key: Key) -> bool:
    return key.kind in SHIELDS or f"{key.kind}/{key.name}" in SHIELDS


def why_kept(key: Key, held: Mapping[str, list[str]]) -> str:
    """What to name so that a kept object goes; the empty text for one that goes with its namespace."""
    if key.kind == "Namespace" and held.get(key.name):
        return f"{key} is kept for its volumes: name {', '.join(held[key.name])} in platform_delete as well"
    return f"{key} is no longer wanted and kept: name {reference(key)} in platform_delete to delete it" if reference(key) else ""
