# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the engine is asked for a role: its rendered sets, the secrets that these refer to, and the options that the inventory and the role give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.module_utils.conventions import STATE
from ansible_collections.shaka.platform.plugins.module_utils.engine.identity import describe
from ansible_collections.shaka.platform.plugins.module_utils.engine.references import references_in
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Model
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import RenderedSet
from ansible_collections.shaka.platform.plugins.plugin_utils.preview_secrets import with_previews

FILLED_IN = ("sets", "role", "part_of", "complete", "states")
# What a surveyed role and its own task must agree on: everything that decides what is compared and pruned.
COMPARED = ("sets", "role", "part_of", "complete", "manifests", "secrets", "kubeconfig", "prune", "delete", "controllers")


class Variables:
    """The task's variables, evaluated one by one as they are asked for."""

    def __init__(self, templar: Templar, variables: Mapping[str, Any]) -> None:
        self._templar, self._variables = templar, variables

    def value(self, name: str) -> Any:
        """A variable's value, its templates evaluated and its vault text decrypted; nothing when there is none."""
        if name in self._variables:
            return self._templar.template(self._variables[name])
        return (self._variables.get("ansible_facts") or {}).get(name)


def request_of(role: str, sets: Sequence[RenderedSet], variables: Variables, model: Model, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of apply_set for a role.

    :arg options: the task's own arguments, over those that the role gives at each of its calls (its variable `__<role>_apply`).
    :raises AnsibleActionFail: a secret that an object refers to is not set, or the options hold what is filled in here.
    """
    request = {**(variables.value(f"__{role}_apply") or {}), **options}
    given = [name for name in FILLED_IN if name in request]
    if given:
        raise AnsibleActionFail(f"apply_set fills in {', '.join(given)} itself, from the role's templates and the inventory")
    if request.get("manifests"):
        request["manifests"] = [str(Path(STATE) / path) for path in request["manifests"]]
        if not any(part.name == role for part in sets):
            sets = [RenderedSet(role, role, None, [], []), *sets]
    request.update(
        sets=[{part: getattr(rendered, part) for part in ("name", "objects", "sources", "patches", "wait")} for rendered in sets],
        role=role,
        part_of=str(model["name"]),
        complete=bool(model.get("complete")),
        secrets=_secrets(sets, variables, request.get("secrets") or {}, model.get("previews") or {}),
    )
    for option, variable in (("delete", "platform_delete"), ("controllers", "platform_controllers")):
        if option not in request:
            request[option] = variables.value(variable) or []
    return request


def digest_of(request: Mapping[str, Any]) -> str:
    """Equal for two requests that ask for the same."""
    return hashlib.sha256(json.dumps([request.get(name) for name in COMPARED], sort_keys=True, default=str).encode()).hexdigest()


def _secrets(sets: Sequence[RenderedSet], variables: Variables, given: Mapping[str, Any], previews: Mapping[str, Any]) -> dict[str, str]:
    """The values of the references in the sets' Secrets, and no others; `given` are some that no inventory has, those of `previews` follow."""
    wanted = {
        reference: f"{describe(obj)} (template: {source})"
        for part in sets
        for obj, source in zip(part.objects, part.sources, strict=True)
        for reference in references_in(obj)
    }
    known = with_previews(variables.value("platform_secrets") or {}, previews) if wanted else {}
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
