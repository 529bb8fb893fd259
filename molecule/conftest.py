"""The lab that the scenario converged: its server over SSH, and the playbooks as a user runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LAB = f"molecule-{os.environ.get('MOLECULE_SCENARIO_NAME', 'default')}"
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Server:
    """The lab server, as an operator meets it."""

    lab: dict[str, Any]
    name: str = LAB

    @property
    def ssh_options(self) -> list[str]:
        """Of a connection of its own, with the lab's key."""
        known = f"UserKnownHostsFile={self.lab['known_hosts']}"
        return ["-i", self.lab["key"], "-o", known, "-o", "ControlMaster=no", "-o", "LogLevel=ERROR"]

    def ssh(self, command: str, *options: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Log in by a connection of its own, with the lab's key, and run a command."""
        whole = ["ssh", *options, *self.ssh_options, f"{user}@{self.lab['address']}", command]
        return subprocess.run(whole, capture_output=True, text=True, timeout=420, check=False)

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a command in a login shell on the server; returns what it prints."""
        done = self.ssh(command)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        return done.stdout

    def json(self, resource: str) -> Any:
        return json.loads(self.run(f"kubectl get {resource} -o json"))

    def curl(self, host: str, *options: str, scheme: str = "https") -> subprocess.CompletedProcess[str]:
        """Ask as a client on the network would, trusting the lab's ACME authority only."""
        name = f"{host}.{self.lab['domain']}"
        port = 443 if scheme == "https" else 80
        resolve = ["--resolve", f"{name}:{port}:{self.lab['address']}", "--cacert", self.lab["acme_root"]]
        return subprocess.run(
            ["curl", "-sS", "--max-time", "20", *resolve, *options, f"{scheme}://{name}/"], capture_output=True, text=True, check=False
        )

    def playbook(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook on this lab, as a user would."""
        inventory = ["-i", "inventories/sandbox", "-e", f"lab_name={self.name}", "-e", f"platform_report_dir={self.lab['reports']}"]
        settings = ROOT / "molecule" / self.name.removeprefix("molecule-") / "vars/settings.yml"  # of the scenario's own
        inventory += ["-e", f"@{settings}"] if settings.exists() else []
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
        return subprocess.run(
            ["ansible-playbook", name, *inventory, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )


def settled(output: str) -> bool:
    """Whether a run changed nothing."""
    return re.search(r"ok=\d+ +changed=0 +unreachable=0 +failed=0", output) is not None


def lab_server(name: str, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server of a lab."""
    cache = os.environ.get("SHAKA_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/shaka-platform"
    lab = json.loads((Path(cache) / "labs" / name / "lab.json").read_text())
    return Server({**lab, "reports": str(tmp_path_factory.mktemp("reports"))}, name)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return lab_server(LAB, tmp_path_factory)
