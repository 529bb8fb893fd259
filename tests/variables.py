"""Writes docs/variables.md from the roles' argument_specs: python3 -m tests.variables"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/variables.md"
INTRO = """# Every variable

Made from `roles/*/meta/argument_specs.yml` by `python3 -m tests.variables`; a unit test refuses a page that is behind. Quantities are
Kubernetes quantities (`250m`, `512Mi`). A name in an inventory that is nearly one of these is refused.
"""
# What the dictionaries of the entry point `inventory` hold.
PLACES = {
    "server": "platform_server", "environment": "platform_environments.NAME", "namespace": "platform_namespaces.NAME", "redis": "platform_redis",
    "acme": "platform_acme", "s3": "platform_s3",
}  # fmt: skip


def text(value: Any) -> str:
    """One line of Markdown from Ansible's markup."""
    joined = " ".join(value) if isinstance(value, list) else str(value)
    return re.sub(r"\b[BCEIMOPUV]\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", " ".join(joined.split())).replace("|", "\\|")


def shown(option: dict[str, Any]) -> str:
    """The default as it is written in YAML."""
    if option.get("required"):
        return "required"
    if option.get("default") is None:
        return ""
    return f"`{yaml.safe_dump(option['default'], default_flow_style=True, width=10_000).strip().removesuffix('...').strip()}`".replace("|", "\\|")


def rows(options: dict[str, Any], path: str) -> Iterator[str]:
    """A row per option, those of a dictionary below it."""
    for name, option in options.items():
        here = f"{path}.{name}" if path else name
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        choices = f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if "choices" in option else ""
        yield f"| `{here}` | {kind} | {shown(option) if 'options' not in option else ''} | {text(option['description'])}{choices} |"
        yield from rows(option.get("options") or {}, here + ("[]" if option["type"] == "list" else ""))


def page() -> str:
    """All of it."""
    parts = [INTRO]
    for file in sorted(ROOT.glob("roles/*/meta/argument_specs.yml"), key=lambda path: (path.parents[1].name != "platform", path)):
        role, entries = file.parents[1].name, yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]
        wanted = {"inventory": "", **PLACES} if role == "platform" else {"inventory": "", "main": ""}
        lines = [row for entry, path in wanted.items() if entry in entries for row in rows(entries[entry].get("options") or {}, path)]
        if lines:
            parts.append("\n".join([f"## {role}", "", "| variable | type | default | meaning |", "|---|---|---|---|", *lines, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
