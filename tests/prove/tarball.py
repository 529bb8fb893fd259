"""The built tarball in an empty home, with the newest ansible-core and Python: from init to a drift check of a server, and what each command takes.

python3 -m prove.tarball      (PYTHONPATH=.:tests)

The project's ansible.cfg has pipelining switched off, so that what the playbooks set themselves is what keeps secrets off the server's disk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from prove.practice import RESULTS, TOKEN, Failed, Practice, kill_marked, machine, markdown

from lab.s3 import ACCOUNTS
from tests.built import Home
from tests.matrix import environment_for, find_python, pairs

GIVEN = ("STRIPE_SECRET_KEY", "SMTP_PASSWORD")  # as inventories/prod/group_vars/all/platform.yml has it
SENT_MODULE = re.compile(r"^<.*> PUT .*AnsiballZ_", re.MULTILINE)


def fill_in(project: Path, lab: Mapping[str, Any]) -> None:
    """What preflight asks for, with the lab's values: its README's first three steps, but for the vault password."""
    shown = project / "inventories/prod"
    host = {"ansible_host": lab["address"], "ansible_user": "root", "ansible_ssh_private_key_file": lab["key"]}
    host["ansible_ssh_common_args"] = f"-o UserKnownHostsFile={lab['known_hosts']}"
    _dump(shown / "hosts.yml", {"k3s_servers": {"hosts": {"microsaas-server": host}}})
    platform = yaml.safe_load((shown / "group_vars/all/platform.yml").read_text(encoding="utf-8"))
    for name, environment in platform["platform_environments"].items():
        environment["api"].pop("image")  # the bundle has one
        environment["api"]["host"] = f"{name}.{lab['domain']}"
    platform |= {f"platform_{name}": lab[name] for name in ("acme", "s3", "server", "bundle", "backup_recipient", "backup_identity_file")}
    platform["verify_ca_bundle"] = Path(lab["acme_root"]).read_text(encoding="utf-8")
    _dump(shown / "group_vars/all/platform.yml", platform)
    secrets = {name: {key: value for key, value in lab["secrets"][name].items() if key in GIVEN} for name in platform["platform_environments"]}
    _dump(shown / "group_vars/all/secrets.yml", {"platform_secrets": {**secrets, **{name: lab["secrets"][name] for name in ACCOUNTS}}})
    settings = (project / "ansible.cfg").read_text(encoding="utf-8")
    settings = settings.replace("# vault_password_file", "vault_password_file").replace("pipelining = True", "pipelining = False")
    (project / "ansible.cfg").write_text(settings, encoding="utf-8")
    (project / ".vault-password").write_text("the vault password of the proof\n", encoding="utf-8")


def _dump(path: Path, data: object) -> None:
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


class Walk:
    """The commands one after the other, each with the exit code that it has to have."""

    def __init__(self, home: Home, logs: Path) -> None:
        self.home, self.logs = home, logs
        self.rows: list[tuple[str, int, str]] = []

    def step(self, *command: str, cwd: Path | None = None, code: int = 0) -> str:
        began = time.monotonic()
        done = self.home.run(*command, cwd=cwd)
        seconds = time.monotonic() - began
        log = self.logs / f"{len(self.rows) + 1:02}.log"
        log.write_text(done.stdout, encoding="utf-8")
        self.rows.append((f"`{' '.join(Path(word).name if word.startswith('/') else word for word in command)}`", done.returncode, f"{seconds:.1f}"))
        print(f"{self.rows[-1][0]}: {done.returncode}, {seconds:.1f} s", flush=True)
        if done.returncode != code:
            raise Failed(f"{' '.join(command)} ended with {done.returncode} instead of {code}, see {log}")
        return done.stdout


def walk(practice: Practice, home: Home, logs: Path) -> list[tuple[str, int, str]]:
    taken = Walk(home, logs)
    tarball = home.build(logs)
    taken.step("ansible-galaxy", "collection", "install", "--offline", "--no-deps", str(tarball))
    taken.step("ansible-playbook", "shaka.platform.init", "-e", "path=platform")
    project = home.path / "platform"
    taken.step("ansible-playbook", "shaka.platform.preflight", cwd=project, code=3)
    fill_in(project, json.loads((practice.lab.state / "lab.json").read_text(encoding="utf-8")))
    taken.step("ansible-playbook", "shaka.platform.secrets", cwd=project)
    taken.step("ansible-playbook", "shaka.platform.preflight", cwd=project)
    taken.step("ansible-playbook", "shaka.platform.site", "--check", cwd=project)
    site = taken.step("ansible-playbook", "shaka.platform.site", "-vvv", cwd=project)
    if found := SENT_MODULE.findall(site):
        raise Failed(f"{len(found)} modules were written to files on the server, with their arguments")
    taken.step("ansible-playbook", "shaka.platform.verify", cwd=project)
    taken.step("ansible-playbook", "shaka.platform.drift", cwd=project)
    again = taken.step("ansible-playbook", "shaka.platform.site", cwd=project)
    if " changed=0 " not in again:
        raise Failed("the second run changed something")
    return taken.rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; its server is made anew")
    parser.add_argument("--report", type=Path, default=RESULTS / "tarball.md")
    parser.add_argument("--keep", action="store_true", help="leave the server there")
    arguments = parser.parse_args()
    (pair,) = pairs(newest=True)
    if (python := find_python(pair.python, os.environ)) is None:
        print(f"left out: this machine has no Python {pair.python}")
        return 1
    venv = environment_for(pair, python)
    practice = Practice(arguments.lab_name)
    practice.fresh()
    with tempfile.TemporaryDirectory(prefix="home") as place:
        home = Home(Path(place), venv / "bin")
        home.environment[TOKEN] = "tarball"
        try:
            rows = walk(practice, home, practice.out)
        except Failed as error:
            print(error)
            return 1
        finally:
            kill_marked("tarball")  # ssh's shared connections
    version = subprocess.run([venv / "bin/ansible", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    text = markdown(["command, in an empty home and then in the project", "exit code", "seconds"], rows)
    notes = "Between the first preflight and the secrets the inventory is filled in.\n"
    notes += "`ansible.cfg` has pipelining off; no module was written to a file on the server."
    arguments.report.write_text(f"# The built tarball, from init to drift\n\n{version} on Python {pair.python}. {machine()}.\n\n{text}\n{notes}\n")
    print(text)
    if not arguments.keep:
        practice.lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
