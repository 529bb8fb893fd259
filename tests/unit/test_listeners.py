"""Which open ports the packet filter closes, and when that would close the way in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.server.listeners import (
    Listener,
    Tunnel,
    carriers,
    closed_by,
    listening,
    server_address,
    tunnel,
)

SS = """\
udp   UNCONN 0      0            0.0.0.0:51820      0.0.0.0:*
udp   UNCONN 0      0            0.0.0.0:8472       0.0.0.0:*
udp   UNCONN 0      0    10.0.0.5%eth0:68         0.0.0.0:*    users:(("systemd-network",pid=9,fd=20))
udp   UNCONN 0      0         127.0.0.53%lo:53      0.0.0.0:*    users:(("systemd-resolve",pid=5,fd=16))
udp   UNCONN 0      0               [::]:1194          [::]:*    users:(("openvpn",pid=70,fd=6))
tcp   LISTEN 0      128          0.0.0.0:22         0.0.0.0:*    users:(("sshd",pid=80,fd=3))
tcp   LISTEN 0      128             [::]:22            [::]:*    users:(("sshd",pid=80,fd=4))
tcp   LISTEN 0      4096           [::1]:631           [::]:*    users:(("cupsd",pid=81,fd=6))
tcp   LISTEN 0      4096               *:6443             *:*    users:(("k3s-server",pid=99,fd=16))
tcp   LISTEN 0      4096         0.0.0.0:8443       0.0.0.0:*    users:(("vpnd",pid=71,fd=6),("vpnd",pid=72,fd=6))
"""
CLOSED = [Listener("tcp", 8443, "vpnd", 71), Listener("udp", 1194, "openvpn", 70), Listener("udp", 51820)]


def test_what_other_machines_reach_now_and_will_not_is_named() -> None:
    assert closed_by(listening(SS), [22, 80], []) == CLOSED
    assert closed_by(listening(SS), [22, 8443], [1194, 51820]) == []
    assert [str(each) for each in CLOSED] == ["TCP 8443 (vpnd)", "UDP 1194 (openvpn)", "UDP 51820 (the kernel, as WireGuard does)"]


@pytest.mark.parametrize(
    ("kind", "closed", "expected"),
    [
        ("wireguard", [Listener("udp", 7000), Listener("udp", 7001, "game", 3)], [7000]),
        ("tun", [Listener("tcp", 8443, "vpnd", 71), Listener("udp", 7000), Listener("tcp", 111, "rpcbind", 72)], [8443]),
        ("ipip", [Listener("udp", 4500, "charon", 5), Listener("tcp", 111, "rpcbind", 72)], [4500]),
    ],
)
def test_a_tunnel_may_run_on(tmp_path: Path, kind: str, closed: list[Listener], expected: list[int]) -> None:
    for process, device in (("71", "/dev/net/tun"), ("72", "/dev/null")):
        (tmp_path / process / "fd").mkdir(parents=True)
        (tmp_path / process / "fd/7").symlink_to(device)
    assert [each.port for each in carriers(Tunnel("x0", kind), closed, tmp_path)] == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"ifname": "wg0", "linkinfo": {"info_kind": "wireguard"}}, Tunnel("wg0", "wireguard")),
        ({"ifname": "tun0", "linkinfo": {"info_kind": "tun"}}, Tunnel("tun0", "tun")),
        ({"ifname": "ppp0", "link_type": "ppp"}, Tunnel("ppp0", "ppp")),
        ({"ifname": "eth0", "link_type": "ether"}, None),
        ({"ifname": "br0", "link_type": "ether", "linkinfo": {"info_kind": "bridge"}}, None),
    ],
)
def test_an_address_of_a_tunnel(entry: dict[str, Any], expected: Tunnel | None) -> None:
    assert tunnel("10.8.0.1", lambda _command: (0, json.dumps([entry]), "")) == expected
    assert tunnel("", lambda _command: (0, json.dumps([entry]), "")) is None


def test_the_connection_is_found_also_where_sudo_took_its_variable_away(tmp_path: Path) -> None:
    for process, parent, environment in ((30, 20, "PATH=/bin"), (20, 10, "SSH_CONNECTION=192.0.2.1 5000 10.8.0.1 22\0PATH=/bin"), (10, 1, "")):
        (tmp_path / str(process)).mkdir()
        (tmp_path / f"{process}/environ").write_text(environment)
        (tmp_path / f"{process}/status").write_text(f"Name:\tsh\nPPid:\t{parent}\n")
    assert server_address(30, tmp_path) == "10.8.0.1"
    assert server_address(10, tmp_path) == ""
    assert server_address(os.getpid(), tmp_path) == ""
