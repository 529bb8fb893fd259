# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders every role of the site and asks the cluster once which of them would change nothing; see the module of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.shaka.platform.plugins.plugin_utils.ansible_settings import connection_flaw
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import render_site
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.request import Variables, digest_of, request_of


def trusted(order: Iterable[str], unchanged: Mapping[str, Any], check: bool) -> list[str]:
    """The roles whose answer still holds when their turn comes: in a real run those before the first one that changes something."""
    kept = []
    for role in order:
        if role in unchanged:
            kept.append(role)
        elif not check:
            break
    return kept


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no type information
    """See the module's documentation."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        scope: dict[str, Any] = task_vars or {}
        model = Variables(self._templar, scope).value("platform_model")
        requests: dict[str, dict[str, Any]] = {}
        for role in render_site(self._loader, self._templar, scope, model):
            requests[role.name] = request_of(role.name, role.sets, Variables(role.templar, role.scope), model, {})
        arguments = {
            "requests": [{name: value for name, value in request.items() if name != "secrets"} for request in requests.values()],
            "secrets": {role: request["secrets"] for role, request in requests.items()},
        }
        if any(request["secrets"] for request in requests.values()) and (flaw := connection_flaw(self._connection)):
            raise AnsibleActionFail(flaw)
        result: dict[str, Any] = self._execute_module(module_name="shaka.platform.survey_sets", module_args=arguments, task_vars=scope)
        if result.get("failed"):
            return result
        answers: dict[str, Any] = result.pop("unchanged", {})
        kept = trusted(requests, answers, self._task.check_mode)
        others = [role for role in requests if role not in kept]
        result["unchanged"] = {role: {"digest": digest_of(requests[role]), "result": answers[role]} for role in kept}
        result["msg"] = f"to be applied: {', '.join(others)}" if others else "the cluster has every set as the inventory says"
        return result
