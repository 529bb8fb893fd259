"""Small objects to apply."""

from __future__ import annotations

from typing import Any

APP = {"app": "probe"}


def obj(kind: str, name: str, namespace: str = "", api: str = "v1", **fields: Any) -> dict[str, Any]:
    """Any object; it says that it comes from the inventory path platform_environments.probe."""
    meta: dict[str, Any] = {"name": name, "annotations": {"shaka.platform/inventory": "platform_environments.probe"}}
    if kind == "Namespace":  # the pods of these tests are about something else
        meta["labels"] = {"pod-security.kubernetes.io/enforce": "baseline"}
    return {"apiVersion": api, "kind": kind, "metadata": {**meta, **({"namespace": namespace} if namespace else {})}, **fields}


def config(name: str, namespace: str, **data: str) -> dict[str, Any]:
    return obj("ConfigMap", name, namespace, data=data)


def container(image: str = "lab.local/pause:1", **fields: Any) -> dict[str, Any]:
    return {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", **fields}


def workload(kind: str, name: str, namespace: str, spec: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A Deployment or StatefulSet of pods with one container."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [spec]}}
    return obj(kind, name, namespace, "apps/v1", spec={"selector": {"matchLabels": labels}, "template": template, **fields})


def deployment(name: str, namespace: str, spec: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return workload("Deployment", name, namespace, spec or container(), **fields)
