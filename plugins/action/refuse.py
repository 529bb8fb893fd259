# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ends the run with one readable list; see the module of the same name for its documentation."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction

display = Display()
ARGUMENT_SPEC: dict[str, Any] = {
    "problems": {"type": "list", "elements": "str", "required": True},
    "message": {"type": "str", "default": ""},
    "findings": {"type": "bool", "default": False},
    "warnings": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ControllerAction):
    """Runs on the controller alone."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        problems: list[str] = arguments["problems"]
        warned = {"warnings": arguments["warnings"]} if arguments["warnings"] else {}
        if arguments["findings"]:
            return {"changed": False, "platform_findings": problems, **warned}
        if not problems:
            return {"changed": False, **warned}
        if arguments["message"]:
            display.display(f"\n{arguments['message']}\n")
            problems = ["listed above", *(problem.split(": ", 1)[0] for problem in problems)]
        return {"failed": True, "msg": f"refused before anything was changed: {'; '.join(problems)}"}
