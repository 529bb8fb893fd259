"""Bad input is refused before anything changes: tests/inputs/cases.yml, each through the role platform's own variables, filters and lookups."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible.vars.manager import VariableManager
from ansible_collections.shaka.platform.plugins.plugin_utils.model.resolve import merge

ROOT = Path(__file__).parents[2]
INPUTS = ROOT / "tests/inputs"
CASES: list[dict[str, Any]] = yaml.safe_load((INPUTS / "cases.yml").read_text())
HOST = "microsaas-server"


def owner() -> dict[str, Any]:
    """What an owner fills in, with random-looking secrets."""
    filled: dict[str, Any] = yaml.safe_load((INPUTS / "owner.yml").read_text())
    names = yaml.safe_load((ROOT / "inventories/prod/group_vars/all/secrets.yml").read_text())["platform_secrets"]
    secrets = {group: {name: hashlib.sha256(f"{group} {name}".encode()).hexdigest() for name in values} for group, values in names.items()}
    return {**filled, "platform_secrets": secrets}


class Site:
    """inventories/prod, loaded as ansible-playbook loads it; a case is laid over it as extra variables are."""

    def __init__(self) -> None:
        self.loader = DataLoader()
        self.role = ROOT / "roles/platform"
        inventory = InventoryManager(loader=self.loader, sources=[str(ROOT / "inventories/prod")])
        given = VariableManager(loader=self.loader, inventory=inventory).get_vars(host=inventory.get_host(HOST))
        defaults = self._load("defaults/main.yml")
        self.role_variables = {**self._load("vars/main.yml"), "role_path": str(self.role)}
        self.variables = {**defaults, **merge(given, owner())}
        self.names = set(defaults) - {"platform_bundle"}
        self.rendered = self._render("__platform_variables", {})

    def _load(self, path: str) -> dict[str, Any]:
        return dict(self.loader.load_from_file(str(self.role / path), trusted_as_template=True) or {})

    def _render(self, what: str, over: dict[str, Any]) -> dict[str, Any]:
        templar = Templar(loader=self.loader, variables={**self.variables, **self.role_variables, **over})
        return dict(templar.template(trust_as_template(f"{{{{ {what} }}}}")))

    def resolve(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The filter's answer. What several of the role's variables depend on is rendered anew; rendering takes most of the time."""
        keys = [path.split("/") for path in changes]
        known = all(key[0] in self.names for key in keys)
        variables = copy.deepcopy(self.rendered if known else self.variables)
        for key, value in zip(keys, changes.values(), strict=True):
            lay(variables, key, value)
        return self._render("__platform_resolution", {"__platform_variables": variables} if known else variables)


def lay(place: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for key in parents:
        place = place.setdefault(key, {})
    if value is None:
        del place[last]
    else:
        place[last] = value


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


def test_an_inventory_that_is_filled_in_is_accepted(site: Site) -> None:
    assert site.resolve({})["problems"] == []


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_mistake_is_named_with_its_value_its_rule_and_its_fix(site: Site, case: dict[str, Any]) -> None:
    result = site.resolve(case["set"])
    problems = [problem.split(": ", 1) for problem in result["problems"]]
    texts = [text for path, text in problems if path == case["path"]]
    assert any(all(words in text for words in case["says"]) for text in texts), result["message"]
    assert case.get("more") or len(problems) == 1, result["message"]
    if case.get("secret"):
        hidden = [
            text
            for value in case["set"].values()
            for text in re.findall(r"[^\s{}\[\]':]{10,}", str(value))
            if not re.fullmatch(r"[A-Z_]+|.*//.*", text)
        ]
        assert hidden
        assert [text for text in hidden if text in result["message"]] == []


def apart(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that change different dictionaries, so that none hides another."""
    result: list[dict[str, Any]] = []
    taken: set[str] = set()
    for case in cases:
        parents = {path.rsplit("/", 1)[0] for path in case["set"]}
        if not taken & parents:
            result.append(case)
        taken |= parents
    return result


def test_a_run_with_many_mistakes_lists_them_all_and_contacts_nothing(tmp_path: Path) -> None:
    """site.yml for real, on an address where whoever connects is seen."""
    chosen = apart([case for case in CASES if not case.get("more") and not {"ansible_host", "platform_bundle"} & set(case["set"])])
    variables = merge(yaml.safe_load((ROOT / "inventories/prod/group_vars/all/platform.yml").read_text()), owner())
    for case in chosen:
        for path, value in case["set"].items():
            lay(variables, path.split("/"), value)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        variables |= {"ansible_host": "127.0.0.1", "ansible_port": server.getsockname()[1]}
        (tmp_path / "mistakes.json").write_text(json.dumps(variables))
        command = ["ansible-playbook", "site.yml", "-i", "inventories/prod", "-e", f"@{tmp_path}/mistakes.json"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=120, check=False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert done.returncode == 2, done.stdout + done.stderr
    listed = done.stdout.splitlines()
    assert len(chosen) >= 15
    assert [case["id"] for case in chosen if f"  {case['path']}" not in listed] == [], done.stdout
    assert "Gathering Facts" not in done.stdout


@pytest.mark.parametrize("text", ["canary{{canary", "canary{% canary", "canary{{ canary }}"])
def test_a_secret_that_is_a_broken_template_is_named_and_not_shown(site: Site, text: str) -> None:
    variables = copy.deepcopy(site.variables)
    lay(variables, ["platform_secrets", "prod", "SMTP_PASSWORD"], trust_as_template(text))
    with pytest.raises(AnsibleError) as failure:
        site._render("__platform_resolution", variables)
    told = str(failure.value)
    assert "platform_secrets.prod.SMTP_PASSWORD: is a template to Ansible that cannot be evaluated; write !unsafe" in told and "canary" not in told
    lay(variables, ["platform_secrets", "prod", "SMTP_PASSWORD"], text)  # as !unsafe gives it
    assert site._render("__platform_resolution", variables)["problems"] == []


def test_what_ansible_would_leave_out_as_a_comment_is_refused(site: Site) -> None:
    variables = copy.deepcopy(site.variables)
    lay(variables, ["platform_environments", "prod", "config", "COLOUR"], trust_as_template("a{#b#}c"))
    (problem,) = site._render("__platform_resolution", variables)["problems"]
    assert problem.startswith("platform_environments.prod.config.COLOUR: holds {#")
    lay(variables, ["platform_environments", "prod", "config", "COLOUR"], "a{#b#}c")
    assert site._render("__platform_resolution", variables)["model"]["environments"]["prod"]["config"]["COLOUR"] == "a{#b#}c"


def test_preflight_finds_what_the_first_play_of_the_site_would_refuse(tmp_path: Path) -> None:
    """Also in K3s's configuration and in what is for the server itself, which no model reads."""
    site = merge(yaml.safe_load((ROOT / "inventories/prod/group_vars/all/platform.yml").read_text()), owner())
    wrong = {"k3s_config": {"secrets-encryptoin": True}, "k3s_eviction": {"disk": "2Gi", "memory": "lots"}}
    wrong |= {"k3s_environment": {"HTTPS_PROXY": None, "NO_PROXY": "10.0.0.0/8", "GODEBUG": True, "GOMAXPROCS": 2}}
    wrong |= {"host_updates_time": "3:30", "host_updates_delay": "{{ ansible_facts.hostname }}", "k3s_registries": ["mirrors"]}
    (tmp_path / "site.json").write_text(json.dumps({**site, **wrong, "platform_report_dir": str(tmp_path)}))
    command = ["ansible-playbook", "playbooks/preflight.yml", "-i", "inventories/prod", "-e", f"@{tmp_path}/site.json"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    found = json.loads((tmp_path / "preflight.json").read_text())
    assert "secrets-encryptoin" in json.dumps(found) and "k3s_eviction.memory" in json.dumps(found)
    assert "host_updates_time: '3:30' is not HH:MM" in json.dumps(found) and "host_updates_delay" not in json.dumps(found)
    assert "k3s_registries: is a list and must be a dictionary" in json.dumps(found)
    assert {*re.findall(r"k3s_environment\.(\w+): must be a text", json.dumps(found))} == {"HTTPS_PROXY", "GODEBUG"}


def test_a_value_that_needs_the_servers_facts_is_checked_when_they_are_there(tmp_path: Path) -> None:
    """Before the first role of the play; the play before it, without facts, lets it pass."""
    (tmp_path / "site.json").write_text(json.dumps({**owner(), "host_updates_delay": "{{ ansible_facts.hostname }} minutes"}))
    play = {"hosts": "k3s_servers", "connection": "local", "roles": ["shaka.platform.platform"]}
    here = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    plays = [{**play, "gather_facts": facts, "vars": {**here, "platform_preflight_only": not facts}} for facts in (False, True)]
    (tmp_path / "plays.yml").write_text(yaml.safe_dump(plays))
    command = ["ansible-playbook", f"{tmp_path}/plays.yml", "-i", "inventories/prod", "-e", f"@{tmp_path}/site.json"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=120, check=False)
    without, with_facts = done.stdout.split("[Gathering Facts]")
    assert "host_updates_delay" not in without
    assert done.returncode == 2 and "  host_updates_delay\n" in with_facts, done.stdout + done.stderr
    assert "must be a whole number" in with_facts
