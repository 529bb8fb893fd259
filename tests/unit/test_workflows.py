"""The workflows name what is in the repository: they run where nobody watches, and a file that moved would only be missed there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
NAMED = re.compile(r"(?<![\w/.$-])(?:(?:roles|playbooks|tests|lab|inventories|molecule)/[\w./-]+|site\.yml)")


def workflow(path: Path) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(path.read_text())
    return loaded


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_path_is_there(path: Path) -> None:
    triggers = workflow(path)[True]  # `on`, as YAML 1.1 reads it
    patterns = [pattern for event in triggers.values() if isinstance(event, dict) for pattern in event.get("paths", [])]
    missing = [pattern for pattern in patterns if not any(ROOT.glob(pattern))]
    missing += [name for name in NAMED.findall(path.read_text()) if not (ROOT / name.rstrip("/.")).exists()]
    assert missing == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_make_target_is_there(path: Path) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    used = [name for job in workflow(path)["jobs"].values() for step in job["steps"] for name in re.findall(r"\bmake ([\w-]+)", step.get("run", ""))]
    assert set(used) <= set(targets)


def test_the_contract_suite_gets_the_k3s_of_the_lock() -> None:
    lock = yaml.safe_load((ROOT / workflow(ROOT / ".github/workflows/contract.yml")["jobs"]["k3s"]["env"]["LOCK"]).read_text())
    assert set(lock["platform_artifacts"]["files"]["k3s"]) >= {"source", "sha256"}
