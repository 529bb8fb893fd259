"""The wheels of the server's Python: which ones fit, and the way they come by the controller's own pip, from an index that it is configured for."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.action import bundle as action
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import wheels
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.wheels import WheelError

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "roles/artifacts/files/requirements-server.txt"


@pytest.mark.parametrize(
    ("name", "servers"),
    [
        ("six-1.17.0-py2.py3-none-any.whl", {"3.10 x86_64", "3.13 x86_64", "3.13 aarch64"}),
        ("pyyaml-6.0.3-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", {"3.13 x86_64"}),
        ("pyyaml-6.0.3-cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.whl", {"3.13 aarch64"}),
        ("rpds-1.0-cp39-abi3-manylinux_2_17_x86_64.whl", {"3.10 x86_64", "3.13 x86_64"}),
        ("rpds-1.0-cp312-abi3-manylinux_2_17_x86_64.whl", {"3.13 x86_64"}),
        ("old-1.0-py2-none-any.whl", set()),
    ],
)
def test_a_wheel_is_for_the_servers_that_its_name_says(name: str, servers: set[str]) -> None:
    known = [("3.10", "x86_64"), ("3.13", "x86_64"), ("3.13", "aarch64")]
    assert {f"{python} {machine}" for python, machine in known if wheels.fits(name, python, machine)} == servers


def make_wheel(folder: Path, project: str, tag: str = "py3-none-any") -> str:
    """A wheel that pip takes; its line of a requirements file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{project}-1.0-{tag}.whl"
    texts = {"METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n", "WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n", "RECORD": ""}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{project}.py", f"TAG = '{tag}'\n")
        for name, text in texts.items():
            archive.writestr(f"{project}-1.0.dist-info/{name}", text)
    return f"--hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What pip is configured for: a directory, and no index."""
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index"), "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "index"


@pytest.fixture
def requirements(tmp_path: Path, index: Path) -> Path:
    """Of a project with one wheel, and of one with a wheel for each Python."""
    compiled = [make_wheel(index, "compiled", f"cp3{minor}-cp3{minor}-manylinux2014_x86_64") for minor in (11, 13)]
    lines = [f"plain==1.0 {make_wheel(index, 'plain')}", f"compiled==1.0 \\\n    {compiled[0]} \\\n    {compiled[1]}"]
    (tmp_path / "requirements.txt").write_text("# a comment\n" + "\n".join(lines) + "\n")
    return tmp_path / "requirements.txt"


def names(found: list[Path]) -> list[str]:
    return [path.name for path in found]


def test_they_come_once_from_where_pip_looks_and_then_from_the_cache(requirements: Path, index: Path) -> None:
    expected = ["compiled-1.0-cp311-cp311-manylinux2014_x86_64.whl", "plain-1.0-py3-none-any.whl"]
    assert names(wheels.downloaded(requirements, "3.11", "x86_64")) == expected
    for wheel in index.iterdir():
        wheel.unlink()
    found = wheels.downloaded(requirements, "3.11", "x86_64")
    assert names(found) == expected
    with pytest.raises(WheelError, match=r"(?s)Python 3.13 on x86_64 could not be downloaded; check the index .* or use a bundle"):
        wheels.downloaded(requirements, "3.13", "x86_64")
    found[0].write_bytes(b"damaged")
    with pytest.raises(WheelError, match="could not be downloaded"):  # and not sent
        wheels.downloaded(requirements, "3.11", "x86_64")


def test_two_runs_at_once_ask_once(requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    run = subprocess.run

    def counted(command: list[str], **options: Any) -> Any:
        asked.append(command[0])
        return run(command, check=options.pop("check"), **options)

    monkeypatch.setattr(wheels.subprocess, "run", counted)  # type: ignore[attr-defined]
    results: list[list[str]] = []
    runs = [threading.Thread(target=lambda: results.append(names(wheels.downloaded(requirements, "3.11", "x86_64")))) for _number in range(2)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert results[0] == results[1] and len(results[0]) == 2 and len(asked) == 1


def test_what_another_index_offers_under_the_name_is_refused(requirements: Path, index: Path) -> None:
    (index / "plain-1.0-py3-none-any.whl").write_bytes((index / "plain-1.0-py3-none-any.whl").read_bytes() + b"more")
    with pytest.raises(WheelError, match=r"(?s)could not be downloaded.*sha256"):
        wheels.downloaded(requirements, "3.11", "x86_64")


def test_a_controller_without_pip_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda _name: None)  # type: ignore[attr-defined]
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WheelError, match=r"no pip.*install it beside Ansible, or use a bundle"):
        wheels.own_pip()


def pack(tmp_path: Path, requirements: Path, check: bool = False) -> dict[str, Any]:
    lock: dict[str, Any] = {"files": {}, "images": {}}
    place = str(tmp_path / "bundle")
    given = {"path": place, "architecture": "amd64", "lock": lock, "requirements": str(requirements), "images": {}, "applications": {}}
    return action.pack({**given, "mirrors": {}, "timeout": 1}, {}, check)


def test_a_bundle_has_the_wheels_of_every_python_and_asks_no_index_again(
    tmp_path: Path, requirements: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "PYTHONS", ("3.11", "3.13"))
    assert pack(tmp_path, requirements, check=True)["fetched"] == ["wheels for Python 3.11", "wheels for Python 3.13"]
    assert pack(tmp_path, requirements)["changed"]
    packed = sorted((tmp_path / "bundle/wheels").iterdir())
    assert names(packed) == sorted(path.name for path in index.iterdir())
    lock = yaml.safe_load((tmp_path / "bundle/artifacts.lock.yml").read_text())["platform_artifacts"]
    assert {entry["path"] for entry in lock["files"].values()} == {f"wheels/{path.name}" for path in packed}
    for wheel in [*index.iterdir(), *(tmp_path / "cache").rglob("*.whl")]:
        wheel.unlink()
    assert pack(tmp_path, requirements)["changed"] is False
    assert names(wheels.chosen(tmp_path / "bundle/wheels", requirements.read_text(), "3.13", "x86_64"))[0].startswith("compiled-1.0-cp313")
    with pytest.raises(WheelError, match=r"no wheel of compiled for Python 3.12 on x86_64"):
        wheels.chosen(tmp_path / "bundle/wheels", requirements.read_text(), "3.12", "x86_64")


def play(tmp_path: Path, requirements: Path, *arguments: str, **options: str) -> str:
    """The action as a user runs it, with this machine as the server; what it said."""
    task = {"shaka.platform.wheel_venv": {"path": str(tmp_path / "venv"), "requirements": str(requirements), **options}}
    text = yaml.safe_dump([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}])
    (tmp_path / "play.yml").write_text(text)
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run([*command, str(tmp_path / "play.yml"), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def with_pip(requirements: Path, index: Path) -> None:
    """A stand-in for pip, which the environment is made with: it notes that it was called."""
    tag = "py3-none-any"
    path = index / f"pip-1.0-{tag}.whl"
    make_wheel(index, "pip", tag)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("pip/__init__.py", "")
        archive.writestr("pip/__main__.py", "import sys; from pathlib import Path; Path(sys.prefix, 'called').write_text(' '.join(sys.argv))\n")
    line = f"pip==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    requirements.write_text(requirements.read_text() + line)


def test_a_second_run_asks_the_server_for_a_sum_and_nobody_else(
    tmp_path: Path, requirements: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag = f"{own}-{own}-manylinux2014_{os.uname().machine}"
    requirements.write_text(f"compiled==1.0 {make_wheel(index, 'compiled', tag)}\n")
    with_pip(requirements, index)
    assert "changed=1" in play(tmp_path, requirements, "--check") and not (tmp_path / "venv").exists()
    out = play(tmp_path, requirements)
    assert "changed=1" in out and "sending 2 wheels to localhost" in out
    called = (tmp_path / "venv/called").read_text()
    assert "--no-index" in called and "--require-hashes" in called
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    for path in sorted((tmp_path / "cache").rglob("*.whl")):
        path.unlink()
    assert "changed=0" in play(tmp_path, requirements)
    assert "changed=0" in play(tmp_path, requirements, wheels="/nowhere")
    requirements.write_text(requirements.read_text() + "# another client\n")
    assert "changed=1" in play(tmp_path, requirements, wheels=str(index))


def test_the_requirements_hold_the_client_and_what_it_needs() -> None:
    text = REQUIREMENTS.read_text()
    pinned = set(re.findall(r"^([\w-]+)==", text, re.MULTILINE))
    assert {"kubernetes", "pyyaml", "urllib3", "pip"} <= pinned == set(wheels.sums(text).values())
    assert "pip" not in wheels.sums(wheels.without(text, "pip")).values()


def test_no_file_names_the_host_of_a_package_index() -> None:
    """Which one is asked is the configuration of pip, Go and the like."""
    hosts = ["pythonhosted" + ".org", "pypi" + ".org", "proxy.golang" + ".org", "sum.golang" + ".org", "registry.npmjs" + ".org"]
    command = ["git", "grep", "--name-only", "--fixed-strings", *(word for host in hosts for word in ("-e", host))]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout == ""
