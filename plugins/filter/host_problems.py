# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter host_problems: see plugin_utils/model/host.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import host

DOCUMENTATION = r"""
name: host_problems
short_description: Find wrong values of the role host
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Checks each value beyond its type (networks, times, sizes, keys, names), values that contradict each other, and whether the role supports
    the operating system.
positional: supported, values, needed, algorithms
options:
  _input:
    description: Distribution and release of the server, such as C(Debian 12).
    type: str
    required: true
  supported:
    description: Systems that the role supports.
    type: list
    elements: str
    required: true
  values: {description: The role's public variables., type: dict, required: true}
  needed: {description: Kernel settings that Kubernetes needs as they are., type: dict, required: true}
  algorithms: {description: "What the server's OpenSSH knows, by its name for C(ssh -Q).", type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Show the wrong values
  ansible.builtin.debug:
    msg: "{{ 'Debian 12' | shaka.platform.host_problems(['Debian 12'], {'host_updates_time': '3:30'}, {}) }}"
"""

RETURN = r"""
_value: {description: Problems; empty when there are none., type: list, elements: str}
"""


def host_problems(
    system: str, supported: Sequence[str], values: Mapping[str, Any], needed: Mapping[str, str], algorithms: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """The filter."""
    return list(host.host_problems(system, supported, values, needed, algorithms or {}))


class FilterModule:
    """Filters of the role host."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"host_problems": host_problems}
