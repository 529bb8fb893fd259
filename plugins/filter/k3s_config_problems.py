# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a K3s configuration, before K3s silently skips it or dies of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

DOCUMENTATION = r"""
name: k3s_config_problems
short_description: Find mistakes in the user's part of K3s's config.yaml
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - K3s only logs an unknown key (U(https://docs.k3s.io/installation/configuration)), so that a mistyped C(secrets-encryption) is silently off;
    with an unknown flag, a component does not start. This filter finds both and names the nearest known one. It also finds values of the wrong
    kind or shape, a flag that is set twice, keys that would put a secret into the file, and keys that the role itself sets.
positional: rules
options:
  _input: {description: The configuration as the user gives it., type: dict, required: true}
  rules:
    description:
      - C(keys), the known keys by kind (C(flag), C(number), C(value), C(list), C(secret)).
      - C(choices), key to the values that it takes. C(shapes), key to C(pattern), a regular expression, and C(says), its meaning in words.
      - C(flags), the key of a component's arguments to the flags that it knows.
      - C(fixed), a key, or C(KEY FLAG) for a component's flag and C(KEY VALUE) for one value, to what to do instead of setting it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Ensure every key is known
  ansible.builtin.assert:
    that: "{{ {'secret-encryption': true} | shaka.platform.k3s_config_problems({'keys': {'flag': ['secrets-encryption']}}) == [] }}"
"""

RETURN = r"""
_value:
  description: One sentence per problem; empty when there is none.
  type: list
  elements: str
"""

KINDS = {"flag": "true or false", "number": "a whole number", "value": "one text or number", "list": "a text or a list of texts"}
ARGUMENT = re.compile(r"(?:--)?([a-z](?:[a-z0-9-]*[a-z0-9])?)=.*", re.DOTALL)


def _fits(kind: str, value: Any) -> bool:
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "value":
        return isinstance(value, (str, int)) and not isinstance(value, bool)
    # K3s takes one value as well (https://docs.k3s.io/installation/configuration#configuration-file)
    return all(isinstance(item, (str, int)) and not isinstance(item, bool) for item in (value if isinstance(value, list) else [value]))


def _near(name: str, known: list[str]) -> str:
    return f"; did you mean '{near[0]}'?" if (near := get_close_matches(name, known, n=1)) else ""


def _arguments(key: str, arguments: list[Any], rules: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a component's arguments, `name=value` each."""
    known, seen = list(rules.get("flags", {}).get(key, ())), set()
    for argument in arguments:
        match = ARGUMENT.fullmatch(str(argument))
        if match is None:
            yield f"'{argument}' is not of the form name=value"
            continue
        name = match[1]
        if instead := rules.get("fixed", {}).get(f"{key} {name}"):
            yield f"'{name}' is set by the role: {instead}"
        elif known and name not in known:
            yield f"the component has no flag '{name}' and would not start{_near(name, known)}"
        elif name in seen:
            yield f"'{name}' is set twice: set it once, with its values joined by commas where it takes several"
        seen.add(name)


def _problems(key: str, value: Any, kind: str, rules: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the value of a known key."""
    if kind == "secret":
        yield "contains a secret, which this run's output would show: use a key that takes a file, or leave it out"
    elif instead := rules.get("fixed", {}).get(key):
        yield f"is set by the role: {instead}"
    elif not _fits(kind, value):
        yield f"must be {KINDS[kind]}, not {value!r}"
    else:
        items = value if isinstance(value, list) else [value]
        yield from (f"'{item}' is set by the role: {instead}" for item in items if (instead := rules.get("fixed", {}).get(f"{key} {item}")))
        if choices := rules.get("choices", {}).get(key):
            yield from (f"must be one of {', '.join(choices)}, not '{item}'" for item in items if item not in choices)
        if shape := rules.get("shapes", {}).get(key):
            yield from (f"must be {shape['says']}, not '{item}'" for item in items if not re.fullmatch(shape["pattern"], str(item)))
        if key.endswith("-arg"):
            yield from _arguments(key, items, rules)


def k3s_config_problems(config: Mapping[str, Any], rules: Mapping[str, Any]) -> list[str]:
    """One sentence per problem."""
    kinds = {key: kind for kind, names in rules["keys"].items() for key in names}
    problems = []
    for key, value in config.items():
        if key not in kinds:
            problems.append(f"k3s_config.{key}: K3s has no such key and would ignore it{_near(key, list(kinds))}")
        else:
            problems += [f"k3s_config.{key}: {problem}" for problem in _problems(key, value, kinds[key], rules)]
    return problems


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"k3s_config_problems": k3s_config_problems}
