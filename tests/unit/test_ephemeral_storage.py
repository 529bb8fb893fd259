"""What containers may write to the node's disk: bounded in everything that the roles render, and counted by the plan."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.ephemeral import STORAGE, bound


def workload(
    kind: str, *containers: dict[str, Any], init: list[dict[str, Any]] | None = None, volumes: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    pod = {"containers": list(containers), "initContainers": init or [], "volumes": volumes or []}
    spec: dict[str, Any] = {"template": {"spec": pod}}
    if kind == "PodTemplate":
        return {"kind": kind, **spec}
    return {"kind": kind, "spec": {"jobTemplate": {"spec": spec}} if kind == "CronJob" else pod if kind == "Pod" else spec}


def found(item: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    spec = item.get("spec", item)
    spec = spec.get("jobTemplate", {"spec": spec})["spec"]
    pod = spec.get("template", {}).get("spec", spec)
    parts = [container["resources"] for container in [*pod["containers"], *pod["initContainers"]]]
    return [(part["requests"].get(STORAGE), part.get("limits", {}).get(STORAGE)) for part in parts]


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "PodTemplate"])
def test_every_container_of_a_workload_is_bounded(kind: str) -> None:
    volumes = [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}, {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}]
    item = bound(workload(kind, {"name": "a"}, {"name": "b"}, init=[{"name": "tools"}], volumes=volumes))
    assert found(item) == [("32Mi", "192Mi"), ("32Mi", "128Mi"), ("32Mi", "128Mi")]


def test_what_a_template_says_stays_and_a_scratch_disk_without_size_has_no_other_limit() -> None:
    own = {"name": "a", "resources": {"requests": {STORAGE: "1Gi"}, "limits": {STORAGE: "41Gi"}}}
    volumes: list[dict[str, Any]] = [{"name": "work", "emptyDir": {}}]
    assert found(bound(workload("Pod", own, {"name": "b"}, volumes=volumes))) == [("1Gi", "41Gi"), ("32Mi", None)]


def test_what_is_no_workload_is_left_alone() -> None:
    for item in ({"kind": "Service", "spec": {"ports": []}}, {"kind": "ConfigMap"}):
        assert bound(dict(item)) == item
