# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter resolver_note: see plugin_utils/model/server.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import server

DOCUMENTATION = r"""
name: resolver_note
short_description: Tell whether pods would ask 8.8.8.8 in place of the server's own nameservers
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - K3s gives pods a file of the server with nameservers only if all of them are global unicast addresses, and writes one with 8.8.8.8 otherwise
    (C(isValidResolvConf) in its C(pkg/agent/config/config.go)). The resolver of a cloud at C(169.254.169.254) is such a case.
positional: chosen
options:
  _input: {description: File to its nameservers, in the order in which K3s looks., type: dict, required: true}
  chosen: {description: C(resolv-conf) of C(k3s_config); empty means that K3s looks for one., type: str, required: true}
"""

EXAMPLES = r"""
- name: Show what pods would miss
  ansible.builtin.debug:
    msg: "{{ ansible_facts.nameservers | shaka.platform.resolver_note('') }}"
"""

RETURN = r"""
_value: {description: One sentence; empty where there is nothing to say., type: str}
"""


class FilterModule:
    """Filters of the role preflight."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"resolver_note": server.resolver_note}
