#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_identity
short_description: Which Postgres runs in each environment
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Asks each environment's Postgres for its system identifier, which it got when its volume was made, and which is part of its backups' path. The
    cluster's own stands for it in the paths of copies of Redis.
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: none, description: It changes nothing.}
options:
  environments: {description: C(platform_model.environments)., type: dict, required: true}
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Find out which Postgres runs in each environment
  shaka.platform.postgres_identity:
    environments: "{{ platform_model.environments }}"
"""

RETURN = r"""
identifiers:
  description: Environment to system identifier; without those whose Postgres does not answer.
  returned: success
  type: dict
cluster: {description: The cluster's identifier; empty where it cannot be told., returned: success, type: str}
unanswered:
  description: Environment to the reason why its Postgres does not answer.
  returned: success
  type: dict
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.backup import cluster
from ansible_collections.shaka.platform.plugins.module_utils.conventions import WORKERS
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import POD, PSQL
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl

QUESTION = "select system_identifier from pg_control_system()"


def ask(kubectl: Kubectl, environment: Mapping[str, Any]) -> tuple[str, str]:
    """(its identifier, '') or ('', why not)."""
    ok, output = kubectl.execute(environment["namespace"], POD, *PSQL, "--tuples-only", "--no-align", text=QUESTION)
    return (output.strip(), "") if ok and output.strip().isdigit() else ("", output.strip() or "no answer")


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec={"environments": {"type": "dict", "required": True}, **ARGUMENTS}, supports_check_mode=True)
    kubectl = Kubectl(module.params["kubectl"], 30)
    environments = module.params["environments"]
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = dict(zip(environments, pool.map(lambda env: ask(kubectl, env), environments.values()), strict=True))
    module.exit_json(
        changed=False,
        cluster=cluster.ask(kubectl),
        identifiers={name: identifier for name, (identifier, _why) in answers.items() if identifier},
        unanswered={name: why for name, (_identifier, why) in answers.items() if why},
    )


if __name__ == "__main__":
    main()
