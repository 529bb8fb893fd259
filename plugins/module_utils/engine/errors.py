# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Explains a refusal of the API server: which object, which field, where in the inventory, and what to do."""

from __future__ import annotations

import re
from typing import Any

from .client import ApiError
from .identity import MANAGED_BY, MANAGER, PART_OF, describe, inventory_of, key_of

# To change an immutable field the object has to be deleted and made again; what that costs depends on its kind.
REMEDY = {
    "StatefulSet": "delete only the StatefulSet ({delete} --cascade=orphan: its pods and volumes stay) and run again; "
    "a volume grows by editing its PersistentVolumeClaim",
    "Deployment": "delete the Deployment ({delete}: its pods stop until the next run) and run again",
    "Job": "a Job's template never changes: delete it ({delete}) or give the new one another name",
    "Service": "delete the Service ({delete}) and run again; its address changes",
    "PersistentVolumeClaim": "a claim only grows, and only where its StorageClass allows expansion; anything else needs a new claim and a restore",
    "StorageClass": "delete the StorageClass ({delete}: existing volumes stay) and run again",
}
OTHERS = "delete the {kind} ({delete}) and run again"
IMMUTABLE = (
    "immutable",
    "cannot change roleref",
    "are forbidden",
    "is forbidden after creation",
    "may not change once set",
    "field can not be less than",
)
# Such as a whole pod template: too long to read, and its values need not be seen.
QUOTED = re.compile(r"Invalid value: .{120,}: (?=[^:]+$)", re.DOTALL)


def immutable(error: ApiError) -> bool:
    """True when the field cannot change during the life of the object."""
    return error.status == 422 and any(mark in error.message.lower() for mark in IMMUTABLE)


def explain(obj: dict[str, Any], error: Exception, source: str = "") -> str:
    """One error as one paragraph."""
    meta = obj["metadata"]
    where = [part for part in (f"inventory: {inventory_of(obj)}" if inventory_of(obj) else "", f"template: {source}" if source else "") if part]
    text = _refusal(obj, error) if isinstance(error, ApiError) else str(error)
    if isinstance(error, ApiError):
        if immutable(error):
            text += ". To do: " + REMEDY.get(obj["kind"], OTHERS).format(kind=obj["kind"], delete=kubectl_command("delete", obj))
        elif error.status == 404 and "namespaces" in error.message:
            text += ". To do: the namespace is made by role tenancy, run it first"
        elif "being terminated" in error.message:
            text += f". To do: wait until it is gone (kubectl get namespace {meta.get('namespace')}), and run again"
    return f"{describe(obj)}{' (' + ', '.join(where) + ')' if where else ''}: {text}"


def _refusal(obj: dict[str, Any], error: ApiError) -> str:
    """The server's words, the field first. Its own message repeats the causes after the object's name and quotes the refused value."""
    if obj["kind"] == "Secret" and error.status in (400, 422):  # fields, never values
        return "; ".join(field for field, _message in error.causes if field) + (" is immutable" if immutable(error) else " refused: " + error.reason)
    causes = [(f"{field}: " if field and field != "<nil>" else "") + _short(message) for field, message in error.causes if message]
    return "; ".join(causes) or _short(error.message)


def _short(message: str) -> str:
    return QUOTED.sub("Invalid value: (not shown): ", message)


def kubectl_command(verb: str, obj: dict[str, Any]) -> str:
    """`kubectl -n shaka-prod delete deployment shaka-api`."""
    key = key_of(obj)
    return f"kubectl {f'-n {key.namespace} ' if key.namespace else ''}{verb} {key.kind.lower()} {key.name}"


def taken(obj: dict[str, Any], whose: str, part_of: str, source: str = "") -> str:
    """The refusal to take over somebody else's object, with what to do."""
    text = f"an object of this name is there already and is not this platform's: {whose}. Nothing was changed"
    labels = f"{MANAGED_BY}={MANAGER} {PART_OF}={part_of}"
    handing = f"{kubectl_command('label', obj)} --overwrite {labels} (what the inventory does not have is then taken out of it)"
    return explain(obj, Exception(f"{text}. To do: rename or delete it, or hand it over: {handing}"), source)


def shrinking(obj: dict[str, Any], has: str, wants: str, source: str = "") -> str:
    """The refusal of a claim that asks for less than its volume has, with what to do."""
    delete = kubectl_command("delete", obj).replace("persistentvolumeclaim", "pvc")
    way = f"save what it holds, delete what uses it and the claim ({delete}), run again and restore"
    return explain(obj, Exception(f"asks for {wants}, and the volume has {has}: a volume does not shrink. Nothing was changed. To do: {way}"), source)
