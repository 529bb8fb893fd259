#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Roles, databases and extensions of every environment's Postgres."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_databases
short_description: Roles, databases and extensions of every environment's Postgres
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Asks each Postgres inside its pod, as the superuser C(postgres), what it has, and makes what is missing. All environments at once.
  - The owner of the databases is no superuser. The superuser has no password, so that it is not reached over the network.
  - Passwords go to Postgres as SCRAM verifiers (RFC 5803); no statement and no command line holds one.
  - Nothing is dropped. A role, database or extension that is no longer wanted stays.
  - First it refuses what a volume cannot follow, a smaller size or another major version, with the commands that do it.
attributes:
  check_mode: {support: full, description: "It only asks. Where there is no Postgres yet, everything would be made."}
  diff_mode: {support: full, description: "What is made, one line each, without values."}
options:
  environments:
    description: Environment name to environment, C(environments) of the fact C(platform_model).
    type: dict
    required: true
  passwords:
    description:
      - Environment name to C(DB_PASSWORD); with C(postgres.app_user) C(DB_OWNER_PASSWORD), with C(postgres.pgbouncer) C(PGBOUNCER_PASSWORD).
    type: dict
    required: true
  image:
    description: The reference of the Postgres image that is to run.
    type: str
    required: true
  wait_timeout:
    description: Seconds to wait for a Postgres that does not answer. With 0 it is listed in C(pending) instead.
    type: int
    default: 0
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

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.postgres_state import ADMIN, POOLER, Wanted, differences, question, script
from ansible_collections.shaka.platform.plugins.module_utils.volumes import refusals, volumes

POD = "postgres-0"
PAUSE = 1.0  # seconds between two looks
THREADS = 8
PSQL = ["psql", "--no-psqlrc", "--username", ADMIN, "--dbname", ADMIN]
ARGUMENT_SPEC: dict[str, Any] = {
    "environments": {"type": "dict", "required": True},
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "image": {"type": "str", "required": True},
    "wait_timeout": {"type": "int", "default": 0},
    **ARGUMENTS,
}


class Unanswered(Exception):
    """The Postgres of an environment does not answer (yet)."""


class Failed(Exception):
    """What a person has to see to; the text is for them."""


def wanted(env: Mapping[str, Any], secrets: Mapping[str, str]) -> Wanted:
    """What the inventory says of an environment."""
    spec = env["postgres"]
    passwords = {spec["app_user"] or spec["user"]: secrets["DB_PASSWORD"]}
    if spec["app_user"]:
        passwords[spec["user"]] = secrets["DB_OWNER_PASSWORD"]
    if spec["pgbouncer"]["enabled"]:
        passwords[POOLER] = secrets["PGBOUNCER_PASSWORD"]
    if not all(password.isascii() for password in passwords.values()):
        raise Failed(f"a database password of {env['name']} has characters outside ASCII, which clients encode differently: use others")
    return Wanted(spec["user"], passwords, (spec["database"], *spec["databases"]), tuple(spec["extensions"]), spec["app_user"], POOLER in passwords)


def ensure(kubectl: Kubectl, env: Mapping[str, Any], what: Wanted, check: bool) -> list[str]:
    """What was made, or would be; raises Unanswered or Failed."""
    ok, said = kubectl.execute(env["namespace"], POD, *PSQL, text=question(what))
    if not ok and f'role "{ADMIN}" does not exist' in said:
        raise Failed(
            f"{env['namespace']}: the Postgres was made by another superuser than '{ADMIN}'. Make that role once, and run again:\n"
            f"    kubectl exec -n {env['namespace']} {POD} -- createuser -U {what.owner} --superuser {ADMIN}"
        )
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")] if ok else []
    if not lines:
        raise Unanswered(said)
    changes = differences(what, lines[0], {line["database"]: line for line in lines[1:]})
    if changes and not check:
        ok, said = kubectl.execute(env["namespace"], POD, *PSQL, text=script(changes))
        if not ok:
            raise Failed(f"{env['namespace']}: Postgres refused one of: {'; '.join(change.said for change in changes)}: {said}")
    return [f"{env['name']}: {change.said}" for change in changes]


def ensure_in_time(kubectl: Kubectl, env: Mapping[str, Any], what: Wanted, check: bool, deadline: float) -> tuple[list[str], str]:
    """(what was made, why it is pending)."""
    while True:
        try:
            return ensure(kubectl, env, what, check), ""
        except Unanswered as error:
            if check or time.monotonic() > deadline:
                return [], str(error) or "no answer"
        time.sleep(PAUSE)


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module's result; raises Failed."""
    kubectl = Kubectl(params["kubectl"], 30)
    deadline = time.monotonic() + params["wait_timeout"]
    environments = params["environments"]
    needs = {name: wanted(env, params["passwords"][name]) for name, env in environments.items()}
    with ThreadPoolExecutor(THREADS) as pool:
        claims, persistent = (pool.submit(kubectl.get, f"/api/v1/{kind}") for kind in ("persistentvolumeclaims", "persistentvolumes"))
        found = volumes(*((answer.result()[0] or {}).get("items", []) for answer in (claims, persistent)))
        refused = [text for name, env in environments.items() for text in refusals(name, env, found.get(env["namespace"]), params["image"])]
        if refused:
            raise Failed("\n".join(refused))
        asked = {name: pool.submit(ensure_in_time, kubectl, env, needs[name], check, deadline) for name, env in environments.items()}
        answers = {name: answer.result() for name, answer in asked.items()}
    changes = [line for made, _why in answers.values() for line in made]
    pending = {name: why for name, (_made, why) in answers.items() if why}
    if pending and params["wait_timeout"]:
        if not check:
            raise Failed("\n".join(f"Postgres of {name} does not answer after {params['wait_timeout']} s: {why}" for name, why in pending.items()))
        changes += [f"{name}: its roles, databases and extensions" for name in pending]
    diff = {"before": "", "after": "".join(f"{line}\n" for line in changes)}
    return {"changed": bool(changes), "changes": changes, "pending": pending, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except Failed as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
