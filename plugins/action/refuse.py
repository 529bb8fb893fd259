# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ends the run with one readable list; see the module of the same name for its documentation."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()
ARGUMENT_SPEC: dict[str, Any] = {
    "problems": {"type": "list", "elements": "str", "required": True},
    "message": {"type": "str", "default": ""},
    "findings": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no type information
    """Runs on the controller alone."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(ARGUMENT_SPEC)[1]
        problems: list[str] = arguments["problems"]
        result["changed"] = False
        if arguments["findings"]:
            result["platform_findings"] = problems
        elif problems:
            result["failed"] = True
            if arguments["message"]:
                display.display(f"\n{arguments['message']}\n")
                problems = ["listed above", *(problem.split(": ", 1)[0] for problem in problems)]
            result["msg"] = f"refused before anything was changed: {'; '.join(problems)}"
        return result
