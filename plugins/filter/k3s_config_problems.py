# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a K3s configuration, before K3s silently skips it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

DOCUMENTATION = r"""
name: k3s_config_problems
short_description: Unknown keys and wrong kinds of values in K3s's config.yaml
version_added: 0.1.0
author: The shaka.platform founders (@shaka-platform)
description:
  - K3s skips an unknown key with a line in its log (U(https://docs.k3s.io/installation/configuration)), so that a mistyped C(secrets-encryption) is
    silently off. This names such keys, with the nearest known one, values of the wrong kind, and keys that would put a secret into the file.
positional: keys
options:
  _input: {description: The configuration., type: dict, required: true}
  keys: {description: "Known keys by kind: C(flag), C(value), C(list), C(secret).", type: dict, required: true}
"""

EXAMPLES = r"""
- name: Refuse an unknown key
  ansible.builtin.assert:
    that: "{{ {'secret-encryption': true} | shaka.platform.k3s_config_problems({'flag': ['secrets-encryption']}) == [] }}"
"""

RETURN = r"""
_value: {description: One sentence per problem; empty when there is none., type: list, elements: str}
"""

KINDS = {"flag": "true or false", "value": "one text or number", "list": "a list of texts"}


def _fits(kind: str, value: Any) -> bool:
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "value":
        return isinstance(value, (str, int)) and not isinstance(value, bool)
    return isinstance(value, list) and all(isinstance(item, (str, int)) and not isinstance(item, bool) for item in value)


def k3s_config_problems(config: Mapping[str, Any], keys: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence per problem."""
    kinds = {key: kind for kind, names in keys.items() for key in names}
    problems = []
    for key, value in config.items():
        kind = kinds.get(key)
        if kind is None:
            near = get_close_matches(key, list(kinds), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            problems.append(f"k3s_config: K3s has no key '{key}' and would skip it{hint}")
        elif kind == "secret":
            problems.append(
                f"k3s_config: '{key}' holds a secret, which would show in this run's output: use a key that takes a file, or leave it out"
            )
        elif not _fits(kind, value):
            problems.append(f"k3s_config: '{key}' takes {KINDS[kind]}, not {value!r}")
    return problems


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"k3s_config_problems": k3s_config_problems}
