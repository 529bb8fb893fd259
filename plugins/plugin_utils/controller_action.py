# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the actions have in common that run on the controller alone."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.plugins.action import ActionBase


class ControllerAction(ActionBase):  # type: ignore[misc]  # ansible-core has no type information
    """An action without a connection, whose arguments are checked as a module's are."""

    _requires_connection = False
    _supports_check_mode = True
    argument_spec: ClassVar[dict[str, Any]]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        return {**result, **self.answer(self.validate_argument_spec(self.argument_spec)[1], dict(task_vars or {}))}

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The task's result."""
        raise NotImplementedError
