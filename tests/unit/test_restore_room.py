"""How much CPU a restore gets: its pod and its Postgres share what their namespace leaves, and Postgres gives it back."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.restore import haste, room
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import CpuRoom


class Cluster:
    """Answers for the two lists that are asked for."""

    def __init__(self, quotas: list[tuple[str, str]], most: str = "") -> None:
        container = {"type": "Container", "max": {"cpu": most} if most else {"memory": "1Gi"}}
        limits = [container, {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]
        self.lists: dict[str, list[Any]] = {
            "resourcequotas": [{"status": {"hard": {"limits.cpu": hard}, "used": {"limits.cpu": used}}} for hard, used in quotas] + [{"status": {}}],
            "limitranges": [{"spec": {"limits": limits}}],
        }

    def find(self, path: str) -> Any:
        return {"items": self.lists[path.rpartition("/")[2]]}


@pytest.mark.parametrize(
    ("cluster", "expected", "pod"),
    [
        (Cluster([]), CpuRoom(), None),
        (Cluster([("2", "1300m")]), CpuRoom(700), 350),
        (Cluster([("2", "1300m"), ("1500m", "1")]), CpuRoom(500), 250),
        (Cluster([("1", "700m")]), CpuRoom(300), 200),
        (Cluster([("1", "900m")]), CpuRoom(100), 100),
        (Cluster([("8", "0")], most="2"), CpuRoom(8000, 2000), 2000),
        (Cluster([], most="2"), CpuRoom(None, 2000), 2000),
        (Cluster([("1", "1200m")]), CpuRoom(-200), -100),  # a quota that was lowered meanwhile
    ],
)
def test_the_least_of_what_quotas_leave_and_what_the_limit_range_allows(cluster: Any, expected: CpuRoom, pod: int | None) -> None:
    found = room.cpu_room(cluster, "shaka-dev")
    assert (found, found.for_pod()) == (expected, pod)


@pytest.mark.parametrize(
    ("cpu", "limit"),
    [
        (None, "2"),
        (700, "700m"),
        (4000, "2"),
        (20, "2"),  # less than it asks for: the API server's refusal says so
    ],
)
def test_the_limit_is_lowered_to_it_and_nothing_else_changes(cpu: int | None, limit: str) -> None:
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "256Mi"}}
    assert room.fitted(resources, cpu) == {**resources, "limits": {"cpu": limit, "memory": "256Mi"}}
    assert room.fitted({}, cpu) == {}


class Pods(Cluster):
    """The pod postgres-0, which kubectl changes; `refuses`: what it does not do."""

    def __init__(self, limit: str, quotas: list[tuple[str, str]], refuses: str = "") -> None:
        super().__init__(quotas)
        self.refuses = refuses
        limits = {"cpu": limit} if limit else {}
        container = {"name": "postgres", "resources": {"limits": limits}}
        self.pod: dict[str, Any] = {"metadata": {"annotations": {}}, "spec": {"containers": [container]}}

    def find(self, path: str) -> Any:
        return self.pod if path.endswith("/pods/postgres-0") else super().find(path)

    def run(self, verb: str, *arguments: str) -> tuple[bool, str]:
        if verb == self.refuses:
            return False, "refused"
        if verb == "annotate":
            name, _equals, value = arguments[-1].partition("=")
            self.pod["metadata"]["annotations"] |= {name: value}
            if name.endswith("-"):
                del self.pod["metadata"]["annotations"][name], self.pod["metadata"]["annotations"][name[:-1]]
        else:
            assert "--subresource=resize" in arguments
            (container,) = json.loads(arguments[-1].partition("=")[2])["spec"]["containers"]
            self.pod["spec"]["containers"][0]["resources"]["limits"] |= container["resources"]["limits"]
        return True, ""

    @property
    def limit(self) -> str:
        return str(self.pod["spec"]["containers"][0]["resources"]["limits"].get("cpu", ""))


@pytest.mark.parametrize(
    ("pods", "raised"),
    [
        (Pods("400m", []), "4"),
        (Pods("400m", [("2", "1")]), "1400m"),
        (Pods("400m", [("1", "1")]), "400m"),
        (Pods("6", []), "6"),
        (Pods("", []), ""),
        (Pods("400m", [], refuses="patch"), "400m"),  # a Kubernetes that cannot
        (Pods("400m", [], refuses="annotate"), "400m"),  # nobody would know what it was
    ],
)
def test_postgres_gets_what_is_left_and_gives_it_back(monkeypatch: pytest.MonkeyPatch, pods: Any, raised: str) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    before = pods.limit
    haste.give(pods, "shaka-prod")
    assert pods.limit == raised
    assert haste.find(pods, "shaka-prod") == (before if raised != before else "")
    haste.give(pods, "shaka-prod")  # a second time changes nothing, least of all what it was before
    assert pods.limit == raised
    haste.take_back(pods, "shaka-prod")
    assert (pods.limit, pods.pod["metadata"]["annotations"]) == (before, {})


def test_a_limit_that_cannot_be_set_back_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    pods: Any = Pods("400m", [])
    haste.give(pods, "shaka-prod")
    pods.refuses = "patch"
    with pytest.raises(Unanswered, match="cannot be set back to 400m"):
        haste.take_back(pods, "shaka-prod")
    assert haste.find(pods, "shaka-prod") == "400m"
