"""How much CPU a restore gets: its pod and its Postgres share what their namespace leaves, and Postgres gives it back."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.restore import cpu_limit, room


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
    ("cluster", "spare", "pod", "more"),
    [
        (Cluster([]), None, None, None),
        (Cluster([("8", "1")]), 6000, 3000, 6000),
        (Cluster([("8", "1")]), 0, 200, 0),  # the rest is for updates, backups and certificates
        (Cluster([("8", "7900m")]), 6000, 100, 100),  # other pods have it now
        (Cluster([("8", "1"), ("1500m", "1")]), 6000, 500, 500),
        (Cluster([("8", "0")], most="2"), 6000, 2000, 6000),
        (Cluster([], most="2"), None, 2000, None),
        (Cluster([("1", "1200m")]), 0, -200, -200),  # a quota that was lowered meanwhile
    ],
)
def test_what_the_quota_has_to_spare_and_the_limit_range_allows(cluster: Any, spare: int | None, pod: int | None, more: int | None) -> None:
    found = room.cpu_room(cluster, "shaka-dev", spare)
    assert (found.for_pod(), found.for_more()) == (pod, more)


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
    """The pod postgres-0, which kubectl changes; `refuses`: what it does not do; `loses`: whether the answer to a change gets lost."""

    def __init__(self, limit: str, quotas: list[tuple[str, str]], refuses: str = "", loses: bool = False) -> None:
        super().__init__(quotas)
        self.refuses, self.loses = refuses, loses
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
            if self.loses:
                return False, "connection reset by peer"
        return True, ""

    def must(self, *arguments: str) -> str:
        ok, output = self.run(*arguments)
        if not ok:
            raise Unanswered(output)
        return output

    @property
    def limit(self) -> str:
        return str(self.pod["spec"]["containers"][0]["resources"]["limits"].get("cpu", ""))


@pytest.mark.parametrize(
    ("pods", "spare", "raised"),
    [
        (Pods("400m", []), None, "4"),
        (Pods("400m", [("4", "1")]), 500, "900m"),
        (Pods("400m", [("4", "1")]), 9000, "3400m"),
        (Pods("400m", [("4", "1")]), 0, "400m"),
        (Pods("6", []), None, "6"),
        (Pods("", []), None, ""),
        (Pods("400m", [], refuses="patch"), None, "400m"),  # a Kubernetes that cannot
    ],
)
def test_postgres_gets_what_is_spare_and_gives_it_back(monkeypatch: pytest.MonkeyPatch, pods: Any, spare: int | None, raised: str) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    before = pods.limit
    cpu_limit.raise_limit(pods, "shaka-prod", spare)
    assert pods.limit == raised
    assert cpu_limit.find(pods, "shaka-prod") == (before if raised != before else "")
    cpu_limit.raise_limit(pods, "shaka-prod", spare)  # a second time changes nothing, least of all what it was before
    assert pods.limit == raised
    cpu_limit.set_back(pods, "shaka-prod")
    assert (pods.limit, pods.pod["metadata"]["annotations"]) == (before, {})


def test_a_limit_of_which_nothing_could_be_kept_is_not_raised() -> None:
    pods: Any = Pods("100m", [], refuses="annotate")
    with pytest.raises(Unanswered):
        cpu_limit.raise_limit(pods, "shaka-prod", None)
    assert pods.limit == "100m"


@pytest.mark.parametrize("loses", [False, True])
def test_a_limit_that_cannot_be_set_back_is_not_forgotten(monkeypatch: pytest.MonkeyPatch, loses: bool) -> None:
    """Nor one whose change was made, and its answer lost."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    pods: Any = Pods("400m", [], loses=loses)
    cpu_limit.raise_limit(pods, "shaka-prod", None)
    pods.refuses = "patch"
    with pytest.raises(Unanswered, match="cannot be set back to 400m: refused"):
        cpu_limit.set_back(pods, "shaka-prod")
    assert (pods.limit, cpu_limit.find(pods, "shaka-prod")) == ("4", "400m")
