# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter unreached_hosts: see plugin_utils/model/acme.py."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unreached_hosts
short_description: Find hosts that a certificate authority would not find on the server
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - An authority that looks for its answer on port 80 of a host (HTTP-01) counts each try that fails. A host that has no address, or that of another
    machine, is named here before it is asked.
positional: model, own
options:
  _input:
    description: Name -> addresses; the fact C(hosts) of M(shaka.platform.server_facts).
    type: dict
    required: true
  model:
    description: The fact C(platform_model).
    type: dict
    required: true
  own:
    description: The server's addresses; names among them are left out.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the hosts that do not lead to the server
  ansible.builtin.debug:
    msg: "{{ {'api.example.net': ['192.0.2.7']} | shaka.platform.unreached_hosts(platform_model, ansible_facts.all_ipv4_addresses) }}"
"""

RETURN = r"""
_value:
  description: Problems; empty when there are none.
  type: list
  elements: str
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model.acme import unreached
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def unreached_hosts(hosts: Any, model: Any, own: Iterable[Any]) -> list[str]:
    """The filter."""
    return unreached(plain(hosts, typed=True), plain(model, typed=True), [str(text) for text in own if _is_address(str(text))])


class FilterModule:
    """Filters of the role preflight."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"unreached_hosts": unreached_hosts}
