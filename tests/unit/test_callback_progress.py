"""The heartbeat line, and the tables that results carry."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.callback import progress
from ansible_collections.shaka.platform.plugins.callback.progress import CallbackModule, Heartbeat, longest_wait


class Printer:
    """Ansible's display, as far as the callback knows it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def display(self, text: str, **_how: Any) -> None:
        sys.stdout.write(text + "\n")


def test_silent_while_others_speak() -> None:
    heartbeat = Heartbeat(0)
    heartbeat.start("redis : Wait", "", False, 1)
    heartbeat.last_output = 8
    assert heartbeat.line(11.9) is None
    assert heartbeat.line(12) == "  ...  11 s  redis : Wait"


def test_says_what_is_known() -> None:
    heartbeat = Heartbeat(0)
    heartbeat.start("Wait", longest_wait({"wait_timeout": 300}), False, 0)
    heartbeat.hosts, heartbeat.attempt = ["a", "b", "c", "d"], "attempt 2 of 9 failed"
    assert heartbeat.line(5) == "  ...   5 s  Wait (a, b, c and 1 more; attempt 2 of 9 failed; waits up to 300 s)"


def test_leaves_prompts_alone() -> None:
    heartbeat = Heartbeat(0)
    heartbeat.start("pause", "", True, 0)
    assert heartbeat.line(60) is None


@pytest.mark.parametrize(("arguments", "text"), [({}, ""), ({"timeout": "60"}, "waits up to 60 s"), ({"timeout": "{{ x }}"}, "")])
def test_bound(arguments: dict[str, Any], text: str) -> None:
    assert longest_wait(arguments) == text


@pytest.mark.parametrize("terminal", [False, True])
def test_speaks_within_the_silence(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(progress, "SILENCE", 0.1)
    monkeypatch.setattr(progress, "TICK", 0.02)
    monkeypatch.setattr(os, "get_terminal_size", lambda _fd: SimpleNamespace(columns=80))
    monkeypatch.setattr(output, "fileno", lambda: 1)
    callback = CallbackModule()
    callback._display, callback.terminal = Printer(), terminal
    callback.heartbeat.line = lambda now, each=0.1: Heartbeat.line(callback.heartbeat, now, each)  # type: ignore[method-assign]
    callback.v2_playbook_on_start(None)
    callback.v2_playbook_on_task_start(SimpleNamespace(get_name=lambda: "shaka.platform.k3s : Slow", args={}, action="command"), False)
    deadline = time.monotonic() + 5
    while "Slow" not in output.getvalue() and time.monotonic() < deadline:
        time.sleep(0.02)
    callback._display.display("ok: [server]")
    callback.ended.set()
    assert callback.thread is not None
    callback.thread.join(5)
    said = output.getvalue()
    assert "Slow" in said
    # on a terminal the line is erased before the next output; elsewhere it is a line of its own
    assert ("\r\033[Kok: [server]\n" in said) if terminal else ("s  k3s : Slow\nok: [server]\n" in said)


def test_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    callback = CallbackModule()
    callback._display = Printer()
    table = {"title": "environments", "columns": ["name", "pods"], "rows": [["prod", "3/4:\nPending"], ["dev", "4/4"]], "failed": [0]}
    callback.v2_runner_on_ok(SimpleNamespace(host=SimpleNamespace(get_name=lambda: "server"), result={"platform_table": [table]}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "environments"
    assert [line.split() for line in lines[2:]] == [["name", "pods"], ["-" * len(lines[3].strip())], ["prod", "3/4:", "Pending"], ["dev", "4/4"]]
