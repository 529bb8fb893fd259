#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ACL users of running Redis servers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_users
short_description: The ACL users of running Redis servers
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Brings the ACL users of each Redis to exactly those wanted, while it runs; a user that is not wanted is removed. C(default) is left alone.
  - What counts is which commands a user may use, not the words in which Redis tells it.
  - A password that was replaced stays valid beside the new one until every pod of the environment's application holds the new one.
  - Redis saves its users, so that a container that is started again in its pod has them.
  - No password is on a command line, and none is sent in clear text - Redis takes the SHA-256.
attributes:
  check_mode: {support: full, description: It only asks. A Redis that is not there yet is pending.}
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
          - "Its users: C(environment), C(name), C(keys), C(channels), C(commands), and C(application), whose pods hold the password
            (C(namespace), C(api.name), C(config_hash))."
        type: list
        elements: dict
        required: true
  passwords:
    description: Environment name to C(REDIS_PASSWORD).
    type: dict
    required: true
  wait_timeout:
    description:
      - Seconds to wait for a Redis that does not answer, and for pods that end with a password that was replaced.
      - With 0 they are listed in C(pending) and C(kept) instead.
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
kept:
  description: Environment to the SHA-256 of the passwords that stay valid, as some of its pods may still hold them.
  returned: success
  type: dict
pending:
  description: The namespaces whose Redis did not answer, with the reason.
  returned: success
  type: dict
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import WORKERS
from ansible_collections.shaka.platform.plugins.module_utils.data.changeover import Application
from ansible_collections.shaka.platform.plugins.module_utils.data.redis import (
    CATEGORIES,
    User,
    answers,
    differences,
    digest,
    others,
    question,
    question_users,
)
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl, Unanswered, until_answered

POD = "redis-0"
CLI = ["redis-cli", "-3", "--json"]
ARGUMENT_SPEC: dict[str, Any] = {
    "servers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"namespace": {"type": "str", "required": True}, "users": {"type": "list", "elements": "dict", "required": True}},
    },
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "wait_timeout": {"type": "int", "default": 0},
    **ARGUMENTS,
}


class RedisServer(NamedTuple):
    """One Redis: its users, and by user the environment, the password and the application that holds it."""

    namespace: str
    users: list[User]
    clients: Mapping[str, tuple[str, str, Application]]


def ask(kubectl: Kubectl, namespace: str, text: str) -> list[Any]:
    """The answers of redis-cli; raises Unanswered."""
    ok, said = kubectl.execute(namespace, POD, *CLI, text=text)
    try:
        found = answers(said) if ok else []
    except ValueError:
        found = []
    if len(found) != len(text.splitlines()):
        raise Unanswered(said.strip() or "no answer")
    refused = [item for item in found if isinstance(item, str) and item.startswith(("ERR", "NOPERM", "NOAUTH", "LOADING", "BUSY"))]
    if refused:
        raise Unanswered(refused[0])
    return found


def ensure(kubectl: Kubectl, server: RedisServer, check: bool, deadline: float) -> tuple[list[str], dict[str, list[str]]]:
    """What was set, or would be, and the passwords kept by environment; raises Unanswered."""
    names, *members = ask(kubectl, server.namespace, question())
    categories = {name: frozenset(found) for name, found in zip(CATEGORIES, members, strict=True)}
    found = dict(zip(names, ask(kubectl, server.namespace, question_users(names)), strict=True))
    kept = {}
    for user in server.users:
        _environment, password, application = server.clients[user.name]
        if others(user, found) and not application.held_by_all("REDIS_PASSWORD", password, deadline):
            kept[user.name] = others(user, found)
    changes = differences(server.users, found, categories, kept)
    if changes and not check:
        ask(kubectl, server.namespace, "".join(f"{command}\n" for _said, command in [*changes, ("", "ACL SAVE")]))
    return [f"{server.namespace}: {said}" for said, _command in changes], {server.clients[name][0]: digests for name, digests in kept.items()}


def ensure_in_time(kubectl: Kubectl, server: RedisServer, check: bool, deadline: float) -> tuple[list[str], dict[str, list[str]], str]:
    """(what was set, what is kept, why it is pending)."""
    deadline = 0 if check else deadline
    try:
        return *until_answered(lambda: ensure(kubectl, server, check, deadline), deadline), ""
    except Unanswered as error:
        return [], {}, str(error)


def read_server(kubectl: Kubectl, given: Mapping[str, Any], passwords: Mapping[str, Mapping[str, str]]) -> RedisServer:
    """A server as the task names it."""
    users, clients = [], {}
    for user in given["users"]:
        password = passwords[user["environment"]]["REDIS_PASSWORD"]
        users.append(User(user["name"], user["keys"], user["channels"], user["commands"], digest(password)))
        clients[user["name"]] = (user["environment"], password, Application(kubectl, user["application"]))
    return RedisServer(given["namespace"], users, clients)


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module's result."""
    kubectl = Kubectl(params["kubectl"], 30)
    deadline = time.monotonic() + params["wait_timeout"]
    servers = [read_server(kubectl, given, params["passwords"]) for given in params["servers"]]
    with ThreadPoolExecutor(WORKERS) as pool:
        asked = {server.namespace: pool.submit(ensure_in_time, kubectl, server, check, deadline) for server in servers}
        found = {namespace: answer.result() for namespace, answer in asked.items()}
    changes = [line for made, _kept, _why in found.values() for line in made]
    pending = {namespace: why for namespace, (_made, _kept, why) in found.items() if why}
    result: dict[str, Any] = {"pending": pending, "kept": {name: digests for _made, kept, _why in found.values() for name, digests in kept.items()}}
    if pending and params["wait_timeout"]:
        if not check:
            told = "\n".join(f"Redis of {name} does not answer after {params['wait_timeout']} s: {why}" for name, why in pending.items())
            return {**result, "failed": True, "msg": told}
        changes += [f"{namespace}: its users" for namespace in pending]
    diff = {"before": "", "after": "".join(f"{line}\n" for line in changes)}
    return {**result, "changed": bool(changes), "changes": changes, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    result = run(module.params, module.check_mode)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
