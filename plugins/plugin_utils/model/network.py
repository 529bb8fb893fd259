# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who reaches whom: the cluster's networks, which overlap no others, and what each namespace lets in and out beyond its profile. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import K3S_NETWORKS
from ansible_collections.shaka.platform.plugins.module_utils.model_types import EgressRule, IngressRule, Space
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ClusterNetworks = Mapping[str, list[Network]]  # by their key of `k3s_config`

USES = {"cluster-cidr": "pods", "service-cidr": "Services"}
# The node's address and the API server's, which is the node's where it is not set (https://docs.k3s.io/cli/server, Networking).
ADDRESSES = ("advertise-address", "node-ip")
RESERVED = "system:"  # users and groups of Kubernetes itself


def _overlap(a: Network, b: Network) -> bool:
    return a.version == b.version and a.overlaps(b)


def _inside(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner != outer and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version


def _size(key: str, net: Network) -> str | None:
    """The sizes that Kubernetes starts with (pkg/controller/nodeipam, and ServiceIPRange of the API server); DNS has the Services' tenth address."""
    if key == "service-cidr":
        return None if net.num_addresses >= 16 else "is too small for Services: give them 16 addresses at least"
    if net.version == 4:
        return None if net.prefixlen <= 24 else f"is too small: a node takes a /24 of it for its pods; write it like {K3S_NETWORKS[key]}"
    return None if 48 <= net.prefixlen <= 64 else "is not a size for pods: a node takes a /64 of it, of 65536 at most; write it like fd00:42::/56"


def _for_dns(address: ipaddress.IPv4Address | ipaddress.IPv6Address, services: Network) -> bool:
    """Whether a Service may have an address; the first one is the API server's."""
    return address in services and int(address) > int(services.network_address) + 1


def _versions(networks: Iterable[Network]) -> str:
    return " and ".join(dict.fromkeys(f"IPv{net.version}" for net in networks))


def parts(value: Any) -> list[str]:
    """The values of a key that K3s takes as a list or as a text with commas."""
    texts = value if isinstance(value, list) else [value]
    return [part.strip() for text in texts for part in str(text).split(",")]


def cluster_networks(k3s_config: Mapping[str, Any], problems: Problems) -> dict[str, list[Network]]:
    """The networks of pods and Services, by their key in `k3s_config`. A value may name two, one per IP version."""
    result: dict[str, list[Network]] = {}
    for key, default in K3S_NETWORKS.items():
        text = ", ".join(parts(k3s_config.get(key, default)))
        try:
            result[key] = [rules.as_network(part) for part in parts(text)]
        except ValueError as error:
            problems.add(f"k3s_config.{key}", f"is not a network in CIDR notation ({error}); write it like {default}", text)
            result[key] = [ipaddress.ip_network(default)]
    for key, nets in result.items():
        for net in nets:
            problems.check(f"k3s_config.{key}", _size(key, net), net)
        if len({net.version for net in nets}) < len(nets):
            problems.add(f"k3s_config.{key}", "has two networks of one IP version; leave one of them out", ", ".join(map(str, nets)))
    pods, services = result["cluster-cidr"], result["service-cidr"]
    if _versions(services) != _versions(pods):
        text = (
            f"is for {_versions(services)}, and k3s_config.cluster-cidr ({', '.join(map(str, pods))}) for {_versions(pods)}, with which K3s does not "
            "start; give both the same IP versions, in the same order"
        )
        problems.add("k3s_config.service-cidr", text, ", ".join(map(str, services)))
    if any(_overlap(a, b) for a in pods for b in services):
        other = ", ".join(map(str, services)) + ("" if "service-cidr" in k3s_config else ", the default")
        text = f"overlaps k3s_config.service-cidr ({other}); pods and Services need separate networks"
        problems.add("k3s_config.cluster-cidr", text, ", ".join(map(str, pods)))
    if dns := k3s_config.get("cluster-dns"):
        try:
            inside = all(any(_for_dns(ipaddress.ip_address(part), net) for net in services) for part in parts(dns))
            text = f"is outside k3s_config.service-cidr ({', '.join(map(str, services))}), or the API server's own; use another address inside it"
        except ValueError:
            inside, text = False, "is not an IP address"
        problems.check("k3s_config.cluster-dns", None if inside else text, ", ".join(parts(dns)))
    return result


def own_addresses(k3s_config: Mapping[str, Any], networks: ClusterNetworks, problems: Problems) -> dict[str, list[str]]:
    """The server's own addresses that the inventory gives, by their key in `k3s_config`. The node has one for each IP version of the networks."""
    result: dict[str, list[str]] = {}
    for key in (key for key in ADDRESSES if key in k3s_config):
        for text in parts(k3s_config[key]):
            try:
                result.setdefault(key, []).append(str(ipaddress.ip_address(text)))
            except ValueError:
                problems.add(f"k3s_config.{key}", "is not an IP address; name one of the server's own", text)
    if result.get("node-ip"):  # what is none is reported already
        given = {ipaddress.ip_address(address).version for address in result["node-ip"]}
        if lacking := [net for net in networks["cluster-cidr"] if net.version not in given]:
            text = f"has no address of IPv{lacking[0].version}, as K3s needs for k3s_config.cluster-cidr ({lacking[0]}); name one of the server's"
            problems.add("k3s_config.node-ip", text, ", ".join(result["node-ip"]))
    return result


def foreign_addresses(addresses: Mapping[str, list[str]], found: Iterable[str]) -> Iterator[str]:
    """A problem for each IPv4 address of the inventory that no interface of the server has: behind it, nobody would answer.

    :arg addresses: by their key in `k3s_config`.
    :arg found: the server's IPv4 addresses.
    """
    for key, own in addresses.items():
        for address in own:
            if ipaddress.ip_address(address).version == 4 and address not in found:
                yield f"k3s_config.{key}: '{address}' is not an address of this server; use one of {', '.join(found)}"


def check_server(networks: ClusterNetworks, hosts: Mapping[str, Any], problems: Problems) -> None:
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


def foreign_overlaps(networks: Mapping[str, list[str]], own: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A problem for each of the server's networks that overlaps one of the cluster's.

    :arg networks: the cluster's networks by their key in `k3s_config`.
    :arg own: the server's interfaces, each with a network (CIDR).
    """
    for name, cidr in own:
        for key, nets in networks.items():
            if any(_overlap(ipaddress.ip_network(cidr, strict=False), ipaddress.ip_network(net)) for net in nets):
                yield f"network {cidr} of {name}: overlaps the cluster's {USES[key]} ({', '.join(nets)}); set k3s_config.{key} to another network"


def _parsed(rule: EgressRule | IngressRule, path: str, problems: Problems) -> tuple[Network, list[Network]] | None:
    """A rule's cidr and its exceptions, which lie inside it, written in it as Kubernetes wants them; None where one is not a network."""
    parsed: list[Network] = []
    for name, text in [("cidr", rule["cidr"]), *(("except", text) for text in rule["except"])]:
        try:
            parsed.append(rules.as_network(text))
        except ValueError as error:
            problems.add(f"{path}.{name}", f"is not a network in CIDR notation ({error}); write it like 203.0.113.0/24", text)
    if len(parsed) != 1 + len(rule["except"]):
        return None
    cidr, closed = parsed[0], parsed[1:]
    rule["cidr"], rule["except"] = str(cidr), [str(net) for net in closed]
    for net in closed:
        problems.check(f"{path}.except", None if _inside(net, cidr) else f"is not inside the cidr {cidr}; leave it out", net)
    return cidr, closed


def _check_ports(ports: Iterable[int], path: str, problems: Problems) -> None:
    for port in ports:
        problems.check(f"{path}.ports", None if 0 < port < 65536 else "is not a port number; use 1 to 65535", port)


def _check_labels(names: Iterable[str], path: str, problems: Problems) -> None:
    for name in names:
        problems.check(path, rules.label(name), name)


def _check_egress(rule: EgressRule, path: str, cluster: ClusterNetworks, problems: Problems) -> None:
    """It leads to no pods or Services of other environments."""
    _check_ports(rule["ports"], path, problems)
    _check_labels(rule["pods"], f"{path}.pods", problems)
    if parsed := _parsed(rule, path, problems):
        cidr, closed = parsed
        for key, nets in cluster.items():
            for net in nets:
                if _overlap(cidr, net) and not any(net == out or _inside(net, out) for out in closed):
                    text = f"reaches the cluster's {USES[key]} ({net}), and so other environments; add {net} to its 'except' list"
                    problems.add(f"{path}.cidr", text, cidr)


def egress_block(rule: EgressRule, own: Iterable[str]) -> dict[str, Any]:
    """The ipBlock of a rule, without the server's own addresses: their ports are none of the network's.

    :arg own: the server's addresses. One that the rule names alone is meant.
    """
    cidr = ipaddress.ip_network(rule["cidr"])
    closed = [ipaddress.ip_network(text) for text in rule["except"]]
    for net in (ipaddress.ip_network(address) for address in own):
        if not net.is_loopback and _inside(net, cidr) and not any(net == out or _inside(net, out) for out in closed):
            closed.append(net)
    return {"cidr": rule["cidr"], "except": [str(net) for net in closed]}


def _check_ingress(rule: IngressRule, path: str, problems: Problems) -> None:
    """Its client is a namespace with some of its pods, or a network."""
    _check_ports(rule["ports"], path, problems)
    _check_labels(rule["pods"], f"{path}.pods", problems)
    _check_labels(rule["clients"], f"{path}.clients", problems)
    if bool(rule["namespace"]) == bool(rule["cidr"]):
        problems.add(path, "names a namespace or a cidr, and one of them only; split it in two")
    elif rule["cidr"]:
        _parsed(rule, path, problems)
        if rule["clients"]:
            problems.add(f"{path}.clients", "are pods of a namespace, and this client is a cidr; leave them out", rule["clients"])
    else:
        problems.check(f"{path}.namespace", rules.label(rule["namespace"]), rule["namespace"])


def check_space(space: Space, path: str, cluster: ClusterNetworks, problems: Problems) -> None:
    """A namespace's grants beyond its network profile: which connections its pods may make and accept, and which users may read it."""
    for index, egress in enumerate(space["egress"]):
        _check_egress(egress, f"{path}.egress[{index}]", cluster, problems)
    for index, ingress in enumerate(space["ingress"]):
        _check_ingress(ingress, f"{path}.ingress[{index}]", problems)
    _check_labels(space["api_server"], f"{path}.api_server", problems)
    for kind, users in (("viewers", space["access"]["viewers"]), ("operators", space["access"]["operators"])):
        for user in users:
            flaw = "belongs to Kubernetes itself; name a user of your own" if user.startswith(RESERVED) else None
            problems.check(f"{path}.access.{kind}", flaw if user.strip() else "is empty; name a user, or leave it out", user)


def connect(spaces: Iterable[Space]) -> None:
    """Fill in both ends of each connection between namespaces of the platform: each is allowed where it ends and where it begins.

    - `ingress[].namespace`: the name that Kubernetes knows.
    - `reaches`: what the client of such an ingress may reach.
    """
    by_name = {space["name"]: space for space in spaces}
    for space in by_name.values():
        space["reaches"] = []
    for space in by_name.values():
        for rule in space["ingress"]:
            client = by_name.get(rule["namespace"])
            if client is not None:
                rule["namespace"] = client["namespace"]
                client["reaches"].append(
                    {
                        "namespace": space["namespace"],
                        "clients": rule["clients"],
                        "pods": rule["pods"],
                        "ports": rule["ports"],
                        "protocol": rule["protocol"],
                    }
                )
