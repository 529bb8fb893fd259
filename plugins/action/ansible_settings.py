# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuses Ansible's own settings where they would hide a result or leave secrets behind; see the module of the same name for its documentation."""

from __future__ import annotations

import os
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.plugin_utils.ansible_settings import (
    NOT_LOADED,
    REPORT,
    AnsibleSettings,
    advice,
    connection_flaw,
    message,
    missing_lines,
)

display = Display()
ARGUMENT_SPEC: dict[str, Any] = {"report": {"type": "str", "default": ""}}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no type information
    """Looks at the connection, but does not connect."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables, report = task_vars or {}, self.validate_argument_spec(ARGUMENT_SPEC)[1]["report"]
        flaws = [flaw for flaw in (connection_flaw(self._connection),) if flaw]
        if variables["inventory_hostname"] == variables["ansible_play_hosts_all"][0]:
            flaws += self._settings_flaws(report)
        return {**result, "changed": False, **({"failed": True, "msg": "; ".join(flaws)} if flaws else {})}

    @staticmethod
    def _settings_flaws(report: str) -> list[str]:
        """Prints the lines that are missing, all at once, and names those that are needed."""
        settings = AnsibleSettings(
            file=constants.CONFIG_FILE,
            callbacks=constants.CALLBACKS_ENABLED,
            report_loaded=os.environ.get("SHAKA_PLATFORM_REPORT") == "loaded",
            any_unparsed_is_failed=bool(constants.INVENTORY_ANY_UNPARSED_IS_FAILED),
            ignore_patterns=constants.INVENTORY_IGNORE_PATTERNS,
            facts_as_vars=bool(constants.INJECT_FACTS_AS_VARS),
        )
        lines = missing_lines(settings, report)
        needed = [line.key for line in lines if line.needed]
        if needed:
            display.display(f"\n{message(lines, settings.file)}\n")
            return [f"ansible.cfg lacks {', '.join(needed)}; the lines to add are printed above"]
        if lines:
            display.display(advice(lines))
        return [NOT_LOADED] if report and REPORT in settings.callbacks and not settings.report_loaded else []
