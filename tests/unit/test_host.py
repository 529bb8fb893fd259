"""Values and servers that role host refuses before it changes anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.module_utils.server import ledger
from ansible_collections.shaka.platform.plugins.modules import host_preflight
from ansible_collections.shaka.platform.plugins.plugin_utils.model.host import RULES, host_problems

ROLE = Path(__file__).parents[2] / "roles/host"
DEFAULTS: dict[str, Any] = {**yaml.safe_load((ROLE / "defaults/main.yml").read_text()), "host_ssh_port": 22}
NEEDED: dict[str, str] = yaml.safe_load((ROLE / "vars/main/kernel.yml").read_text())["__host_sysctl_needed"]
SYSTEMS: dict[str, Any] = yaml.safe_load((ROLE / "vars/main/systems.yml").read_text())
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb0Zr1vT5o3v0m2uYxT9p9nq1c0Yw2m3k4l5n6p7q8r me@home"


def problems(system: str = "Debian 12", **values: Any) -> list[str]:
    known = {"kex": ["curve25519-sha256", "ecdh-sha2-nistp256"]}
    return list(host_problems(system, list(SYSTEMS["__host_systems"]), {**DEFAULTS, **values}, NEEDED, known))


def test_the_defaults_are_fine_on_each_supported_system() -> None:
    assert list(SYSTEMS["__host_systems"]) == ["Debian 12", "Debian 13", "Ubuntu 22.04", "Ubuntu 24.04"]
    assert [problem for system in SYSTEMS["__host_systems"] for problem in problems(system)] == []


def test_every_value_that_is_no_toggle_has_a_rule() -> None:
    without = {name for name, value in DEFAULTS.items() if not isinstance(value, bool)} - set(RULES)
    assert without == {"host_sysctl"}


def rules(**values: Any) -> str:
    """The packet filter of an inventory with these values."""
    private = yaml.safe_load((ROLE / "vars/main/access.yml").read_text())
    variables = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in private.items()}
    for name in ("__host_ssh_sources", "__host_pod_blocked", "__host_cluster_networks"):
        variables[name] = {family: trust_as_template(value) for family, value in private[name].items()}
    variables |= {**DEFAULTS, **values, "platform_model": {"server": {"networks": {"cluster-cidr": ["10.42.0.0/16"]}}}}
    return str(Templar(loader=DataLoader(), variables=variables).template(trust_as_template((ROLE / "templates/firewall.nft.j2").read_text())))


@pytest.mark.parametrize(("interfaces", "trusted"), [(["lo"], '"lo"'), (["wg0"], '"lo", "wg0"'), (["wg0", "lo"], '"wg0", "lo"'), ([], '"lo"')])
def test_the_server_always_reaches_itself(interfaces: list[str], trusted: str) -> None:
    assert rules(host_firewall_trusted_interfaces=interfaces).count(f"iifname {{ {trusted} }} accept") == 2


def test_pods_always_reach_the_api_server() -> None:
    assert "tcp dport { 6443, 9100 } accept" in rules(host_firewall_pod_tcp_ports=[9100])
    assert "tcp dport { 53, 6443, 10250 } accept" in rules()


def test_a_list_of_one_s_own_packages_has_what_the_concerns_need() -> None:
    variables = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in SYSTEMS.items()}
    variables |= {**DEFAULTS, "host_packages": ["htop"], "__host_preflight": {"installed": ["chrony"]}}
    wanted = Templar(loader=DataLoader(), variables=variables).template(trust_as_template("{{ __host_missing }}"))
    assert sorted(wanted) == ["htop", "nftables", "tzdata", "unattended-upgrades"]


def test_ports_may_be_written_in_quotes() -> None:
    text = rules(host_firewall_tcp_ports=["8443", 443], host_firewall_udp_ports=["51820", 443], host_firewall_pod_tcp_ports=["6443", 53])
    assert "tcp dport { 22, 443, 8443 } accept" in text and "udp dport { 443, 51820 } accept" in text and "tcp dport { 53, 6443 } accept" in text


@pytest.mark.parametrize(("clock", "asks"), [("chrony", True), ("systemd-timesyncd", True), ("ntpsec", False), ("openntpd", False)])
def test_time_servers_that_the_server_s_own_daemon_would_not_ask_are_refused(clock: str, asks: bool) -> None:
    found = problems(host_ntp_servers=["time.corp.lan"], clock=clock)
    assert [f"but {clock} sets this server's clock" in text for text in found] == ([] if asks else [True])
    assert problems(host_ntp_servers=[], clock=clock) == problems(host_ntp_servers=["a"], host_manage_time=False, clock=clock) == []


@pytest.mark.parametrize("system", ["Debian 11", "Debian 14", "Ubuntu 20.04", "Ubuntu 25.10", "Fedora 43"])
def test_other_systems_are_refused(system: str) -> None:
    assert problems(system)[0].startswith(f"operating system: {system}; role host is made for Debian 12, Debian 13, Ubuntu 22.04, Ubuntu 24.04")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("host_packages", ["nftables; reboot"], "a Debian package's name"),
        ("host_time_zone", "../../etc/passwd", "zoneinfo"),
        ("host_time_zone", "utc", "Etc/UTC"),
        ("host_updates_blocklist", ["linux-.*", "libstdc++6"], r"such as linux-.* or libstdc\+\+6"),
        ("host_updates_blocklist", ["*-dev"], "a regular expression"),
        ("host_updates_blocklist", ["postgres(ql"], "a regular expression"),
        ("host_ntp_servers", ["a b"], "host name or address"),
        ("host_updates_time", "3:30", "HH:MM"),
        ("host_updates_time", 12600, "HH:MM"),  # what YAML 1.1 makes of 3:30:00 without quotes
        ("host_updates_reboot_time", "24:00", "HH:MM"),
        ("host_updates_delay", -1, "0 to 720 minutes"),
        ("host_updates_blocklist", ['a"; b'], "double quotes"),
        ("host_journal_size", "500", "K, M, G or T"),
        ("host_journal_keep_free", "1Gi", "K, M, G or T"),
        ("host_journal_days", 0, "1 to 3650"),
        ("host_operator_name", "Ana", "lower-case"),
        ("host_operator_name", "ana-", "lower-case"),
        ("host_operator_name", "ana__b", "one _ between them"),
        ("host_operator_name", "operator", "account or group of the system"),
        ("host_operator_name", "ana", "host_operator_authorized_keys: empty"),
        ("host_operator_authorized_keys", ["-----BEGIN OPENSSH PRIVATE KEY-----"], "public key"),
        ("host_operator_authorized_keys", [f'command="sh" {PUBLIC_KEY}'], "without options"),
        ("host_ssh_port", 0, "1 to 65535"),
        ("host_firewall_tcp_ports", [80, 70000], "1 to 65535"),
        ("host_firewall_udp_ports", ["dns"], "1 to 65535"),
        ("host_firewall_ssh_sources", ["192.0.2.1/24"], "without host bits"),
        ("host_firewall_ssh_sources", ["office.example.com"], "an address or a network"),
        ("host_firewall_ssh_rate", "many", "per minute"),
        ("host_firewall_trusted_interfaces", ["cni*"], "without wildcards"),
        ("host_blocked_modules", ["overlay"], "needed by K3s"),
        ("host_sysctl", {"net.ipv4.ip_forward": 0}, "Kubernetes needs 1"),
        ("host_sysctl", {"somaxconn": 1}, "not a setting's name"),
        ("host_sshd_root_login", "yes", "prohibit-password or no"),
        ("host_sshd_root_login", "no", "nobody else may become root"),
        ("host_firewall_trusted_interfaces", ["lo", "cni0"], "is where pods are"),
        ("host_firewall_pod_tcp_ports", [0], "1 to 65535"),
        ("host_firewall_pod_udp_ports", ["dns"], "1 to 65535"),
        ("host_firewall_ssh_sources", ["::ffff:192.0.2.7"], "an address or a network"),
        ("host_updates_time", "0٣:3٠", "HH:MM in quotes"),  # noqa: RUF001  # Arabic digits, which systemd does not read
        ("host_updates_delay", "٣٠", "0 to 720 minutes"),
        ("host_journal_size", "1٠M", "a size with K, M, G or T"),  # noqa: RUF001
        ("host_firewall_pod_blocked", ["::ffff:10.0.0.0/104"], "an address or a network"),
        ("host_firewall_pod_blocked", ["metadata.google.internal"], "an address or a network"),
        ("host_sshd_max_auth_tries", 100, "1 to 50"),
        ("host_sshd_ciphers", ["+aes128-ctr"], "ssh -Q cipher"),
        ("host_sshd_macs", ["a b"], "ssh -Q mac"),
        ("host_sshd_host_key_algorithms", ["ssh-ed25519,ssh-rsa"], "ssh -Q HostKeyAlgorithms"),
        ("host_sshd_key_exchanges", ["mlkem768x25519-sha256"], "knows none of mlkem768x25519-sha256"),
        ("host_access_confirm_seconds", 1, "5 to 600"),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: Any, says: str) -> None:
    found = problems(**{name: value})
    assert [problem for problem in found if says in problem] and all(name.removesuffix("_name") in problem for problem in found)


def test_an_operator_with_a_key_is_fine() -> None:
    operator: dict[str, Any] = {"host_operator_name": "ana", "host_operator_authorized_keys": [PUBLIC_KEY], "host_operator_sudo": True}
    assert problems(**operator, host_sshd_root_login="no", host_firewall_ssh_sources=["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]) == []


ECDSA_KEY = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHYcz5ChyFdo/8hgvM"
    "oCffx/nMc3/OLJi36pYgnIv3Uwz9QamxBxkpwwRIkTX+EM16Qs4jAcXjASxBycV57ghTQ="
)


@pytest.mark.parametrize("key", [PUBLIC_KEY, f"{PUBLIC_KEY}\r\n", ECDSA_KEY])
def test_a_whole_key_is_one(key: str) -> None:
    assert problems(host_operator_authorized_keys=[key]) == []


@pytest.mark.parametrize(
    "key",
    [PUBLIC_KEY.replace("7q8r me", " me"), PUBLIC_KEY.split()[0] + " " + PUBLIC_KEY.split()[1][:-8], ECDSA_KEY[:-24], f"ssh-rsa {PUBLIC_KEY[12:]}"],
)
def test_a_key_that_was_cut_or_is_of_another_kind_lets_nobody_in(key: str) -> None:
    assert "is not a whole public key" in problems(host_operator_authorized_keys=[key])[0]


def test_root_may_be_kept_out_by_a_user_with_sudo() -> None:
    assert problems(host_sshd_root_login="no", user="maria") == []


def test_what_kubernetes_needs_cannot_be_changed() -> None:
    for name, value in NEEDED.items():
        assert problems(host_sysctl={name: value}) == []
        assert problems(host_sysctl={name: "7"}) == [f"host_sysctl.{name}: '7', but Kubernetes needs {value}; leave it out"]


def chain(family: str, table: str, name: str, **more: str) -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, **more}}


def test_only_chains_of_others_that_drop_by_default_are_in_the_way() -> None:
    chains = [
        {"metainfo": {"version": "1.0.6"}},
        chain("inet", "shaka", "input", hook="input", policy="drop"),
        chain("ip", "filter", "KUBE-FORWARD"),
        chain("ip", "filter", "INPUT", hook="input", policy="accept"),
        chain("ip", "filter", "FORWARD", hook="forward", policy="drop"),
    ]
    assert host_preflight.blocking_chains(chains) == ["table ip filter, chain FORWARD (forward)"]


def rule(chain: str, *expressions: dict[str, Any]) -> dict[str, Any]:
    """A rule as nft lists it, one of iptables with its counter."""
    counted = [*expressions[:-1], {"counter": {"packets": 0, "bytes": 0}}, expressions[-1]]
    return {"rule": {"family": "ip", "table": "filter", "chain": chain, "expr": counted}}


SSH = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}
STATE = {"xt": {"type": "match", "name": "conntrack"}}
COMMENT = {"xt": {"type": "match", "name": "comment"}}
ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}
REJECT = {"xt": {"type": "target", "name": "REJECT"}}


@pytest.mark.parametrize(
    ("rules", "blocks"),
    [
        ([rule("INPUT", SSH, ACCEPT), rule("INPUT", REJECT)], True),  # Oracle's images
        ([rule("INPUT", SSH, ACCEPT), rule("INPUT", {"reject": {"type": "icmpx", "expr": "admin-prohibited"}})], True),
        ([rule("INPUT", {"log": None}, COMMENT, DROP)], True),
        ([rule("INPUT", {"jump": {"target": "FINAL"}}), rule("FINAL", REJECT)], True),
        ([rule("INPUT", STATE, DROP), rule("INPUT", SSH, REJECT)], False),
        ([rule("INPUT", ACCEPT), rule("INPUT", REJECT)], False),
        ([rule("INPUT", SSH, {"jump": {"target": "FINAL"}}), rule("FINAL", REJECT)], False),
        ([rule("INPUT", {"jump": {"target": "FINAL"}}), rule("FINAL", STATE, DROP), rule("FINAL", {"return": None})], False),
    ],
)
def test_a_last_rule_that_refuses_the_rest_is_in_the_way(rules: list[dict[str, Any]], blocks: bool) -> None:
    chains = [chain("ip", "filter", "INPUT", hook="input", policy="accept"), chain("ip", "filter", "FINAL"), *rules]
    found = host_preflight.blocking_chains(chains)
    assert found == (["table ip filter, chain INPUT (input)"] if blocks else [])


def of(key: str, name: Any, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": {"meta": {"key": key}}, "right": name}}


@pytest.mark.parametrize(
    ("rules", "blocks"),
    [
        ([rule("INPUT", SSH, ACCEPT), rule("INPUT", of("iifname", "eth0"), REJECT)], True),
        ([rule("INPUT", of("iif", "lo", "!="), DROP)], True),
        ([rule("INPUT", of("iifname", "eth1"), DROP)], False),  # another network card, closed on purpose
        ([rule("INPUT", of("iifname", "eth0"), SSH, DROP)], False),
        ([rule("INPUT", of("iifname", "eth0"), ACCEPT), rule("INPUT", REJECT)], True),  # what comes from pods is refused
        ([rule("INPUT", of("iifname", "lo"), ACCEPT)], False),
    ],
)
def test_a_last_rule_for_the_outer_interface_alone_is_in_the_way(rules: list[dict[str, Any]], blocks: bool) -> None:
    chains = [chain("ip", "filter", "INPUT", hook="input", policy="accept"), *rules]
    assert host_preflight.blocking_chains(chains, ["eth0"]) == (["table ip filter, chain INPUT (input)"] if blocks else [])


def new(kind: str, key: str, right: Any, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": {kind: {"key": key}}, "right": right}}


@pytest.mark.parametrize(
    ("rules", "blocks"),
    [
        ([rule("INPUT", new("ct", "state", "new", "in"), DROP)], True),
        ([rule("INPUT", new("ct", "state", ["established", "related"], "!="), DROP)], True),
        ([rule("INPUT", new("meta", "l4proto", {"set": ["tcp", "udp"]}), {"reject": None})], True),
        ([rule("INPUT", new("meta", "nfproto", "ipv4"), DROP)], True),
        ([rule("INPUT", of("iifname", {"set": ["eth1", "eth0"]}), DROP)], True),
        ([rule("INPUT", of("iifname", "eth*"), new("ct", "state", ["invalid", "new"], "in"), DROP)], True),
        ([rule("INPUT", of("iifname", "eth0"), {"jump": {"target": "FINAL"}}), rule("FINAL", REJECT)], True),
        ([rule("INPUT", new("ct", "state", ["established", "related"], "in"), DROP)], False),
        ([rule("INPUT", new("ct", "state", "new", "!="), DROP)], False),
        ([rule("INPUT", new("meta", "l4proto", "udp"), DROP), rule("INPUT", new("meta", "nfproto", "ipv6"), DROP)], False),
        ([rule("INPUT", new("ct", "state", "new", "in"), ACCEPT)], False),
        ([rule("INPUT", {"return": None}), rule("INPUT", REJECT)], False),
    ],
)
def test_a_native_rule_that_refuses_all_that_is_new_is_in_the_way(rules: list[dict[str, Any]], blocks: bool) -> None:
    chains = [chain("ip", "filter", "INPUT", hook="input", policy="accept"), chain("ip", "filter", "FINAL"), *rules]
    assert host_preflight.blocking_chains(chains, ["eth0"]) == (["table ip filter, chain INPUT (input)"] if blocks else [])


@pytest.mark.parametrize(
    ("ufw", "firewalld", "says"), [("ENABLED=yes", 3, "ufw disable"), ("ENABLED=no", 0, "disable --now firewalld"), ("ENABLED=no", 3, "")]
)
def test_other_firewalls_are_refused_with_the_way_out(tmp_path: Path, ufw: str, firewalld: int, says: str) -> None:
    (tmp_path / "etc/ufw").mkdir(parents=True)
    (tmp_path / "etc/ufw/ufw.conf").write_text(f"# comment\n{ufw}\n")
    params = {"packages": [], "firewall": True, "tcp_ports": [], "udp_ports": [], "may_close_tunnel": False}
    params |= {"sshd": False, "operator": "", "operators": [], "time_zone": "", "blocked_modules": []}
    found = host_preflight.run(params, "root", tmp_path, lambda _command: (firewalld, "", ""), tmp_path)["problems"]
    assert len(found) == bool(says) and all(says in problem for problem in found)


@pytest.mark.parametrize(
    ("user", "password", "keys", "entries", "refused"),
    [
        ("maria", "$y$j9T$", PUBLIC_KEY, {}, True),
        ("maria", "", PUBLIC_KEY, {}, True),
        ("maria", "*", f"{PUBLIC_KEY}\n{ECDSA_KEY}\n", {}, True),
        ("maria", "*", f"# ours\n\n{PUBLIC_KEY} at home\n", {}, False),  # as the operator has it already, or a cloud's image made it
        ("maria", "!", PUBLIC_KEY, {}, False),
        ("root", "$y$j9T$", ECDSA_KEY, {}, False),
        ("maria", "$y$j9T$", ECDSA_KEY, {"/home/maria/.ssh/authorized_keys": None}, False),
        ("maria", "$y$j9T$", ECDSA_KEY, {"/home/ana/.ssh/authorized_keys": None}, True),
    ],
)
def test_the_account_of_the_connection_does_not_become_the_operator_and_lose_something(
    tmp_path: Path, user: str, password: str, keys: str, entries: dict[str, Any], refused: bool
) -> None:
    shadow, own = f"maria:{password}:20000:0:99999:7:::\n", "home/maria/.ssh/authorized_keys"
    for path, text in {"etc/passwd": "", "etc/shadow": shadow, own: keys, str(ledger.LEDGER)[1:]: json.dumps(entries)}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    params = {"packages": [], "firewall": False, "sshd": False, "operator": "maria", "operators": ["maria", "ana"], "time_zone": ""}
    params |= {"operator_keys": [PUBLIC_KEY], "blocked_modules": []}
    found = host_preflight.run(params, user, tmp_path, lambda _command: (0, "", ""), tmp_path)["problems"]
    assert ["host_operator_name: 'maria' is the account that Ansible connects as" in text for text in found] == [True] * refused


@pytest.mark.parametrize(
    ("kind", "may_close", "there", "refused"),
    [
        ("gre", False, False, True),
        ("sit", False, False, True),
        ("gre", True, False, False),
        ("tun", False, False, False),
        ("gre", False, True, False),
    ],
)
def test_a_tunnel_whose_packets_have_no_port_is_named_before_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, may_close: bool, there: bool, refused: bool
) -> None:
    monkeypatch.setattr(host_preflight, "server_address", lambda _process: "10.9.0.1")
    shown = json.dumps([{"ifname": "t0", "link_type": kind, "linkinfo": {"info_kind": kind}}])
    params = {"tcp_ports": [], "udp_ports": [], "may_close_tunnel": may_close}
    if there:
        (tmp_path / "usr/sbin").mkdir(parents=True)
        (tmp_path / "usr/sbin/nft").touch()
    closed, why = host_preflight.closes(params, 1, lambda command: (0, shown if command[0] == "ip" else "", ""), tmp_path)
    assert closed == [] and [f"the tunnel t0 ({kind})" in text and "ansible_host" in text for text in why] == [True] * refused


def test_packages_that_dpkg_has(tmp_path: Path) -> None:
    answer = "jq installed\nsocat config-files\n"
    assert host_preflight.installed(["jq", "socat", "chrony"], lambda _command: (1, answer, "no packages found matching chrony")) == ["jq"]


@pytest.mark.parametrize(
    ("passwd", "password", "home", "ready", "expires"),
    [
        ("ana:x:1000:1000::/home/ana:/bin/bash", "*", True, True, ""),
        ("ana:x:1000:1000::/home/ana:/bin/bash", "*", True, False, "1"),
        ("ana:x:1000:1000::/home/ana:/bin/bash", "!", True, False, ""),
        ("ana:x:1000:1000::/home/ana:/bin/bash", "$y$j9T$abc", True, False, ""),
        ("ana:x:1000:1000::/home/ana:/bin/sh", "*", True, False, ""),
        ("ana:x:1000:1000::/srv/ana:/bin/bash", "*", True, False, ""),
        ("ana:x:1000:1000::/home/ana:/bin/bash", "*", False, False, ""),
        ("anabel:x:1000:1000::/home/ana:/bin/bash", "*", True, False, ""),
    ],
)
def test_an_operator_is_ready_when_the_account_is_as_the_role_makes_it(
    tmp_path: Path, passwd: str, password: str, home: bool, ready: bool, expires: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"root:x:0:0:root:/root:/bin/bash\n{passwd}\n")
    (tmp_path / "etc/shadow").write_text(f"root:*:19000:0:99999:7:::\n{passwd.partition(':')[0]}:{password}:19000:0:99999:7::{expires}:\n")
    if home:
        (tmp_path / "home/ana").mkdir(parents=True)
    assert host_preflight.is_ready("ana", tmp_path) is ready


def test_a_module_that_the_server_needs_to_boot_is_not_blocked(tmp_path: Path) -> None:
    blocked = ["udf", "vfat", "squashfs", "xfs"]
    assert list(host_preflight.needed_at_boot(blocked, tmp_path)) == []  # a container has no fstab
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_bytes(
        b"# /boot/efi was on /dev/sda1 \xe9\nUUID=1 / ext4 errors=remount-ro 0 1\nUUID=2  /boot/efi  vfat  umask=0077  0  1\n"
        b"/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n/dev/sdb /data xfs defaults,nofail 0 2\n\n"
    )
    (problem,) = host_preflight.needed_at_boot(blocked, tmp_path)
    assert problem.startswith("host_blocked_modules: 'vfat' is what /boot/efi is mounted with at boot") and "leave it out" in problem
    assert list(host_preflight.needed_at_boot(DEFAULTS["host_blocked_modules"], tmp_path)) == []


def test_a_time_zone_that_the_server_does_not_have_is_a_problem(tmp_path: Path) -> None:
    assert list(host_preflight.unknown_zone("America/Sao_Pualo", tmp_path)) == []  # tzdata is installed later
    (tmp_path / "usr/share/zoneinfo/America").mkdir(parents=True)
    (tmp_path / "usr/share/zoneinfo/America/Sao_Paulo").touch()
    assert list(host_preflight.unknown_zone("America/Sao_Paulo", tmp_path)) == []
    for wrong in ("America/Sao_Pualo", "America"):
        assert wrong in next(host_preflight.unknown_zone(wrong, tmp_path))


SAVED = """# Generated by iptables-save
# Table `nat' is incompatible, use 'nft' tool.
*nat
:PREROUTING DROP [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD {forward} [0:0]
:OUTPUT ACCEPT [0:0]
:Provider - [0:0]
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -m comment --comment "the way in" -j ACCEPT
-A INPUT {last}
-A Provider -m comment --comment "the rest" -j DROP
COMMIT
"""


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
ens3\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
ens4\t0000000A\t00000000\t0001\t0\t0\t100\t000000FF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("forward", "last", "blocks"),
    [
        ("ACCEPT", "-j REJECT --reject-with icmp-host-prohibited", ["INPUT (input)"]),
        ("ACCEPT", "-j Provider", ["INPUT (input)"]),
        ("ACCEPT", "-g Provider", ["INPUT (input)"]),
        ("DROP", "-j LOG", ["FORWARD (forward)"]),
        ("ACCEPT", "-s 192.0.2.0/24 -j REJECT", []),
        ("ACCEPT", "! -i lo -p udp -j DROP", []),
        ("ACCEPT", "! -i lo -j DROP", ["INPUT (input)"]),
        ("ACCEPT", "-i ens3 -j DROP", ["INPUT (input)"]),
        ("ACCEPT", "-i ens4 -j DROP", []),
        ("ACCEPT", "-i lo -j DROP", []),
        ("ACCEPT", "-m conntrack --ctstate NEW -j REJECT", ["INPUT (input)"]),
        ("ACCEPT", "-i ens+ -m state --state INVALID,NEW -j DROP", ["INPUT (input)"]),
        ("ACCEPT", "-m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP", ["INPUT (input)"]),
        ("ACCEPT", "-p tcp -m tcp -j REJECT --reject-with tcp-reset", ["INPUT (input)"]),
        ("ACCEPT", "-m conntrack --ctstate INVALID -j DROP", []),
        ("ACCEPT", "-p udp -j DROP", []),
        ("ACCEPT", "-p tcp -m recent --update --seconds 60 -j DROP", []),
    ],
)
def test_a_server_without_nft_shows_its_rules_by_iptables(tmp_path: Path, forward: str, last: str, blocks: list[str]) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    (tmp_path / "usr/sbin/iptables-save").touch()
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/route").write_text(ROUTES)
    entries = host_preflight.rules_of_others(tmp_path, lambda _command: (0, SAVED.format(forward=forward, last=last), ""))
    assert host_preflight.blocking_chains(entries, host_preflight.outer_interfaces(tmp_path)) == [
        f"table ip filter, chain {chain}" for chain in blocks
    ]


@pytest.mark.parametrize(("tables", "blocks"), [("filter\nnat\n", ["table legacy ip filter, chain FORWARD (forward)"]), ("nat\n", []), (None, [])])
def test_rules_of_iptables_legacy_are_seen_beside_nft(tmp_path: Path, tables: str | None, blocks: list[str]) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    for program in ("nft", "iptables-save", "iptables-legacy-save"):
        (tmp_path / "usr/sbin" / program).touch()
    (tmp_path / "proc/net").mkdir(parents=True)
    if tables is not None:
        (tmp_path / "proc/net/ip_tables_names").write_text(tables)

    def execute(command: list[str]) -> tuple[int, str, str]:
        assert command[0] in ("nft", "iptables-legacy-save"), "what nft has already said"
        return 0, '{"nftables": []}' if command[0] == "nft" else SAVED.format(forward="DROP", last="-j LOG"), ""

    assert host_preflight.blocking_chains(host_preflight.rules_of_others(tmp_path, execute)) == blocks


def test_rules_of_iptables_legacy_do_not_hide_those_of_nft(tmp_path: Path) -> None:
    for path, text in {"usr/sbin/nft": "", "usr/sbin/iptables-legacy-save": "", "proc/net/ip_tables_names": "filter\n"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    listed = json.dumps({"nftables": [chain("ip", "filter", "FORWARD", hook="forward", policy="drop")]})
    answers = {"nft": listed, "iptables-legacy-save": SAVED.format(forward="ACCEPT", last="-j LOG")}
    entries = host_preflight.rules_of_others(tmp_path, lambda command: (0, answers[command[0]], ""))
    assert host_preflight.blocking_chains(entries) == ["table ip filter, chain FORWARD (forward)"]
