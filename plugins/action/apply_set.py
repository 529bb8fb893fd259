# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the calling role's templates on the controller and hands the objects, and the secrets they refer to, to the module."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.shaka.platform.plugins.plugin_utils.ansible_settings import connection_flaw
from ansible_collections.shaka.platform.plugins.plugin_utils.field_query import QueryError
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import render_role
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.request import Variables, digest_of, request_of
from ansible_collections.shaka.platform.plugins.plugin_utils.report.ignore_rules import VARIABLE, IgnoreRule, in_force, mark, read_rules


class ActionModule(ActionBase):  # type: ignore[misc]
    """See the module's documentation."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises AnsibleActionFail for anything wrong in the role or the inventory."""
        super().run(tmp, task_vars)
        scope: dict[str, Any] = task_vars or {}
        if "role_path" not in scope:
            raise AnsibleActionFail("apply_set renders the templates of the role it is called from: call it in a role")
        variables = Variables(self._templar, scope)
        model = variables.value("platform_model")
        if not model:
            raise AnsibleActionFail("the fact platform_model is missing: list the role shaka.platform.platform, which makes it, before this one")
        started = time.monotonic()
        path = Path(scope["role_path"])
        role, sets = path.name, render_role(path, self._templar, scope, model)
        request = request_of(role, sets, variables, model, self._task.args)
        if request["secrets"] and (flaw := connection_flaw(self._connection)):
            raise AnsibleActionFail(flaw)
        self._display.vvv(f"apply_set: {sum(len(part.objects) for part in sets)} objects of {role} rendered in {time.monotonic() - started:.2f} s")
        surveyed = ((scope.get("survey_result") or {}).get("unchanged") or {}).get(role)
        if surveyed and surveyed["digest"] == digest_of(request):
            return {**surveyed["result"], "surveyed": True}
        rules = self._ignore_rules(variables)
        request["states"] = bool(rules)
        result: dict[str, Any] = self._execute_module(module_name="shaka.platform.apply_set", module_args=request, task_vars=scope)
        try:
            for entry in result.get("objects") or [] if rules else []:
                mark(entry, rules)
        except QueryError as error:
            raise AnsibleActionFail(str(error)) from None
        return result

    def _ignore_rules(self, variables: Variables) -> list[IgnoreRule]:
        """What the inventory ignores; in check mode alone, as a real run puts everything right."""
        entries = variables.value(VARIABLE) if self._task.check_mode else None
        return in_force(read_rules(entries), datetime.now(UTC).date())
