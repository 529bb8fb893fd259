"""What is kept of a drill, and that one does not pass over a newer backup that could not be restored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup import environment_dumps
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Origin
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore import choice, overview, steps

GOOD = {"stamp": "20270114T020000Z", "finished": "20270114T030000Z", "seconds": "64"}


class Cluster(Kubectl):
    """Keeps the one ConfigMap."""

    def __init__(self, data: dict[str, str] | None) -> None:
        super().__init__([], 0)
        self.data = data

    def find(self, path: str) -> dict[str, Any] | None:
        return {"data": self.data} if self.data is not None else None

    def run(self, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        self.data = json.loads(text or "")["data"]
        return True, ""


def given(cluster: Cluster, **params: Any) -> steps.StepInput:
    s3 = {"endpoint": "https://s3.test", "prefix": "shaka"}
    env: Any = {"name": "prod", "namespace": "shaka-prod", "backup": {"s3": s3}, "postgres": {"database": "app", "databases": []}}
    return steps.StepInput(cluster, env, env, params, False)


def test_why_a_drill_failed_is_kept_beside_what_the_last_good_one_found() -> None:
    cluster = Cluster(dict(GOOD))
    steps.record(given(cluster, record={"problem": "the dump was changed"}))
    assert cluster.data and cluster.data == {**GOOD, "problem": "the dump was changed", "failed": cluster.data["failed"]}
    steps.record(given(first := Cluster(None), record={"problem": "no backup"}))
    assert first.data and set(first.data) == {"problem", "failed"}
    assert overview.drill_text(first.data) == "the only drill failed: no backup"


@pytest.mark.parametrize(("purpose", "failed"), [("drill", True), ("restore", False)])
def test_a_drill_fails_where_a_newer_backup_could_not_be_restored(monkeypatch: pytest.MonkeyPatch, purpose: str, failed: bool) -> None:
    origin = Origin("one", "prod", "42")
    bad = choice.StoredBackup(origin, "20270115T020000Z", None, "its manifest is not authentic")
    good = choice.StoredBackup(origin, "20270114T020000Z", None)

    class Bucket:
        place = "the bucket"

        def __init__(self, *_args: Any, **_more: Any) -> None:
            pass

    monkeypatch.setattr(steps, "Bucket", Bucket)
    monkeypatch.setattr(environment_dumps, "objects", lambda *_args: {})
    monkeypatch.setattr(environment_dumps, "manifests", lambda *_args: {})
    monkeypatch.setattr(choice, "stored", lambda *_args: [bad, good])
    monkeypatch.setattr(choice, "choose", lambda *_args: good)
    monkeypatch.setattr(choice, "only", lambda chosen, _databases: chosen)
    monkeypatch.setattr(overview, "look", lambda *_args: overview.LiveServer({}))
    monkeypatch.setattr(overview, "backups_table", lambda *_args: {})
    monkeypatch.setattr(overview, "plan_table", lambda *_args: {})
    monkeypatch.setattr(steps, "make", lambda *_args: type("Plan", (), {"as_dict": lambda _self: {}, "end": "scratch"})())
    params = {"backup": "latest", "moment": "", "origin": "", "databases": [], "beside": "", "purpose": purpose, "backup_key": "k"}
    result = steps.plan(given(Cluster(None), credentials={"access_key": "a", "secret_key": "b"}, **params, timeout=5))
    said = result.get("msg", "") if failed else " ".join(result["warnings"])
    assert result.get("failed", False) is failed and "20270115T020000Z (its manifest is not authentic)" in said
