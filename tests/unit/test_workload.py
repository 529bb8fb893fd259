"""A workload is whole in its role: a toy, added to a copy of the collection, is a role's folder and a line of site.yml."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.model.resolve import merge
from test_inputs import ROOT, owner

COPIED = (".ansible", "ansible.cfg", "galaxy.yml", "inventories", "meta", "playbooks", "plugins", "roles")
TOY = {
    "meta/argument_specs.yml": """
argument_specs:
  inventory:
    short_description: A toy
    options:
      toy_uid: {type: int, default: 1000, description: User that it runs as.}
  environment:
    short_description: An environment's toy
    options:
      toy:
        type: dict
        default: {}
        description: The environment's toy.
        options:
          enabled: {type: bool, default: false, description: Whether there is one.}
          replicas: {type: int, default: 2, description: Pods.}
          requests:
            type: dict
            default: {}
            description: What the scheduler sets aside.
            options: {cpu: {type: str, default: 50m, description: CPU.}, memory: {type: str, default: 48Mi, description: Memory.}}
          limits:
            type: dict
            default: {}
            description: What it may use at most.
            options: {cpu: {type: str, default: 100m, description: CPU.}, memory: {type: str, default: 96Mi, description: Memory.}}
""",
    "defaults/main.yml": "toy_uid: 1000\n",
    "vars/main.yml": "__toy_images: [toy]\n",
    "tasks/main.yml": "- name: Ensure each environment has its toy\n  shaka.platform.apply_set:\n",
    "templates/environment/toy.yaml.j2": """{% from 'account.yaml.j2' import account with context %}
{% if env.toy.enabled %}
{{ account('toy', env.namespace) }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: toy, namespace: {{ env.namespace }}}
spec:
  replicas: {{ env.toy.replicas }}
  template:
    spec:
      serviceAccountName: toy
      securityContext: {runAsUser: {{ toy_uid }}}
      containers:
        - name: toy
          image: {{ platform_images.toy }}
          resources: {requests: {{ env.toy.requests | to_json }}, limits: {{ env.toy.limits | to_json }}}
{% endif %}
""",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection with the toy."""
    root = tmp_path_factory.mktemp("collection")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, root / name)
    for name, text in TOY.items():
        path = root / "roles/toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    site = root / "playbooks/site.yml"
    site.write_text(
        site.read_text().replace("    - {role: shaka.platform.backup,", "    - {role: shaka.platform.toy}\n    - {role: shaka.platform.backup,")
    )
    return root


@pytest.fixture(scope="module")
def plan(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What playbooks/preflight.yml writes, of an inventory with toys: right in prod, mistaken in dev, too small in staging."""
    reports = tmp_path_factory.mktemp("reports")
    variables = merge(yaml.safe_load((ROOT / "inventories/prod/group_vars/all/platform.yml").read_text()), owner())
    environments = variables["platform_environments"]
    environments["prod"]["toy"] = {"enabled": True}
    environments["dev"]["toy"] = {"replicaz": 3}
    environments["staging"]["toy"] = {"enabled": True, "requests": {"memory": "1Mi"}}
    environments["prod"]["postgres"]["pgbouncer"] = {"enabled": True}
    variables["platform_report_dir"] = str(reports)
    (reports / "given.json").write_text(json.dumps(variables))
    command = ["ansible-playbook", "playbooks/preflight.yml", "-i", "inventories/prod", "-e", f"@{reports}/given.json"]
    done = subprocess.run(command, cwd=copy, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    return {"said": done.stdout, **json.loads((reports / "fit.json").read_text())}


def test_its_objects_are_planned_and_counted(plan: Mapping[str, Any]) -> None:
    sets = {(item["set"], item["kind"], item["name"]) for item in plan["objects"]}
    assert {("toy.prod", "Deployment", "toy"), ("toy.prod", "ServiceAccount", "toy"), ("toy.staging", "Deployment", "toy")} <= sets
    assert not any(name == "toy.dev" for name, _kind, _name in sets)
    (row,) = [row for row in plan["rows"] if row["component"] == "toy" and row["namespace"] == "shaka-prod"]
    assert row["rest"]["pods"] == 2 and row["variable"] == "platform_environments.prod.toy"


def test_its_part_of_an_environment_is_checked(plan: Mapping[str, Any]) -> None:
    said = plan["said"]
    assert "platform_environments.dev.toy.replicaz: is unknown; did you mean replicas?" in said
    assert "platform_environments.staging.toy.requests.memory: '1Mi' is under its namespace's LimitRange minimum" in said


def test_its_image_is_asked_for(plan: Mapping[str, Any]) -> None:
    assert "platform_image_overrides.toy: is not set, and the lock has no such image" in plan["said"]


def test_the_page_of_variables_has_it(copy: Path) -> None:
    (copy / "docs").mkdir()
    shutil.copy(ROOT / "tests/variables.py", copy / "variables.py")
    program = "import pathlib, variables; pathlib.Path('docs/variables.md').write_text(variables.page())"
    env = {**os.environ, "PYTHONPATH": f"{copy}/.ansible/collections:{copy}"}
    subprocess.run([sys.executable, "-c", program], cwd=copy, env=env, check=True)
    page = (copy / "docs/variables.md").read_text()
    assert "| `toy_uid` | int | `1000` |" in page and "| `platform_environments.NAME.toy.replicas` | int | `2` |" in page


def test_each_workload_has_an_account_of_its_own(plan: Mapping[str, Any]) -> None:
    accounts = {
        (item["set"], item["name"]) for item in plan["objects"] if item["kind"] == "ServiceAccount" and item["namespace"].startswith("shaka-")
    }
    for env in ("dev", "staging", "prod"):
        assert {
            (f"tenancy.{env}", "default"),
            (f"apps.{env}", "shaka-api"),
            (f"postgres.{env}", "postgres"),
            (f"backup.{env}", "postgres-backup"),
        } <= accounts
    assert ("postgres.prod", "pgbouncer") in accounts and ("postgres.dev", "pgbouncer") not in accounts, "it has a pool"
    assert [name for name, account in accounts if account == "redis"] == ["redis"], "the shared one"
    assert {account for name, account in accounts if name == "tenancy.shared"} == {"default"}
