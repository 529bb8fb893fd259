# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks that a server is fit for the platform before anything on it is changed. Pure: facts in, problems out."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.quantities import parse_cpu, parse_memory, show_memory
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.network import foreign_addresses, foreign_overlaps

# A server sold as 2 GiB reports about 5 % less, because the kernel and the firmware keep a part.
KEPT_BY_KERNEL = 0.10


def server_problems(
    facts: Mapping[str, Any],
    required: Mapping[str, Any],
    distributions: Mapping[str, int],
    python: str,
    ports: Mapping[int, Sequence[str]],
    networks: Mapping[str, list[str]] | None = None,
    node: str = "",
    addresses: Mapping[str, list[str]] | None = None,
    *,
    resolv_conf: str = "",
) -> Iterator[str]:
    """Why the platform cannot run on this server: each problem names the fact and what would do instead.

    :arg facts: `ansible_facts` of the server.
    :arg required: the model's server: cpu, memory, disk as quantities.
    :arg distributions: name -> least major version.
    :arg python: least version of the server's Python.
    :arg ports: port of the platform that is taken -> the programs that listen on it.
    :arg networks: the cluster's networks by their key of `k3s_config`.
    :arg node: the node's name as the inventory has it; empty means the host's.
    :arg addresses: the server's own addresses that the inventory gives, by their key of `k3s_config`.
    :arg resolv_conf: `k3s_config.resolv-conf`, the file that pods then have instead of the server's.
    """
    name, version = str(facts.get("distribution")), str(facts.get("distribution_version", "0"))
    if name not in distributions or int(re.match(r"\d*", version)[0] or 0) < distributions[name]:  # type: ignore[index]  # \d* always matches
        yield f"operating system: {name} {version}; use {' or '.join(f'{n} {v} or newer' for n, v in distributions.items())}"
    if facts.get("architecture") not in ("x86_64", "aarch64"):
        yield f"architecture: {facts.get('architecture')}; K3s and the artifacts are for x86_64 and aarch64"
    if facts.get("service_mgr") != "systemd":
        yield f"service manager: {facts.get('service_mgr')}; it must be systemd"
    if facts.get("effective_user_id") not in (None, 0):
        yield f"rights: the run acts as {facts.get('user_id')}; set ansible_user: root or a user that may become root"
    installed = str(facts.get("python_version", "0"))
    if _version(installed) < _version(python):
        yield f"Python: {installed}; the Kubernetes client needs {python} or newer"
    yield from _node(str(facts.get("hostname") or ""), node, str(facts.get("k3s_node_name") or ""))
    yield from _sizes(facts, required)
    for port, programs in sorted(ports.items()):
        yield f"port {port}: in use by {', '.join(programs)}; the platform needs it: stop and disable that program"
    yield from foreign_overlaps(networks or {}, _interfaces(facts))
    yield from _routes(facts, networks or {}, addresses or {})
    if lacks := facts.get("kernel_lacks"):
        yield (
            f"kernel: it lacks {', '.join(lacks)}, without which pods have no network or no policy is enforced; install linux-image-amd64 or "
            "linux-image-arm64 (Debian; not the cloud kernel) or linux-generic (Ubuntu; not linux-kvm), and restart the server"
        )
    if not resolv_conf:
        yield from map(_wildcard, facts.get("search_wildcards") or [])


def _node(host: str, given: str, present: str) -> Iterator[str]:
    """A node is named as a DNS subdomain in lower case (RFC 1123), and keeps its name: local volumes are bound to it."""
    name = given or host.lower()
    if name and (flaw := rules.node_name(name)):
        yield f"k3s_node_name: '{name}'{'' if given else ' (the host name)'} {flaw}"
    elif present and name != present:
        yield (
            f"k3s_node_name: '{name}'{'' if given else ' (the host name)'} would make another node of this server, on which no volume fits; "
            f"set it to '{present}', as the node is called"
        )


def _wildcard(domain: str) -> str:
    """Pods have the server's search domains, and try them before a name with fewer than five dots as it is (k3s-io/k3s issue 9286)."""
    return (
        f"DNS: in '{domain}', a search domain of the server's resolv.conf, every name has an address, so pods would reach that one instead of other "
        "servers; take the domain out there, or write a file with the nameserver lines alone and name it in k3s_config.resolv-conf"
    )


def _routes(facts: Mapping[str, Any], networks: Mapping[str, list[str]], addresses: Mapping[str, list[str]]) -> Iterator[str]:
    """K3s finds the way to other machines, its own addresses, and a cluster of the networks that the inventory has."""
    if "default_ipv4" in facts and not facts["default_ipv4"].get("address"):
        yield (
            "network: no default route, without which K3s does not start and no Service answers; add one, "
            "on a server without internet to a dummy interface (docs/artifacts.md)"
        )
    yield from foreign_addresses(addresses, list(facts.get("all_ipv4_addresses") or []))
    of_ipv6 = [network for network in networks.get("cluster-cidr") or [] if ":" in network]
    if of_ipv6 and not facts.get("all_ipv6_addresses"):
        yield (
            f"k3s_config.cluster-cidr: with {of_ipv6[0]} K3s does not start on this server, which has no IPv6 address; leave it out, there and in "
            "k3s_config.service-cidr, or give the server one"
        )
    for key, present in (facts.get("k3s_networks") or {}).items():
        if present and key in networks and sorted(present) != sorted(networks[key]):
            was, now = ", ".join(present), ", ".join(networks[key])
            yield f"k3s_config.{key}: the cluster was made with {was} and cannot change to {now}; set it back, or reset the server (docs/reset.md)"


def resolver_note(nameservers: Mapping[str, Sequence[str]], chosen: str) -> str:
    """What to say of a server whose resolv.conf K3s does not take for pods; empty when it takes one.

    It takes the first of these files whose nameservers are all global unicast addresses, else 8.8.8.8
    (isValidResolvConf in K3s's pkg/agent/config/config.go).

    :arg nameservers: file -> its nameservers, in the order in which K3s looks; a file that is not there is not listed.
    :arg chosen: `k3s_config.resolv-conf`; with it K3s looks nowhere else.
    """

    def is_taken(servers: Sequence[str]) -> bool:
        return bool(servers) and all(_is_global_unicast(server) for server in servers)

    if chosen or any(is_taken(servers) for servers in nameservers.values()):
        return ""
    listed = "; ".join(f"{file}: {', '.join(servers) or 'none'}" for file, servers in nameservers.items()) or "there is no /etc/resolv.conf"
    return (
        f"DNS of pods: K3s would ask 8.8.8.8, since it takes no nameserver of this server ({listed}), and private names would not resolve; "
        "write a file with the nameservers that pods may ask, and name it in k3s_config.resolv-conf"
    )


def _is_global_unicast(text: str) -> bool:
    """As Go's net.IP.IsGlobalUnicast has it: private addresses count, loopback, link-local and multicast do not."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _interfaces(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each interface with its networks, without those that the cluster makes (its bridge, tunnel and pod ends)."""
    for name in facts.get("interfaces") or []:
        of_interface = facts.get(str(name).replace("-", "_")) or {}
        for address in [of_interface.get("ipv4") or {}, *(of_interface.get("ipv4_secondaries") or [])]:
            if address.get("network") and address.get("prefix") and not str(name).startswith(("cni", "flannel", "veth", "lo", "kube-")):
                yield str(name), f"{address['network']}/{address['prefix']}"


def _sizes(facts: Mapping[str, Any], required: Mapping[str, str]) -> Iterator[str]:
    cpus = int(facts.get("processor_vcpus") or 0)
    if required["cpu"] and cpus * 1000 < parse_cpu(required["cpu"]):
        yield f"CPU: {cpus}, less than platform_server.cpu ({required['cpu']}); correct the inventory or resize the server"
    memory = int(facts.get("memtotal_mb") or 0) * 2**20
    if required["memory"] and memory < parse_memory(required["memory"]) * (1 - KEPT_BY_KERNEL):
        yield f"memory: {show_memory(memory)}, less than platform_server.memory ({required['memory']}); correct the inventory or resize the server"


def listeners(lines: Sequence[str], ports: Sequence[int], ours: Sequence[str]) -> dict[int, list[str]]:
    """Those of the ports that programs listen on that are not ours -> these programs, from the lines of `ss -Hltnp`."""
    held: dict[int, list[str]] = {}
    for line in lines:
        columns = line.split()
        if len(columns) < 5:
            continue
        port = int(columns[3].rsplit(":", 1)[-1])
        if port not in ports:
            continue
        programs = re.findall(r'\("([^"]+)",pid=(\d+)', line) or [("an unknown program", "")]
        others = sorted({f"{name} (pid {pid})" if pid else name for name, pid in programs if name not in ours})
        if others:
            held[port] = sorted({*held.get(port, []), *others})
    return held
