#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Access that accounts no longer have."""

from __future__ import annotations

DOCUMENTATION = r"""
module: former_operators
short_description: Take away the access of accounts that are no longer in the inventory
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Locks the accounts, ends their sessions, and removes the keys and the kubeconfig that the platform gave them. The accounts and their other
    files stay.
  - Their ServiceAccount, with which their tokens end, is removed by the role tenancy.
attributes:
  check_mode: {support: full, description: Changes nothing.}
  diff_mode: {support: full, description: "What is taken away, one line each."}
options:
  names:
    description: The accounts, C(former_operators) of M(shaka.platform.host_preflight).
    type: list
    elements: str
    required: true
  sudo:
    description: Whether there is an operator now, whose rule in C(/etc/sudoers.d) another task writes; without one it is removed.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Ensure former operators have no access
  shaka.platform.former_operators:
    names: [ana]
    sudo: false
"""

RETURN = r"""
taken:
  description: What was taken away, one line each.
  returned: success
  type: list
  elements: str
  sample: ["ana: its login", "ana: ~/.ssh/authorized_keys"]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute, commands_of
from ansible_collections.shaka.platform.plugins.module_utils.server import former

ARGUMENT_SPEC: dict[str, Any] = {"names": {"type": "list", "elements": "str", "required": True}, "sudo": {"type": "bool", "required": True}}


def run(names: list[str], sudo: bool, check_mode: bool, execute: Execute, root: Path = Path("/")) -> dict[str, Any]:
    """The result of the module; raises StillThere or OSError."""
    taken = [f"{name}: {what}" for name in names for what in former.access_of(name, root)]
    stale = not sudo and (root / former.SUDOERS).exists()
    taken += [f"/{former.SUDOERS}"] if stale else []
    if not check_mode:
        for name in names:
            former.take_away(name, execute, root)
        if stale:
            former.take_sudo_away(root)
    return {"changed": bool(taken), "taken": taken, "diff": {"before": "".join(f"{line}\n" for line in taken), "after": ""}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params["names"], module.params["sudo"], module.check_mode, commands_of(module))
    except (former.StillThere, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
