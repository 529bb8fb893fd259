#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A step of a restore of a Redis."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_restore
short_description: Restore a Redis from its copy in S3
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Fetches a copy into a pod, checks its size and digest against its authenticated manifest, opens it, and makes an append-only file of it beside the
    one in use, on the volume of Redis.
  - O(step=put_in_place) restarts Redis, whose start moves what is in use away and the copy in. An interruption before that changes nothing that is in
    use; what it leaves is found by O(step=begin) and O(step=clear).
  - The age identity goes through a pipe into the pod's memory. The credentials of S3 go the same way.
  - Called as a task, it runs O(step=back_up) and O(step=advance) until they are done, and prints how far they are.
attributes:
  check_mode:
    support: partial
    description: What it would do is said of leftovers and of what is dropped; the steps of a restore change something and are left out.
    details: O(step=clear) and O(step=drop_before) say what they would do; steps of a restore are left out.
  diff_mode: {support: partial, description: "O(step=clear) lists what it removes."}
options:
  step:
    description: What to do; C(roles/restore/tasks/redis.yml) has them in their order.
    type: str
    required: true
    choices: [plan, back_up, begin, advance, put_in_place, end, drop_before, clear]
  copies:
    description: Each Redis that is copied, C(all_redis_copies) of the fact C(platform_model).
    type: dict
    required: true
  redis:
    description: "The one that is restored, C(shared) or its environment. Not for O(step=clear), which looks at all of them."
    type: str
    default: ""
  backup:
    description: The copy's stamp, or V(latest) for the newest good one that was not taken before a restore.
    type: str
    default: latest
  origin:
    description: "SERVER/CLUSTER of the copy, as the list shows it, where several have one of that stamp, or another than the newest is wanted."
    type: str
    default: ""
  plan:
    description: What O(step=plan) returned.
    type: dict
    default: {}
  credentials:
    description: C(access_key) and C(secret_key) that may list and read the bucket.
    type: dict
    default: {}
  backup_key:
    description: "The C(BACKUP_KEY) of its group, which proves that the manifests are this platform's own."
    type: str
    default: ""
  identity:
    description: The age identity (private key) that opens the copy.
    type: str
    default: ""
  deadline:
    description: Seconds after which the pod is ended, whatever it does.
    type: int
    default: 14400
  wait_timeout:
    description: Seconds that Redis may take to start with the copy, besides one for each 8 MiB of it. After that what was there is put back.
    type: int
    default: 180
  drop_before:
    description: Stamp of the restore of which O(step=drop_before) drops what was there before.
    type: str
    default: ""
  timeout:
    description: Seconds for each single question.
    type: int
    default: 120
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: See which copies there are, and what a restore of the shared Redis would do
  shaka.platform.redis_restore:
    step: plan
    copies: "{{ platform_model.all_redis_copies }}"
    redis: shared
    credentials: {access_key: "{{ access_key }}", secret_key: "{{ secret_key }}"}
    backup_key: "{{ platform_secrets.shared.BACKUP_KEY }}"
"""

RETURN = r"""
plan:
  description: What is going to be done, for the other steps.
  returned: step is plan
  type: dict
empty:
  description: Whether there is nothing now that a copy could keep.
  returned: step is plan
  type: bool
problem:
  description: Why the Redis of now could not be asked; empty when it could.
  returned: step is plan
  type: str
running:
  description: Whether the copy of what is there is still being taken, or the one to restore still being fetched.
  returned: step is back_up or advance
  type: bool
progress:
  description: How far it is, in words.
  returned: step is back_up or advance
  type: str
key_count: {description: How many keys the copy has., returned: step is put_in_place, type: int}
found: {description: "What Redis has now, in words.", returned: step is put_in_place, type: str}
seconds:
  description: Seconds until Redis answered again.
  returned: step is put_in_place
  type: float
kept:
  description: Where on the volume what was replaced stays.
  returned: step is put_in_place
  type: list
  elements: str
changes:
  description: What was left of restores that did not end, one line each.
  returned: step is clear
  type: list
  elements: str
dropped:
  description: What was dropped.
  returned: step is drop_before
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore.redis_steps import FAILURES, STEPS, RedisInput, clear
from ansible_collections.shaka.platform.plugins.module_utils.restore.step import CLEAR, Result, run_and_exit

ARGUMENT_SPEC: dict[str, Any] = {
    "step": {"type": "str", "required": True, "choices": [*STEPS, CLEAR]},
    "copies": {"type": "dict", "required": True},
    "redis": {"type": "str", "default": ""},
    "backup": {"type": "str", "default": "latest"},
    "origin": {"type": "str", "default": ""},
    "plan": {"type": "dict", "default": {}},
    "credentials": {"type": "dict", "default": {}, "no_log": True},
    "backup_key": {"type": "str", "default": "", "no_log": True},
    "identity": {"type": "str", "default": "", "no_log": True},
    "deadline": {"type": "int", "default": 14400},
    "wait_timeout": {"type": "int", "default": 180},
    "drop_before": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 120},
    **ARGUMENTS,
}
LOOKING = ("plan", "drop_before")  # steps that check mode may run


def run(params: dict[str, Any], check_mode: bool) -> Result:
    """The step's result; raises one of FAILURES."""
    kubectl, copies = Kubectl(params["kubectl"], params["timeout"]), params["copies"]
    if params["step"] == CLEAR:
        return clear(kubectl, copies, check_mode)
    if check_mode and params["step"] not in LOOKING:
        return {"changed": False, "skipped": True, "msg": "not in check mode"}
    return STEPS[params["step"]](RedisInput(kubectl, copies[params["redis"]], params, check_mode))


def main() -> None:
    """Entry point of the module."""
    run_and_exit(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), run, FAILURES)


if __name__ == "__main__":
    main()
