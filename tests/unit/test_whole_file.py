"""Files replaced whole, on the controller and on the server; values without Ansible's tags."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.shaka.platform.plugins.module_utils.server import whole
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain
from ansible_collections.shaka.platform.plugins.plugin_utils.whole_file import replace_file


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("given", [0o600, 0o644])
def test_the_mode_is_the_given_one_whatever_the_old_file_had(tmp_path: Path, given: int) -> None:
    file = tmp_path / "secrets.yml"
    file.write_text("old")
    file.chmod(0o666)
    replace_file(file, "new", given)
    assert (file.read_text(), mode(file)) == ("new", given)
    whole.replace(file, "newer", given)
    assert (file.read_text(), mode(file)) == ("newer", given)


def test_without_a_mode_it_is_the_users_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "drift.json", b"{}")
    finally:
        os.umask(before)
    assert mode(tmp_path / "drift.json") == 0o640


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "artifacts.lock.yml"
    replace_file(file, "old")

    def full(_descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, "new")
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
    with pytest.raises(OSError, match="No space"):
        whole.replace(file, "new", 0o644)
    assert file.read_text() == "old"


def test_a_plain_value_can_be_written_as_yaml() -> None:
    tagged = DataLoader().load("a: text\n1: [2, 3.5, true, null]\nday: 2026-11-26\n", file_name="/x.yml")
    assert plain(tagged) == {"a": "text", "1": [2, 3.5, True, None], "day": "2026-11-26"}
    typed = plain(tagged, typed=True)
    assert typed == {"a": "text", 1: [2, 3.5, True, None], "day": datetime.date(2026, 11, 26)}
    assert {type(key) for key in typed} == {str, int} and yaml.safe_dump(plain(tagged))
