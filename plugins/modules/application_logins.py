#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The logins of every environment's application at its Postgres and its Redis."""

from __future__ import annotations

DOCUMENTATION = r"""
module: application_logins
short_description: Change the passwords of applications at Postgres and Redis without a failed request
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Called before the application's pods get a changed password, it makes Postgres and Redis accept the new one, and makes sure that no running pod
    needs the old one. Called after the pods have it, it makes Postgres and Redis refuse the old one. All environments at once, in one task.
  - A Redis user has both passwords until every pod of the application holds the new one.
  - Postgres keeps one password per role. So the application's pods are first rolled to a login that stands in for the role, and then the role's
    password is changed. The next change of the pods' template returns them to their role, and the first call that finds the stand-in unused removes
    it. An application with the strategy C(recreate) has a gap anyway, so it gets no stand-in.
  - Missing logins, and the databases they are for, are made as by M(shaka.platform.postgres_databases) and M(shaka.platform.redis_users). Passwords
    that other pods than the application's hold stay as they are; they are in C(left).
  - Everything follows from the state of Postgres, Redis and the cluster, so the next run continues one that was killed anywhere.
  - First it refuses changes that a volume cannot follow, a smaller size or another major version of Postgres, and names the commands to make them;
    and changed settings with which a running Postgres says that it would not start.
attributes:
  check_mode: {support: full, description: "Changes nothing. A Postgres or a Redis that does not exist yet is pending."}
  diff_mode: {support: full, description: "What is changed, one line each, without values."}
options:
  environments:
    description: Environment name to environment, C(environments) of the fact C(platform_model).
    type: dict
    required: true
  servers:
    description: The Redis servers, as the filter C(shaka.platform.redis_servers) makes them of the fact C(platform_model).
    type: list
    elements: dict
    required: true
    suboptions:
      namespace: {description: Namespace of its pod C(redis-0)., type: str, required: true}
      users: {description: Its users; see M(shaka.platform.redis_users)., type: list, elements: dict, required: true}
      copied: {description: The group in O(passwords) with the C(BACKUP_KEY) of the user that copies it; empty for none., type: str, default: ""}
      ended: {description: Names of previews that are over. Their user goes with all keys of its prefix., type: list, elements: str, default: []}
      complete: {description: Whether any preview that is not among the users is over., type: bool, default: false}
  passwords:
    description:
      - Environment name to C(REDIS_PASSWORD), for every environment that has a user in one of the servers; for those of C(environments) with what
        M(shaka.platform.postgres_databases) needs besides.
    type: dict
    required: true
  previews:
    description: The same as in M(shaka.platform.postgres_databases).
    type: dict
    default: {}
  image:
    description: The reference of the Postgres image that is to run.
    type: str
    required: true
  wait_timeout:
    description:
      - Seconds to wait for pods that still hold a replaced password to end, and for a Postgres or a Redis that does not answer.
      - With 0 they are listed in C(unfinished) instead. With more, what does not answer is a failure, and pods that still run are a warning.
    type: int
    default: 0
  rollout_timeout:
    description: Seconds that the application may take to change over to a stand-in. After that it returns to its role, with no password changed.
    type: int
    default: 300
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Ensure Postgres and Redis accept the passwords that the pods will get
  shaka.platform.application_logins:
    environments: "{{ platform_model.environments }}"
    servers: "{{ platform_model | shaka.platform.redis_servers }}"
    passwords: "{{ platform_secrets | shaka.platform.pick_secrets(platform_model.all_environments, ['DB_PASSWORD', 'REDIS_PASSWORD']) }}"
    image: "{{ platform_images.postgres }}"
"""

RETURN = r"""
changes:
  description: What was changed, one line each.
  returned: success
  type: list
  elements: str
  sample: ["prod: password of shaka_production", "shaka-shared: user prod: password"]
unfinished:
  description:
    - What the call after the rollout still has to do, one line each - a stand-in, a replaced password that is still accepted, a Postgres or a Redis
      that did not answer. Empty in check mode, where nothing was begun.
  returned: success
  type: list
  elements: str
postgres:
  description: C(pending), the environments whose Postgres did not answer, with the reason; C(left), those where other roles have other passwords.
  returned: success
  type: dict
redis:
  description: C(pending), the namespaces whose Redis did not answer, with the reason.
  returned: success
  type: dict
"""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import WORKERS
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import Passwords
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import (
    Failed,
    PostgresState,
    instances_of,
    refuse_settings,
    refuse_volumes,
)
from ansible_collections.shaka.platform.plugins.module_utils.data.redis_instance import SERVERS, RedisInstance, RedisState
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl

ARGUMENT_SPEC: dict[str, Any] = {
    "environments": {"type": "dict", "required": True},
    "servers": SERVERS,
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "previews": {"type": "dict", "default": {}},
    "image": {"type": "str", "required": True},
    "wait_timeout": {"type": "int", "default": 0},
    "rollout_timeout": {"type": "int", "default": 300},
    **ARGUMENTS,
}
# State of each Postgres by environment, of each Redis by namespace
States = tuple[Mapping[str, PostgresState], Mapping[str, RedisState]]


def unfinished(postgres: Mapping[str, PostgresState], redis: Mapping[str, RedisState]) -> Iterable[str]:
    """What remains to be done once the pods have changed over."""
    for environment, database in postgres.items():
        if database.stand_in:
            yield f"{environment}: its pods may still use the stand-in for its database user"
        if database.waiting:
            yield f"{environment}: its pods may still log in to Postgres as {' or '.join(database.waiting)}"
        if database.pending:
            yield f"{environment}: Postgres does not answer: {database.pending}"
    for namespace, server in redis.items():
        yield from (f"{environment}: its pods may still hold a replaced REDIS_PASSWORD" for environment in server.kept)
        if server.pending:
            yield f"{namespace}: Redis does not answer: {server.pending}"


def ask_all(params: Mapping[str, Any], check: bool) -> States:
    """Bring every Postgres and Redis to the desired state; raises Failed."""
    kubectl, passwords = Kubectl(params["kubectl"], 30), params["passwords"]
    deadline = time.monotonic() + params["wait_timeout"]
    instances = instances_of(kubectl, params, Passwords.APPLICATION, check, finish=bool(params["wait_timeout"]))
    servers = {entry["namespace"]: RedisInstance(kubectl, entry, passwords, True, check) for entry in params["servers"]}
    with ThreadPoolExecutor(WORKERS) as pool:
        refuse_volumes(kubectl, params["environments"], params["image"], pool)
        refuse_settings(kubectl, params["environments"], pool)
        users = {namespace: pool.submit(server.in_time, deadline) for namespace, server in servers.items()}
        databases = {name: pool.submit(instance.in_time, deadline, params["rollout_timeout"]) for name, instance in instances.items()}
        return {name: answer.result() for name, answer in databases.items()}, {name: answer.result() for name, answer in users.items()}


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module's result; raises Failed."""
    postgres, redis = ask_all(params, check)
    changes = [line for made in (*(state.made for state in postgres.values()), *(state.made for state in redis.values())) for line in made]
    silent = {name: state.pending for name, state in postgres.items() if state.pending}
    silent_redis = {name: state.pending for name, state in redis.items() if state.pending}
    lines = [] if check else list(unfinished(postgres, redis))
    if params["wait_timeout"] and (silent or silent_redis) and not check:
        raise Failed("\n".join(lines))
    return {
        "changed": bool(changes),
        "changes": changes,
        "unfinished": lines,
        "postgres": {"pending": silent, "left": [name for name, state in postgres.items() if state.left]},
        "redis": {"pending": silent_redis},
        "diff": {"before": "", "after": "".join(f"{line}\n" for line in changes)},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except Failed as error:
        module.fail_json(msg=str(error))
    if module.params["wait_timeout"]:
        for line in result["unfinished"]:
            module.warn(f"{line}; the next run continues")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
