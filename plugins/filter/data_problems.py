# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter data_problems: see plugin_utils/model/kept_data.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Model
from ansible_collections.shaka.platform.plugins.plugin_utils.model import kept_data

DOCUMENTATION = r"""
name: data_problems
short_description: Which data of a server an inventory would leave behind
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Compares the claims of a server, and the databases, roles, Redis numbers and prefixes that they were last used for, with the inventory's.
  - What is gone or has another name is a problem, unless the inventory says that it is meant.
positional: model, retire, delete
options:
  _input:
    description: The fact C(platform_claims) of M(shaka.platform.server_facts); nothing is known, and no problem, when it is null.
    type: list
    elements: dict
  model: {description: The fact C(platform_model)., type: dict, required: true}
  retire: {description: C(platform_retire)., type: list, elements: str, required: true}
  delete: {description: C(platform_delete)., type: list, elements: str, required: true}
"""

EXAMPLES = r"""
- name: Show what the inventory would leave behind
  ansible.builtin.debug:
    msg: "{{ ansible_facts.platform_claims | shaka.platform.data_problems(platform_model, platform_retire, platform_delete) }}"
"""

RETURN = r"""
_value: {description: Problems; empty when there are none., type: list, elements: str}
"""


def data_problems(claims: Sequence[Mapping[str, Any]] | None, model: Model, retire: Sequence[str], delete: Sequence[str]) -> list[str]:
    """The filter."""
    return kept_data.left_behind(claims or [], model, retire, delete)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"data_problems": data_problems}
