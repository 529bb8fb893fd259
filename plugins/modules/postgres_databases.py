#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Roles, databases and extensions of every environment's Postgres."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_databases
short_description: Make the roles, databases and extensions of every environment's Postgres
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Asks each Postgres inside its pod, as the superuser C(postgres), and makes what is missing, in all environments at once.
  - The owner of the databases is not a superuser. The superuser has no password, so nobody can log in as it over the network.
  - Passwords go to Postgres as SCRAM verifiers (RFC 5803); no statement and no command line contains one.
  - Nothing is dropped but what a preview had. A role that the inventory no longer has can no longer log in once no pod uses it; a database or
    extension stays.
  - A database or owner with an earlier name (C(postgres.renamed_from)) is renamed, or hands over what it owns.
  - First it refuses changes that a volume cannot follow, a smaller size or another major version, and names the commands to make them; and changed
    settings with which the running Postgres says that it would not start.
attributes:
  check_mode: {support: full, description: "Changes nothing. Where there is no Postgres yet, everything counts as missing."}
  diff_mode: {support: full, description: "What is made, one line each, without values."}
options:
  environments:
    description: Environment name to environment, C(environments) of the fact C(platform_model).
    type: dict
    required: true
  passwords:
    description:
      - Environment name to C(DB_PASSWORD); with C(postgres.app_user) C(DB_OWNER_PASSWORD), with C(postgres.pgbouncer) C(PGBOUNCER_PASSWORD), with
        C(backup.point_in_time) C(WAL_PASSWORD).
    type: dict
    required: true
  image:
    description: The reference of the Postgres image that is to run.
    type: str
    required: true
  previews:
    description:
      - Previews whose databases are in these Postgres servers. C(wanted) (name to preview), C(hosts) (environments that are not in
        O(environments) and whose Postgres has one, of which nothing else changes), C(ended) (names of previews that are over), and C(complete),
        whether any other preview is over, too.
      - The database and the role of one that is over are dropped. They are known by their comments; nothing else is dropped.
    type: dict
    default: {}
  rotate:
    description:
      - Whether a changed C(DB_PASSWORD) is put in force, because the application's pods get it in the same run; see
        M(shaka.platform.application_logins).
      - When false, and an application runs, the password that it connects with stays as it is, with a warning. Other roles' passwords are changed.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for a Postgres that does not answer. With 0 it is listed in C(pending) instead.
    type: int
    default: 0
  rollout_timeout:
    description: Seconds that the application may take to change over to a stand-in. After that it returns to its role, with no password changed.
    type: int
    default: 300
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Ensure the roles, databases and extensions
  shaka.platform.postgres_databases:
    environments: "{{ platform_model.environments }}"
    passwords: "{{ platform_secrets | shaka.platform.pick_secrets(platform_model.environments, ['DB_PASSWORD']) }}"
    image: "{{ platform_images.postgres }}"
    wait_timeout: 60 # seconds
"""

RETURN = r"""
changes:
  description: What was made, one line each.
  returned: success
  type: list
  elements: str
  sample: ["prod: extension pgcrypto in shaka_production"]
pending:
  description: The environments whose Postgres did not answer, with the reason.
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
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import Passwords
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import Failed, instances_of, refuse_settings, refuse_volumes
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl

ARGUMENT_SPEC: dict[str, Any] = {
    "environments": {"type": "dict", "required": True},
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "image": {"type": "str", "required": True},
    "previews": {"type": "dict", "default": {}},
    "rotate": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 0},
    "rollout_timeout": {"type": "int", "default": 300},
    **ARGUMENTS,
}


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module's result; raises Failed."""
    kubectl = Kubectl(params["kubectl"], 30)
    deadline = time.monotonic() + params["wait_timeout"]
    instances = instances_of(kubectl, params, Passwords.ALL if params["rotate"] else Passwords.OTHERS, check)
    with ThreadPoolExecutor(WORKERS) as pool:
        refuse_volumes(kubectl, params["environments"], params["image"], pool)
        refuse_settings(kubectl, params["environments"], pool)
        asked = {name: pool.submit(instance.in_time, deadline, params["rollout_timeout"]) for name, instance in instances.items()}
        states = {name: answer.result() for name, answer in asked.items()}
    changes = [line for state in states.values() for line in state.made]
    pending = {name: state.pending for name, state in states.items() if state.pending}
    if pending and params["wait_timeout"]:
        if not check:
            raise Failed("\n".join(f"Postgres of {name} does not answer after {params['wait_timeout']} s: {why}" for name, why in pending.items()))
        changes += [f"{name}: its roles, databases and extensions" for name in pending]
    diff = {"before": "", "after": "".join(f"{line}\n" for line in changes)}
    left = [f"{name}/DB_PASSWORD" for name, state in states.items() if state.left]
    return {"changed": bool(changes), "changes": changes, "pending": pending, "left": left, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except Failed as error:
        module.fail_json(msg=str(error))
    for name in result.pop("left"):
        module.warn(NOT_IN_FORCE.format(name))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
