#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ACL users of running Redis servers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_users
short_description: Set the ACL users of running Redis servers
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Makes the ACL users of each Redis exactly the desired ones, while it runs; any other user is removed, except C(default).
  - The user of a preview goes with all keys of its prefix, and stays as long as the preview is not over.
  - Rights are compared by the commands that they allow, not by the words in which Redis lists them.
  - Redis saves its users on its volume, so they are there after a restart.
  - No command line contains a password, and none is sent in clear text - Redis gets the SHA-256.
attributes:
  check_mode: {support: full, description: Changes nothing. A Redis that does not exist yet is pending.}
  diff_mode: {support: full, description: "What is set, one line each, without values."}
options:
  servers:
    description: The servers, as the filter C(shaka.platform.redis_servers) makes them of the fact C(platform_model).
    type: list
    elements: dict
    required: true
    suboptions:
      namespace: {description: Namespace of its pod C(redis-0)., type: str, required: true}
      users:
        description:
          - "Its users: C(environment), C(name), C(keys), C(channels), C(commands), C(applications), whose pods hold the password
            (C(namespace), C(reads), C(apps)), and C(in_run), whether the environment is part of the run."
        type: list
        elements: dict
        required: true
      copied: {description: The group in O(passwords) with the C(BACKUP_KEY) of the user that copies it; empty for none., type: str, default: ""}
      ended: {description: Names of previews that are over. Their user goes with all keys of its prefix., type: list, elements: str, default: []}
      complete: {description: Whether any preview that is not among the users is over., type: bool, default: false}
  passwords:
    description: Environment name to C(REDIS_PASSWORD); and the groups that C(copied) names, with C(BACKUP_KEY).
    type: dict
    required: true
  rotate:
    description:
      - Whether a changed C(REDIS_PASSWORD) of the run's environments is put in force, besides the old one while pods hold that, because the
        application's pods get it in the same run; see M(shaka.platform.application_logins).
      - When false, and an application runs, the passwords of its user stay as they are, with a warning.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for a Redis that does not answer. With 0 it is listed in C(pending) instead.
    type: int
    default: 0
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Ensure the users
  shaka.platform.redis_users:
    servers: "{{ platform_model | shaka.platform.redis_servers }}"
    passwords: "{{ platform_secrets | shaka.platform.pick_secrets(platform_model.all_environments, ['REDIS_PASSWORD']) }}"
"""

RETURN = r"""
changes:
  description: What was set, one line each.
  returned: success
  type: list
  elements: str
  sample: ["shaka-shared: user prod: commands"]
pending:
  description: The namespaces whose Redis did not answer, with the reason.
  returned: success
  type: dict
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import WORKERS
from ansible_collections.shaka.platform.plugins.module_utils.data.changeover import NOT_IN_FORCE
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import Failed
from ansible_collections.shaka.platform.plugins.module_utils.data.redis_instance import SERVERS, RedisInstance
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl

ARGUMENT_SPEC: dict[str, Any] = {
    "servers": SERVERS,
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "rotate": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 0},
    **ARGUMENTS,
}


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module's result; it has `msg` when it is a failure. Raises Failed."""
    kubectl = Kubectl(params["kubectl"], 30)
    deadline = time.monotonic() + params["wait_timeout"]
    instances = [RedisInstance(kubectl, entry, params["passwords"], params["rotate"], check) for entry in params["servers"]]
    with ThreadPoolExecutor(WORKERS) as pool:
        states = dict(zip((one.namespace for one in instances), pool.map(lambda one: one.in_time(deadline), instances), strict=True))
    changes = [line for state in states.values() for line in state.made]
    pending = {namespace: state.pending for namespace, state in states.items() if state.pending}
    left = [f"{environment}/REDIS_PASSWORD" for state in states.values() for environment in state.left]
    result: dict[str, Any] = {"pending": pending, "left": left}
    if pending and params["wait_timeout"]:
        if not check:
            reasons = (f"Redis of {name} does not answer after {params['wait_timeout']} s: {why}" for name, why in pending.items())
            return {**result, "msg": "\n".join(reasons)}
        changes += [f"{namespace}: its users" for namespace in pending]
    diff = {"before": "", "after": "".join(f"{line}\n" for line in changes)}
    return {**result, "changed": bool(changes), "changes": changes, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except Failed as error:
        module.fail_json(msg=str(error))
    for name in result.pop("left"):
        module.warn(NOT_IN_FORCE.format(name))
    if "msg" in result:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
