#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which roles' objects the cluster has as they are wanted."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: survey_sets
short_description: Ask the cluster once which roles of the site would change nothing
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Renders the objects of every role of C(playbooks/site.yml) and compares all of them with the cluster, by server-side dry runs in one process.
    Nothing is changed.
  - M(shaka.platform.apply_set) then answers for a role that would change nothing without asking the cluster again, as long as it is asked for exactly
    what was compared here, and no role before it has something to change. It finds the answers in the registered result C(survey_result).
  - A role is left to M(shaka.platform.apply_set) where an object would change, be pruned, or is not ready, and where anything was refused.
    Before there is a cluster that goes for all of them.
options:
  requests:
    description: The arguments of M(shaka.platform.apply_set) for each role, without its secrets. Filled in by the action plugin.
    type: list
    elements: dict
    default: []
  secrets:
    description: Role to the secrets that its objects refer to. Filled in by the action plugin.
    type: dict
    default: {}
  python:
    description: Interpreter on the server that has urllib3 and PyYAML, used when the module's own has not.
    type: path
    default: /var/lib/shaka/venv/bin/python
attributes:
  check_mode:
    support: full
    description: It changes nothing in any mode.
  diff_mode:
    support: none
    description: It changes nothing.
"""

EXAMPLES = r"""
- name: See which roles have something to change
  shaka.platform.survey_sets:
  register: survey_result
"""

RETURN = r"""
msg:
  description: The roles that have to be applied.
  type: str
  returned: success
  sample: "to be applied: api, backup"
unchanged:
  description: Role to the C(digest) of what was compared, and the C(result) that applying it would return.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.engine.worker import survey_sets

# The options of apply_set that a request may leave out, as apply_set has them.
DEFAULTS: dict[str, Any] = {
    "manifests": [],
    "states": False,
    "kubeconfig": "/etc/rancher/k3s/k3s.yaml",
    "wait": True,
    "wait_timeout": 300,
    "prune": True,
    "delete": [],
    "controllers": [],
}


def main() -> None:
    arguments = {
        "requests": {"type": "list", "elements": "dict", "default": []},
        "secrets": {"type": "dict", "default": {}, "no_log": True},
        "python": {"type": "path", "default": "/var/lib/shaka/venv/bin/python"},
    }
    # no_log of the whole module concerns the server's journal only, as in apply_set.
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True, no_log=True)
    secrets = module.params["secrets"]
    requests = [{**DEFAULTS, **request, "secrets": secrets.get(request["role"]) or {}} for request in module.params["requests"]]
    module.params["requests"] = [f"{request['role']}: {len(request['sets'])} sets" for request in requests]
    try:
        unchanged = survey_sets(module.params["python"], requests) if requests else {}
    except (OSError, RuntimeError, ValueError) as error:
        module.fail_json(msg=f"survey_sets could not run: {error}")
    module.exit_json(changed=False, unchanged=unchanged)


if __name__ == "__main__":
    main()
