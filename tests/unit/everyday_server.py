"""A server as the everyday commands see it, and objects of Kubernetes on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import interface
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday import inventory
from ansible_collections.shaka.platform.plugins.plugin_utils.model.resolve import resolve

ROOT = Path(__file__).parents[2]
RAW = {
    "ansible_host": "192.0.2.7",
    "ansible_user": "root",
    "platform_name": "shaka",
    "platform_environments": {
        "dev": {},
        "prod": {
            "postgres": {"database": "shaka_production"}, "redis": {"database": 2, "prefix": "prod:"},
            "apps": {"api": {"host": "api.example.com"}, "worker": {}},
        },
    },
}  # fmt: skip
SERVER = inventory.server("one", inventory.extract(RAW))


def reached(**changed: Any) -> inventory.KnownServer:
    """The server, reached in another way."""
    return dataclasses.replace(SERVER, **changed)


def shipped() -> dict[str, Any]:
    """The variables of inventories/prod."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "inventories/prod/group_vars/all/platform.yml").read_text())
    return loaded


def resolved(raw: dict[str, Any]) -> Any:
    """The collection's own model of an inventory, its mistakes aside."""
    names = interface()
    return resolve(raw, names, {key: {"reference": "registry.test/image:1"} for key in names.images}).model


def workload(kind: str, name: str, wanted: int, ready: int, namespace: str = "shaka-prod") -> dict[str, Any]:
    """A Deployment or StatefulSet."""
    template = {"spec": {"containers": [{"image": "lab.local/api:1"}]}}
    spec = {"replicas": wanted, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": {"readyReplicas": ready}}


def pod(app: str, restarts: int = 0, waiting: str = "") -> dict[str, Any]:
    """A pod that is ready, or whose container waits."""
    container = {"restartCount": restarts, "state": {"waiting": {"reason": waiting}} if waiting else {"running": {}}}
    conditions = [{"type": "Ready", "status": "False" if waiting else "True"}]
    metadata = {"name": f"{app}-1", "namespace": "shaka-prod", "labels": {"app": app}}
    return {"kind": "Pod", "metadata": metadata, "status": {"conditions": conditions, "containerStatuses": [container]}}
