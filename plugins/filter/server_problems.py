# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter server_problems: see plugin_utils/model/server.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import server

DOCUMENTATION = r"""
name: server_problems
short_description: Find out why the platform cannot run on a server
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Compares the server's facts with what the platform needs, and with the size that the inventory says.
options:
  _input: {description: The server's C(ansible_facts)., type: dict, required: true}
  server: {description: C(platform_model.server)., type: dict, required: true}
  distributions:
    description: Distribution name to its least major version.
    type: dict
    required: true
  python: {description: Least version of the server's Python., type: str, required: true}
  listening:
    description: Lines of C(ss -Hltnp).
    type: list
    elements: str
    required: true
  ports:
    description: TCP ports that the platform answers on.
    type: list
    elements: int
    required: true
  ours: {description: Programs that may use these ports., type: list, elements: str, required: true}
  node: {description: The node's name as the inventory has it; empty means the host's., type: str, default: ""}
  resolv_conf: {description: "C(k3s_config.resolv-conf).", type: str, default: ""}
"""

EXAMPLES = r"""
- name: Show why the platform cannot run on this server
  ansible.builtin.debug:
    msg: "{{ ansible_facts | shaka.platform.server_problems(platform_model.server, {'Debian': 12}, '3.9', [], [], []) }}"
"""

RETURN = r"""
_value: {description: Problems; empty when there are none., type: list, elements: str}
"""


def server_problems(
    facts: Mapping[str, Any],
    size: Mapping[str, Any],
    distributions: Mapping[str, int],
    python: str,
    listening: Sequence[str],
    ports: Sequence[int],
    ours: Sequence[str],
    node: str = "",
    resolv_conf: str = "",
) -> list[str]:
    """The filter."""
    held = server.listeners(listening, ports, ours)
    return list(
        server.server_problems(facts, size, distributions, python, held, size.get("networks"), node, size.get("addresses"), resolv_conf=resolv_conf)
    )


class FilterModule:
    """Filters of the role preflight."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"server_problems": server_problems}
