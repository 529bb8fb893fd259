#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A step of a restore of an environment's databases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_restore
short_description: Restore an environment's databases from a backup, beside the live ones, and swap
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Fetches a backup into a pod, checks its size and digest against its authenticated manifest, opens it, and restores it into new databases, as their
    owner; extensions, privileges and settings are made by the superuser, out of statements that were taken apart first.
  - The live databases are touched only by O(step=put_in_place), which renames all of them in one transaction. An interruption before that changes
    nothing that is live; what it leaves is found by O(step=begin) and O(step=clear).
  - The age identity goes through a pipe into the pod's memory. The credentials of S3 go the same way.
  - Called as a task, it runs O(step=back_up) and O(step=advance) until they are done, and prints how far they are.
attributes:
  check_mode:
    support: partial
    description: What it would do is said of leftovers and of databases that are dropped; the steps of a restore change something and are left out.
    details: O(step=clear) and O(step=drop_before) say what they would do; steps of a restore are left out.
  diff_mode: {support: partial, description: "O(step=clear) lists what it removes."}
options:
  step:
    description: What to do; C(roles/restore/tasks/bring.yml) has them in their order.
    type: str
    required: true
    choices: [plan, plan_copy, back_up, begin, opened, advance, check, put_in_place, end, record, clear, drop_before]
  environments:
    description: All environments of the platform, C(all_environments) of the fact C(platform_model).
    type: dict
    required: true
  environment:
    description: The environment that is restored into. Not for O(step=clear), which looks at all of them.
    type: str
    default: ""
  source:
    description: The environment that the backup is of, if it is another one.
    type: str
    default: ""
  backup:
    description: The backup's stamp, or V(latest) for the newest good one that was not taken before a restore.
    type: str
    default: latest
  moment:
    description: In place of O(backup), a moment in ISO 8601 with its zone, or V(latest), which is recovered from a base backup and WAL.
    type: str
    default: ""
  origin:
    description: SERVER/SYSTEM_IDENTIFIER of the backup, where several have one of that stamp, or another than the newest is wanted.
    type: str
    default: ""
  databases:
    description: The databases to restore; none means all that the backup has.
    type: list
    elements: str
    default: []
  beside:
    description: A name for the restored database, which is then not swapped.
    type: str
    default: ""
  purpose:
    description: Whether the new databases are put in place, or only tried or copied.
    type: str
    choices: [restore, drill, export]
    default: restore
  plan:
    description: What O(step=plan) returned.
    type: dict
    default: {}
  credentials:
    description: C(access_key) and C(secret_key) that may list and read the bucket.
    type: dict
    default: {}
  backup_key:
    description: The source's BACKUP_KEY, which proves that its manifests are this platform's own.
    type: str
    default: ""
  identity:
    description: The age identity (private key) that opens the backup.
    type: str
    default: ""
  mask:
    description:
      - SQL that masks personal data in the application's database; its new owner runs it in one transaction before the database is put in place.
      - In a task, the list that the inventory has, of statements and of files.
    type: str
    default: ""
  mask_folder:
    description: In a task, where the paths in O(mask) start.
    type: path
    default: ""
  size:
    description: Bytes of the file that O(step=plan_copy) is to bring in.
    type: int
    default: 0
  file:
    description: In a task, the file on the controller whose O(size) it is.
    type: path
    default: ""
  jobs:
    description: Connections that pg_restore uses at a time. V(0) means as many as the server has CPUs, and at least two.
    type: int
    default: 0
  deadline:
    description: Seconds after which the pod is ended, whatever it does.
    type: int
    default: 14400
  record:
    description: What O(step=record) keeps of a drill.
    type: dict
    default: {}
  drop_before:
    description: Stamp of the restore whose replaced databases O(step=drop_before) drops.
    type: str
    default: ""
  timeout:
    description: Seconds for each single question.
    type: int
    default: 120
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: See which backups there are, and what a restore of prod would do
  shaka.platform.database_restore:
    step: plan
    environments: "{{ platform_model.all_environments }}"
    environment: prod
    credentials: {access_key: "{{ access_key }}", secret_key: "{{ secret_key }}"}
    backup_key: "{{ platform_secrets.prod.BACKUP_KEY }}"
"""

RETURN = r"""
plan:
  description: What is going to be done, for the other steps.
  returned: step is plan or plan_copy
  type: dict
backups:
  description: How many backups there are.
  returned: step is plan
  type: int
empty:
  description: Whether there is nothing now that a backup could keep.
  returned: step is plan
  type: bool
problem:
  description: Why the Postgres of now could not be asked; empty when it could.
  returned: step is plan
  type: str
running:
  description: Whether the backup is still being taken, or the new databases are still being filled.
  returned: step is back_up or advance
  type: bool
progress:
  description: How far it is, in words.
  returned: step is back_up or advance
  type: str
counts:
  description: Database to C(rows) and C(tables).
  returned: step is check
  type: dict
seconds:
  description: Seconds since the pod was made.
  returned: step is check or put_in_place
  type: int
kept:
  description: The names under which the replaced databases stay.
  returned: step is put_in_place
  type: list
  elements: str
swap_seconds:
  description: Seconds from the first session that was ended until the new databases were in place.
  returned: step is put_in_place
  type: float
changes:
  description: What was left of restores that did not end, one line each.
  returned: step is clear
  type: list
  elements: str
cleared:
  description: The same, of the environment that is restored into.
  returned: step is begin
  type: list
  elements: str
dropped:
  description: The databases that were dropped.
  returned: step is drop_before
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore.step import CLEAR, Result, run_and_exit
from ansible_collections.shaka.platform.plugins.module_utils.restore.steps import FAILURES, STEPS, StepInput, clear

ARGUMENT_SPEC: dict[str, Any] = {
    "step": {"type": "str", "required": True, "choices": [*STEPS, CLEAR]},
    "environments": {"type": "dict", "required": True},
    "environment": {"type": "str", "default": ""},
    "source": {"type": "str", "default": ""},
    "backup": {"type": "str", "default": "latest"},
    "moment": {"type": "str", "default": ""},
    "origin": {"type": "str", "default": ""},
    "databases": {"type": "list", "elements": "str", "default": []},
    "beside": {"type": "str", "default": ""},
    "purpose": {"type": "str", "choices": ["restore", "drill", "export"], "default": "restore"},
    "plan": {"type": "dict", "default": {}},
    "credentials": {"type": "dict", "default": {}, "no_log": True},
    "backup_key": {"type": "str", "default": "", "no_log": True},
    "identity": {"type": "str", "default": "", "no_log": True},
    "mask": {"type": "str", "default": ""},
    "mask_folder": {"type": "path", "default": ""},
    "size": {"type": "int", "default": 0},
    "file": {"type": "path", "default": ""},
    "jobs": {"type": "int", "default": 0},
    "deadline": {"type": "int", "default": 14400},
    "record": {"type": "dict", "default": {}},
    "drop_before": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 120},
    **ARGUMENTS,
}
LOOKING = ("plan", "plan_copy", "drop_before")  # steps that check mode may run


def run(params: dict[str, Any], check_mode: bool) -> Result:
    """The step's result; raises one of FAILURES."""
    kubectl, environments = Kubectl(params["kubectl"], params["timeout"]), params["environments"]
    if params["step"] == CLEAR:
        return clear(kubectl, environments, check_mode)
    if check_mode and params["step"] not in LOOKING:
        return {"changed": False, "skipped": True, "msg": "not in check mode"}
    environment = environments[params["environment"]]
    given = StepInput(kubectl, environment, environments[params["source"] or params["environment"]], params, check_mode)
    return STEPS[params["step"]](given)


def main() -> None:
    """Entry point of the module."""
    run_and_exit(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), run, FAILURES)


if __name__ == "__main__":
    main()
