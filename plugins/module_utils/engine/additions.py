# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fields that somebody added to our objects: server-side apply leaves them alone, drift detection must not.

An object's managedFields say who set each field. What neither we nor a known controller set came by hand (kubectl edit, a dashboard)
or from another tool, and is taken out again. Format: https://kubernetes.io/docs/reference/using-api/server-side-apply/ (FieldsV1).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .identity import MANAGER

# Field managers at work on any cluster, and what they write into objects that we applied. A trailing * is a prefix.
CONTROLLERS = {
    MANAGER + "*": "this engine itself, and what deploys with it",
    "k3s*": "K3s, whose one process has the controllers below",
    "kube-controller-manager": "revisions of rollouts, an autoscaler's replicas, volumes bound to claims, tokens",
    "kube-scheduler": "the node chosen for a claim",
    "kube-apiserver": "addresses and ports of Services",
    "kubelet": "status and annotations of pods",
    "cloud-controller-manager": "load balancers",
    "cert-manager*": "certificates, and CA bundles of webhooks and CustomResourceDefinitions",
    "cainjector*": "the same, under an older name",
    "local-path-provisioner": "volumes of claims",
}
# Fields that the server, tools and controllers of any name maintain in objects, by the field above them. They are never taken out.
MAINTAINED = {
    "f:metadata": {"f:finalizers", "f:ownerReferences"},
    "f:spec": {"f:volumeName", "f:clusterIP", "f:clusterIPs", "f:caBundle"},  # claims, Services, APIServices
    "f:clientConfig": {"f:caBundle"},  # webhooks
    "f:ports": {"f:nodePort"},
}
ANNOTATIONS = (
    "f:kubectl.kubernetes.io/restartedAt",  # kubectl rollout restart: taking it out would restart the pods once more
    "f:deployment.kubernetes.io/",
    "f:deprecated.daemonset.template.generation",
    "f:pv.kubernetes.io/",
    "f:volume.kubernetes.io/",
    "f:volume.beta.kubernetes.io/",
    "f:acme.cert-manager.io/",
    "f:cert-manager.io/",
)
Pointer = tuple["str | int", ...]


def known(manager: str, controllers: Iterable[str]) -> bool:
    """True for ourselves and for controllers."""
    return any(manager.startswith(name[:-1]) if name.endswith("*") else manager == name for name in controllers)


def _join(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {**left, **{key: _join(left.get(key, {}), value) for key, value in right.items()}}


def _maintained(key: str, above: str) -> bool:
    return key in MAINTAINED.get(above, ()) or (above == "f:annotations" and key.startswith(ANNOTATIONS)) or (key == "f:status" and not above)


def _has_maintained(fields: dict[str, Any], above: str) -> bool:
    return any(_maintained(key, above) or _has_maintained(below, key if key.startswith("f:") else above) for key, below in fields.items())


def _beyond(fields: dict[str, Any], others: dict[str, Any], value: Any, desired: Any, path: Pointer, above: str = "") -> Iterator[Pointer]:
    """The paths of `fields` that are neither in `others` nor desired; of a field and those below it, only the topmost path.

    `value` and `desired` are the object's present and desired content at this path.
    """
    for key, below in fields.items():
        step, own = step_of(key, value), step_of(key, desired)
        if key == "." or _maintained(key, above) or step is None:
            continue
        name = key if key.startswith("f:") else above  # an item of a list counts as the list
        if key not in others and own is None and not _has_maintained(below, name):
            yield (*path, step)
        else:
            yield from _beyond(below, others.get(key, {}), value[step], None if own is None else desired[own], (*path, step), name)


def step_of(key: str, value: Any) -> str | int | None:
    """The key or index in `value` that a FieldsV1 key means; None when `value` has no such part."""
    form, _colon, text = key.partition(":")
    if form == "f" and isinstance(value, dict) and text in value:
        return text
    if form in ("k", "v") and isinstance(value, list):
        identity = json.loads(text)
        for index, item in enumerate(value):
            # A field of the identity may be missing from the object when it has its default (a port's protocol).
            if item == identity or (form == "k" and isinstance(item, dict) and all(item.get(name, part) == part for name, part in identity.items())):
                return index
    return None


def added(obj: dict[str, Any], desired: dict[str, Any], controllers: Iterable[str]) -> list[Pointer]:
    """The paths of fields that others added to our object, in an order in which they can be removed one after the other.

    A field of ours that somebody changed belongs to them by managedFields, but is desired: applying puts it back. A field that we applied once and
    no longer want stays after the next apply when somebody else has set it too: it counts as theirs.
    """
    names = [*CONTROLLERS, *controllers]
    controlled: dict[str, Any] = {}
    by_hand: dict[str, Any] = {}
    for entry in (obj.get("metadata") or {}).get("managedFields") or []:
        fields = entry.get("fieldsV1") or {}
        if not known(str(entry.get("manager") or ""), names):
            by_hand = _join(by_hand, fields)
        elif entry.get("manager") != MANAGER or entry.get("operation") != "Apply":
            controlled = _join(controlled, fields)
    return sorted(_beyond(by_hand, controlled, obj, desired, ()), key=_sort_key, reverse=True)


def _sort_key(path: Pointer) -> list[tuple[bool, str | int]]:
    """Makes names and list indexes comparable."""
    return [(isinstance(step, int), step) for step in path]


def removal(paths: Iterable[Pointer]) -> list[dict[str, str]]:
    """The JSON patch that takes the fields out."""
    return [{"op": "remove", "path": "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)} for path in paths]


def without(obj: dict[str, Any], paths: Iterable[Pointer]) -> dict[str, Any]:
    """A copy of the object without these fields (and without mappings that this empties): what a dry run of the removal cannot show."""
    copy: dict[str, Any] = json.loads(json.dumps(obj))
    for path in paths:
        parents: list[Any] = [copy]
        try:
            for step in path[:-1]:
                parents.append(parents[-1][step])
            del parents[-1][path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        for depth in range(len(path) - 1, 0, -1):
            if parents[depth] == {}:
                del parents[depth - 1][path[depth - 1]]
    return copy
