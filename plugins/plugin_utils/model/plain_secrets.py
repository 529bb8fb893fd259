# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds an inventory's secrets that lie on the disk in plain text: neither ansible-vault nor SOPS has encrypted them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.model.sops import MARK

VARIABLE = "platform_secrets"
FOLDERS = ("group_vars", "host_vars")
VAULT = "$ANSIBLE_VAULT"


class _Loader(yaml.SafeLoader):
    """Takes a value with a tag of Ansible's (!vault) for nothing."""


_Loader.add_multi_constructor("!", lambda _loader, _tag, _node: None)


def plain_files(inventory: Path) -> list[str]:
    """The files of variables, by their path in the inventory's directory, that hold a secret as it is."""
    files = (path for folder in FOLDERS for path in (inventory / folder).rglob("*") if path.suffix in ("", ".yml", ".yaml", ".json"))
    return sorted(str(path.relative_to(inventory)) for path in files if path.is_file() and not path.name.startswith(".") and _holds_plain(path))


def _holds_plain(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    if text.startswith(VAULT) or VARIABLE not in text:
        return False
    try:
        content = yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError:  # Ansible says so when it reads the file
        return False
    return isinstance(content, Mapping) and any(_plain(value) for value in _leaves(content.get(VARIABLE)))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    else:
        yield value


def _plain(value: Any) -> bool:
    """A value, and no look-up of one that lies elsewhere."""
    return value not in (None, "") and not (isinstance(value, str) and (value.startswith(MARK) or "{{" in value))
