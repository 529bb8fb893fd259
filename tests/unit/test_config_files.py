"""Whole files on the server, and the commands that put them in force."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.modules import config_files


def succeed(command: list[str]) -> tuple[int, str, str]:
    return 0, "", ""


def refuse(command: list[str]) -> tuple[int, str, str]:
    return 1, "", f"bad line in {command[-1]}"


def file(dest: Path, content: str | None = "a\n", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"link": None, "mode": "0600", "owner": getpass.getuser(), "directory_mode": "0755", "validate": None, "apply": []}
    return {**given, "dest": str(dest), "content": content, **more}


def test_a_file_is_written_once_with_its_mode(tmp_path: Path) -> None:
    dest = tmp_path / "etc/x.conf"
    assert config_files.run([file(dest)], False, succeed)["written"] == [str(dest)]
    assert dest.read_text() == "a\n" and dest.stat().st_mode & 0o777 == 0o600
    assert config_files.run([file(dest)], False, succeed)["changed"] is False
    dest.chmod(0o644)
    assert config_files.run([file(dest)], False, succeed)["changed"]
    assert [path.name for path in dest.parent.iterdir()] == ["x.conf"]


def test_the_sum_of_each_content_is_told(tmp_path: Path) -> None:
    sums = config_files.run([file(tmp_path / "a"), file(tmp_path / "b", None, mode="0700")], True, succeed)["sums"]
    assert sums == {str(tmp_path / "a"): "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"}


def test_a_directory_made_for_a_file_has_its_mode(tmp_path: Path) -> None:
    config_files.run([file(tmp_path / "home/.ssh/authorized_keys", directory_mode="0700")], False, succeed)
    assert (tmp_path / "home/.ssh").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o755


def test_check_mode_tells_what_would_still_be_absent(tmp_path: Path) -> None:
    result = config_files.run([file(tmp_path / "new/x", validate="no-such-tool %s", owner="not-made-yet")], True, refuse)
    assert result["changed"] and result["absent"] == [str(tmp_path / "new/x")]
    assert list(tmp_path.iterdir()) == []


def test_one_refused_file_leaves_all_old_ones(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_text("old")
    with pytest.raises(config_files.FileRefused, match=f"{second}.*the old one stays: bad line"):
        config_files.run([file(first), file(second, validate="check --file %s")], False, refuse)
    assert second.read_text() == "old" and list(tmp_path.iterdir()) == [second]


def test_permissions_alone_touch_nothing_else(tmp_path: Path) -> None:
    there = tmp_path / "cron.d"
    there.mkdir(mode=0o755)
    entries = [file(there, None, mode="0700"), file(tmp_path / "not-installed", None)]
    result = config_files.run(entries, False, succeed)
    assert result["written"] == [str(there)] and result["absent"] == []
    assert there.stat().st_mode & 0o777 == 0o700 and list(tmp_path.iterdir()) == [there]
    assert config_files.run(entries, False, succeed)["changed"] is False


def test_a_link_replaces_a_file(tmp_path: Path) -> None:
    zone = tmp_path / "localtime"
    zone.write_text("a copy")
    entry = file(zone, None, link="/usr/share/zoneinfo/Etc/UTC")
    assert config_files.run([entry], False, succeed)["changed"]
    assert str(zone.readlink()) == "/usr/share/zoneinfo/Etc/UTC"
    assert config_files.run([entry], False, succeed)["changed"] is False


def test_a_unit_that_the_server_has_not_is_not_restarted(tmp_path: Path) -> None:
    ran = list[list[str]]()

    def server(command: list[str]) -> tuple[int, str, str]:
        if command[1] == "show":
            return 0, "not-found\n" if command[-1] == "cron.service" else "loaded\n", ""
        ran.append(command)
        return 0, "", ""

    files = [
        file(tmp_path / "zone", apply=["systemctl try-restart cron.service"]),
        file(tmp_path / "timers", apply=["systemctl try-restart cron.service apt-daily.timer"]),
    ]
    assert config_files.run(files, False, server, tmp_path / "owed")["changed"]
    assert ran == [["systemctl", "try-restart", "apt-daily.timer"]]


def test_commands_follow_a_change_once_also_after_an_interruption(tmp_path: Path) -> None:
    owed, ran = tmp_path / "owed", list[str]()

    def record(command: list[str]) -> tuple[int, str, str]:
        ran.append(" ".join(command))
        return 0, "", ""

    files = [file(tmp_path / name, apply=["daemon-reload", "restart it"]) for name in ("a", "b")]
    with pytest.raises(config_files.FileRefused, match="'daemon-reload' failed after its files were written"):
        config_files.run(files, False, refuse, owed)
    assert config_files.run(files, True, record, owed)["changed"] and ran == []
    result = config_files.run(files, False, record, owed)
    assert result["written"] == [] and result["changed"] and ran == ["daemon-reload", "restart it"]
    assert config_files.run(files, False, record, owed)["changed"] is False
