# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the values of role host beyond their types. Pure: values in, problems out."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

# A public key as OpenSSH writes it, without options: those could run a command or forward a port that nobody reviewed.
KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{40,}={0,2}( [^\n]*)?"
)


def is_public_key(value: Any) -> bool:
    """Whether OpenSSH reads a text as a public key without options. One that was cut when it was copied lets nobody in, and sshd says nothing."""
    text = str(value).strip()
    if KEY.fullmatch(text) is None:
        return False
    kind, coded = text.split()[:2]
    try:
        data = base64.b64decode(coded, validate=True)
    except ValueError:
        return False
    fields: list[bytes] = []  # each with its length in front (RFC 4253, 6.6)
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        if len(data) < end:
            return False
        fields.append(data[4:end])
        data = data[end:]
    name = kind.encode()
    return fields[0] == name and len(fields) > 1 and (not name.endswith(b"ed25519") or len(fields[1]) == 32)


def matches(pattern: str) -> Callable[[Any], bool]:
    """A test: does the whole text of a value match the pattern?"""
    return lambda value: re.fullmatch(pattern, str(value), re.ASCII) is not None


def between(least: int, most: int) -> Callable[[Any], bool]:
    """A test: is the value a whole number within these bounds?"""
    return lambda value: re.fullmatch(r"[0-9]{1,9}", str(value)) is not None and least <= int(value) <= most


def is_expression(value: Any) -> bool:
    """Whether every Python reads a text as the same regular expression; unattended-upgrades ends at one that it cannot read, with no update."""
    text = str(value)
    try:
        re.compile(text)
    except re.error:
        return False
    possessive = re.search(r"(?<!\\)[*+?}]\+", text)  # since Python 3.11
    return bool(text) and not possessive and not re.search(r'["\n]', text)


def is_network(value: Any) -> bool:
    """Whether a value is an address or a network (CIDR) without host bits. No packet has one of IPv4 in the notation of IPv6."""
    try:
        found = ipaddress.ip_network(str(value))
    except ValueError:
        return False
    mapped = isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped
    return not mapped and "%" not in str(value)  # the interface of a link-local address


CLOCK_TIME = matches(r"([01]\d|2[0-3]):[0-5]\d")
PORT = between(1, 65535)
ALGORITHM = matches(r"[a-z0-9][a-z0-9.@-]*")
# variable -> its kind, as `ssh -Q` calls it
ALGORITHMS = {
    "host_sshd_ciphers": "cipher", "host_sshd_key_exchanges": "kex", "host_sshd_macs": "mac", "host_sshd_host_key_algorithms": "HostKeyAlgorithms",
}  # fmt: skip
# variable -> (test, rule). A list is tested item by item.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "host_packages": (matches(r"[a-z0-9][a-z0-9.+-]+"), "a Debian package's name"),
    "host_blocked_modules": (matches(r"[a-zA-Z0-9_-]+"), "a kernel module's name"),
    "host_time_zone": (matches(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}"), "a name in /usr/share/zoneinfo such as Etc/UTC or America/Sao_Paulo"),
    "host_ntp_servers": (matches(r"[A-Za-z0-9.:-]+"), "a host name or address"),
    "host_updates_time": (CLOCK_TIME, 'HH:MM in quotes, such as "03:30"'),
    "host_updates_delay": (between(0, 720), "0 to 720 minutes"),
    "host_updates_reboot_time": (CLOCK_TIME, 'HH:MM in quotes, such as "04:30"'),
    "host_updates_blocklist": (is_expression, r"a regular expression without double quotes, such as linux-.* or libstdc\+\+6"),
    "host_journal_size": (matches(r"[1-9]\d*[KMGT]"), "a size with K, M, G or T, such as 500M"),
    "host_journal_keep_free": (matches(r"[1-9]\d*[KMGT]"), "a size with K, M, G or T, such as 1G"),
    "host_journal_days": (between(1, 3650), "1 to 3650 days"),
    "host_operator_name": (
        lambda value: not value or rules.account(str(value)) is None,
        "lower-case letters and digits, with - or one _ between them, at most 31; empty for no account",
    ),
    "host_operator_authorized_keys": (is_public_key, "a whole public key as in a .pub file, without options"),
    "host_ssh_port": (PORT, "1 to 65535"),
    "host_firewall_tcp_ports": (PORT, "1 to 65535"),
    "host_firewall_udp_ports": (PORT, "1 to 65535"),
    "host_firewall_ssh_sources": (is_network, "an address or a network without host bits, such as 192.0.2.0/24 or 2001:db8::/32"),
    "host_firewall_ssh_rate": (between(0, 100000), "0 to 100000 connections per minute"),
    "host_firewall_trusted_interfaces": (matches(r"[A-Za-z0-9_.-]{1,15}"), "an interface's name without wildcards"),
    "host_sshd_root_login": (matches("prohibit-password|no"), "prohibit-password or no"),
    "host_firewall_pod_tcp_ports": (PORT, "1 to 65535"),
    "host_firewall_pod_udp_ports": (PORT, "1 to 65535"),
    "host_firewall_pod_blocked": (is_network, "an address or a network without host bits, such as 169.254.169.254"),
    "host_sshd_max_auth_tries": (between(1, 50), "1 to 50"),
    "host_sshd_ciphers": (ALGORITHM, "an algorithm's name as `ssh -Q cipher` lists it"),
    "host_sshd_key_exchanges": (ALGORITHM, "an algorithm's name as `ssh -Q kex` lists it"),
    "host_sshd_macs": (ALGORITHM, "an algorithm's name as `ssh -Q mac` lists it"),
    "host_sshd_host_key_algorithms": (ALGORITHM, "an algorithm's name as `ssh -Q HostKeyAlgorithms` lists it"),
    "host_sshd_login_grace_seconds": (between(5, 120), "5 to 120 seconds"),
    "host_access_confirm_seconds": (between(5, 600), "5 to 600 seconds"),
}
NEEDED_MODULES = {"overlay", "br_netfilter", "nf_conntrack", "vxlan", "veth", "ip_set", "xt_set"}
SYSTEM_ACCOUNTS = frozenset(
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody sshd messagebus operator sudo".split()
)


def flaws(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(variable, what is wrong) of each value by itself, which needs nothing of the server."""
    for name, (test, rule) in RULES.items():
        value = values.get(name)
        for item in value if isinstance(value, list) else [value]:
            if item is not None and not test(item):
                yield name, f"{item!r} is not {rule}"
    operator = values.get("host_operator_name")
    if operator in SYSTEM_ACCOUNTS:
        yield "host_operator_name", f"{operator!r} is an account or group of the system; choose another name"
    if "cni0" in (values.get("host_firewall_trusted_interfaces") or []):
        yield (
            "host_firewall_trusted_interfaces",
            "'cni0' is where pods are; leave it out, and name what they need in host_firewall_pod_tcp_ports",
        )
    for module in sorted(NEEDED_MODULES & {*(values.get("host_blocked_modules") or [])}):
        yield "host_blocked_modules", f"{module!r} is needed by K3s; leave it out"


def check(values: Mapping[str, Any], problems: Problems) -> None:
    """The role's variables, as far as the inventory sets them."""
    for name, text in flaws(values):
        problems.add(name, text)


def closed(values: Mapping[str, Any], visited: bool, asked: bool) -> Iterator[str]:
    """What the inventory's list of open ports closes, though it is needed where no tunnel leads to the server.

    :arg visited: whether an application has a host.
    :arg asked: whether the certificate authority looks for its answers on port 80.
    """
    ports = values.get("host_firewall_tcp_ports")
    if ports is None or values.get("host_manage_firewall") is False:
        return
    looks = "the certificate authority looks for its answers there (platform_acme.challenge: http01)"
    for port, needed, reason in (("80", asked, looks), ("443", visited, "visitors come there")):
        if needed and port not in map(str, ports):
            yield f"host_firewall_tcp_ports: has no {port}, and {reason}; add it, unless a tunnel leads to the server"


def host_problems(
    system: str, supported: Sequence[str], values: Mapping[str, Any], needed: Mapping[str, str], algorithms: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Why the role cannot run on this server or with these values: each problem names the variable, its value and the rule.

    :arg system: distribution and release of the server, as in `supported`.
    :arg supported: the systems that the role is made for.
    :arg values: the role's public variables, the connection's `user`, and the daemon that sets the server's `clock`.
    :arg needed: kernel settings whose change stops Kubernetes: pods get no network, or the kubelet does not start.
    :arg algorithms: what the server's OpenSSH knows, by kind; a kind that is left out is not looked at.
    """
    if system not in supported:
        known = ", ".join(supported)
        yield f"operating system: {system}; role host is made for {known}: install one of them, or leave out the role with --skip-tags host"
    yield from (f"{name}: {text}" for name, text in flaws(values))
    yield from _between_values(values, needed)
    for name, kind in ALGORITHMS.items():
        if values.get(name) and algorithms.get(kind) and not set(values[name]) & set(algorithms[kind]):
            yield f"{name}: this server's OpenSSH knows none of {', '.join(values[name])}; use what `ssh -Q {kind}` lists there, or [] for its own"


def _between_values(values: Mapping[str, Any], needed: Mapping[str, str]) -> Iterator[str]:
    for name, value in (values.get("host_sysctl") or {}).items():
        if not re.fullmatch(r"[a-z0-9_]+(\.[A-Za-z0-9_-]+)+", str(name)):
            yield f"host_sysctl.{name}: is not a setting's name, such as net.core.somaxconn"
        elif name in needed and str(value) != needed[name]:
            yield f"host_sysctl.{name}: {value!r}, but Kubernetes needs {needed[name]}; leave it out"
    operator = values.get("host_operator_name")
    if operator and values.get("host_manage_operator") and not values.get("host_operator_authorized_keys"):
        yield f"host_operator_authorized_keys: empty, so {operator} could not log in; add a public key"
    others = values.get("user", "root") != "root" or (operator and values.get("host_operator_sudo"))
    if values.get("host_sshd_root_login") == "no" and not others:
        yield (
            "host_sshd_root_login: 'no', but this connection is root's and nobody else may become root; "
            "connect as a user with sudo (ansible_user), or set host_operator_name and host_operator_sudo"
        )
    clock = values.get("clock")
    if values.get("host_ntp_servers") and values.get("host_manage_time") and clock in ("ntpsec", "openntpd"):
        yield (
            f"host_ntp_servers: {', '.join(values['host_ntp_servers'])}, but {clock} sets this server's clock and would not ask them; write them "
            "into its own configuration and leave host_ntp_servers empty, or remove it, and systemd-timesyncd takes its place"
        )
