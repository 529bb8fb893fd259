#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_effective
short_description: Waits until the node is Ready, and looks whether K3s's hardening is in force
version_added: 0.1.0
author: The shaka.platform founders (@shaka-platform)
description:
  - K3s skips what it does not know in its configuration, so the files prove nothing. This asks the running server - as a client that it must refuse,
    as the administrator by dry run, and its datastore - and fails with what is not as it should be.
  - It writes nothing but a Secret of its own, which it removes, and that only where there is no Secret at all to look at.
attributes:
  check_mode: {support: full, description: "It looks once, and returns what it finds in RV(platform_findings) instead of failing."}
  diff_mode: {support: none, description: It changes nothing.}
options:
  node: {description: Name of the node., type: str, required: true}
  labels: {description: "Labels of the node, C(name=value).", type: list, elements: str, default: []}
  kubelet: {description: Fields of the kubelet's configuration and their values., type: dict, default: {}}
  kubelet_arguments: {description: "Flags of the kubelet, C(name=value), which stand over O(kubelet).", type: list, elements: str, default: []}
  pod_security: {description: Standard for namespaces without a label., type: str, default: restricted, choices: [restricted, baseline, privileged]}
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
  description: What is not as it should be, one sentence each.
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

SETTLING = 15.0  # seconds within which what follows a start (labels, the kubelet's configuration, the audit log) must be there


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
    wanted: dict[str, Any] = module.params
    api = ApiProbe(Path(wanted["state"]))
    try:
        wait_until_ready(api, wanted["node"], 0 if module.check_mode else wanted["timeout"], PAUSE)
    except NotReady as error:
        if module.check_mode:
            module.exit_json(changed=False, platform_findings=[str(error)])
        module.fail_json(msg=str(error))
    deadline = time.monotonic() + (0 if module.check_mode else SETTLING)
    while (found := findings(api, wanted, may_write=not module.check_mode)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    if found and not module.check_mode:
        module.fail_json(msg="K3s does not run as configured:\n" + "\n".join(f"- {sentence}" for sentence in found), platform_findings=found)
    module.exit_json(changed=False, platform_findings=found)


if __name__ == "__main__":
    main()
