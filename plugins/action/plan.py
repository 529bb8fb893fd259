# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders what the site would apply and compares it with the server's size; see the module of the same name for its documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Model
from ansible_collections.shaka.platform.plugins.module_utils.quantities import QuantityError
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.fit import FitPlan, counted_size, make_plan
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import RenderedSet, render_site
from ansible_collections.shaka.platform.plugins.plugin_utils.report.tables import grouped

display = Display()
ARGUMENT_SPEC: dict[str, Any] = {
    "show": {"type": "str", "choices": ["all", "verdict"], "default": "all"},
    "findings": {"type": "bool", "default": False},
    "report": {"type": "path", "default": ""},
    "model": {"type": "dict", "default": {}},
}


def objects_of(sets: Sequence[RenderedSet]) -> Iterator[dict[str, str]]:
    """What is in the sets, by name."""
    for rendered in sets:
        for objects, note in ((rendered.objects, ""), (rendered.patches, " (patched)")):
            for item in objects:
                meta = item.get("metadata") or {}
                yield {
                    "set": rendered.name,
                    "kind": f"{item.get('kind')}{note}",
                    "namespace": meta.get("namespace", ""),
                    "name": meta.get("name", ""),
                }


def object_table(objects: Sequence[Mapping[str, str]]) -> str:
    """The objects grouped by set."""
    sets: dict[str, list[str]] = {}
    for item in objects:
        sets.setdefault(item["set"], []).append(f"{item['kind']} {item['name']}")
    return f"{len(objects)} objects in {len(sets)} sets, besides those of the upstream manifests\n\n{grouped(list(sets.items()))}"


class ActionModule(ControllerAction):
    """Runs on the controller alone, without a server."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        model: Model = dict(arguments["model"] or self._templar.template(variables["platform_model"]))  # type: ignore[assignment]  # what resolve_model made
        model["environments"], model["complete"] = model["all_environments"], True
        model["previews"] = model.get("all_previews") or {}
        model["server"] = counted_size(model["server"], variables.get("ansible_facts") or {})
        try:
            rendered = render_site(self._loader, self._templar, variables, model)
            sets = [part for role in rendered for part in role.sets]
            plan = make_plan(sets, model, str(variables["inventory_hostname"]))
        except (AnsibleError, AttributeError, LookupError, TypeError, ValueError) as error:
            if arguments["findings"]:  # a variable of the wrong shape, which is a finding of its own, may end it anywhere
                return {"changed": False, "platform_findings": [f"the fit plan cannot be made before the other findings are put right: {error}"]}
            if isinstance(error, QuantityError):
                raise AnsibleActionFail(str(error)) from error
            raise
        objects = list(objects_of(sets))
        if arguments["report"]:
            self._write(Path(arguments["report"]), plan, objects)
        text = plan.text()
        if arguments["show"] == "all":
            display.display(f"\n{object_table(objects)}\n")
        display.display(f"\n{text}\n" if arguments["show"] == "all" or plan.findings else text.splitlines()[-1])
        if plan.findings and not arguments["findings"]:
            return {"failed": True, "msg": f"the platform does not fit its server: {'; '.join(plan.findings)}"}
        findings = {"platform_findings": plan.findings} if arguments["findings"] else {}
        return {"changed": False, "text": text, "fit": plan.as_dict(), "objects": objects, **findings}

    @staticmethod
    def _write(path: Path, plan: FitPlan, objects: Sequence[Mapping[str, str]]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**plan.as_dict(), "objects": objects}, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise AnsibleError(f"the fit plan cannot be written: {error}") from error
