#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: remote_access
short_description: Change packet filter and sshd without locking the operator out
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Validates the new rules of the nftables table C(inet shaka) and the new settings of sshd, saves the active ones, starts a timer on the
    server that would restore them, and activates the new ones. Then it makes a second connection to the server while the first is still open.
    When the second connection gets in, the timer is stopped. When it does not, the previous rules and settings are restored at once over the
    first connection; where that is cut off too, the timer restores them.
  - Compares the running state, not only files; so it finds rules that were changed by hand, and a run that was interrupted. When nothing
    differs, it makes one call to the server and no second connection.
  - The settings must be in force after sshd has read all its files (C(sshd -T)). If they are not, they are undone, and the message names the
    setting that wins.
  - A restart of the server before the confirmation undoes the change too, by a unit that is there as long as the change is unconfirmed.
attributes:
  action: {description: The second connection is made by the controller., support: full}
  check_mode: {support: full, description: Compares only.}
  diff_mode: {support: full, description: Texts before and after.}
options:
  firewall:
    description: The packet filter; left as it is when this is not set.
    type: dict
    suboptions:
      rules:
        description: The whole file of rules, which replaces its own table in one transaction.
        type: str
        required: true
      rules_file: {description: Where the rules are kept., type: path, required: true}
      unit: {description: "The unit that loads them, as text.", type: str, required: true}
      unit_file: {description: Where the unit is kept., type: path, required: true}
      drop_in: {description: "What Debian's C(nftables.service) does besides, as text.", type: str, required: true}
      drop_in_file: {description: Where that is kept., type: path, required: true}
  sshd:
    description: sshd; left as it is when this is not set.
    type: dict
    suboptions:
      settings:
        description: The whole file; the settings before its first Match must be in force.
        type: str
        required: true
      settings_file:
        description: Its place, under a directory that sshd_config includes first.
        type: path
        required: true
  confirm_seconds:
    description: Seconds after which an unconfirmed change is undone.
    type: int
    default: 120
  phase:
    description: Which step is taken; set by the action itself.
    type: str
    choices: [apply, confirm, undo]
    default: apply
"""

EXAMPLES = r"""
- name: Ensure SSH by key only
  shaka.platform.remote_access:
    sshd:
      settings: "PasswordAuthentication no\n"
      settings_file: /etc/ssh/sshd_config.d/00-shaka.conf
"""

RETURN = r"""
unconfirmed:
  description: Whether a change still waits for its confirmation; never after the task succeeded.
  returned: success
  type: bool
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import commands_of, user_of_connection
from ansible_collections.shaka.platform.plugins.module_utils.server.access import AccessError, File, Firewall, Part, Sshd
from ansible_collections.shaka.platform.plugins.module_utils.server.commit_confirm import Commit

ARGUMENT_SPEC: dict[str, Any] = {
    "firewall": {
        "type": "dict",
        "options": {
            "rules": {"type": "str", "required": True},
            "rules_file": {"type": "path", "required": True},
            "unit": {"type": "str", "required": True},
            "unit_file": {"type": "path", "required": True},
            "drop_in": {"type": "str", "required": True},
            "drop_in_file": {"type": "path", "required": True},
        },
    },
    "sshd": {
        "type": "dict",
        "options": {"settings": {"type": "str", "required": True}, "settings_file": {"type": "path", "required": True}},
    },
    "confirm_seconds": {"type": "int", "default": 120},
    "phase": {"type": "str", "choices": ["apply", "confirm", "undo"], "default": "apply"},
}


def parts(params: dict[str, Any], user: str) -> list[Part]:
    """The parts that the arguments name."""
    result: list[Part] = []
    if firewall := params["firewall"]:
        rules = File(Path(firewall["rules_file"]), firewall["rules"], 0o600, "nft --check --file %s")
        drop_in = File(Path(firewall["drop_in_file"]), firewall["drop_in"], 0o644)
        result.append(Firewall(rules, File(Path(firewall["unit_file"]), firewall["unit"], 0o644), drop_in))
    if sshd := params["sshd"]:
        result.append(Sshd(File(Path(sshd["settings_file"]), sshd["settings"], 0o600, "/usr/sbin/sshd -t -f %s"), user))
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    commit = Commit(parts(module.params, user_of_connection()), commands_of(module))
    result: dict[str, Any] = {"changed": True, "unconfirmed": False}
    try:
        if module.params["phase"] == "confirm":
            commit.confirm()
        elif module.params["phase"] == "undo":
            commit.undo()
        else:
            result = commit.apply(module.check_mode, module.params["confirm_seconds"])
    except (AccessError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
