"""What the owner wrote, where YAML reads something else: refused, with the words of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import text_keys
from ansible_collections.shaka.platform.plugins.plugin_utils.model.written import misread


def flaws(tmp_path: Path, text: str) -> dict[str, str]:
    """As the lookup role_variables asks: the file loaded by Ansible, the value out of its templar."""
    path = tmp_path / "platform.yml"
    path.write_text(text)
    variables: dict[str, Any] = DataLoader().load_from_file(str(path), trusted_as_template=True)
    return dict(
        misread(Templar(loader=DataLoader(), variables=variables).template(variables["platform_environments"]), "environments", texts=text_keys())
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0123", "83"), ("12:30", "750"), ("1.10", "1.1"), ("1_000", "1000"), ("0x1F", "31"), ("0b11", "3"), ("+5", "5"), ("1.0e+3", "1000.0"),
        ("on", "true"), ("No", "false"), ("True", "true"), ("~", "nothing"), ("null", "nothing"), ("-0", "0"), (".inf", "inf"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["environments", "flow"])
def test_a_value_of_config_in_another_spelling_is_refused(tmp_path: Path, written: str, read: str, layout: str) -> None:
    block = f"platform_environments:\n  dev:\n    config:\n      BEFORE: x # y\n      VALUE: {written} # comment\n"
    flow = f"platform_environments: {{dev: {{config: {{BEFORE: x, VALUE: {written}, AFTER: 1}}}}}}\n"
    found = flaws(tmp_path, flow if layout == "flow" else block)
    assert list(found) == ["environments.dev.config.VALUE"]
    assert f"is written {written} and read by YAML as {read}; quote it" in found["environments.dev.config.VALUE"]


@pytest.mark.parametrize("written", ["0123", "12:30:45", "1_000", "0x10", "0b11"])
def test_a_name_that_is_another_number_is_refused_wherever_it_is(tmp_path: Path, written: str) -> None:
    text = f"platform_environments:\n  dev:\n    access: {{viewers: [ana, {written}]}}\n    operators:\n    - {written}\n    username: {written}\n"
    found = flaws(tmp_path, text)
    assert list(found) == ["environments.dev.access.viewers[1]", "environments.dev.operators[0]", "environments.dev.username"]
    assert all(text.startswith(f"is written {written} and read by YAML as ") for text in found.values())
    assert flaws(tmp_path, text.replace(written, f"'{written}'")) == {}


@pytest.mark.parametrize(
    "written", ["3000", "-1", "0", "0.5", "true", "false", "2026-01-01", "'0123'", '"on"', "{a: 1.10}", "[0, 1]", "", "|\n        0123"]
)
def test_what_arrives_as_it_is_written_is_not(tmp_path: Path, written: str) -> None:
    assert flaws(tmp_path, f"platform_environments:\n  dev:\n    config:\n      VALUE: {written}\n") == {}


def test_unsafe_makes_a_number_of_quoted_text_again(tmp_path: Path) -> None:
    found = flaws(tmp_path, "platform_environments: {dev: {config: {A: !unsafe '1.10', B: !unsafe \"No\", C: !unsafe '{{ x }}', D: !unsafe '5'}}}\n")
    assert list(found) == ["environments.dev.config.A", "environments.dev.config.B"]
    assert "is written 1.10 and read by YAML as 1.1; quote it, without !unsafe" in found["environments.dev.config.A"]


def test_a_template_is_not_what_it_gives(tmp_path: Path) -> None:
    text = "flag: true\nnumber: 5\nplatform_environments: {dev: {config: {A: '{{ flag }}', B: '{{ number }}', C: '{{ number + 1 }}'}}}\n"
    assert flaws(tmp_path, text) == {}


def test_what_ansible_vault_encrypted_is_not_looked_up(tmp_path: Path) -> None:
    text = "platform_environments: {dev: {config: {A: 0123}}}\n"
    path = tmp_path / "platform.yml"
    path.write_text(text)
    value = DataLoader().load_from_file(str(path))["platform_environments"]
    path.write_text("$ANSIBLE_VAULT;1.1;AES256\n3838")
    assert not list(misread(value, "e"))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("123", "has a name that YAML reads as a number"), ("0x1F", "has a name '0x1F' that YAML reads as a number"),
        ("no", "as true or false, as it does on, off"), ("2026-01-01", "a number or a date"),
        ("~", "as nothing"), ("1.10", "has a name '1.10'"), ("12:30", "a number"),
    ],
)  # fmt: skip
def test_a_name_that_is_not_text_is_refused(tmp_path: Path, key: str, words: str) -> None:
    ((_path, text),) = flaws(tmp_path, f"platform_environments:\n  {key}: {{config: {{A: b}}}}\n").items()
    assert words in text and text.endswith("quote it")


def test_of_secrets_only_names_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    path.write_text("prod: {DB_PASSWORD: 012345, config: {A: 0123}, 5: 0777}\n")
    found = dict(misread(DataLoader().load_from_file(str(path)), "platform_secrets", hidden=True))
    assert list(found) == ["platform_secrets.prod.5"] and "777" not in str(found)


def test_a_number_by_eights_or_sixties_is_refused_anywhere(tmp_path: Path) -> None:
    found = flaws(tmp_path, "platform_environments: {dev: {api: {port: 0300, replicas: 2}, backup: {at: 22:30}, sizes: [1_000]}}\n")
    assert sorted(found) == ["environments.dev.api.port", "environments.dev.backup.at"]
    assert "is written 0300 and read by YAML as 192" in found["environments.dev.api.port"]
