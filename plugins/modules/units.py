#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Enable and start several systemd units in one call
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Enables and starts the units that are not running. One call handles all units, because each task over SSH costs about half a second.
  - A unit whose own conditions are not met on the server (systemd-timesyncd in a container, which may not set the clock) is left as it is and
    listed in RV(skipped_units).
attributes:
  check_mode:
    description: Compares only; a unit that is not installed yet would be started.
    support: full
  diff_mode: {support: full, description: States before and after.}
options:
  units:
    description: Names, with their suffix, of units to be enabled and active.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Ensure time synchronisation and security updates are on
  shaka.platform.units:
    units: [systemd-timesyncd.service, apt-daily-upgrade.timer]
"""

RETURN = r"""
started:
  description: The units that were enabled or started.
  returned: success
  type: list
  elements: str
skipped_units:
  description: The units whose conditions are not met, each with the reason.
  returned: success
  type: list
  elements: str
next:
  description: When each timer elapses next, as systemd writes it.
  returned: success
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute, commands_of

PROPERTIES = "Id,LoadState,UnitFileState,ActiveState,ConditionResult,ConditionTimestampMonotonic,NextElapseUSecRealtime"


class UnitError(Exception):
    """A unit is not installed or does not start; the text names it."""


def show(units: list[str], execute: Execute) -> dict[str, dict[str, str]]:
    """Unit -> its properties. systemctl prints one block per unit, in the order of its arguments."""
    code, out, err = execute(["systemctl", "show", f"--property={PROPERTIES}", *units])
    if code != 0:
        raise UnitError(f"systemctl show: {err.strip()}")
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n")]
    return dict(zip(units, blocks, strict=True))


def refused(properties: dict[str, str]) -> bool:
    """Whether systemd tried the unit and its conditions were not met."""
    return properties["ActiveState"] == "inactive" and properties["ConditionResult"] == "no" and properties["ConditionTimestampMonotonic"] != "0"


def state(properties: dict[str, str]) -> str:
    """The state for a diff: 'enabled, active'."""
    return f"{properties['UnitFileState'] or properties['LoadState']}, {properties['ActiveState']}"


def is_right(properties: dict[str, str]) -> bool:
    """Whether a unit is enabled (where it can be) and active (where its conditions allow it)."""
    enabled = properties["UnitFileState"] in ("enabled", "static", "alias", "indirect", "generated")
    return enabled and (properties["ActiveState"] in ("active", "activating") or refused(properties))


def run(units: list[str], check_mode: bool, execute: Execute) -> dict[str, Any]:
    """The result of the module."""
    before = show(units, execute) if units else {}
    wrong = [unit for unit in units if not is_right(before[unit])]
    after = before
    if wrong and not check_mode:
        missing = [unit for unit in wrong if before[unit]["LoadState"] == "not-found"]
        if missing:
            raise UnitError(f"{', '.join(missing)}: not installed; install the package that brings it, or set its host_manage_* toggle to false")
        masked = [unit for unit in wrong if before[unit]["LoadState"] == "masked"]
        for command in (["unmask", *masked] if masked else [], ["enable", "--now", *wrong]):
            code, out, err = execute(["systemctl", *command]) if command else (0, "", "")
            if code != 0:
                raise UnitError(f"systemctl {' '.join(command)}: {(err or out).strip()}")
        after = show(units, execute)
        failed = [f"{unit}: {state(after[unit])}" for unit in wrong if not is_right(after[unit])]
        if failed:
            raise UnitError(f"not running after its start: {'; '.join(failed)}; journalctl --unit on the server says why")
    reached = {unit: "enabled, active" if check_mode else state(after[unit]) for unit in wrong}
    return {
        "changed": bool(wrong),
        "started": wrong,
        "skipped_units": [f"{unit}: a condition of the unit is not met on this server" for unit in units if refused(after[unit])],
        "next": {unit: after[unit]["NextElapseUSecRealtime"] for unit in units if after[unit].get("NextElapseUSecRealtime")},
        "diff": {
            "before": "".join(f"{unit}: {state(before[unit])}\n" for unit in wrong),
            "after": "".join(f"{unit}: {text}\n" for unit, text in reached.items()),
        },
    }


def main() -> None:
    module = AnsibleModule(argument_spec={"units": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True)
    try:
        result = run(module.params["units"], module.check_mode, commands_of(module))
    except UnitError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
