# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the calling role's templates on the controller and hands the objects, and the secrets they refer to, to the module."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.shaka.platform.plugins.module_utils.engine.identity import describe
from ansible_collections.shaka.platform.plugins.module_utils.engine.references import references_in
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import RenderedSet, render_role

FILLED_IN = ("sets", "role", "part_of", "complete")


class ActionModule(ActionBase):  # type: ignore[misc]
    """See the module's documentation."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises AnsibleActionFail for anything wrong in the role or the inventory."""
        super().run(tmp, task_vars)
        variables: dict[str, Any] = task_vars or {}
        args = dict(self._task.args)
        given = [name for name in FILLED_IN if name in args]
        if given:
            raise AnsibleActionFail(f"apply_set fills in {', '.join(given)} itself, from the role's templates and the inventory")
        role = self._task._role
        if role is None:
            raise AnsibleActionFail("apply_set renders the templates of the role it is called from: call it in a role")
        model = self._variable("platform_model", variables)
        if not model:
            raise AnsibleActionFail("the fact platform_model is missing: role platform makes it, add it to the dependencies in meta/main.yml")
        started = time.monotonic()
        sets = render_role(role._role_path, self._templar, variables, model)
        name = sets[0].role if sets else role.get_name(include_role_fqcn=False)
        if args.get("manifests") and not any(part.name == name for part in sets):
            sets.insert(0, RenderedSet(name, name, None, [], []))
        args.update(
            sets=[{part: getattr(rendered, part) for part in ("name", "objects", "sources", "patches")} for rendered in sets],
            role=name,
            part_of=str(model["name"]),
            complete=bool(model.get("complete")),
            secrets=self._secrets(sets, variables, args.get("secrets") or {}),
        )
        for option, variable in (("delete", "platform_delete"), ("controllers", "platform_controllers")):
            args.setdefault(option, self._variable(variable, variables) or [])
        self._display.vvv(f"apply_set: {sum(len(part.objects) for part in sets)} objects of {name} rendered in {time.monotonic() - started:.2f} s")
        result: dict[str, Any] = self._execute_module(module_name="shaka.platform.apply_set", module_args=args, task_vars=variables)
        return result

    def _variable(self, name: str, variables: Mapping[str, Any]) -> Any:
        """A variable's value, templated (and its vault text decrypted); nothing when there is none."""
        return self._templar.template(variables[name]) if name in variables else (variables.get("ansible_facts") or {}).get(name)

    def _secrets(self, sets: list[RenderedSet], variables: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
        """The values of the references in the sets' Secrets, and no others; a task may give some that no inventory has."""
        wanted = {
            reference: f"{describe(obj)} (template: {source})"
            for part in sets
            for obj, source in zip(part.objects, part.sources, strict=True)
            for reference in references_in(obj)
        }
        known = self._variable("platform_secrets", variables) if wanted else {}
        found, problems = {}, []
        for reference, where in wanted.items():
            scope, _slash, name = reference.partition("/")
            value = given.get(reference, ((known or {}).get(scope) or {}).get(name))
            if value is None or isinstance(value, (bool, dict, list)) or not str(value):
                problems.append(f"{where} refers to platform_secrets.{scope}.{name}, which {'is not set' if value in (None, '') else 'is not text'}")
            else:
                found[reference] = str(value)
        if problems:
            raise AnsibleActionFail("\n".join(problems))
        return found
