#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A step of a move of the platform from one server to another, on one of the two."""

from __future__ import annotations

DOCUMENTATION = r"""
module: move_server
short_description: A step of a move of the platform from one server to another
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - What C(playbooks/move.yml) does beside the roles restore and backup. Each step may be run again, and does what is left of it.
  - What a server has to remember between runs is in the ConfigMap C(platform-move) of its namespace C(kube-system).
attributes:
  check_mode: {support: full, description: Steps that change something say what they would do.}
  diff_mode: {support: none, description: Nothing of it is a file.}
options:
  step:
    description:
      - V(look) whether there is a platform, and whether a move to this server is complete.
      - V(read_certificates) returns cert-manager's certificates and ACME accounts with their keys; use it with C(no_log).
      - V(write_certificates) makes those Secrets here.
      - V(stop) scales applications and pools of connections to zero, notes how many they were, and fails while somebody else uses a database. What
        V(complete) noted is over then.
      - V(start) undoes it.
      - V(complete) notes that this server has everything, and lets Postgres count from now on.
      - V(written) says what was written since.
    type: str
    required: true
    choices: [look, read_certificates, write_certificates, stop, start, complete, written]
  environments:
    description: All environments of the platform, C(all_environments) of the fact C(platform_model).
    type: dict
    required: true
  secrets:
    description: What O(step=read_certificates) returned.
    type: list
    elements: dict
    default: []
  namespaces:
    description: The namespaces that it returned for them, which are made where they are missing.
    type: list
    elements: dict
    default: []
  stopped:
    description: For O(step=complete), since when the other server is stopped, as O(step=stop) returned it.
    type: str
    default: ""
  wait_timeout:
    description: Seconds that O(step=start) waits for each application.
    type: int
    default: 300
  timeout:
    description: Seconds for each single question.
    type: int
    default: 330
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Stop the applications, and note how many replicas they had
  shaka.platform.move_server:
    step: stop
    environments: "{{ platform_model.all_environments }}"
"""

RETURN = r"""
cluster: {description: Whether a cluster answers., returned: step is look, type: bool}
complete: {description: "When a move to this server was complete, in UTC; empty if none was.", returned: step is look, type: str}
running: {description: Applications with pods., returned: step is look, type: list, elements: str}
secrets: {description: Secrets with their content., returned: step is read_certificates, type: list, elements: dict}
namespaces: {description: The namespaces that these are in., returned: step is read_certificates, type: list, elements: dict}
written: {description: What was or would be written., returned: step is write_certificates or written, type: list, elements: str}
stopped: {description: "Since when the applications are stopped, in UTC.", returned: step is stop, type: str}
seconds: {description: Seconds since O(stopped)., returned: step is complete, type: int}
changed_deployments: {description: What was scaled., returned: step is stop or start, type: list, elements: str}
"""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import UTC
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.module_utils.move import certificates, record, writers, written
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import RefusedStatement

MOMENT = "%Y-%m-%dT%H:%M:%SZ"
ARGUMENT_SPEC: dict[str, Any] = {
    "step": {
        "type": "str",
        "required": True,
        "choices": ["look", "read_certificates", "write_certificates", "stop", "start", "complete", "written"],
    },
    "environments": {"type": "dict", "required": True},
    "secrets": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "namespaces": {"type": "list", "elements": "dict", "default": []},
    "stopped": {"type": "str", "default": ""},
    "wait_timeout": {"type": "int", "default": 300},
    "timeout": {"type": "int", "default": 330},
    **ARGUMENTS,
}
Result = dict[str, Any]
Given = Mapping[str, Any]
Environments = Mapping[str, Environment]


def look(kubectl: Kubectl, environments: Environments, _given: Given) -> Result:
    try:
        known = record.read(kubectl)
        running = [place for place, count in writers.workloads(kubectl, environments) if count]
    except Unanswered as error:
        return {"changed": False, "cluster": False, "complete": "", "running": [], "problem": str(error)}
    return {"changed": False, "cluster": True, "complete": known.get(record.COMPLETE, ""), "running": running}


def read_certificates(kubectl: Kubectl, _environments: Environments, _given: Given) -> Result:
    found = certificates.read(kubectl)
    return {"changed": False, "secrets": found, "namespaces": certificates.namespaces(kubectl, found)}


def write_certificates(kubectl: Kubectl, _environments: Environments, given: Given) -> Result:
    done = certificates.write(kubectl, given["secrets"], given["namespaces"], given["check"])
    return {"changed": bool(done), "written": done}


def stop(kubectl: Kubectl, environments: Environments, given: Given) -> Result:
    if given["check"]:
        running = [place for place, count in writers.workloads(kubectl, environments) if count]
        return {"changed": bool(running), "changed_deployments": running, "stopped": now()}
    scaled, stopped = writers.stop(kubectl, environments, now())
    return {"changed": bool(scaled), "changed_deployments": scaled, "stopped": stopped}


def start(kubectl: Kubectl, _environments: Environments, given: Given) -> Result:
    if given["check"]:
        return {"changed": record.REPLICAS in record.read(kubectl), "changed_deployments": []}
    scaled = writers.start(kubectl, given["wait_timeout"])
    return {"changed": bool(scaled), "changed_deployments": scaled}


def complete(kubectl: Kubectl, environments: Environments, given: Given) -> Result:
    if not given["check"]:
        written.begin(kubectl, environments, now())
    began = datetime.datetime.strptime(given["stopped"], MOMENT).replace(tzinfo=UTC)
    return {"changed": True, "seconds": int((datetime.datetime.now(UTC) - began).total_seconds())}


def written_since(kubectl: Kubectl, environments: Environments, _given: Given) -> Result:
    return {"changed": False, "written": written.since(kubectl, environments)}


STEPS: Mapping[str, Callable[[Kubectl, Environments, Given], Result]] = {
    "look": look,
    "read_certificates": read_certificates,
    "write_certificates": write_certificates,
    "stop": stop,
    "start": start,
    "complete": complete,
    "written": written_since,
}


def now() -> str:
    return datetime.datetime.now(UTC).strftime(MOMENT)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    kubectl = Kubectl(params["kubectl"], params["timeout"])
    try:
        result = STEPS[params["step"]](kubectl, params["environments"], {**params, "check": module.check_mode})
    except (RefusedStatement, Unanswered, writers.StillWritten) as error:
        if module.check_mode and isinstance(error, Unanswered):
            result = {"changed": True, "msg": f"not looked up, as there is no cluster yet: {error}"}
        else:
            module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
