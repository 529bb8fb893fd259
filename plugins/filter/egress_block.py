# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which addresses an `egress` of the inventory opens."""

from __future__ import annotations

DOCUMENTATION = r"""
name: egress_block
short_description: The ipBlock of a NetworkPolicy for a rule of egress
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The rule's network and its exceptions, and besides them the server's own addresses inside it, whose ports are none of the internet's. A rule that
    names such an address alone means it.
positional: own
options:
  _input:
    description: An item of C(egress) of an environment or namespace of the model.
    type: dict
    required: true
  own:
    description: The server's addresses, of both IP versions.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what is left of the internet
  ansible.builtin.debug:
    msg: "{{ {'cidr': '0.0.0.0/0', 'except': ['10.0.0.0/8']} | shaka.platform.egress_block(['203.0.113.7']) }}"
"""

RETURN = r"""
_value:
  description: An C(ipBlock).
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model.network import egress_block
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain


def block(rule: Any, own: Any) -> dict[str, Any]:
    """The filter."""
    return egress_block(plain(rule, typed=True), plain(own, typed=True))


class FilterModule:
    """Filters of the namespaces' templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"egress_block": block}
