# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with registries.yaml, before K3s silently skips it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

DOCUMENTATION = r"""
name: k3s_registries_problems
short_description: Find mistakes in K3s's registries.yaml
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - K3s reads C(mirrors) and C(configs) by registry (U(https://docs.k3s.io/installation/private-registry)) and silently ignores other keys.
    No message repeats a value of C(auth).
options:
  _input: {description: The content of registries.yaml., type: dict, required: true}
"""

EXAMPLES = r"""
- name: Ensure every key is known
  ansible.builtin.assert:
    that: "{{ {'mirror': {}} | shaka.platform.k3s_registries_problems == [] }}"
"""

RETURN = r"""
_value:
  description: One sentence per problem; empty when there is none.
  type: list
  elements: str
"""

KEYS: dict[str, dict[str, type]] = {
    "mirrors": {"endpoint": list, "rewrite": dict},
    "configs": {"auth": dict, "tls": dict},
    "auth": {"username": str, "password": str, "auth": str, "identity_token": str},
    "tls": {"ca_file": str, "cert_file": str, "key_file": str, "insecure_skip_verify": bool},
}  # fmt: skip
WORDS = {list: "a list", dict: "a mapping", str: "a text", bool: "true or false"}
NAME = re.compile(r"\*|[A-Za-z0-9.-]+(:[0-9]{1,5})?")
ENDPOINT = re.compile(r"https?://[^\s/]+(/\S*)?")


def _part(path: str, kind: str, part: Any) -> Iterator[str]:
    """Wrong keys and types of one mapping, its parts included."""
    if not isinstance(part, Mapping):
        yield f"{path}: must be a mapping with {', '.join(KEYS[kind])}"
        return
    for key, value in part.items():
        expected = KEYS[kind].get(str(key))
        if expected is None:
            yield f"{path}.{key}: K3s knows {', '.join(KEYS[kind])} here and would ignore it"
        elif not isinstance(value, expected):
            yield f"{path}.{key}: must be {WORDS[expected]}"
        elif key in ("auth", "tls") and kind == "configs":
            yield from _part(f"{path}.{key}", key, value)
        elif isinstance(value, list):
            yield from (f"{path}.endpoint: '{url}' is not an http:// or https:// URL" for url in value if not ENDPOINT.fullmatch(str(url)))


def k3s_registries_problems(registries: Mapping[str, Any]) -> list[str]:
    """One sentence per problem."""
    problems = []
    for key, entries in registries.items():
        path = f"k3s_registries.{key}"
        if key not in ("mirrors", "configs"):
            problems.append(f"{path}: K3s knows mirrors and configs here and would ignore it")
        elif not isinstance(entries, Mapping):
            problems.append(f"{path}: must be a mapping by registry")
        else:
            for name, part in entries.items():
                if not NAME.fullmatch(str(name)):
                    problems.append(f"{path}: '{name}' is not a registry; use its host name, with a port where it has one, or '*'")
                problems += _part(f"{path}.{name}", key, part)
    return problems


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"k3s_registries_problems": k3s_registries_problems}
