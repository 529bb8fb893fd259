# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks that networks do not overlap: those of pods and Services, the server's own, and the ones outside that an environment may reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# K3s's own (https://docs.k3s.io/cli/server, Networking)
DEFAULTS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
USES = {"cluster-cidr": "pods", "service-cidr": "Services"}


def _overlap(a: Network, b: Network) -> bool:
    return a.version == b.version and a.overlaps(b)


def _inside(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner != outer and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version


def cluster_networks(k3s_config: Mapping[str, Any], problems: Problems) -> dict[str, list[Network]]:
    """The networks of pods and Services, by their key in `k3s_config`. A value may list two, separated by a comma: one per IP version."""
    result: dict[str, list[Network]] = {}
    for key, default in DEFAULTS.items():
        text = str(k3s_config.get(key, default))
        try:
            result[key] = [ipaddress.ip_network(part.strip()) for part in text.split(",")]
        except ValueError as error:
            problems.add(f"k3s_config.{key}", f"is not a network in CIDR notation ({error}); write it like {default}", text)
            result[key] = [ipaddress.ip_network(default)]
    for net in result["cluster-cidr"]:
        if net.version == 4 and net.prefixlen > 24:
            problems.add(
                "k3s_config.cluster-cidr", f"is too small: a node takes a /24 of it for its pods; write it like {DEFAULTS['cluster-cidr']}", net
            )
    pods, services = result["cluster-cidr"], result["service-cidr"]
    if any(_overlap(a, b) for a in pods for b in services):
        other = k3s_config.get("service-cidr", f"{DEFAULTS['service-cidr']}, the default")
        text = f"overlaps k3s_config.service-cidr ({other}); pods and Services need separate networks"
        problems.add("k3s_config.cluster-cidr", text, k3s_config.get("cluster-cidr", DEFAULTS["cluster-cidr"]))
    if dns := k3s_config.get("cluster-dns"):
        try:
            inside = all(any(ipaddress.ip_address(part.strip()) in net for net in services) for part in str(dns).split(","))
            text = f"is outside k3s_config.service-cidr ({', '.join(map(str, services))}); use an address inside it"
        except ValueError:
            inside, text = False, "is not an IP address"
        problems.check("k3s_config.cluster-dns", None if inside else text, dns)
    return result


def check_server(networks: Mapping[str, list[Network]], hosts: Mapping[str, Any], problems: Problems) -> None:
    """The server's address is outside the cluster's networks; inside, packets for the server would go to pods."""
    for host, text in hosts.items():
        try:
            address = ipaddress.ip_address(str(text))
        except ValueError:
            continue
        for key in (key for key, nets in networks.items() if any(address in net for net in nets)):
            cidrs = ", ".join(map(str, networks[key]))
            text = f"is inside the network of the cluster's {USES[key]} (k3s_config.{key}: {cidrs}); choose another network for these"
            problems.add(f"ansible_host of {host}", text, address)


def foreign_overlaps(networks: Mapping[str, list[str]], own: Mapping[str, str]) -> Iterator[str]:
    """A problem for each of the server's interfaces whose network overlaps one of the cluster's.

    :arg networks: the cluster's networks by their key in `k3s_config`.
    :arg own: the server's interfaces, name -> CIDR.
    """
    for name, cidr in own.items():
        for key, nets in networks.items():
            if any(_overlap(ipaddress.ip_network(cidr, strict=False), ipaddress.ip_network(net)) for net in nets):
                yield f"network {cidr} of {name}: overlaps the cluster's {USES[key]} ({', '.join(nets)}); set k3s_config.{key} to another network"


def check_egress(space: Mapping[str, Any], path: str, networks: Mapping[str, list[Network]], problems: Problems) -> None:
    """Each egress is a network with its exceptions inside it, and leads to no pods or Services of other environments."""
    for index, item in enumerate(space["egress"]):
        here = f"{path}.egress[{index}]"
        for port in item["ports"]:
            problems.check(f"{here}.ports", None if 0 < port < 65536 else "is not a TCP port number; use 1 to 65535", port)
        parsed: list[Network] = []
        for name, text in [("cidr", item["cidr"]), *(("except", text) for text in item["except"])]:
            try:
                parsed.append(ipaddress.ip_network(text))
            except ValueError as error:
                problems.add(f"{here}.{name}", f"is not a network in CIDR notation ({error}); write it like 203.0.113.0/24", text)
        if len(parsed) != 1 + len(item["except"]):
            continue
        cidr, closed = parsed[0], parsed[1:]
        for net in closed:
            problems.check(f"{here}.except", None if _inside(net, cidr) else f"is not inside the cidr {cidr}; leave it out", net)
        for key, nets in networks.items():
            for net in nets:
                if _overlap(cidr, net) and not any(net == out or _inside(net, out) for out in closed):
                    text = f"reaches the cluster's {USES[key]} ({net}), and so other environments; add {net} to its 'except' list"
                    problems.add(f"{here}.cidr", text, cidr)
