# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A role's Kubernetes objects, rendered on the controller: one place for what is applied and what the plan lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.module_utils.engine.identity import PREVIEW, with_identity
from ansible_collections.shaka.platform.plugins.module_utils.engine.yamlio import YamlError, read_objects
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Model
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import KINDS, ROLES, role_variables, search_path, site_roles, templates
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.compiled_templates import keep_compiled
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.ephemeral import bound

PATCHES = "patches.yaml.j2"
HIDDEN = ("platform_secrets",)  # a template refers to a secret as @{scope/NAME}; its value must not get into an object


@dataclass(frozen=True)
class RenderedSet:
    """The objects of one role for one environment (or namespace, or preview, or the whole cluster), labelled; `sources` are their templates.

    `wait`: whether a run waits until they are ready. A preview that does not work stops only the run that is about it.
    """

    name: str
    role: str
    environment: str | None
    objects: list[dict[str, Any]]
    patches: list[dict[str, Any]]
    sources: list[str] = field(default_factory=list)
    wait: bool = True


def _render(path: Path, templar: Templar, what: str) -> list[dict[str, Any]]:
    """The objects of one file; errors name it and the environment."""
    try:
        # Included, as what is included is compiled once for all subjects, and a text that is handed over each time.
        text = templar.template(trust_as_template(f"{{% include '{path.name}' %}}"), escape_backslashes=False)
    except AnsibleError as error:
        raise AnsibleError(f"{path}{what}: {error}") from error
    if text is None:
        return []
    if not isinstance(text, str):
        raise AnsibleError(f"{path}{what}: renders to {type(text).__name__}, not to text")
    try:
        return read_objects("".join(text))
    except YamlError as error:
        raise AnsibleError(f"{path}{what}, rendered: {error}") from error


def _subjects(kind: str, model: Model) -> Iterator[tuple[str | None, dict[str, Any], str]]:
    """What a directory of templates is rendered for: (name, variables, inventory path)."""
    environments, namespaces = model.get("environments") or {}, model.get("namespaces") or {}
    if kind == "cluster":
        yield None, {}, ""
    if kind == "preview":
        yield from _previews(model)
        return
    for name, env in environments.items() if kind != "cluster" else ():
        yield name, {"env" if kind == "environment" else "ns": env}, f"platform_environments.{name}"
    for name, space in namespaces.items() if kind == "namespace" else ():
        yield name, {"ns": space}, f"platform_namespaces.{name}"


def _previews(model: Model) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The same of the previews, whose templates are those of their folder alone."""
    for name, env in (model.get("previews") or {}).items():
        yield f"{PREVIEW}.{name}", {"env": env, "ns": env}, f"platform_previews.{name}"


@dataclass(frozen=True)
class RenderedRole:
    """One role of the site: its sets, and the variables and templar with which they were rendered."""

    name: str
    sets: list[RenderedSet]
    scope: dict[str, Any]
    templar: Templar


def render_site(loader: DataLoader, templar: Templar, variables: Mapping[str, Any], model: Model) -> Iterator[RenderedRole]:
    """The roles of the site that have objects, in the site's order. Raises AnsibleError."""
    for role in (ROLES / name for name in site_roles()):
        if any(templates(role, kind) for kind in KINDS):
            scope = scope_of(role, loader, variables, model)
            scoped = templar.copy_with_new_env(available_variables=scope)
            yield RenderedRole(role.name, render_role(role, scoped, scope, model), scope, scoped)


def scope_of(role: Path, loader: DataLoader, variables: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """The variables as the role's own tasks see them, for a role that is not the one that runs."""
    scope = {**role_variables(loader, role, "defaults"), **variables, **role_variables(loader, role, "vars")}
    return scope | {"platform_model": model, "role_path": str(role), "role_name": role.name, "ansible_search_path": [str(role)]}


def render_role(role: Path, templar: Templar, variables: Mapping[str, Any], model: Model) -> list[RenderedSet]:
    """Every set of a role, also the empty ones (their objects are pruned). Raises AnsibleError."""
    visible = {name: value for name, value in variables.items() if name not in HIDDEN}
    sets: dict[str, RenderedSet] = {}
    for kind in KINDS:
        files = templates(role, kind)
        scoped = templar.copy_with_new_env(searchpath=search_path(role, kind))
        keep_compiled(scoped)
        for name in (model.get("ended_previews") or []) if files and kind == "preview" else ():
            ended = f"{role.name}.{PREVIEW}.{name}"
            sets[ended] = RenderedSet(ended, role.name, None, [], [])
        for subject, extra, inventory in _subjects(kind, model) if files else ():
            name = f"{role.name}.{subject}" if subject else role.name
            waited = kind != "preview" or subject == f"{PREVIEW}.{model.get('waited_preview')}"
            rendered = sets.setdefault(name, RenderedSet(name, role.name, subject, [], [], wait=waited))
            scoped.available_variables = {**visible, **extra}
            for path in files:
                objects = [bound(item) for item in _render(path, scoped, f" (for {subject})" if subject else "")]
                if kind == "cluster" and path.name == PATCHES:
                    rendered.patches.extend(objects)
                    continue
                rendered.objects.extend(with_identity(obj, str(model["name"]), role.name, name, inventory) for obj in objects)
                rendered.sources.extend([f"{role.name}/templates/{kind}/{path.name}"] * len(objects))
    return list(sets.values())
