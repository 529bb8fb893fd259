"""Which versions are supported is said in one place, and everything that repeats it agrees."""

from __future__ import annotations

import os
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lab import paths
from tests.matrix import CORES, Core, Pair, find_python, pairs, requirements

ROOT = paths.ROOT


def test_the_collection_accepts_the_tested_cores_and_no_others() -> None:
    accepted = SpecifierSet(yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"])
    minors = [tuple(map(int, core.minor.split("."))) for core in CORES]
    assert all(later == (earlier[0], earlier[1] + 1) for earlier, later in pairwise(minors))
    (major, first), (_major, last) = minors[0], minors[-1]
    for core in CORES:
        assert accepted.contains(core.release) and accepted.contains(f"{core.minor}.0")
    assert not accepted.contains(f"{major}.{first - 1}.99") and not accepted.contains(f"{major}.{last + 1}.0")


def test_the_checkout_is_developed_with_one_of_them() -> None:
    lines = (ROOT / "requirements.in").read_text().splitlines()
    (pin,) = [each for each in map(Requirement, (line for line in lines if line and not line.startswith("#"))) if each.name == "ansible-core"]
    assert str(pin.specifier) in {f"=={core.release}" for core in CORES}


def test_the_workflow_runs_each_pair() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/matrix.yml").read_text())["jobs"]["pair"]
    listed = {(entry["core"], entry["python"]) for entry in job["strategy"]["matrix"]["include"]}
    assert listed == {(pair.core.minor, pair.python) for pair in pairs()}


def test_the_readme_names_them() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    for core in CORES:
        assert f"{core.minor} (Python {', '.join(core.pythons)})" in text


@pytest.mark.parametrize("core", CORES, ids=lambda core: core.minor)
def test_an_environment_has_its_core_once_and_every_hash(core: Core) -> None:
    locked = (ROOT / "requirements.txt").read_text()
    wanted = requirements(core, locked)
    assert re.findall(r"^ansible-core==(\S+)", wanted, re.MULTILINE) == [core.release]
    assert re.search(r"^pytest==", wanted, re.MULTILINE) and not re.search(r"^mypy==", wanted, re.MULTILINE)
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[a-z])", wanted, flags=re.MULTILINE) if re.match("[a-z]", block))


def test_pairs_are_chosen_by_core_by_python_and_by_age() -> None:
    assert {pair.core.minor for pair in pairs(python="3.11")} == {"2.19"}
    assert [str(pair) for pair in pairs(core="2.19", python="3.12")] == [f"ansible-core {CORES[0].release} on Python 3.12"]
    assert pairs(newest=True) == [Pair(CORES[-1], CORES[-1].pythons[-1])]
    assert pairs(core="2.21", python="3.8") == []


def test_a_python_that_is_not_what_its_name_says_is_passed_over(tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shims, kept = tmp_path / "shims", tmp_path / f"versions/{version}.1/bin"
    for place in (shims, kept):
        place.mkdir(parents=True)
    shim = shims / f"python{version}"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    environment = {"PATH": str(shims), "PYENV_ROOT": str(tmp_path)}
    assert find_python(version, environment) is None
    (kept / "python").symlink_to(sys.executable)
    assert find_python(version, environment) == kept / "python"
    assert find_python("3.99", {"PATH": os.environ["PATH"], "PYENV_ROOT": str(tmp_path)}) is None
