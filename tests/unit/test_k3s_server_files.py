"""Whole files, kernel settings and the client's environment on the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.modules import config_files, kernel_settings, wheel_venv


def succeed(command: list[str]) -> tuple[int, str, str]:
    return 0, "", ""


def refuse(command: list[str]) -> tuple[int, str, str]:
    return 1, "", f"bad line in {command[-1]}"


def file(dest: Path, content: str = "a\n", mode: str = "0600", validate: str | None = None) -> dict[str, str | None]:
    return {"dest": str(dest), "content": content, "mode": mode, "validate": validate}


def test_a_file_is_written_once_with_its_mode(tmp_path: Path) -> None:
    dest = tmp_path / "etc/x.conf"
    assert config_files.run([file(dest)], False, succeed)["written"] == [str(dest)]
    assert dest.read_text() == "a\n" and dest.stat().st_mode & 0o777 == 0o600
    assert config_files.run([file(dest)], False, succeed)["changed"] is False
    dest.chmod(0o644)
    assert config_files.run([file(dest)], False, succeed)["changed"]
    assert [path.name for path in dest.parent.iterdir()] == ["x.conf"]


def test_check_mode_tells_what_would_still_be_absent(tmp_path: Path) -> None:
    result = config_files.run([file(tmp_path / "new/x", validate="no-such-tool %s")], True, refuse)
    assert result["changed"] and result["absent"] == [str(tmp_path / "new/x")]
    assert list(tmp_path.iterdir()) == []


def test_a_refused_file_leaves_the_old_one(tmp_path: Path) -> None:
    dest = tmp_path / "x"
    dest.write_text("old")
    with pytest.raises(config_files.Refused, match=f"{dest}.*the old one stays: bad line"):
        config_files.run([file(dest, validate="check --file %s")], False, refuse)
    assert dest.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    for path, text in {
        "proc/filesystems": "nodev\toverlay\n\text4\n",
        "proc/sys/kernel/panic": "0\n",
        "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
        "proc/sys/net/bridge/bridge-nf-call-iptables": "1\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_only_what_differs_is_set(kernel: Path) -> None:
    params = {"modules": ["overlay", "br_netfilter"], "sysctls": {"kernel.panic": "10", "net.ipv4.ip_local_port_range": "32768 60999"}}
    assert kernel_settings.run(params, True, refuse, kernel)["differing"] == ["kernel.panic=10"]
    assert (kernel / "proc/sys/kernel/panic").read_text() == "0\n"
    assert kernel_settings.run(params, False, refuse, kernel)["diff"] == {"before": "kernel.panic=0\n", "after": "kernel.panic=10\n"}
    assert kernel_settings.run(params, False, refuse, kernel)["changed"] is False


def test_what_the_kernel_lacks_is_named(kernel: Path) -> None:
    with pytest.raises(kernel_settings.KernelError, match="module wireguard: neither loaded, built in nor loadable"):
        kernel_settings.run({"modules": ["wireguard"], "sysctls": {}}, False, refuse, kernel)
    absent = {"modules": ["wireguard"], "sysctls": {"vm.nothing": "1"}}
    assert len(kernel_settings.run(absent, True, refuse, kernel)["differing"]) == 2
    with pytest.raises(kernel_settings.KernelError, match=r"vm\.nothing: this kernel has no such setting"):
        kernel_settings.run({"modules": [], "sysctls": {"vm.nothing": "1"}}, False, refuse, kernel)


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
