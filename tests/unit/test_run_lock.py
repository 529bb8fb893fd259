"""One run at a time on a server: the lock is held as long as the run's own process lives, and no longer."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from actions import action
from ansible_collections.shaka.platform.plugins.action.run_lock import ActionModule
from ansible_collections.shaka.platform.plugins.plugin_utils import run_lock

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"
INFO = {"token": "t1", "playbook": "site.yml", "user": "ana", "host": "laptop", "pid": "4711", "since": "2026-11-26 20:10:33 UTC"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_lock, "PLACE", str(tmp_path / "shaka"))
    monkeypatch.setattr(run_lock, "PATIENCE", 1)
    return tmp_path / "shaka"


def hold(until: str = "cat > /dev/null") -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", run_lock.holding(INFO, until)], stdin=subprocess.PIPE)


def until_told(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_ends_with_its_connection_and_leaves_nothing(place: Path) -> None:
    first = hold()
    until_told(place / "run.json")
    assert place.stat().st_mode & 0o777 == 0o700, "nobody else can open it, and hold it"
    assert run_lock.holder_of((place / "run.json").read_text()) == INFO
    assert hold().wait(10) == run_lock.HELD
    assert first.stdin is not None
    first.stdin.close()
    assert first.wait(10) == 0 and not place.exists()
    second = hold("true")
    assert second.wait(10) == 0


def test_who_waits_gets_it_when_its_directory_goes_with_its_holder(place: Path) -> None:
    first = hold()
    until_told(place / "run.json")
    second = subprocess.Popen(["sh", "-c", run_lock.holding({**INFO, "token": "t2"}, "cat > /dev/null")], stdin=subprocess.PIPE)
    time.sleep(0.3)  # it waits
    assert first.stdin is not None and second.stdin is not None
    first.stdin.close()
    assert first.wait(10) == 0
    until_told(place / "run.json")
    assert run_lock.holder_of((place / "run.json").read_text())["token"] == "t2"
    second.stdin.close()
    assert second.wait(10) == 0 and not place.exists()


def test_who_holds_it_is_named_with_the_way_out() -> None:
    said = run_lock.refusal(INFO)
    assert all(words in said for words in ("site.yml", "ana on laptop", "process 4711", "since 2026-11-26 20:10:33 UTC", "Nothing was changed"))
    assert "does not say whose" in run_lock.refusal(run_lock.holder_of("cut off {"))


@pytest.fixture
def run(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a run."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_killed_run_frees_the_server_at_once(place: Path, run: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def taken_by(process: int) -> dict[str, object]:
        monkeypatch.setattr(os, "getppid", lambda: process)
        done: dict[str, object] = action(ActionModule, "local").run(task_vars={})
        return done

    assert taken_by(run.pid)["msg"] == "this run has the server"
    assert taken_by(run.pid)["msg"] == "this run has the server since an earlier play"
    with subprocess.Popen(["sleep", "60"]) as other:
        refused = taken_by(other.pid)
        assert refused["failed"] and f"process {run.pid}" in str(refused["msg"])
        run.send_signal(signal.SIGKILL)  # and nobody waits for it yet
        started = time.monotonic()
        assert taken_by(other.pid)["msg"] == "this run has the server"
        assert time.monotonic() - started < 5
        other.kill()


def test_a_connection_that_cannot_hold_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = action(ActionModule, "local")
    monkeypatch.setattr(type(plugin._connection), "transport", "podman")
    assert "podman cannot hold a lock" in plugin.run(task_vars={})["warnings"][0]


def test_every_playbook_that_changes_a_server_takes_it_and_those_that_only_look_do_not() -> None:
    taking = set()
    for path in PLAYBOOKS.glob("*.yml"):
        for play in yaml.safe_load(path.read_text()):
            taking |= {path.stem} & {*(path.stem for task in play.get("pre_tasks", []) if "shaka.platform.run_lock" in task)}
    assert taking == {
        "site",
        "restore",
        "move",
        "reset",
        "backup",
        "prune",
        "drill",
        "export",
        "import",
        "deploy",
        "rollback",
        "preview",
        "preview_end",
    }
