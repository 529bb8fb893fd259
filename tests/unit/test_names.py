"""Every variable that a role or a playbook reads is declared, is private, or is made in the run (STYLE rule 2: nothing else exists)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import Options, argument_specs, playbook_specs
from jinja2 import nodes

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for pattern in (
        "playbooks/*.yml",
        "playbooks/files/*.yml",
        "playbooks/vars/*.yml",
        "roles/*/tasks/*.yml",
        "roles/*/vars/**/*.yml",
        "roles/*/defaults/*.yml",
    )
    for path in ROOT.glob(pattern)
)
TEMPLATES = sorted(ROOT.glob("roles/*/templates/**/*.j2"))
# Keywords whose text is an expression without braces
EXPRESSIONS = {"when", "that", "until", "failed_when", "changed_when"}
# Ansible's own, Jinja's own, and what rendering gives a template
GIVEN = {
    "ansible_check_mode", "ansible_facts", "ansible_failed_result", "ansible_host", "ansible_play_hosts", "ansible_play_hosts_all", "ansible_port",
    "groups", "hostvars", "inventory_dir",
    "inventory_hostname", "item", "loop", "lookup", "now", "playbook_dir", "query", "role_path", "undef", "env", "ns", "ansible_playbook_python",
    "dict", "omit",
}  # fmt: skip
# Facts that the roles platform and artifacts hand on
MADE = {"platform_model", "platform_images", "platform_artifacts"}


def declared() -> set[str]:
    """The names of all specs."""
    entries = [spec for role in argument_specs().values() for name, spec in role.items() if name not in ("environment", "namespace", "registry")]
    return {name for spec in [*entries, *playbook_specs().values()] for name in spec.get("options") or {}}


def read(template: str) -> set[str]:
    """The variables that a template reads and does not make itself."""
    tree = jinja2.Environment(extensions=["jinja2.ext.do"]).parse(template)
    names = list(tree.find_all(nodes.Name))
    imported = {name if isinstance(name, str) else name[1] for node in tree.find_all(nodes.FromImport) for name in node.names}
    imported |= {node.target for node in tree.find_all(nodes.Import)} | {node.name for node in tree.find_all(nodes.Macro)}
    own = {node.name for node in names if node.ctx in ("store", "param")} | imported
    return {node.name for node in names if node.ctx == "load"} - own


def texts(value: Any, key: str = "") -> Iterator[str]:
    """Every template in a YAML document."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from texts(name)
            yield from texts(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, key)
    elif isinstance(value, str):
        yield f"{{{{ {value} }}}}" if key in EXPRESSIONS and "{{" not in value else value


def made(value: Any) -> Iterator[str]:
    """The names that a document of tasks or plays gives values to: `vars`, registered results, facts, loop variables."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in ("register", "loop_var"):
                yield str(item)
            elif name in ("vars", "ansible.builtin.set_fact") and isinstance(item, dict):
                yield from item
            yield from made(item)
    elif isinstance(value, list):
        for item in value:
            yield from made(item)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def known() -> set[str]:
    documents = [load(path) for path in FILES]
    files = {name for path, document in zip(FILES, documents, strict=True) if "vars" in path.parts for name in document or {}}
    return declared() | GIVEN | MADE | files | {name for document in documents for name in made(document)}


@pytest.mark.parametrize("path", [*FILES, *TEMPLATES], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_read_that_is_not_declared(path: Path, known: set[str]) -> None:
    parts = [path.read_text()] if path.suffix == ".j2" else list(texts(load(path)))
    used = {name for text in parts if "{{" in text or "{%" in text for name in read(text)}
    assert used - known == set()


def described(options: Options, path: str) -> Iterator[tuple[str, str]]:
    """Each option and those below it: path, name."""
    for name, option in options.items():
        yield f"{path}.{name}", name
        yield from described(option.get("options") or {}, f"{path}.{name}")


def test_what_is_declared_is_read() -> None:
    """Else a user sets it, and nothing happens."""
    readers = [*FILES, *TEMPLATES, *(path for path in ROOT.glob("plugins/**/*.py") if path.name != "model_types.py")]
    words = {word for path in readers for word in re.findall(r"[\w-]+", path.read_text())}
    specs = {**{f"{role}.{name}": spec for role, entries in argument_specs().items() for name, spec in entries.items()}, **playbook_specs()}
    found = [option for entry, spec in specs.items() for option in described(spec.get("options") or {}, entry)]
    assert [path for path, name in found if name not in words] == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("inventories/*/group_vars/all/*.yml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_inventories_set_nothing_that_is_not_declared(path: Path) -> None:
    names = {name for name in load(path) or {} if not name.startswith(("ansible_", "lab_"))}
    assert names - declared() - {"lab"} == set()


def test_what_the_documents_give_on_the_command_line_is_declared() -> None:
    documents = [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("playbooks/**/*.md"),
        *ROOT.glob("playbooks/*.yml"),
        *ROOT.glob("roles/*/README.md"),
    ]
    given = {name for path in documents for name in re.findall(r"-e ([a-z]\w*)=", path.read_text())}
    assert given and given - declared() == set()


def test_the_plugins_read_nothing_that_is_not_declared() -> None:
    """The names of the role platform; results that the reports are made of begin the same."""
    plugins = [path for folder in ("action", "callback", "lookup", "filter", "plugin_utils") for path in (ROOT / "plugins" / folder).rglob("*.py")]
    read = {name for path in plugins for name in re.findall(r'"(platform_[a-z_]+)"', path.read_text())}
    assert read - declared() - MADE - {"platform_findings", "platform_table"} == set()
