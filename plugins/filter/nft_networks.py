# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Networks as nftables lists them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nft_networks
short_description: Networks of one family, written as nftables lists them
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Neighbouring networks are one, and a single one has no braces. nftables itself does both, but the second only when it reads its own list again; so
    rules that were taken back from that list would differ from these.
positional: family
options:
  _input:
    description: Networks (CIDR) and addresses of both families.
    type: list
    elements: str
    required: true
  family:
    description: Which of them.
    type: str
    choices: [ip, ip6]
    required: true
"""

EXAMPLES = r"""
- name: Show 10.42.0.0/15
  ansible.builtin.debug:
    msg: "{{ ['10.42.0.0/16', '10.43.0.0/16', 'fd42::/56'] | shaka.platform.nft_networks('ip') }}"
"""

RETURN = r"""
_value:
  description: A network, or a set of them in braces; empty when there is none of the family.
  type: str
"""

import ipaddress
from collections.abc import Callable, Iterable


def nft_networks(networks: Iterable[str], family: str) -> str:
    """The filter."""
    found = [ipaddress.ip_network(str(text), strict=False) for text in networks]
    merged: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]
    if family == "ip6":
        merged = ipaddress.collapse_addresses(network for network in found if isinstance(network, ipaddress.IPv6Network))
    else:
        merged = ipaddress.collapse_addresses(network for network in found if isinstance(network, ipaddress.IPv4Network))
    listed = [str(network) if network.num_addresses > 1 else str(network.network_address) for network in merged]
    return f"{{ {', '.join(listed)} }}" if len(listed) > 1 else "".join(listed)


class FilterModule:
    """Filters of the packet filter's template."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"nft_networks": nft_networks}
