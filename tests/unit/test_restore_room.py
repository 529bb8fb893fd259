"""How much CPU the pod of a restore gets: as much as its namespace leaves."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.restore import room


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
    ("cluster", "left"),
    [
        (Cluster([]), None),
        (Cluster([("2", "1300m")]), 700),
        (Cluster([("2", "1300m"), ("1500m", "1")]), 500),
        (Cluster([("8", "0")], most="2"), 2000),
        (Cluster([("1", "1200m")]), -200),  # a quota that was lowered meanwhile
    ],
)
def test_the_least_of_what_quotas_leave_and_the_limit_range_allows(cluster: Any, left: int | None) -> None:
    assert room.cpu_left(cluster, "shaka-dev") == left


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
