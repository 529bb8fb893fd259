"""What keeps the platform from a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.plugin_utils.model.server import listeners, resolver_note, server_problems

FACTS: dict[str, Any] = {
    "distribution": "Debian", "distribution_version": "12.7", "architecture": "x86_64", "service_mgr": "systemd", "effective_user_id": 0,
    "python_version": "3.11.2", "processor_vcpus": 2, "memtotal_mb": 1967,
}  # fmt: skip
SIZE = {"cpu": "2", "memory": "2Gi", "disk": ""}


def problems(ports: dict[int, list[str]] | None = None, size: dict[str, str] | None = None, **facts: Any) -> list[str]:
    networks, addresses = {"cluster-cidr": ["10.50.0.0/16"]}, {"node-ip": ["10.0.0.5"]}
    known = {"all_ipv4_addresses": ["10.0.0.5"], "default_ipv4": {"address": "10.0.0.5"}, **FACTS, **facts}
    return list(server_problems(known, size or SIZE, {"Debian": 12, "Ubuntu": 22}, "3.9", ports or {}, networks, "", addresses))


def test_a_fresh_2_gib_server_is_fine() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"distribution_version": "11.9"}, "Debian 12 or newer"),
        ({"distribution": "Fedora"}, "Fedora"),
        ({"architecture": "armv7l"}, "armv7l"),
        ({"service_mgr": "openrc"}, "systemd"),
        ({"effective_user_id": 1000}, "rights"),
        ({"kernel_lacks": ["ip_set", "xt_set"]}, "kernel: it lacks ip_set, xt_set"),
        ({"python_version": "3.8.10"}, "3.9"),
        ({"processor_vcpus": 1}, "platform_server.cpu (2)"),
        ({"memtotal_mb": 970}, "platform_server.memory (2Gi)"),
        ({"hostname": "shaka_1"}, "k3s_node_name: 'shaka_1' (the host name) is not a node's name; set it to"),
        ({"hostname": "shaka_1"}, "such as 'shaka-1'"),
        ({"default_ipv4": {}}, "no default route"),
        (
            {"k3s_networks": {"cluster-cidr": ["10.42.0.0/16"]}},
            "k3s_config.cluster-cidr: the cluster was made with 10.42.0.0/16 and cannot change to",
        ),
        ({"all_ipv4_addresses": ["127.0.0.1", "10.0.0.4"]}, "k3s_config.node-ip: '10.0.0.5' is not an address of this server"),
        ({"hostname": "renamed", "k3s_node_name": "shaka-1"}, "set it to 'shaka-1', as the node is called"),
    ],
)
def test_each_fact(facts: dict[str, Any], says: str) -> None:
    found = problems(**facts)
    assert len(found) == 1
    assert says in found[0]


def test_a_node_keeps_its_name() -> None:
    assert problems(hostname="Shaka-1", k3s_node_name="shaka-1") == []
    named = {**FACTS, "hostname": "renamed", "k3s_node_name": "shaka-1"}
    assert list(server_problems(named, SIZE, {"Debian": 12}, "3.9", {}, node="shaka-1")) == []
    assert "set it to" in next(server_problems(named, SIZE, {"Debian": 12}, "3.9", {}, node="Shaka-1"))
    assert "'other' would make another node" in next(server_problems(named, SIZE, {"Debian": 12}, "3.9", {}, node="other"))


@pytest.mark.parametrize("own", [[], ["2a01::5"]])
def test_a_server_without_ipv6_has_no_networks_of_it(own: list[str]) -> None:
    known = {**FACTS, "all_ipv4_addresses": ["10.0.0.5"], "default_ipv4": {"address": "10.0.0.5"}, "all_ipv6_addresses": own}
    networks = {"cluster-cidr": ["10.42.0.0/16", "fd42::/56"], "service-cidr": ["10.43.0.0/16", "fd43::/112"]}
    found = list(server_problems(known, SIZE, {"Debian": 12}, "3.9", {}, networks))
    assert len(found) == (0 if own else 1) and all("with fd42::/56 K3s does not start" in text for text in found)


@pytest.mark.parametrize(
    ("files", "chosen", "says"),
    [
        ({"/etc/resolv.conf": ["10.0.0.2"]}, "", ""),
        ({"/etc/resolv.conf": ["127.0.0.53"], "/run/systemd/resolve/resolv.conf": ["10.0.0.2", "2001:db8::1"]}, "", ""),
        ({"/etc/resolv.conf": ["127.0.0.53"]}, "", "/etc/resolv.conf: 127.0.0.53"),
        ({"/etc/resolv.conf": ["10.0.0.2", "169.254.169.254"]}, "", "8.8.8.8"),
        ({"/etc/resolv.conf": ["fe80::1%eth0"]}, "", "k3s_config.resolv-conf"),
        ({"/etc/resolv.conf": []}, "", "/etc/resolv.conf: none"),
        ({}, "", "there is no /etc/resolv.conf"),
        ({}, "/etc/pods.conf", ""),
    ],
)
def test_nameservers_that_k3s_would_replace(files: dict[str, list[str]], chosen: str, says: str) -> None:
    found = resolver_note(files, chosen)
    assert (says in found) if says else found == ""


def test_a_search_domain_with_a_wildcard_is_refused_unless_pods_have_another_file() -> None:
    (found,) = problems(search_wildcards=["example.net"])
    assert "'example.net'" in found and "k3s_config.resolv-conf" in found
    facts = {**FACTS, "search_wildcards": ["example.net"]}
    assert list(server_problems(facts, SIZE, {"Debian": 12}, "3.9", {}, resolv_conf="/etc/rancher/resolv.conf")) == []


@pytest.mark.parametrize(
    ("config", "found", "refused"),
    [
        ({"resolv-conf": "/etc/pods.conf"}, {"exists": False}, True),
        ({"resolv-conf": "/etc"}, {"exists": True, "isreg": False}, True),
        ({"resolv-conf": "/etc/pods.conf"}, {"exists": True, "isreg": True}, False),
        ({}, None, False),
    ],
)
def test_a_file_of_nameservers_that_is_not_there_is_refused(config: dict[str, str], found: dict[str, bool] | None, refused: bool) -> None:
    private = yaml.safe_load((Path(__file__).parents[2] / "roles/preflight/vars/main.yml").read_text())
    variables = {name: trust_as_template(value) for name, value in private.items() if isinstance(value, str)}
    variables |= {"inventory_hostname": "a", "hostvars": {"a": {"k3s_config": config}}}
    variables["__preflight_nameservers"] = {"skipped": True} if found is None else {"stat": found}
    problems = Templar(loader=DataLoader(), variables=variables).template(trust_as_template("{{ __preflight_no_resolv_conf }}"))
    assert [text.split(",")[0] for text in problems] == (
        [f"k3s_config.resolv-conf: '{config['resolv-conf']}' is not a file of this server"] if refused else []
    )


@pytest.mark.parametrize(("config", "refused"), [({"flannel-iface": "ens7"}, True), ({"flannel-iface": "ens3"}, False), ({}, False)])
def test_an_interface_of_the_pods_network_that_is_not_there_is_refused(config: dict[str, str], refused: bool) -> None:
    private = yaml.safe_load((Path(__file__).parents[2] / "roles/preflight/vars/main.yml").read_text())
    variables = {name: trust_as_template(value) for name, value in private.items() if isinstance(value, str)}
    variables |= {"inventory_hostname": "a", "hostvars": {"a": {"k3s_config": config}}, "ansible_facts": {"interfaces": ["lo", "ens3"]}}
    problems = Templar(loader=DataLoader(), variables=variables).template(trust_as_template("{{ __preflight_no_interface }}"))
    assert [text.split(";")[0] for text in problems] == (
        ["k3s_config.flannel-iface: 'ens7' is not an interface of this server with an IPv4 address"] if refused else []
    )


def test_a_foreign_listener() -> None:
    lines = [
        'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=5,fd=6),("nginx",pid=6,fd=6))',
        'LISTEN 0 511 *:443 *:* users:(("k3s",pid=7,fd=6))',
        "LISTEN 0 511 [::]:80 [::]:*",
    ]
    held = listeners([*lines, 'LISTEN 0 9 *:22 *:* users:(("sshd",pid=1,fd=3))'], [80, 443], ["k3s"])
    assert held == {80: ["an unknown program", "nginx (pid 5)", "nginx (pid 6)"]}
    assert "port 80: in use by an unknown program, nginx (pid 5), nginx (pid 6)" in problems(held)[0]


@pytest.mark.parametrize(
    ("name", "network", "says"),
    [
        ("eth0", "10.42.8.0", "network 10.42.8.0/24 of eth0: overlaps the cluster's pods (10.42.0.0/16); set k3s_config.cluster-cidr"),
        ("vpn-1", "10.43.0.0", "of vpn-1: overlaps the cluster's Services (10.43.0.0/16); set k3s_config.service-cidr"),
        ("eth0", "10.44.0.0", ""),
        ("cni0", "10.42.0.0", ""),
    ],
)
def test_a_network_of_the_server_that_the_cluster_would_take_over(name: str, network: str, says: str) -> None:
    networks = {"cluster-cidr": ["10.42.0.0/16"], "service-cidr": ["10.43.0.0/16"]}
    facts = {**FACTS, "interfaces": ["lo", name], name.replace("-", "_"): {"ipv4": {"network": network, "prefix": "24"}}}
    found = list(server_problems(facts, SIZE, {"Debian": 12}, "3.9", {}, networks))
    assert [text for text in found if says in text] if says else found == []
