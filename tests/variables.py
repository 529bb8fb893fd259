"""Writes docs/variables.md from the roles' argument_specs: python3 -m tests.variables"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import (
    ITEMS,
    EntryPoints,
    Options,
    argument_specs,
    playbook_specs,
    variables_of,
)

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/variables.md"
INTRO = """# Every variable

Made from `roles/*/meta/argument_specs.yml` and `meta/command_line.yml` by `python3 -m tests.variables`; a unit test refuses a page that is behind.
Quantities are Kubernetes quantities (`250m`, `512Mi`). A name in an inventory that is nearly one of these is refused.
"""


def text(value: Any) -> str:
    """One line of Markdown from Ansible's markup."""
    joined = " ".join(value) if isinstance(value, list) else str(value)
    return re.sub(r"\b[BCEIMOPUV]\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", " ".join(joined.split())).replace("|", "\\|")


def shown(option: Mapping[str, Any]) -> str:
    """The default as it is written in YAML."""
    if option.get("required"):
        return "required"
    if option.get("default") is None:
        return ""
    return f"`{yaml.safe_dump(option['default'], default_flow_style=True, width=10_000).strip().removesuffix('...').strip()}`".replace("|", "\\|")


def rows(options: Options, path: str) -> Iterator[str]:
    """A row per option, those of a dictionary below it."""
    for name, option in options.items():
        here = f"{path}.{name}" if path else name
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        choices = f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if "choices" in option else ""
        default = shown(option) if option.get("default") or "options" not in option else ""
        yield f"| `{here}` | {kind} | {default} | {text(option['description'])}{choices} |"
        yield from rows(option.get("options") or {}, here + ("[]" if option["type"] == "list" else ""))


def lists(role: str, entries: EntryPoints) -> Iterator[tuple[str, Options]]:
    """What a role describes: its variables, then the keys of the inventory's dictionaries, each with the path that they have there."""
    yield "", variables_of(role)
    for name, spec in entries.items():
        if name not in ("inventory", "main"):
            yield f"{ITEMS[name]}.NAME" if name in ITEMS else name if name.startswith("platform_") else "", spec["options"]


def table(title: str, parts: Iterable[tuple[str, Options]]) -> Iterator[str]:
    """A section, where there is anything in it."""
    lines = [row for path, options in parts for row in rows(options, path)]
    if lines:
        yield "\n".join([f"## {title}", "", "| variable | type | default | meaning |", "|---|---|---|---|", *lines, ""])


def page() -> str:
    """All of it: the role platform first, the playbooks last."""
    roles = sorted(argument_specs().items(), key=lambda item: (item[0] != "platform", item[0]))
    parts = [part for role, entries in roles for part in table(role, lists(role, entries))]
    playbooks = [part for name, spec in playbook_specs().items() for part in table(f"playbooks/{name}.yml", [("", spec["options"])])]
    return "\n".join([INTRO, *parts, *playbooks])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
