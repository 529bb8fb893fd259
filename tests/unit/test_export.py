"""The tasks of an export, up to the first module that asks the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_inputs import ROOT

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: shaka.platform.restore, tasks_from: export}
"""
ASKED = '#!/usr/bin/python\n# WANT_JSON\nprint(\'{"failed": true, "msg": "the server is asked"}\')\n'


@pytest.mark.parametrize(("file", "says"), [("prod.dump", "the server is asked"), ("nowhere/prod.dump", "in a directory that is there")])
def test_a_file_that_cannot_be_written_is_refused_before_the_dump_is_made(tmp_path: Path, file: str, says: str) -> None:
    collection = tmp_path / "ansible_collections/shaka/platform"
    for part in ("roles/restore", "plugins/module_utils", "plugins/plugin_utils"):
        (collection / part).parent.mkdir(parents=True, exist_ok=True)
        (collection / part).symlink_to(ROOT / part)
    (collection / "plugins/modules").mkdir()
    for name in ("database_restore", "dump_transfer"):
        (collection / f"plugins/modules/{name}.py").write_text(ASKED)
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\ncollections_path = {tmp_path}\n")
    model = {"all_environments": {"prod": {"postgres": {"database": "shaka_production"}, "backup": {"mask": []}}}}
    given = {"platform_model": model, "export_environment": "prod", "export_file": file, "ansible_python_interpreter": sys.executable}
    command = ["ansible-playbook", "play.yml", "-i", "localhost,", "-e", json.dumps(given)]
    settings = {"ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "PYTHONPATH": "", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and says in " ".join((done.stdout + done.stderr).split()), done.stdout + done.stderr
