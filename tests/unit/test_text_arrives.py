"""Any text of `config` or of a secret is in the object that is sent, byte for byte, or it is refused by name."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.module_utils.engine.client import as_yaml
from ansible_collections.shaka.platform.plugins.module_utils.engine.compose import compose
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import ROLES
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import render_role
from test_model import change, run

TEXTS = (
    "🤙 São Paulo ação ẞ 漢字", 'a"b', "it's", "back\\slash \\n \\\\ \\u0041 \\ud83e\\udd19", "{{ x }} {% if %} {# #}", "one\ntwo\n", "\n\n",
    "dos\r\nend\r", "\ttab\t", "  both ends  ", "", " ", "123", "0123", "1e7", "0x1F", "1_000", "1.10", "12:30", "on", "No", "true", "null", "~",
    "2026-01-01", ".inf", "---", "--- a", "...", "- a", "? a", "a: b", "#no comment", "a #b", "&a", "*a", "!unsafe x", "|", ">", "%YAML 1.1", "@x",
    "`x`", "$HOME $(HOME) $$ ${X}", "@{nothing", "{", "[1, 2", "\x01\x1b[0m\x7f\x85\xa0\u2028\u2029\ufeff\ufffe\U0010ffff", "long" * 25_000, "<<",
    "=", "'", '"', "\\", ",", "a,b;c&d=e?f", "<html>&amp;</html>", "e\u0301 \u200d\u202e",
)  # fmt: skip
ALPHABET = "ab01 \t\n\r\"'\\{}[]%#:,&*!|>@`$~-.=<?/ué漢🤙\x00\x01\x7f\x85\u2028\ufeff"


def texts() -> Iterator[str]:
    yield from TEXTS
    dice = random.Random(13)  # the same texts in each run
    for _times in range(400):
        yield "".join(dice.choices(ALPHABET, k=dice.randint(1, 12)))


def sent(place: str, values: dict[str, str]) -> tuple[dict[str, str], set[str]]:
    """(the data of the object that is sent, names that are refused) of values that are given as `config` or as `secrets`."""
    data = change("platform_environments/prod/secrets", [])
    own = data["platform_secrets"]["prod"]
    del own["JWT_SECRET"]
    if place == "secrets":
        data["platform_environments"]["prod"]["secrets"] = data["given"] = data["platform_secrets_shared"] = list(values)
        own |= values
    else:
        data["platform_environments"]["prod"]["config"] = values
    resolution = run(data)
    refused = {problem.path.rpartition(".")[2] for problem in resolution.problems}
    assert refused <= values.keys(), resolution.message()
    scope = {"platform_name": "acme"}
    sets = render_role(ROLES / "config", Templar(loader=DataLoader(), variables=scope), scope, resolution.model)
    objects = next(part.objects for part in sets if part.environment == "prod")
    given = {f"prod/{name}": value for name, value in own.items()}
    items = compose(
        {"sets": [{"name": "config.prod", "objects": objects}], "role": "config", "part_of": "acme", "delete": [], "secrets": given}, False
    ).items
    found: dict[str, dict[str, str]] = {item.desired["kind"]: json.loads(json.dumps(item.desired))["data"] for item in items}
    return ({name: base64.b64decode(text).decode() for name, text in found["Secret"].items()} if place == "secrets" else found["ConfigMap"]), refused


@pytest.mark.parametrize("place", ["config", "secrets"])
def test_any_text_arrives_or_is_refused_by_name(place: str) -> None:
    wanted = (text for text in dict.fromkeys(texts()) if "\0" not in text and (text or place == "config"))
    values = {f"V{number}": text for number, text in enumerate(wanted)}
    data, refused = sent(place, values)
    assert {name: data[name] for name in values.keys() - refused} == {name: values[name] for name in values.keys() - refused}
    # what begins as JSON and is not, and secrets of blanks
    assert {values[name].strip()[:1] for name in refused} == ({"{", "["} if place == "config" else {""})


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud83e"])
def test_what_cannot_arrive_is_refused_by_name(text: str) -> None:
    data = change("platform_environments/prod/config", {"TITLE": text})
    data["platform_environments"]["prod"]["secrets"] = ["TOKEN"]
    data["platform_secrets"]["prod"]["TOKEN"] = text
    data["given"] = ["TOKEN"]
    paths = {problem.path for problem in run(data).problems}
    assert {"platform_environments.prod.config.TITLE", "platform_secrets.prod.TOKEN"} <= paths


def test_the_api_servers_reader_of_yaml_reads_what_was_meant() -> None:
    """It reads every applied object as YAML, which knows no surrogate pairs."""
    body = {str(number): text for number, text in enumerate(texts())}
    assert yaml.safe_load(as_yaml(body)) == body
    assert json.loads(as_yaml(body)) == body
