"""Whatever shape a value of the inventory has, playbooks/preflight.yml ends with findings that name it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_model import inventory

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"platform_image_overrides": ["postgres"], "platform_secrets": ["x"], "traefik_limits": "512Mi"},
            ["platform_image_overrides: is a list and must be a dictionary", "traefik_limits: ", "the fit plan cannot be made before"],
        ),
        (
            {"platform_bundle": ["/srv"], "platform_s3": {"endpoint": "https://s3.acme.test", "bucket": "b", "ca_bundle": "ca.pem"}},
            ["platform_bundle: is a list and must be", "platform_s3.ca_bundle: contains no PEM", "the buckets cannot be tried"],
        ),
    ],
)
def test_preflight_ends_with_findings(tmp_path: Path, given: dict[str, Any], said: list[str]) -> None:
    variables = {name: value for name, value in inventory().items() if name != "hosts"} | given | {"platform_report_dir": str(tmp_path / "reports")}
    hosts = {"k3s_servers": {"hosts": {"one": {"ansible_host": "10.0.0.5"}}, "vars": variables}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    command = ["ansible-playbook", "playbooks/preflight.yml", "-i", str(tmp_path / "hosts.yml")]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    findings = json.loads((tmp_path / "reports/preflight.json").read_text())["hosts"]["one"]["findings"]
    assert [text for text in said if not any(finding.startswith(text) for finding in findings)] == []
