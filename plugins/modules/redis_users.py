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
      users: {description: "Its users: C(environment), C(name), C(keys), C(channels), C(commands).", type: list, elements: dict, required: true}
  passwords:
    description: Environment name to C(REDIS_PASSWORD).
    type: dict
    required: true
  keep_passwords:
    description: Whether a user's other passwords stay valid, while its clients change over.
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
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.redis_users import (
    CATEGORIES,
    User,
    answers,
    differences,
    digest,
    question,
    question_users,
)

POD = "redis-0"
PAUSE = 1.0  # seconds between two looks
THREADS = 8
CLI = ["redis-cli", "-3", "--json"]
ARGUMENT_SPEC: dict[str, Any] = {
    "servers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"namespace": {"type": "str", "required": True}, "users": {"type": "list", "elements": "dict", "required": True}},
    },
    "passwords": {"type": "dict", "required": True, "no_log": True},
    "keep_passwords": {"type": "bool", "default": False, "no_log": False},
    "wait_timeout": {"type": "int", "default": 0},
    **ARGUMENTS,
}


class Unanswered(Exception):
    """A Redis does not answer (yet)."""


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


def ensure(kubectl: Kubectl, namespace: str, users: list[User], keep_passwords: bool, check: bool) -> list[str]:
    """What was set, or would be; raises Unanswered."""
    names, *members = ask(kubectl, namespace, question())
    categories = {name: frozenset(found) for name, found in zip(CATEGORIES, members, strict=True)}
    found = dict(zip(names, ask(kubectl, namespace, question_users(names)), strict=True))
    changes = differences(users, found, categories, keep_passwords)
    if changes and not check:
        ask(kubectl, namespace, "".join(f"{command}\n" for _said, command in changes))
    return [f"{namespace}: {said}" for said, _command in changes]


def ensure_in_time(kubectl: Kubectl, namespace: str, users: list[User], keep: bool, check: bool, deadline: float) -> tuple[list[str], str]:
    """(what was set, why it is pending)."""
    while True:
        try:
            return ensure(kubectl, namespace, users, keep, check), ""
        except Unanswered as error:
            if check or time.monotonic() > deadline:
                return [], str(error)
        time.sleep(PAUSE)


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module's result."""
    kubectl = Kubectl(params["kubectl"], 30)
    deadline = time.monotonic() + params["wait_timeout"]
    wanted = {
        server["namespace"]: [
            User(user["name"], user["keys"], user["channels"], user["commands"], digest(params["passwords"][user["environment"]]["REDIS_PASSWORD"]))
            for user in server["users"]
        ]
        for server in params["servers"]
    }
    with ThreadPoolExecutor(THREADS) as pool:
        asked = {
            namespace: pool.submit(ensure_in_time, kubectl, namespace, users, params["keep_passwords"], check, deadline)
            for namespace, users in wanted.items()
        }
        found = {namespace: answer.result() for namespace, answer in asked.items()}
    changes = [line for made, _why in found.values() for line in made]
    pending = {namespace: why for namespace, (_made, why) in found.items() if why}
    result: dict[str, Any] = {"pending": pending}
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
