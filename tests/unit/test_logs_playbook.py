"""The tasks of playbooks/logs.yml, with modules that answer as a cluster would in which one pod was evicted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PODS = [{"metadata": {"name": name}, "status": {"phase": phase}} for name, phase in [("gone", "Failed"), ("well", "Running"), ("new", "Pending")]]
INFO = """#!/usr/bin/python
# WANT_JSON
print({answer!r})
"""
LOG = """#!/usr/bin/python
# WANT_JSON
import json, sys
name = json.load(open(sys.argv[1]))["name"]
evicted = {"failed": True, "msg": "Failed to get log for Pod gone: it was evicted"}
print(json.dumps(evicted if name == "gone" else {"changed": False, "log": "hello of " + name}))
"""
MODEL = {"all_environments": {"prod": {"namespace": "shaka-prod", "apps": {"api": {}}}}, "all_previews": {}}


def shown(folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the tasks here, in a collection whose modules are stand-ins."""
    modules = folder / "ansible_collections/kubernetes/core/plugins/modules"
    modules.mkdir(parents=True)
    (modules / "k8s_info.py").write_text(INFO.format(answer=json.dumps({"changed": False, "resources": PODS})))
    (modules / "k8s_log.py").write_text(LOG)
    play = yaml.safe_load((ROOT / "playbooks/logs.yml").read_text())[1]
    kept = {key: value for key, value in play.items() if key in ("name", "gather_facts", "vars", "tasks")}
    (folder / "play.yml").write_text(yaml.safe_dump([{**kept, "hosts": "localhost", "connection": "local"}]))
    variables = {"platform_model": MODEL, "platform_name": "shaka", "ansible_python_interpreter": sys.executable, **given}
    (folder / "ansible.cfg").write_text(f"[defaults]\ncollections_path = {folder}\n")
    settings = {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "PYTHONPATH": "", "ANSIBLE_NOCOLOR": "1"}
    command = ["ansible-playbook", "play.yml", "-i", "localhost,", "-e", json.dumps(variables)]
    return subprocess.run(command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120, check=False)


def test_a_pod_without_logs_hides_no_others(tmp_path: Path) -> None:
    done = shown(tmp_path, logs_environment="prod")
    assert done.returncode == 0 and "hello of well" in done.stdout and "it was evicted" in done.stdout, done.stdout


def test_an_application_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = shown(tmp_path, logs_environment="prod", logs_app="ap")
    assert done.returncode == 2 and "logs_app: 'ap' is not an application of prod; known: api, postgres, redis" in done.stdout, done.stdout
