# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user's part of K3s's config.yaml over the role's."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

DOCUMENTATION = r"""
name: merge_k3s_config
short_description: Merge the role's and the user's parts of K3s's config.yaml
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The user's value of a key replaces the role's; a list is appended to the role's; a flag in a component's arguments (C(kubelet-arg) and the like)
    replaces the role's flag of the same name, just as it would replace one of K3s's own (U(https://docs.k3s.io/cli/server)).
  - One value in place of a list counts as a list, as it does for K3s. Several in one text are joined by commas alone, since K3s takes a blank
    beside a comma for a part of the value.
positional: user, lists
options:
  _input: {description: The role's part., type: dict, required: true}
  user: {description: The user's part., type: dict, required: true}
  lists: {description: The keys that take a list., type: list, elements: str, required: true}
"""

EXAMPLES = r"""
- name: Keep the audit log for a week
  ansible.builtin.debug:
    msg: "{{ {'kubelet-arg': ['v=1']} | shaka.platform.merge_k3s_config({'kubelet-arg': 'v=4'}, ['kubelet-arg', 'kube-apiserver-arg']) }}"
"""

RETURN = r"""
_value: {description: The configuration., type: dict}
"""


def _name(argument: Any) -> str:
    return str(argument).removeprefix("--").partition("=")[0]


def _joined(value: Any) -> Any:
    return re.sub(r"\s*,\s*", ",", value.strip()) if isinstance(value, str) else value


def merge_k3s_config(role: Mapping[str, Any], user: Mapping[str, Any], lists: Collection[str]) -> dict[str, Any]:
    """The whole configuration."""
    merged = dict(role)
    for key, given in user.items():
        own, value = merged.get(key), [given] if key in lists and not isinstance(given, list) else given
        if key in lists and not key.endswith("-arg"):
            value = [_joined(item) for item in value]
        if not isinstance(own, list) or not isinstance(value, list):
            merged[key] = value
        elif key.endswith("-arg"):
            replaced = {_name(argument) for argument in value}
            merged[key] = [argument for argument in own if _name(argument) not in replaced] + value
        else:
            merged[key] = own + [item for item in value if item not in own]
    return merged


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"merge_k3s_config": merge_k3s_config}
