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

# Field managers at work on any cluster; K3s runs most of these under its own name. A trailing * is a prefix.
CONTROLLERS = (
    MANAGER + "*",
    "k3s*",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-apiserver",
    "kubelet",
    "cloud-controller-manager",
    "cert-manager*",
    "cainjector*",
    "local-path-provisioner",
    "before-first-apply",  # the API server's name for what an object had before its first server-side apply
)
# Bookkeeping that tools and controllers of any name do in our objects.
EXEMPT = {"f:caBundle", "f:finalizers", "f:ownerReferences", "f:status", "f:volumeName", "f:clusterIP", "f:clusterIPs", "f:nodePort"}
EXEMPT_ANNOTATIONS = (
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


def _exempt(key: str) -> bool:
    return key in EXEMPT or key.startswith(EXEMPT_ANNOTATIONS)


def _holds_exempt(fields: dict[str, Any]) -> bool:
    return any(_exempt(key) or _holds_exempt(below) for key, below in fields.items())


def _beyond(fields: dict[str, Any], ours: dict[str, Any], value: Any, desired: Any, path: Pointer) -> Iterator[Pointer]:
    """Where the highest fields are that are in `fields` but neither in `ours` nor in what we want, following all three and the object."""
    for key, below in fields.items():
        if key == "." or _exempt(key):
            continue
        step, wanted = _step(key, value), _step(key, desired)
        if step is None:
            continue
        if key not in ours and wanted is None and not _holds_exempt(below):
            yield (*path, step)
        else:
            yield from _beyond(below, ours.get(key, {}), value[step], None if wanted is None else desired[wanted], (*path, step))


def _step(key: str, value: Any) -> str | int | None:
    """The key or index in `value` that one FieldsV1 key stands for; None when it is not there."""
    form, _colon, text = key.partition(":")
    if form == "f" and isinstance(value, dict) and text in value:
        return text
    if form in ("k", "v") and isinstance(value, list):
        wanted = json.loads(text)
        for index, item in enumerate(value):
            # A key field may be left out of the object where it has a default (a port's protocol).
            if item == wanted or (form == "k" and isinstance(item, dict) and all(item.get(name, want) == want for name, want in wanted.items())):
                return index
    return None


def added(obj: dict[str, Any], desired: dict[str, Any], controllers: Iterable[str]) -> list[Pointer]:
    """Where fields were added to what we want, in an order in which they can be removed one after the other.

    A field of ours that somebody changed is theirs by managedFields; applying `desired` puts it back.
    """
    names = [*CONTROLLERS, *controllers]
    ours: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for entry in (obj.get("metadata") or {}).get("managedFields") or []:
        fields = entry.get("fieldsV1") or {}
        # A subresource (status, an autoscaler's scale) is written by whoever is in charge of it.
        if entry.get("subresource") or known(str(entry.get("manager") or ""), names):
            ours = _join(ours, fields)
        else:
            others = _join(others, fields)
    return sorted(_beyond(others, ours, obj, desired, ()), reverse=True) if others else []


def removal(paths: Iterable[Pointer]) -> list[dict[str, str]]:
    """The JSON patch that takes the fields out."""
    return [{"op": "remove", "path": "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)} for path in paths]


def without(obj: dict[str, Any], paths: Iterable[Pointer]) -> dict[str, Any]:
    """A copy of the object with the fields taken out (and mappings that this empties), for showing what a dry run cannot."""
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
