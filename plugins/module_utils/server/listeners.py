# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs that listen on the server: which ones new rules of the packet filter close, and which of them the way in may run on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute

# K3s's own, which are meant to be closed: its processes, and the port of the kernel's VXLAN, which no process holds.
K3S = frozenset({"k3s", "k3s-server", "containerd", "kubelet", "kube-apiserver", "kube-proxy"})
VXLAN = ("udp", 8472)
DHCP = (("udp", 68), ("udp", 546))  # the server's own client, whose answers the rules let in
# IKE, OpenVPN, L2TP, WireGuard and Tailscale as they come
VPN = frozenset({("udp", 500), ("udp", 4500), ("udp", 1194), ("tcp", 1194), ("udp", 1701), ("udp", 51820), ("udp", 41641)})
TUNNELS = frozenset({"wireguard", "tun", "gre", "gretap", "ip6gre", "ipip", "ip6tnl", "sit", "vti", "vti6", "xfrm", "ppp", "l2tp"})
# Those whose packets are of an IP protocol of their own, which the rules let in as answers only; IPsec's are, where no NAT is on the way.
PORTLESS = frozenset({"gre", "gretap", "ip6gre", "ipip", "ip6tnl", "sit", "vti", "vti6", "xfrm"})


class Listener(NamedTuple):
    """A TCP or UDP port that answers on more than loopback; a socket of the kernel has no program."""

    protocol: str
    port: int
    program: str = ""
    process: int = 0

    def __str__(self) -> str:
        return f"{self.protocol.upper()} {self.port} ({self.program or 'the kernel, as WireGuard does'})"


class Tunnel(NamedTuple):
    """The interface by which a connection arrives, where it is one that others' packets carry."""

    name: str
    kind: str


def listening(output: str) -> list[Listener]:
    """From `ss -Hlntup`, without what listens on loopback alone."""
    found = set()
    for line in output.splitlines():
        fields = line.split(None, 6)
        address, _colon, port = fields[4].rpartition(":")
        if fields[0] not in ("tcp", "udp") or not port.isdigit() or re.match(r"127\.|\[(::1|::ffff:127\.)", address) or address.endswith("%lo"):
            continue
        user = re.search(r'\("([^"]+)",pid=(\d+)', fields[6] if len(fields) > 6 else "")
        found.add(Listener(fields[0], int(port), user[1] if user else "", int(user[2]) if user else 0))
    return sorted(found)


def closed_by(listeners: Iterable[Listener], tcp: Collection[int], udp: Collection[int]) -> list[Listener]:
    """Those on no port that stays open, but for K3s's."""
    stay = {"tcp": tcp, "udp": udp}
    ours = (VXLAN, *DHCP)
    return [each for each in listeners if each.port not in stay[each.protocol] and each.program not in K3S and each[:2] not in ours]


def server_address(process: int, proc: Path = Path("/proc")) -> str:
    """The server's end of the SSH connection that a process belongs to: sudo takes the variable away, so its parents are asked too."""
    while process > 1:
        try:
            variables = (proc / str(process) / "environ").read_text(errors="replace").split("\0")
            status = (proc / str(process) / "status").read_text()
        except OSError:
            return ""
        for variable in variables:
            if variable.startswith("SSH_CONNECTION=") and len(variable.split()) == 4:
                return variable.split()[2]
        parent = re.search(r"^PPid:\s+(\d+)", status, re.MULTILINE)
        process = int(parent[1]) if parent else 0
    return ""


def tunnel(address: str, execute: Execute) -> Tunnel | None:
    """The tunnel that has an address; None where no tunnel has it."""
    code, out, _err = execute(["ip", "-json", "-details", "address", "show", "to", address]) if address else (1, "", "")
    for entry in json.loads(out or "[]") if code == 0 else []:
        kind = entry.get("linkinfo", {}).get("info_kind") or entry.get("link_type", "")
        if kind in TUNNELS:
            return Tunnel(entry["ifname"], kind)
    return None


def carriers(through: Tunnel, closed: Iterable[Listener], proc: Path = Path("/proc")) -> Iterator[Listener]:
    """Those that the tunnel may run on: a VPN's usual port, WireGuard's socket, which is the kernel's, or a program that made the interface."""
    makers = set(_holders("/dev/net/tun", proc)) if through.kind == "tun" else set()
    for each in closed:
        kernels = through.kind == "wireguard" and each.protocol == "udp" and not each.process
        if each[:2] in VPN or kernels or each.process in makers:
            yield each


def _holders(device: str, proc: Path) -> Iterator[int]:
    """The processes that have a device open."""
    for process in (entry for entry in proc.iterdir() if entry.name.isdigit()):
        try:
            if any(os.readlink(descriptor) == device for descriptor in (process / "fd").iterdir()):  # noqa: PTH115 - of thousands
                yield int(process.name)
        except OSError:
            continue  # it ended meanwhile
