# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders what the site would apply and compares it with the server's size; see the module of the same name for its documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.plugin_utils.fit import Plan, make_plan
from ansible_collections.shaka.platform.plugins.plugin_utils.quantities import QuantityError
from ansible_collections.shaka.platform.plugins.plugin_utils.rendering import RenderedSet, render_role
from ansible_collections.shaka.platform.plugins.plugin_utils.tables import grouped

display = Display()
ROOT = Path(__file__).resolve().parents[2]
ARGUMENT_SPEC: dict[str, Any] = {
    "show": {"type": "str", "choices": ["all", "verdict"], "default": "all"},
    "findings": {"type": "bool", "default": False},
    "report": {"type": "path", "default": ""},
    "roles": {"type": "path", "default": ""},
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


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no type information
    """Runs on the controller alone, without a server."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(ARGUMENT_SPEC)[1]
        variables = dict(task_vars or {})
        model = self._templar.template(variables["platform_model"])
        model = {**model, "environments": model["all_environments"], "complete": True}
        sets = self._render(Path(arguments["roles"] or ROOT / "roles"), variables, model)
        try:
            plan = make_plan(sets, model, str(variables["inventory_hostname"]))
        except QuantityError as error:
            raise AnsibleActionFail(str(error)) from error
        objects = list(objects_of(sets))
        if arguments["report"]:
            self._write(Path(arguments["report"]), plan, objects)
        text = plan.text()
        if arguments["show"] == "all":
            display.display(f"\n{object_table(objects)}\n")
        display.display(f"\n{text}\n" if arguments["show"] == "all" or plan.findings else text.splitlines()[-1])
        if plan.findings and not arguments["findings"]:
            return {**result, "failed": True, "changed": False, "msg": f"the platform does not fit its server: {'; '.join(plan.findings)}"}
        result |= {"changed": False, "text": text, "fit": plan.as_dict(), "objects": objects}
        if arguments["findings"]:
            result["platform_findings"] = plan.findings
        return result

    def _render(self, roles: Path, variables: Mapping[str, Any], model: Mapping[str, Any]) -> list[RenderedSet]:
        """Every set of the site's roles, in the site's order."""
        sets: list[RenderedSet] = []
        for name in self._site_roles():
            path = roles / name
            if any((path / "templates" / kind).is_dir() for kind in ("cluster", "environment", "namespace")):
                scope = {**self._load(path / "defaults/main.yml"), **variables, **self._load(path / "vars/main.yml")}
                scope |= {"platform_model": model, "role_path": str(path), "role_name": name, "ansible_search_path": [str(path)]}
                sets += render_role(str(path), self._templar.copy_with_new_env(available_variables=scope), scope, model)
        return sets

    def _site_roles(self) -> list[str]:
        plays = self._loader.load_from_file(str(ROOT / "playbooks/site.yml"))
        entries = [entry for play in plays for entry in play.get("roles", [])]
        return [str(entry["role"] if isinstance(entry, Mapping) else entry).rsplit(".", 1)[-1] for entry in entries]

    def _load(self, path: Path) -> dict[str, Any]:
        """A role's variables as Ansible loads them, their templates trusted."""
        return dict(self._loader.load_from_file(str(path), trusted_as_template=True) or {}) if path.is_file() else {}

    @staticmethod
    def _write(path: Path, plan: Plan, objects: Sequence[Mapping[str, str]]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**plan.as_dict(), "objects": objects}, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise AnsibleError(f"the fit plan cannot be written: {error}") from error
