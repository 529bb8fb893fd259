"""Who is told of what, and once: the program that a server runs every minute, against a real receiver."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "roles/notify/files/notify.py"
NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shaka_notify", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["shaka_notify"] = module
    spec.loader.exec_module(module)
    return module


notify = load()


def cronjob(**status: str) -> dict[str, Any]:
    spec = {"suspend": False, "jobTemplate": {"spec": {"activeDeadlineSeconds": 3600}}}
    return {"metadata": {"name": "postgres-backup", "uid": "u", "namespace": "shaka-prod"}, "spec": spec, "status": status}


def due(started: str, succeeded: str) -> dict[str, str]:
    """A CronJob's status."""
    return {"lastScheduleTime": f"2027-01-{started}:00Z", "lastSuccessfulTime": f"2027-01-{succeeded}:00Z"}


def job(name: str, kind: str, at: str, owner: str = "u") -> dict[str, Any]:
    ended = {"type": kind, "status": "True", "lastTransitionTime": at, "message": "Job has reached the specified backoff limit"}
    return {"metadata": {"name": name, "namespace": "shaka-prod", "ownerReferences": [{"uid": owner}]}, "status": {"conditions": [ended]}}


@pytest.mark.parametrize(
    ("jobs", "status", "ok", "since"),
    [
        ([], {}, True, "2027-01-15T08:00:00Z"),  # nothing was due yet
        ([job("a", "Complete", "2027-01-15T02:01:00Z")], due("15T02:00", "15T02:01"), True, "2027-01-15T02:01:00Z"),
        ([job("a", "Complete", "2027-01-14T02:01:00Z"), job("b", "Failed", "2027-01-15T02:09:00Z")], {}, False, "2027-01-15T02:09:00Z"),
        ([job("b", "Failed", "2027-01-15T02:09:00Z"), job("c", "Complete", "2027-01-15T03:00:00Z")], {}, True, "2027-01-15T08:00:00Z"),
        ([job("b", "Failed", "2027-01-15T02:09:00Z", "of another")], {}, True, "2027-01-15T08:00:00Z"),
        # due at two, an hour allowed, and nothing is known of it at eight
        ([], due("15T02:00", "14T02:01"), False, "2027-01-15T02:00:00Z"),
        ([], due("15T07:00", "14T02:01"), True, "2027-01-14T02:01:00Z"),  # it may still run
    ],
)  # fmt: skip
def test_the_newest_that_ended_decides(jobs: list[dict[str, Any]], status: dict[str, str], ok: bool, since: str) -> None:
    state, _failed = notify.judge(cronjob(**status), notify.of_cronjob(cronjob(**status), jobs), NOW)
    assert (state.ok, state.since) == (ok, since)


class Answers:
    """What the API server has of a failed job: its pods, events, log."""

    def __init__(self, pods: list[dict[str, Any]], events: list[dict[str, Any]]) -> None:
        self.lists = {"pods": pods, "events": events}

    def items(self, path: str) -> list[dict[str, Any]]:
        return self.lists["events" if "/events?" in path else "pods"]

    def text(self, _path: str) -> str:
        return "dumping\nS3 does not answer\n"


def test_the_reason_is_how_the_pod_ended_and_its_last_lines() -> None:
    killed = {"name": "backup", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    pod = {"metadata": {"name": "b-1", "creationTimestamp": "2027-01-15T02:00:00Z"}, "status": {"containerStatuses": [killed]}}
    assert notify.why(Answers([pod], []), job("b", "Failed", ""), "it failed") == "it failed\nbackup: OOMKilled\ndumping\nS3 does not answer"


def test_the_reason_of_a_pod_that_never_was_is_the_event() -> None:
    event = {"message": "pods is forbidden: exceeded quota"}
    assert notify.why(Answers([], [event]), job("b", "Failed", ""), "it failed") == "it failed; pods is forbidden: exceeded quota"


@pytest.fixture
def webhook() -> Iterator[Any]:
    """A receiver; `answer` is what it says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))  # type: ignore[attr-defined]
            self.send_response(server.answer)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.answer = [], 200  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_each_change_is_told_once_and_what_was_not_told_is_told_again(webhook: Any) -> None:
    configuration = {"platform": "shaka", "server": "one", "webhook": f"http://127.0.0.1:{webhook.server_port}/secret"}
    well = {"prod backup": notify.State(True, "t", "succeeded")}
    bad = {"prod backup": notify.State(False, "t", "S3 does not answer")}
    told: dict[str, bool] = {}
    assert notify.tell(configuration, well, told) == [] and webhook.got == []  # nobody is told that all is well
    webhook.answer = 500
    assert notify.tell(configuration, bad, told) == ["prod backup: not told: the webhook answers 500"]
    webhook.answer, webhook.got[:] = 200, []
    for states in (bad, bad, well, well):
        assert notify.tell(configuration, states, told) == []
    assert [(each["state"], each["what"], each["server"]) for each in webhook.got] == [("failed", "prod backup", "one"), ("ok", "prod backup", "one")]
    assert webhook.got[0]["text"] == "shaka on one: prod backup FAILED (t)\nS3 does not answer"


@pytest.mark.parametrize("lost", ["", "{", "[]"])
def test_what_was_told_may_be_lost_and_nothing_ends_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, webhook: Any, lost: str) -> None:
    """As by a power failure, while K3s does not answer: the next run tells of it."""
    configuration = {
        "platform": "shaka",
        "server": "one",
        "webhook": f"http://127.0.0.1:{webhook.server_port}/",
        "unanswered_minutes": 0,
        "environments": {},
    }
    (tmp_path / "configuration").write_text(json.dumps(configuration))
    (tmp_path / "told.json").write_text(lost)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert notify.main() == notify.main() == 0
    assert [each["what"] for each in webhook.got] == ["the cluster"]


def test_on_a_full_disk_what_was_told_is_kept_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = tmp_path / "told.json"
    notify.remember(memory, {"told": {"prod backup": True, "dev backup": True}})

    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    notify.remember(memory, {"told": {"prod backup": False}})
    assert notify.remembered(memory) == {"told": {"prod backup": False}}


def test_without_a_token_the_cluster_is_said_to_be_silent(tmp_path: Path) -> None:
    with pytest.raises(notify.Unanswered, match=r"is k3s\.service running"):
        notify.Cluster(tmp_path)


@pytest.mark.parametrize(
    ("available", "since", "ok"),
    [("True", "2027-01-15T07:59:59Z", True), ("False", "2027-01-15T07:59:30Z", None), ("False", "2027-01-15T07:58:00Z", False)],
)
def test_an_archive_of_wal_that_is_away_for_long_is_told(available: str, since: str, ok: bool | None) -> None:
    condition = {"type": "Available", "status": available, "lastTransitionTime": since}
    deployment = {"metadata": {"name": "postgres-wal", "namespace": "shaka-prod"}, "status": {"conditions": [condition]}}
    state = notify.archive(Answers([{"metadata": {"name": "postgres-wal-1"}}], []), deployment, NOW)
    assert (state.ok if state else None) is ok
    assert ok is not False or ("not in the bucket in time" in state.reason and "S3 does not answer" in state.reason)


@pytest.mark.parametrize(
    ("data", "state"),
    [
        ({"finished": "20270115T070000Z", "stamp": "s"}, (True, "2027-01-15T07:00:00Z", "s was restored and checked")),
        (
            {"finished": "20270114T070000Z", "stamp": "s", "failed": "20270115T070000Z", "problem": "truncated"},
            (False, "2027-01-15T07:00:00Z", "truncated"),
        ),
    ],
)
def test_the_last_drill_counts(data: dict[str, str], state: tuple[bool, str, str]) -> None:
    assert tuple(notify.drill(data)) == state
