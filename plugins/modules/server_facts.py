#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The facts of a server that the site reads, and no others."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: server_facts
short_description: The facts of a server that the site reads
version_added: "0.1.0"
author:
  - The shaka.platform founders (@shaka-platform)
description:
  - Takes the place of M(ansible.builtin.setup) in the site. On a server with pods that module asks about hundreds of mounts, devices and network
    interfaces, of which the site reads none, and takes a second of each run.
  - The facts have the names that M(ansible.builtin.setup) gives them, and there are two more, the TCP listeners and the disk's size.
  - It is set as the variable C(ansible_facts_modules) of a play that gathers facts.
options:
  names:
    description: Names whose addresses are asked for; given by C(module_defaults) of the play.
    type: list
    elements: str
    default: []
  hosts:
    description: Host names that certificates are asked for; given by C(module_defaults) of the play.
    type: list
    elements: str
    default: []
  issuer:
    description: ClusterIssuer that is asked for them; a certificate of another one is issued again. Empty means any.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: It changes nothing.
  facts:
    support: full
    description: Returned as C(ansible_facts).
"""

EXAMPLES = r"""
- name: Gather what the roles read
  hosts: k3s_servers
  vars:
    ansible_facts_modules: [shaka.platform.server_facts]
  roles:
    - shaka.platform.host
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    distribution:
      description: Name of the distribution, with C(distribution_version), C(distribution_major_version) and C(distribution_release).
      type: str
      sample: Debian
    hostname:
      description: The host's name up to the first dot.
      type: str
    architecture:
      description: The machine's name.
      type: str
      sample: x86_64
    python_version:
      description: Version of the Python that runs the modules.
      type: str
    service_mgr:
      description: The program that manages services.
      type: str
      sample: systemd
    user_id:
      description: Name of the user that the modules run as; its number is C(effective_user_id).
      type: str
    env:
      description: Of the environment, C(SSH_CONNECTION).
      type: dict
    processor_vcpus:
      description: Number of CPUs.
      type: int
    memtotal_mb:
      description: Memory in MiB.
      type: int
    disk_total:
      description: Bytes of the file system that holds C(/var/lib/rancher).
      type: int
    interfaces:
      description: >-
        Names of the network interfaces with an IPv4 address; each has a fact of its name, C(-) as C(_), with C(ipv4) and C(ipv4_secondaries).
      type: list
      elements: str
    all_ipv4_addresses:
      description: The server's IPv4 addresses.
      type: list
      elements: str
    all_ipv6_addresses:
      description: Its IPv6 addresses that others can route to.
      type: list
      elements: str
    kernel_lacks:
      description: Modules that K3s needs and the kernel has not; always empty in a container, whose kernel is another's.
      type: list
      elements: str
    default_ipv4:
      description: The C(address) that leads to other networks; empty without a default route.
      type: dict
    nameservers:
      description: File -> its nameservers, of the files that K3s takes them from for pods; a file that is not there is left out.
      type: dict
    k3s_networks:
      description: C(cluster-cidr) and C(service-cidr) that K3s's cluster was made with; empty without a cluster.
      type: dict
    k3s_node_name:
      description: The name under which K3s is configured to run the node; empty without K3s.
      type: str
    resolved:
      description: Name -> its addresses, sorted, for O(names); a warning and none where the server does not know it.
      type: dict
    host_addresses:
      description: Name -> its addresses, sorted, for those of O(hosts) that have no certificate of O(issuer) yet, nor one that a move has brought.
      type: dict
    issuance:
      description:
        - For O(hosts), what the cluster knows of its certificates; null without a cluster, before cert-manager, and where K3s does not answer.
        - C(certificates) are those there are, C(issued) and C(refused) the orders that are kept, C(failed) the hosts that could not be proven in the
          last hour. C(issuers) says since when each issuer is there, and C(now) when that was.
      type: dict
    search_wildcards:
      description: Search domains of the server's resolv.conf in which every name has an address.
      type: list
      elements: str
    tcp_listeners:
      description: Lines of C(ss -Hltnp), one for each TCP port that a program listens on.
      type: list
      elements: str
    platform_claims:
      description: Each claim of a platform that has a volume, with the record of its data; null where K3s is there and does not answer.
      type: list
      elements: dict
    platform_spaces:
      description: Names of the namespaces of a platform that are there; null where K3s is there and does not answer.
      type: list
      elements: str
"""

import contextlib
import getpass
import ipaddress
import json
import os
import platform
import re
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.sys_info import get_distribution, get_distribution_codename, get_distribution_version
from ansible_collections.shaka.platform.plugins.module_utils.conventions import K3S_NETWORKS, Execute, commands_of
from ansible_collections.shaka.platform.plugins.module_utils.data import issuance
from ansible_collections.shaka.platform.plugins.module_utils.data.claims import claims, namespaces

RESOLVE = 5  # seconds for each name
RESOLVERS_AT_ONCE = 16
DATA = "/var/lib/rancher"  # where images and volumes are
CONFIGURATION = Path("/etc/rancher/k3s/config.yaml")
# In the order in which K3s looks for one that pods can use (locateOrGenerateResolvConf in its pkg/agent/config/config.go).
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


# For pods' networks and policies: K3s's controller for these goes without, with a line in its log, when it cannot make a set of addresses
# (`Run` in its pkg/agent/netpol/netpol.go).
MODULES = (
    "ip_set", "ip_set_hash_ip", "ip_set_hash_net", "xt_set", "xt_comment", "xt_addrtype", "xt_statistic", "xt_MASQUERADE",
    "br_netfilter", "nf_conntrack", "overlay", "veth", "vxlan",
)  # fmt: skip


def kernel_lacks(execute: Execute, root: Path = Path("/")) -> list[str]:
    """The modules that are neither loaded nor built in nor found by modprobe. In a container that cannot be told."""
    if (root / "run/systemd/container").exists() or not (root / "usr/sbin/modprobe").exists():
        return []
    absent = [name for name in MODULES if not (root / "sys/module" / name).exists()]
    return [name for name in absent if execute(["modprobe", "--dry-run", "--quiet", name])[0] != 0]


def service_manager(root: Path = Path("/")) -> str:
    """systemd where it is the init system that runs (as sd_booted(3) tells), else the name of process 1."""
    if (root / "run/systemd/system").is_dir():
        return "systemd"
    try:
        return (root / "proc/1/comm").read_text().strip()
    except OSError:
        return "unknown"


def memory(meminfo: str) -> int:
    """MemTotal of /proc/meminfo in MiB."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) // 1024 if match else 0


def disk(path: Path) -> int:
    """Size in bytes of the file system that holds a path, or its nearest parent that is there."""
    while not path.exists():
        path = path.parent
    state = os.statvfs(path)
    return state.f_blocks * state.f_frsize


def networks(addresses: str) -> dict[str, Any]:
    """Interface facts from `ip -json -4 address show`, named as setup names them."""
    facts: dict[str, Any] = {"interfaces": [], "all_ipv4_addresses": []}
    for entry in json.loads(addresses or "[]"):
        facts["all_ipv4_addresses"] += [address["local"] for address in entry.get("addr_info", [])]
        found = [_of_interface(address["local"], address["prefixlen"]) for address in entry.get("addr_info", [])]
        if found:
            facts["interfaces"].append(entry["ifname"])
            facts[entry["ifname"].replace("-", "_")] = {"ipv4": found[0], "ipv4_secondaries": found[1:]}
    return facts


def _of_interface(address: str, length: int) -> dict[str, str]:
    network = ipaddress.ip_interface(f"{address}/{length}").network
    return {"address": address, "network": str(network.network_address), "prefix": str(network.prefixlen)}


def global_addresses(addresses: str) -> list[str]:
    """From `ip -json -6 address show scope global`."""
    return [address["local"] for entry in json.loads(addresses or "[]") for address in entry.get("addr_info", []) if "local" in address]


def default_address(routes: str) -> dict[str, str]:
    """The source address of a route, from `ip -json route get`."""
    found = [route["prefsrc"] for route in json.loads(routes or "[]") if route.get("prefsrc")]
    return {"address": found[0]} if found else {}


def node_name(configuration: Path = CONFIGURATION) -> str:
    """What K3s's configuration, as role k3s writes it, calls the node."""
    try:
        match = re.search(r"""^node-name: *['"]?([^'"\s]+)""", configuration.read_text(encoding="utf-8"), re.MULTILINE)
    except FileNotFoundError:
        return ""
    return match[1] if match else ""


def cluster_networks(configuration: Path = CONFIGURATION, datastore: Path = Path(DATA, "k3s/server/db/state.db")) -> dict[str, list[str]]:
    """The networks in K3s's configuration, once there is a cluster; where it has none, K3s's own."""
    if not (datastore.exists() and configuration.exists()):
        return {}
    text, found = configuration.read_text(encoding="utf-8"), {}
    for key, default in K3S_NETWORKS.items():
        value = re.search(rf"^{key}:(.*\n(?:[ -].*\n?)*)", text, re.MULTILINE)
        networks = re.findall(r"[0-9a-fA-F:.]+/\d+", value[1]) if value else [default]
        found[key] = [str(ipaddress.ip_network(network, strict=False)) for network in networks]  # written as the inventory's are
    return found


def nameservers(files: Sequence[Path]) -> dict[str, list[str]]:
    """File -> its nameservers."""
    found = {}
    for file in files:
        with contextlib.suppress(OSError):
            found[str(file)] = re.findall(r"^nameserver\s+(\S+)", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return found


def addresses(name: str) -> list[str]:
    """Of both IP versions; none when nobody answers in time. The resolver has its own timeouts, of up to half a minute."""
    pool = ThreadPoolExecutor(1)
    try:
        found = pool.submit(socket.getaddrinfo, name, None, 0, socket.SOCK_STREAM).result(timeout=RESOLVE)
    except (OSError, UnicodeError, TimeoutError, FutureTimeoutError):
        return []
    finally:
        pool.shutdown(wait=False)
    return sorted({str(entry[4][0]) for entry in found})


def search_wildcards(resolv_conf: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The search domains that know a name which nobody can have given. The last line counts (resolv.conf(5))."""
    try:
        lines = re.findall(r"^(?:search|domain)[ \t]+(.+)$", resolv_conf.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return []
    domains = [domain for domain in lines[-1].split() if domain.strip(".")] if lines else []
    return [domain for domain in domains if addresses(f"shaka-{secrets.token_hex(8)}.{domain.rstrip('.')}.")]


def distribution_facts() -> dict[str, str]:
    """As setup names them, without its collectors: these would be 70 more files to pack, send and compile at each run."""
    version = get_distribution_version() or "NA"
    major = version.partition(".")[0]
    name, release = get_distribution(), get_distribution_codename() or "NA"
    return {"distribution": name, "distribution_version": version, "distribution_major_version": major, "distribution_release": release}


def gather(execute: Execute, distribution: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """All of them."""

    def output(*command: str) -> str:
        code, out, _err = execute(list(command))
        return str(out) if code == 0 else ""

    connection = os.environ.get("SSH_CONNECTION")
    return {
        **networks(output("ip", "-json", "-4", "address", "show")),
        **distribution(),
        "hostname": platform.node().partition(".")[0],
        "architecture": platform.machine(),
        "python_version": platform.python_version(),
        "service_mgr": service_manager(),
        "user_id": getpass.getuser(),
        "effective_user_id": os.geteuid(),
        "env": {"SSH_CONNECTION": connection} if connection else {},
        "processor_vcpus": os.cpu_count() or 0,
        "memtotal_mb": memory(Path("/proc/meminfo").read_text()),
        "disk_total": disk(Path(DATA)),
        "kernel_lacks": kernel_lacks(execute),
        "all_ipv6_addresses": global_addresses(output("ip", "-json", "-6", "address", "show", "scope", "global")),
        # No packet is sent: the kernel says by which address it would.
        "default_ipv4": default_address(output("ip", "-json", "route", "get", "192.0.2.1")),
        "k3s_node_name": node_name(),
        "k3s_networks": cluster_networks(),
        "nameservers": nameservers(RESOLVERS),
        "search_wildcards": search_wildcards(),
        "tcp_listeners": output("ss", "-Hltnp").splitlines(),
        "platform_claims": claims(),
        "platform_spaces": namespaces(),
    }


def main() -> None:
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(argument_spec={"names": names, "hosts": names, "issuer": {"type": "str", "default": ""}}, supports_check_mode=True)
    facts = gather(commands_of(module), distribution_facts)
    facts["resolved"] = {name: addresses(name) for name in module.params["names"]}
    hosts = {*module.params["hosts"]}
    facts["issuance"] = issuance.gather() if hosts else None
    waiting = sorted(hosts - issuance.covered(facts["issuance"], module.params["issuer"])) if hosts else []
    with ThreadPoolExecutor(RESOLVERS_AT_ONCE) as pool:
        facts["host_addresses"] = dict(zip(waiting, pool.map(addresses, waiting), strict=True))
    for name in (name for name, found in facts["resolved"].items() if not found):
        module.warn(f"the server knows no address of {name}, so that it is taken for one of the internet; see to its DNS, or set platform_s3.cidrs")
    module.exit_json(changed=False, ansible_facts=facts)


if __name__ == "__main__":
    main()
