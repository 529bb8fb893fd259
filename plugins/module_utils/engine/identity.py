# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which objects are ours: labels, annotation, field manager, and how an object is named to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

MANAGER = "shaka.platform"
PREVIEW = "preview"  # stands between the role and the name in a preview's set
MANAGED_BY = "app.kubernetes.io/managed-by"
PART_OF = "app.kubernetes.io/part-of"
ROLE = "shaka.platform/role"
SET = "shaka.platform/set"
INVENTORY = "shaka.platform/inventory"


class Key(NamedTuple):
    """What makes an object the same one, whatever the version of its API."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """`Deployment shaka-prod/shaka-api`."""
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


def group_of(api_version: str) -> str:
    """`apps` of `apps/v1`; the empty text for the core group."""
    return api_version.rpartition("/")[0]


def key_of(obj: Mapping[str, Any]) -> Key:
    """The identity of an object with apiVersion, kind and metadata."""
    meta = obj["metadata"]
    return Key(group_of(obj["apiVersion"]), obj["kind"], meta.get("namespace") or "", meta["name"])


def describe(obj: Mapping[str, Any]) -> str:
    """The object's name to a person."""
    return str(key_of(obj))


def inventory_of(obj: Mapping[str, Any]) -> str:
    """The inventory path the object comes from, or the empty text."""
    return str(((obj.get("metadata") or {}).get("annotations") or {}).get(INVENTORY) or "")


def with_identity(obj: dict[str, Any], part_of: str, role: str, set_name: str, inventory: str | None = None) -> dict[str, Any]:
    """A copy of `obj` with the labels that make it ours, and the inventory path unless it has one."""
    meta = dict(obj.get("metadata") or {})
    meta["labels"] = {**(meta.get("labels") or {}), MANAGED_BY: MANAGER, PART_OF: part_of, ROLE: role, SET: set_name}
    if inventory:
        meta["annotations"] = {INVENTORY: inventory, **(meta.get("annotations") or {})}
    return {**obj, "metadata": meta}


def of_preview(set_name: str) -> str:
    """The preview whose set it is; the empty text for a set of anything else. No other set has two dots: the names of environments have none."""
    _role, _dot, rest = set_name.partition(".")
    mark, dot, name = rest.partition(".")
    return name if mark == PREVIEW and dot else ""


def selector(part_of: str, role: str | None) -> str:
    """The label selector of everything a role has in one platform; of everything that the platform has, without a role."""
    return f"{MANAGED_BY}={MANAGER},{PART_OF}={part_of}" + (f",{ROLE}={role}" if role else "")


def applied_by_us(obj: Mapping[str, Any]) -> bool:
    """True when this engine itself applied the object.

    Labels alone do not say so: controllers copy them to children (EndpointSlices, Pods, cert-manager's Secrets).
    """
    meta = obj.get("metadata") or {}
    return not meta.get("ownerReferences") and bool(applied_fields(obj))


def applied_fields(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The fields this engine applied and nobody took over since, as FieldsV1."""
    for entry in (obj.get("metadata") or {}).get("managedFields") or []:
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply":
            return dict(entry.get("fieldsV1") or {".": {}})
    return {}


def stranger(obj: Mapping[str, Any], part_of: str) -> str:
    """Whose an object is that has one of our objects' name and is not this platform's; the empty text for one that is.

    It is ours by its labels, which is also how somebody hands an object over. Without them it is still ours when we applied it: they were
    taken off by hand. Another platform's run of this engine has put its own name there, and that is not an edit.
    Kubernetes makes the ServiceAccount `default` of every namespace: it is whose the namespace is.
    """
    meta = obj.get("metadata") or {}
    labels = meta.get("labels") or {}
    manager, part = labels.get(MANAGED_BY), labels.get(PART_OF)
    if manager == MANAGER and part == part_of:
        return ""
    applied = applied_fields(obj)
    if applied:
        ours = f"f:{PART_OF}" in ((applied.get("f:metadata") or {}).get("f:labels") or {})
        return f"it is of the platform '{part}'" if ours and part != part_of else ""
    if manager:
        return f"it is managed by '{manager}'" + (f" for '{part}'" if part else "")
    if obj.get("kind") == "ServiceAccount" and meta.get("name") == "default":
        return ""
    makers = sorted({str(entry.get("manager")) for entry in meta.get("managedFields") or [] if entry.get("manager")})
    return f"it was made by {', '.join(makers) or 'somebody else'}"
