"""The tasks of playbooks/logs.yml, with modules that answer as a cluster would in which one pod was evicted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml
from stand_ins import ROOT, lay_out, play

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
    modules = {"k8s_info": INFO.format(answer=json.dumps({"changed": False, "resources": PODS})), "k8s_log": LOG}
    lay_out(folder, (), {f"kubernetes/core/plugins/modules/{name}.py": text for name, text in modules.items()})
    logs = yaml.safe_load((ROOT / "playbooks/logs.yml").read_text())[1]
    kept = {key: value for key, value in logs.items() if key in ("name", "gather_facts", "vars", "tasks")}
    text = yaml.safe_dump([{**kept, "hosts": "localhost", "connection": "local"}])
    return play(folder, text, {"platform_model": MODEL, "platform_name": "shaka", **given})


def test_a_pod_without_logs_hides_no_others(tmp_path: Path) -> None:
    done = shown(tmp_path, logs_environment="prod")
    assert done.returncode == 0 and "hello of well" in done.stdout and "it was evicted" in done.stdout, done.stdout


def test_an_application_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = shown(tmp_path, logs_environment="prod", logs_app="ap")
    assert done.returncode == 2 and "logs_app: 'ap' is not an application of prod; known: api, postgres, redis" in done.stdout, done.stdout
