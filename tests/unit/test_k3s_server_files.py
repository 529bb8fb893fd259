"""The Kubernetes client's environment on the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.modules import wheel_venv


def refuse(command: list[str]) -> tuple[int, str, str]:
    return 1, "", f"bad line in {command[-1]}"


WHEELS = {"/w/pip-25.3-py3-none-any.whl": "a" * 64, "/w/python_dateutil-2.9.0-py2.py3-none-any.whl": "b" * 64}


def test_wheels_become_hashed_requirements() -> None:
    assert wheel_venv.requirements(WHEELS) == [f"pip==25.3 --hash=sha256:{'a' * 64}", f"python-dateutil==2.9.0 --hash=sha256:{'b' * 64}"]
    with pytest.raises(wheel_venv.VenvError, match="not named as a wheel"):
        wheel_venv.requirements({"/w/x.whl": ""})


def test_an_interrupted_environment_is_made_again(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    text = wheel_venv.marker_text(wheel_venv.requirements(WHEELS))

    def make(command: list[str]) -> tuple[int, str, str]:
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin/python").touch()
        return 0, "", ""

    with pytest.raises(wheel_venv.VenvError, match="bad line"):
        wheel_venv.build(venv, WHEELS, text, refuse)
    assert not wheel_venv.is_current(venv, text)
    wheel_venv.build(venv, WHEELS, text, make)
    assert wheel_venv.is_current(venv, text) and not wheel_venv.is_current(venv, text + "more")
    with pytest.raises(wheel_venv.VenvError, match="0 files pip"):
        wheel_venv.build(venv, {}, text, make)
