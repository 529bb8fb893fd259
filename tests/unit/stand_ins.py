"""Runs a play here, in a collection of which some modules and roles are stand-ins: what its tasks do by themselves, without a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OURS = "shaka/platform"


def lay_out(folder: Path, own: Iterable[str], stand_ins: Mapping[str, str]) -> None:
    """Make the collections.

    :arg own: parts of this collection as they are; `.` is all of it.
    :arg stand_ins: texts by their path, such as `kubernetes/core/plugins/modules/k8s.py`.
    """
    collections = folder / "ansible_collections"
    for part in own:
        place = collections / OURS / part
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(ROOT / part)
    for path, text in stand_ins.items():
        (collections / path).parent.mkdir(parents=True, exist_ok=True)
        (collections / path).write_text(text)
    (folder / "ansible.cfg").write_text(f"[defaults]\ncollections_path = {folder}\n")


def run_tasks(folder: Path, role: str, tasks: str, variables: Mapping[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one file of a role's tasks for localhost with these variables."""
    include = {"ansible.builtin.include_role": {"name": f"shaka.platform.{role}", "tasks_from": tasks}}
    text = json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [include]}])
    return play(folder, text, variables, *arguments)


def play(folder: Path, text: str, variables: Mapping[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a play for localhost with these variables."""
    (folder / "play.yml").write_text(text)
    given = {"ansible_python_interpreter": sys.executable, **variables}
    command = ["ansible-playbook", "play.yml", "-i", "localhost,", "-e", json.dumps(given), *arguments]
    settings = {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "PYTHONPATH": "", "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120, check=False)
