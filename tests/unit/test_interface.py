"""A role's variables are those of its argument_specs, with the same defaults (STYLE rule 2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import ITEMS, interface
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems
from ansible_collections.shaka.platform.plugins.plugin_utils.model.schema import check, complete

from tests.variables import PAGE, page

ROLES = Path(__file__).parents[2] / "roles"
WITH_SPECS = sorted(path.parents[1].name for path in ROLES.glob("*/meta/argument_specs.yml"))


def load(role: str, path: str) -> Any:
    file = ROLES / role / path
    return (yaml.safe_load(file.read_text()) if file.exists() else None) or {}


def options(role: str) -> dict[str, Any]:
    """Of the entry point that lists a role's variables."""
    specs = load(role, "meta/argument_specs.yml").get("argument_specs", {})
    return dict((specs.get("inventory") or specs.get("main") or {}).get("options") or {})


def after_platform() -> Iterator[list[str]]:
    """The roles of each playbook that has the role platform, which is the first of them."""
    for path in sorted((ROLES.parent / "playbooks").glob("*.yml")):
        plays = [play for play in yaml.safe_load(path.read_text()) if "hosts" in play]
        entries = [entry for play in plays for entry in [*play.get("roles", []), *play.get("tasks", [])]]
        named = [
            entry.get("role") or (entry.get("ansible.builtin.import_role") or entry.get("ansible.builtin.include_role") or {}).get("name")
            for entry in entries
        ]
        roles = [str(name).rpartition(".")[2] for name in named if name]
        if "platform" in roles:
            assert roles[0] == "platform", path
            yield roles


def test_variables_are_checked_once() -> None:
    """By the role platform, before a server is contacted; Ansible checks an entry point called main, and only that of a role that runs without it."""
    for role in WITH_SPECS:
        alone = not any(role in roles for roles in after_platform())
        specs = load(role, "meta/argument_specs.yml")["argument_specs"]
        assert ("main" in specs, "inventory" in specs) == (alone, not alone), role


@pytest.mark.parametrize("role", WITH_SPECS)
def test_defaults_are_documented_as_they_are(role: str) -> None:
    defaults, described = load(role, "defaults/main.yml"), options(role)
    assert set(defaults) <= set(described)
    assert {name for name, option in described.items() if "default" in option} <= set(defaults)
    plain = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert plain == {name: described[name].get("default") for name in plain}


@pytest.mark.parametrize("role", WITH_SPECS)
def test_every_option_says_what_it_is(role: str) -> None:
    def walk(items: dict[str, Any], path: str) -> None:
        for name, option in items.items():
            assert option.get("description") and option.get("type"), f"{path}.{name}"
            walk(option.get("options") or {}, f"{path}.{name}")

    for entry, spec in load(role, "meta/argument_specs.yml")["argument_specs"].items():
        walk(spec.get("options") or {}, entry)


@pytest.mark.parametrize("role", WITH_SPECS)
def test_names_carry_their_role(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []
    private = {**load(role, "vars/main.yml")}
    assert [name for name in private if not name.startswith(f"__{role}_")] == []


def test_no_template_and_no_other_role_reads_what_a_role_keeps_to_itself() -> None:
    """What the fit plan renders is what is applied: a template reads no result of a task; between roles go public variables alone."""
    for path in sorted(ROLES.glob("*/*/**/*")):
        if path.is_file() and path.suffix in (".yml", ".j2") and "meta" not in path.parts:
            role, text = path.relative_to(ROLES).parts[0], path.read_text()
            others = [name for name in re.findall(r"\b__([a-z0-9]+(?:_[a-z0-9]+)*)", text) if not f"{name}_".startswith(f"{role}_")]
            assert others == [], path
    registered = {name for path in ROLES.glob("*/tasks/*.yml") for name in re.findall(r"^\s+register: (\w+)", path.read_text(), re.MULTILINE)}
    assert "rotation_found" in registered
    for path in ROLES.glob("*/templates/**/*.j2"):
        assert not registered & set(re.findall(r"\w+", path.read_text())), path


def test_the_page_of_variables_is_current() -> None:
    assert PAGE.read_text() == page(), "run: python3 -m tests.variables"


def test_no_fact_overwrites_a_variable_of_the_inventory() -> None:
    """What a run makes of a variable has a name of its own, so that resolving the inventory anew starts from what the user wrote."""
    for file in ROLES.glob("*/tasks/*.yml"):
        for task in yaml.safe_load(file.read_text()) or []:
            facts = set(task.get("ansible.builtin.set_fact") or {})
            assert not facts & {name for role in WITH_SPECS for name in options(role)}, file


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_every_role_says_what_it_makes_and_its_example_is_right(role: str) -> None:
    text = (ROLES / role / "README.md").read_text()
    assert text.startswith(f"# {role}\n") and "**Makes**" in text and "**Needs**" in text
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        given = yaml.safe_load(block)
        problems, dictionaries = Problems(), interface().dictionaries
        described = {name: option for each in WITH_SPECS for name, option in options(each).items()}
        check(given, described, problems)
        for name in given.keys() & dictionaries.keys():
            complete(given[name], dictionaries[name], name, problems)
        for entry, variable in ITEMS.items():
            for name, item in (given.get(variable) or {}).items():
                complete(item, dictionaries[entry], f"{variable}.{name}", problems)
        assert problems == []
