# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A refusal of the API server in words: which object, which field, where in the inventory, and what to do."""

from __future__ import annotations

from typing import Any

from .identity import describe, inventory_of
from .kube import ApiError

# An immutable field means that the object has to be made again; what that costs differs by kind.
REMEDY = {
    "StatefulSet": "delete only the StatefulSet (kubectl -n {ns} delete statefulset {name} --cascade=orphan: its pods and volumes stay) "
    "and run again; a volume grows by editing its PersistentVolumeClaim",
    "Deployment": "delete the Deployment (kubectl -n {ns} delete deployment {name}: its pods stop until the next run) and run again",
    "DaemonSet": "delete the DaemonSet (kubectl -n {ns} delete daemonset {name}) and run again",
    "Job": "a Job's template never changes: delete it (kubectl -n {ns} delete job {name}) or give the new one another name",
    "Service": "delete the Service (kubectl -n {ns} delete service {name}) and run again; its address changes",
    "PersistentVolumeClaim": "a claim only grows, and only where its StorageClass allows expansion; anything else needs a new claim and a restore",
    "StorageClass": "delete the StorageClass (kubectl delete storageclass {name}: existing volumes stay) and run again",
    "RoleBinding": "delete the RoleBinding (kubectl -n {ns} delete rolebinding {name}) and run again",
    "ClusterRoleBinding": "delete the ClusterRoleBinding (kubectl delete clusterrolebinding {name}) and run again",
    "Secret": "delete the Secret (kubectl -n {ns} delete secret {name}) and run again",
    "ConfigMap": "delete the ConfigMap (kubectl -n {ns} delete configmap {name}) and run again",
}
IMMUTABLE = (
    "immutable",
    "cannot change roleref",
    "are forbidden",
    "is forbidden after creation",
    "may not change once set",
    "field can not be less than",
)


def immutable(error: ApiError) -> bool:
    """True when the field may not change in the life of the object."""
    return error.status == 422 and any(mark in error.message.lower() for mark in IMMUTABLE)


def explain(obj: dict[str, Any], error: Exception, source: str = "") -> str:
    """One error as one paragraph."""
    meta = obj["metadata"]
    where = [part for part in (f"inventory: {inventory_of(obj)}" if inventory_of(obj) else "", f"template: {source}" if source else "") if part]
    text = str(error)
    if isinstance(error, ApiError):
        causes = [f"{field}: {message}" if field and field != "<nil>" else message for field, message in error.causes if message]
        # The message repeats the causes after the object's name; the causes alone name the field first.
        text = "; ".join(causes) or error.message
        if obj["kind"] == "Secret" and error.status == 422:
            text = "; ".join(field for field, message in error.causes if field) or error.reason  # never a value
            text += " refused" if not immutable(error) else " is immutable"
        if immutable(error):
            remedy = REMEDY.get(obj["kind"], "delete it and run again")
            text += ". To do: " + remedy.format(ns=meta.get("namespace"), name=meta["name"])
        elif error.status == 404 and "namespaces" in error.message:
            text += ". To do: the namespace is made by role tenancy, run it first"
    return f"{describe(obj)}{' (' + ', '.join(where) + ')' if where else ''}: {text}"
