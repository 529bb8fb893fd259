"""The tasks of a rollback from the first to the last, with modules that note what they are asked for: what is undone, and what stays."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain
from stand_ins import OURS, lay_out
from stand_ins import play as run_play
from test_inputs import Site

OLD, BAD = (f"registry.shaka-api.net/api@sha256:{digit * 64}" for digit in "12")
REFUSED = "the health gate failed: 500 no such column"
# A module of the server: it notes what it is asked for and answers as the test wants it to.
MODULE = """#!/usr/bin/python
# WANT_JSON
import json, sys
given = json.load(open(sys.argv[1]))
folder, name = {folder!r}, {name!r}
with open(folder + "/asked.jsonl", "a") as notes:
    notes.write(json.dumps([name, {{key: value for key, value in given.items() if not key.startswith("_ansible")}}]) + "\\n")
answers = json.load(open(folder + "/answers.json"))
answer = answers.get(name + " " + str(given.get("step") or given.get("image")), answers.get(name, {{}}))
print(json.dumps({{"changed": False, **answer}}))
"""
MODULES = ("release_records", "kept_logs", "edge_gate", "releases_file", "image_pull", "applied", "server_facts", "plan")
APPS = """
- name: Apply
  shaka.platform.applied:
    image: "{{ platform_model.environments.prod.apps.api.image }}"
    gate: "{{ platform_model.environments.prod.release.gate | default(false) }}"
  register: apps_result
"""
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - ansible.builtin.set_fact:
        platform_model: "{{ lookup('ansible.builtin.file', playbook_dir ~ '/model.json') | from_json }}"
    - ansible.builtin.include_role: {name: shaka.platform.release, tasks_from: rollback}
"""
DEPLOY = PLAYBOOK.replace("tasks_from: rollback", "tasks_from: deploy")
SHARE = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        platform_model: "{{ lookup('ansible.builtin.file', playbook_dir ~ '/model.json') | from_json }}"
        began: "{{ now().timestamp() }}"
    - ansible.builtin.include_role: {name: shaka.platform.release, tasks_from: share}
      vars:
        __release_step: {weight: 10, seconds: 4}
        __release_plan: "{{ platform_model | shaka.platform.release_plan('prod', 'api') }}"
        __release_inventory: "{{ platform_model }}"
        __release_token: t0k3n
    - ansible.builtin.debug: {msg: "{{ 'it lasted' if now().timestamp() - (began | float) >= 4 else 'it did not last' }}"}
"""


class Run(NamedTuple):
    """What a rollback from BAD to OLD ended with, what its modules were asked for, and what the inventory has then."""

    code: int
    end: str
    asked: list[tuple[str, dict[str, Any]]]
    inventory: str

    @property
    def applied(self) -> list[tuple[str, bool]]:
        """The images that the application was brought to, and whether the gate had its route."""
        return [(given["image"], given["gate"]) for name, given in self.asked if name == "applied"]

    @property
    def gates(self) -> list[int]:
        """For how many seconds it was asked."""
        return [given["seconds"] for name, given in self.asked if name == "edge_gate"]

    @property
    def record(self) -> dict[str, Any]:
        """What was recorded last."""
        return [dict(given["record"]) for name, given in self.asked if given.get("step") == "update"][-1]


@pytest.fixture(scope="module")
def model() -> Any:
    given = {"platform_releases": {"prod": {"apps": {"api": {"image": BAD}}}}}
    return plain(Site().resolve(given), typed=True)["model"]


def roll_back(folder: Path, model: Any, answers: dict[str, Any], *arguments: str, play: str = PLAYBOOK) -> Run:
    """Run the role's tasks in a collection whose modules, and whose role `apps`, are stand-ins."""
    own = ("plugins/filter", "plugins/module_utils", "plugins/plugin_utils", "plugins/action/releases_file.py", "roles/release")
    modules = {f"{OURS}/plugins/modules/{name}.py": MODULE.format(folder=str(folder), name=name) for name in MODULES}
    lay_out(folder, own, {**modules, f"{OURS}/roles/apps/tasks/main.yml": APPS})
    records = {"running": BAD, "underway": {}, "records": [], "target": {"number": 1, "image": OLD}, "migrations": [], "free_percent": 60}
    (folder / "answers.json").write_text(json.dumps({"release_records": records, **answers}))
    (folder / "model.json").write_text(json.dumps(model))
    done = run_play(folder, play, {"rollback_environment": "prod", "release_file": f"{folder}/releases.yml"}, *arguments)
    notes = folder / "asked.jsonl"
    asked = [json.loads(line) for line in (notes.read_text() if notes.exists() else "").splitlines()]
    inventory = folder / "releases.yml"
    end = done.stdout + done.stderr
    return Run(done.returncode, " ".join(end[end.rindex("TASK [") :].split()), asked, inventory.read_text() if inventory.exists() else "")


@pytest.mark.parametrize(
    ("given", "says"),
    [({"rollback_environment": ""}, "deploy_environment: '' is not an environment"), ({}, "deploy_image: '' is not given"),
     ({"rollback_environment": "", "deploy_app": "web"}, "deploy_environment: '' is not an environment")],
)  # fmt: skip
def test_a_deploy_without_its_variables_names_those_of_a_deploy(tmp_path: Path, model: Any, given: dict[str, str], says: str) -> None:
    run = roll_back(tmp_path, model, {"applied": {"objects": []}}, "-e", json.dumps(given), play=DEPLOY)
    assert run.code == 2 and says in run.end and run.asked == [], run.end


def test_a_deploy_whose_end_cannot_be_recorded_stays_as_users_and_the_inventory_have_it(tmp_path: Path, model: Any) -> None:
    """Undone, the server would run the image before, and the inventory's file would bring the new one back with the next run of the site."""
    changed = copy.deepcopy(model)
    app = changed["all_environments"]["prod"]["apps"]["api"]
    app["strategy"], app["migrate"]["command"] = "recreate", []
    lost = {"release_records update": {"failed": True, "msg": "the release could not be recorded: no answer in 20 s"}}
    given = {"deploy_environment": "prod", "deploy_image": OLD}
    run = roll_back(tmp_path, changed, {"applied": {"objects": []}, **lost}, "-e", json.dumps(given), play=DEPLOY)
    assert run.code == 2 and "could not be recorded" in run.end
    assert OLD in run.inventory and run.applied[-1] == (OLD, False)


def test_what_was_gone_back_to_stays_when_it_does_not_pass(tmp_path: Path, model: Any) -> None:
    run = roll_back(tmp_path, model, {"edge_gate": {"failed": True, "msg": REFUSED}})
    assert run.code == 2 and REFUSED in run.end and f"went back to {OLD} and stays there" in run.end
    assert run.applied == [(OLD, False), (OLD, True), (OLD, False)] and run.gates == [3] and OLD in run.inventory
    assert run.record == {"state": "succeeded", "reason": REFUSED}


def test_an_image_that_cannot_be_pulled_changes_nothing_where_pods_end_first(tmp_path: Path, model: Any) -> None:
    changed = copy.deepcopy(model)
    changed["all_environments"]["prod"]["apps"]["api"]["strategy"] = "recreate"
    run = roll_back(tmp_path, changed, {"image_pull": {"failed": True, "msg": "Nothing was changed. unauthorized"}})
    assert run.code == 2 and "Nothing was changed. unauthorized" in run.end
    assert [given for name, given in run.asked if name == "image_pull"] == [{"image": OLD}]
    assert run.applied == [] and not [given for name, given in run.asked if given.get("step") == "begin"]


def test_the_gate_can_be_left_out(tmp_path: Path, model: Any) -> None:
    run = roll_back(tmp_path, model, {"edge_gate": {"failed": True, "msg": REFUSED}}, "-e", "rollback_gate=false")
    assert (run.code, run.applied, run.gates) == (0, [(OLD, False)], []), run.end
    assert run.record == {"state": "succeeded", "reason": ""} and OLD in run.inventory


def test_pods_that_do_not_become_ready_are_undone_as_users_have_the_others(tmp_path: Path, model: Any) -> None:
    run = roll_back(tmp_path, model, {f"applied {OLD}": {"failed": True, "msg": "0 of 2 pods are available"}})
    assert run.code == 2 and "The release was undone" in run.end and "0 of 2 pods are available" in run.end
    assert run.applied == [(OLD, False), (BAD, False)] and run.record["state"] == "undone" and run.inventory == ""


def test_after_a_killed_release_is_put_right_what_runs_is_looked_at_anew(tmp_path: Path, model: Any) -> None:
    """What ran when it was killed is not what runs 'as before'."""
    killed = {"running": OLD, "underway": {"number": 2}, "records": [], "target": {"number": 1, "image": OLD}, "migrations": [], "free_percent": 60}
    run = roll_back(tmp_path, model, {"release_records": killed, f"applied {OLD}": {"failed": True, "msg": "0 of 2 pods are available"}})
    steps = [given.get("step", "look") if name == "release_records" else name for name, given in run.asked]
    assert steps[:4] == ["look", "applied", "look", "target"], run.end


@pytest.mark.parametrize("seconds", [15, 0])
def test_a_share_of_the_users_has_its_time_with_a_gate_and_without(tmp_path: Path, model: Any, seconds: int) -> None:
    changed = copy.deepcopy(model)
    changed["all_environments"]["prod"]["apps"]["api"]["gate"]["seconds"] = seconds
    run = roll_back(tmp_path, changed, {"edge_gate": {}}, "-e", "deploy_environment=prod", play=SHARE)
    assert run.code == 0 and run.gates == [4 if seconds else 0], run.end
    assert seconds or "it lasted" in run.end  # with a gate it is the gate's requests that last, and this one's is a stand-in
