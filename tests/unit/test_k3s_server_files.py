"""The Kubernetes client's environment on the server."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.modules import wheel_venv

Execute = Callable[[list[str]], tuple[int, str, str]]
MARKER = "# Python 3.11, requirements abc\n"


def sent(tmp_path: Path, *names: str) -> Path:
    with zipfile.ZipFile(tmp_path / "wheels.zip", "w") as archive:
        for name in ("requirements.txt", *names):
            archive.writestr(name, "")
    return tmp_path / "wheels.zip"


def recorded(venv: Path, commands: list[list[str]]) -> Execute:
    """Runs nothing, but an environment's Python is there afterwards."""

    def execute(command: list[str]) -> tuple[int, str, str]:
        commands.append(command)
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin/python").touch()
        return 0, "", ""

    return execute


def test_an_interrupted_environment_is_made_again(tmp_path: Path) -> None:
    venv, commands = tmp_path / "venv", list[list[str]]()
    received = sent(tmp_path, "pip-26.3-py3-none-any.whl")
    with pytest.raises(wheel_venv.VenvError, match="bad line"):
        wheel_venv.build(venv, received, MARKER, lambda command: (1, "", f"bad line in {command[-1]}"))
    assert not wheel_venv.is_current(venv, MARKER)
    wheel_venv.build(venv, sent(tmp_path, "pip-26.3-py3-none-any.whl"), MARKER, recorded(venv, commands))
    assert wheel_venv.is_current(venv, MARKER) and not wheel_venv.is_current(venv, MARKER.replace("3.11", "3.13"))
    assert {"--no-index", "--require-hashes"} <= set(commands[-1])


def test_what_was_sent_does_not_stay(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    with pytest.raises(wheel_venv.VenvError, match="0 files pip"):
        wheel_venv.build(venv, sent(tmp_path), MARKER, recorded(venv, []))
    wheel_venv.partial(venv).write_bytes(b"half of it, of a run that was killed")
    wheel_venv.build(venv, sent(tmp_path, "pip-26.3-py3-none-any.whl"), MARKER, recorded(venv, []))
    assert [path.name for path in tmp_path.iterdir()] == ["venv"]
