"""Secrets' values are where they belong and nowhere else: not in the loudest output, not on the disk, not in the journal, not in a process list."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Server

sys.path.insert(0, str(ROOT / "tests"))
from prove import canary

CHANGED = ("dev", "SMTP_PASSWORD")
Runs = Callable[[str, str], str]


@pytest.fixture(scope="module")
def run(server: Server) -> Runs:
    """Run a command on the server with something to read, which no process list shows."""

    def run_command(command: str, stdin: str) -> str:
        ssh = ["ssh", *server.ssh_options, f"root@{server.lab['address']}", command]
        return subprocess.run(ssh, input=stdin, capture_output=True, text=True, timeout=120, check=True).stdout

    return run_command


@pytest.fixture(scope="module")
def needles(server: Server, run: Runs) -> dict[str, str]:
    """All secrets, among them one that the inventory has changed since the converge."""
    state = Path(server.lab["key"]).parent
    value = secrets.token_hex(32)
    lab = json.loads((state / "lab.json").read_text())
    values = canary.secrets_of(lab, run("cat /var/lib/rancher/k3s/server/token", ""))
    environment, name = CHANGED
    for path in (state / "lab.json", state / "secrets.json"):
        content = json.loads(path.read_text())
        content.get("secrets", content)[environment][name] = value
        path.write_text(json.dumps(content))
    return canary.needles({**values, f"{environment}/{name} (new)": value})


def test_a_changed_secret_takes_effect_and_the_loudest_output_shows_none(server: Server, needles: dict[str, str], run: Runs) -> None:
    done = server.playbook("site.yml", "-vvv", "--diff", "--tags", "config,redis,postgres,api,backup")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "shaka-api-secrets" in done.stdout, "the change is not in the diff"
    assert canary.in_text(done.stdout + done.stderr, needles) == []
    value = base64.b64decode(run("kubectl get secret -n shaka-dev shaka-api-secrets -o 'jsonpath={.data.SMTP_PASSWORD}'", "")).decode()
    assert needles[value] == "dev/SMTP_PASSWORD (new)"


def test_neither_disk_nor_journal_nor_processes_hold_a_secret(needles: dict[str, str], run: Runs) -> None:
    assert canary.on_server(run, needles) == []


def test_neither_objects_nor_logs_hold_a_secret(needles: dict[str, str], run: Runs) -> None:
    assert canary.in_cluster(run, needles) == []


def test_reports_hold_no_secret(server: Server, needles: dict[str, str]) -> None:
    assert canary.in_files([Path(server.lab["reports"]), ROOT / "reports", Path.home() / ".ansible"], needles, 0) == []


def test_the_search_finds_what_is_planted(run: Runs) -> None:
    value = secrets.token_hex(32)
    coded = base64.b64encode(f"password={value}".encode()).decode()
    run(f"umask 022; echo {coded} > /tmp/planted; logger -t planted {value}; journalctl --sync", "")
    try:
        found = canary.on_server(run, canary.needles({"planted": value}))
    finally:
        run("rm /tmp/planted", "")
    assert "/tmp/planted, which everybody can read: planted" in found
    assert "journal: planted" in found
