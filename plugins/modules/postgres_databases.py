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
  - Before the password of the role that an environment's application connects as is changed, the application's pods are rolled to a login that stands
    in for it, so that none is refused a connection. They have their role back with the next change of their template, and the stand-in is removed
    by the first call that finds it unused. An application of the strategy C(recreate) has a gap anyway, and no stand-in.
  - Nothing else is dropped. A role, database or extension that is no longer wanted stays.
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
    description:
      - Seconds to wait for a Postgres that does not answer, and for pods that end with a stand-in.
      - With 0 they are listed in C(pending) and C(stand_ins) instead.
    type: int
    default: 0
  rollout_timeout:
    description: Seconds that the application may take to change over to a stand-in. After that it has its role back, and nothing was changed.
    type: int
    default: 300
  kubectl:
    description: Command that runs kubectl on the server.
    type: list
    elements: str
    default: [/usr/local/bin/k3s, kubectl]
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
stand_ins:
  description: The environments that have a stand-in, as some of their pods may still use it.
  returned: success
  type: list
  elements: str
pending:
  description: The environments whose Postgres did not answer, with the reason.
  returned: success
  type: dict
"""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import WORKERS
from ansible_collections.shaka.platform.plugins.module_utils.data import stand_in
from ansible_collections.shaka.platform.plugins.module_utils.data.changeover import Application
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import (
    ADMIN,
    LOGIN,
    POOLER,
    SqlChange,
    Wanted,
    login,
    no_login,
    outdated,
    question,
    role_changes,
    script,
)
from ansible_collections.shaka.platform.plugins.module_utils.data.volumes import refusals, volumes
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl, Unanswered, until_answered

POD = "postgres-0"
PSQL = ["psql", "--no-psqlrc", "--username", ADMIN, "--dbname", ADMIN]
ARGUMENT_SPEC: dict[str, Any] = {
    "environments": {"type": "dict", "required": True},
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "image": {"type": "str", "required": True},
    "wait_timeout": {"type": "int", "default": 0},
    "rollout_timeout": {"type": "int", "default": 300},
    **ARGUMENTS,
}


class Failed(Exception):
    """What a person has to see to; the text is for them."""


class InstanceState(NamedTuple):
    """What was made in one Postgres, whether it has a stand-in, and why it is pending."""

    made: list[str]
    stand_in: bool = False
    pending: str = ""


def desired(env: Mapping[str, Any], secrets: Mapping[str, str]) -> Wanted:
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


class Instance:
    """One environment's Postgres."""

    def __init__(self, kubectl: Kubectl, env: Mapping[str, Any], what: Wanted) -> None:
        self.kubectl, self.env, self.what = kubectl, env, what
        self.application = Application(kubectl, env)

    def look(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """What the server holds, and what its databases hold; raises Unanswered or Failed."""
        ok, said = self.kubectl.execute(self.env["namespace"], POD, *PSQL, text=question(self.what))
        if not ok and f'role "{ADMIN}" does not exist' in said:
            raise Failed(
                f"{self.env['namespace']}: the Postgres was made by another superuser than '{ADMIN}'. Make that role once, and run again:\n"
                f"    kubectl exec -n {self.env['namespace']} {POD} -- createuser -U {self.what.owner} --superuser {ADMIN}"
            )
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")] if ok else []
        if not lines:
            raise Unanswered(said)
        return lines[0], {line["database"]: line for line in lines[1:]}

    def make(self, changes: list[SqlChange]) -> None:
        ok, said = self.kubectl.execute(self.env["namespace"], POD, *PSQL, text=script(changes)) if changes else (True, "")
        if not ok:
            raise Failed(f"{self.env['namespace']}: Postgres refused one of: {'; '.join(change.said for change in changes)}: {said}")

    def ensure(self, check: bool, deadline: float, rollout: float) -> InstanceState:
        """Raises Unanswered or Failed."""
        cluster, databases = self.look()
        changes = role_changes(self.what, cluster, databases)
        has_stand_in = LOGIN in cluster["roles"]
        if not check and outdated(self.what, cluster["roles"]):
            has_stand_in = self.change_over(rollout) or has_stand_in
        if not check:
            self.make(changes)
        if has_stand_in and stand_in.unused(self.application, deadline):
            has_stand_in, gone = False, no_login(self.what.client, [name for name in self.what.databases if name in cluster["databases"]])
            changes.append(gone[-1])
            if not check:
                stand_in.remove(self.application)
                self.make(gone)
        return InstanceState([f"{self.env['name']}: {change.said}" for change in changes], has_stand_in)

    def change_over(self, rollout: float) -> bool:
        """Let the application use a stand-in, if it has to; raises Failed."""
        user, password = self.what.client, self.what.passwords[self.what.client]
        try:
            if not stand_in.needed(self.application, password):
                return False
            stand_in.change_over(self.application, lambda value: self.make([login(user, value)]), rollout)
        except Unanswered as error:
            raise Failed(f"{self.env['name']}: {self.application.name} could not change over to a stand-in for {user}; run again: {error}") from None
        except stand_in.NotFollowed as error:
            raise Failed(
                f"{self.env['name']}: {self.application.name} does not run as another database user than {user}: {error}. No password was changed. "
                f"Let it connect as DB_USER with DB_PASSWORD, or set platform_environments.{self.env['name']}.api.strategy to recreate for this run"
            ) from None
        return True


def ensure_in_time(instance: Instance, check: bool, deadline: float, rollout: float) -> InstanceState:
    """The answer of a Postgres, or why there is none."""
    deadline = 0 if check else deadline
    try:
        return until_answered(lambda: instance.ensure(check, deadline, rollout), deadline)
    except Unanswered as error:
        return InstanceState([], pending=str(error) or "no answer")


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module's result; raises Failed."""
    kubectl = Kubectl(params["kubectl"], 30)
    deadline = time.monotonic() + params["wait_timeout"]
    environments = params["environments"]
    instances = {name: Instance(kubectl, env, desired(env, params["passwords"][name])) for name, env in environments.items()}
    with ThreadPoolExecutor(WORKERS) as pool:
        claims, persistent = (pool.submit(kubectl.get, f"/api/v1/{kind}") for kind in ("persistentvolumeclaims", "persistentvolumes"))
        found = volumes(*((answer.result()[0] or {}).get("items", []) for answer in (claims, persistent)))
        refused = [text for name, env in environments.items() for text in refusals(name, env, found.get(env["namespace"]), params["image"])]
        if refused:
            raise Failed("\n".join(refused))
        asked = {name: pool.submit(ensure_in_time, instance, check, deadline, params["rollout_timeout"]) for name, instance in instances.items()}
        answers = {name: answer.result() for name, answer in asked.items()}
    changes = [line for answer in answers.values() for line in answer.made]
    pending = {name: answer.pending for name, answer in answers.items() if answer.pending}
    if pending and params["wait_timeout"]:
        if not check:
            raise Failed("\n".join(f"Postgres of {name} does not answer after {params['wait_timeout']} s: {why}" for name, why in pending.items()))
        changes += [f"{name}: its roles, databases and extensions" for name in pending]
    diff = {"before": "", "after": "".join(f"{line}\n" for line in changes)}
    stand_ins = [name for name, answer in answers.items() if answer.stand_in]
    return {"changed": bool(changes), "changes": changes, "stand_ins": stand_ins, "pending": pending, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except Failed as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
