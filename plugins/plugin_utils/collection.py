# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's own files that plugins read: the one place that knows where roles and playbooks are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible.module_utils.common.yaml import yaml_load
from ansible.parsing.dataloader import DataLoader

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"
SHARED = "platform"  # the role whose templates those of the others may import
PACKED = "backup_tools"  # the image that the collection packs itself, from files of the artifacts lock
KINDS = ("cluster", "environment", "namespace", "preview")  # folders of templates: rendered once, per environment, per namespace, per preview

# Entry points that describe what each item of a dictionary with free names holds; one called platform_* describes the variable of its name.
ITEMS = {
    "environment": "platform_environments",
    "app": "platform_environments.NAME.apps",
    "volume": "platform_environments.NAME.apps.NAME.volumes",
    "namespace": "platform_namespaces",
    "registry": "platform_registries",
    "preview": "platform_previews",
}

# Variables of earlier versions, whose values would act on nothing, and the key of an application that each is now.
MOVED = {"api_uid": "uid", "api_drain_seconds": "drain_seconds", "api_grace_seconds": "grace_seconds"}

Options = Mapping[str, Mapping[str, Any]]
EntryPoints = Mapping[str, Mapping[str, Any]]


@lru_cache(maxsize=1)
def site_roles() -> tuple[str, ...]:
    """The roles of playbooks/site.yml, each once, in the order of their first run."""
    plays = _yaml(ROOT / "playbooks/site.yml")
    entries = [entry for play in plays for entry in play.get("roles", [])]
    names = [str(entry["role"] if isinstance(entry, Mapping) else entry).rsplit(".", 1)[-1] for entry in entries]
    return tuple(dict.fromkeys(names))


@lru_cache(maxsize=1)
def argument_specs() -> Mapping[str, EntryPoints]:
    """Role -> entry point -> what its argument_specs.yml says."""
    return {path.parents[1].name: _yaml(path)["argument_specs"] for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))}


def playbook_specs() -> EntryPoints:
    """Playbook -> what it takes on the command line besides the roles' variables."""
    specs: EntryPoints = _yaml(ROOT / "meta/command_line.yml")["argument_specs"]
    return specs


def variables_of(role: str) -> Options:
    """The options of the entry point that lists a role's variables: `inventory`, or `main` where Ansible checks them."""
    entries = argument_specs()[role]
    return dict((entries.get("inventory") or entries.get("main") or {}).get("options") or {})


@dataclass(frozen=True)
class Interface:
    """What an inventory may say, as the roles declare it.

    - variables: those of the role platform, `platform_*`.
    - dictionaries: the keys of these that are dictionaries, put together from the parts that roles have in them.
    - roles: the other roles' own variables.
    - images: logical names of the images that the roles use.
    """

    variables: Options
    dictionaries: Mapping[str, Options]
    roles: Mapping[str, Options]
    images: tuple[str, ...]


@lru_cache(maxsize=1)
def interface() -> Interface:
    """Of all roles; raises ValueError where two describe the same key."""
    variables = variables_of(SHARED)
    dictionaries: dict[str, dict[str, Any]] = {}
    for role, entries in argument_specs().items():
        for name in entries.keys() & {*ITEMS, *variables}:
            own, known = entries[name]["options"], dictionaries.setdefault(name, {})
            if twice := known.keys() & own.keys():
                raise ValueError(f"{', '.join(twice)} of {name} is described by the role {role} and by another one")
            known |= own
    images = [image for role in argument_specs() for image in _images(role)]
    roles = {role: variables_of(role) for role in argument_specs() if role != SHARED}
    return Interface(variables, dictionaries, roles, tuple(dict.fromkeys(images)))


@lru_cache(maxsize=1)
def text_keys() -> frozenset[str]:
    """The keys of an inventory whose values are texts, or lists of texts, in every dictionary that has them."""
    found: dict[str, set[str]] = {}

    def collect(options: Options) -> None:
        for name, option in options.items():
            kind = option.get("type", "str")
            found.setdefault(name, set()).add(option.get("elements", "raw") if kind == "list" else kind)
            collect(option.get("options") or {})

    known = interface()
    for options in (known.variables, *known.dictionaries.values()):
        collect(options)
    return frozenset(name for name, kinds in found.items() if kinds == {"str"})


def _images(role: str) -> list[str]:
    """What a role lists in its variable `__<role>_images`."""
    return [image for path in _files(ROLES / role / "vars") for image in (_yaml(path) or {}).get(f"__{role}_images", [])]


def role_variables(loader: DataLoader, role: Path, kind: str) -> dict[str, Any]:
    """A role's `defaults` or `vars` as Ansible loads them (main.yml, or every file of main/), their templates trusted."""
    found: dict[str, Any] = {}
    for path in _files(role / kind):
        found |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    return found


def templates(role: Path, kind: str) -> list[Path]:
    """A role's templates of one of KINDS."""
    return sorted((role / "templates" / kind).glob("*.yaml.j2"))


def search_path(role: Path, kind: str) -> list[str]:
    """Where a role's templates find what they import or include."""
    return [str(folder) for folder in (role / "templates" / kind, role / "templates", role.parent / SHARED / "templates")]


def project_sources() -> dict[str, Path]:
    """The files of a new project, by their names in it: its own, and the inventory that the collection ships, which is the template."""
    project, inventory = ROOT / "playbooks/files/project", ROOT / "inventories/prod"
    # the names that begin with a dot do not here, so that tools take them for what they are
    own = {re.sub(r"^(gitignore|github)\b", r".\1", str(path.relative_to(project))): path for path in _below(project)}
    return own | {f"inventories/prod/{path.relative_to(inventory)}": path for path in _below(inventory)}


def project_values() -> dict[str, str]:
    """What the files of a new project say of this collection, by the words that stand for it."""
    manifest = ROOT / "MANIFEST.json"  # of the installed collection; a checkout has the file that it is made from
    described = _yaml(manifest)["collection_info"] if manifest.exists() else _yaml(ROOT / "galaxy.yml")
    return {
        "@VERSION@": str(described["version"]),
        "@ANSIBLE_CORE@": str(_yaml(ROOT / "meta/runtime.yml")["requires_ansible"]),
        "@PYTHON_REQUIREMENTS@": (ROOT / "meta/requirements.txt").read_text(encoding="utf-8").strip(),
    }


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _files(folder: Path) -> Iterable[Path]:
    whole = folder / "main.yml"
    return [whole] if whole.is_file() else sorted((folder / "main").glob("*.yml"))


def _yaml(path: Path) -> Any:
    return yaml_load(path.read_text(encoding="utf-8"))  # by libyaml, ten times as fast
