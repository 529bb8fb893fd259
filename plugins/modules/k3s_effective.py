#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_effective
short_description: Wait until the node is Ready, and check that K3s's hardening is in force
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - K3s ignores unknown keys of its configuration, so the files prove nothing. This module asks the running server - anonymously, as the
    administrator by dry run, and its datastore - and fails with a list of what is wrong.
  - It writes only a Secret of its own, and removes it; only where the datastore has no Secret to look at.
attributes:
  check_mode:
    description: Checks once, and returns the findings in RV(platform_findings) instead of failing.
    support: full
  diff_mode: {support: none, description: It changes nothing.}
options:
  node: {description: Name of the node., type: str, required: true}
  labels:
    description: Labels of the node, C(name=value).
    type: list
    elements: str
    default: []
  kubelet:
    description: Fields of the kubelet's configuration and their values.
    type: dict
    default: {}
  kubelet_arguments:
    description: Flags of the kubelet, C(name=value), which override O(kubelet).
    type: list
    elements: str
    default: []
  pod_security:
    description: Standard for namespaces without a label.
    type: str
    default: restricted
    choices: [restricted, baseline, privileged]
  encryption: {description: Provider that encrypts Secrets., type: str, default: secretbox}
  audit_log: {description: The API server's audit log., type: path, required: true}
  state: {description: K3s's directory., type: path, default: /var/lib/rancher/k3s}
  timeout: {description: Seconds until the node must be Ready., type: int, default: 600}
"""

EXAMPLES = r"""
- name: Ensure the node is Ready and the hardening in force
  shaka.platform.k3s_effective:
    node: server-1
    audit_log: /var/lib/rancher/k3s/server/logs/audit.log
"""

RETURN = r"""
platform_findings:
  description: What is wrong, one sentence each.
  returned: when the node is Ready, or in check mode
  type: list
  elements: str
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.module_utils.verify.hardening import ApiProbe, NotReady, findings, wait_until_ready

SETTLING = 15.0  # seconds after a start within which labels, the kubelet's configuration and the audit log must be in place


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "labels": {"type": "list", "elements": "str", "default": []},
            "kubelet": {"type": "dict", "default": {}},
            "kubelet_arguments": {"type": "list", "elements": "str", "default": []},
            "pod_security": {"type": "str", "default": "restricted", "choices": ["restricted", "baseline", "privileged"]},
            "encryption": {"type": "str", "default": "secretbox"},
            "audit_log": {"type": "path", "required": True},
            "state": {"type": "path", "default": "/var/lib/rancher/k3s"},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    expected: dict[str, Any] = module.params
    api = ApiProbe(Path(expected["state"]))
    try:
        wait_until_ready(api, expected["node"], 0 if module.check_mode else expected["timeout"], PAUSE)
    except NotReady as error:
        if module.check_mode:
            module.exit_json(changed=False, platform_findings=[str(error)])
        module.fail_json(msg=str(error))
    deadline = time.monotonic() + (0 if module.check_mode else SETTLING)
    while (wrong := findings(api, expected, may_write=not module.check_mode)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    if wrong and not module.check_mode:
        module.fail_json(msg="K3s does not run as configured:\n" + "\n".join(f"- {sentence}" for sentence in wrong), platform_findings=wrong)
    module.exit_json(changed=False, platform_findings=wrong)


if __name__ == "__main__":
    main()
