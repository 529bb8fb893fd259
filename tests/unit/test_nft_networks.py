"""What is written into the packet filter is what nftables lists."""

from __future__ import annotations

import pytest
from ansible_collections.shaka.platform.plugins.filter.nft_networks import nft_networks


@pytest.mark.parametrize(
    ("networks", "ip", "ip6"),
    [
        ([], "", ""),
        (["10.43.0.0/16", "10.42.0.0/16", "fd42::/56"], "10.42.0.0/15", "fd42::/56"),
        (["192.0.2.7", "192.0.2.7/32", "198.51.100.9/24"], "{ 192.0.2.7, 198.51.100.0/24 }", ""),
        (["2001:db8::1", "2001:db8::/64", "2001:db8:1::/64"], "", "{ 2001:db8::/64, 2001:db8:1::/64 }"),
    ],
)
def test_neighbours_are_one_network_and_one_has_no_braces(networks: list[str], ip: str, ip6: str) -> None:
    assert (nft_networks(networks, "ip"), nft_networks(networks, "ip6")) == (ip, ip6)
