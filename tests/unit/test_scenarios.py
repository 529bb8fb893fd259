"""What the run of the scenarios says last: the tests that failed and their reasons, or the task that did."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests import scenarios

MOLECULE = """#!/bin/sh
{body}
exit {code}
"""
FAILING = (
    'cat > "${PYTEST_ADDOPTS##*=}" <<X\n'
    '<testsuites><testsuite><testcase classname="tests.test_host" name="test_ports"><failure>assert [22] == [22, 443]</failure></testcase>'
    '<testcase classname="tests.test_host" name="test_users"/></testsuite></testsuites>\nX'
)


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, code: int) -> int:
    program = tmp_path / "molecule"
    program.write_text(MOLECULE.format(body=body, code=code))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return scenarios.main(["host"])


def test_a_failed_test_is_named_last_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, monkeypatch, FAILING, 1) == 1
    last = capfd.readouterr().out.splitlines()[-4:]
    assert last[0] == "host: tests.test_host::test_ports" and last[1] == "    assert [22] == [22, 443]"
    assert last[-1].split() == ["host", "FAILED", "(1)", "0", "s", "2", "tests"]


def test_a_failed_task_is_shown_where_no_test_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    coloured = r"printf '  \033[2m│\033[0m TASK [Wait]\n  \033[2m\033[31m│\033[0m \033[31mfatal: [sandbox]: FAILED! no room\033[0m\n'"
    assert run(tmp_path, monkeypatch, coloured, 2) == 1
    summary = capfd.readouterr().out.rpartition("\n\n")[0].rpartition("\n\n")[2]
    assert summary.splitlines() == ["host: TASK [Wait]", "fatal: [sandbox]: FAILED! no room"]


def test_all_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, monkeypatch, "true", 0) == 0
    assert capfd.readouterr().out.split()[:2] == ["host", "passed"]
