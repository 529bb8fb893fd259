"""The facts that the site reads: each parsed from what the server's own tools say."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from ansible.module_utils.facts.system.distribution import DistributionFactCollector
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.modules import server_facts
from ansible_collections.shaka.platform.plugins.plugin_utils.model.server import server_problems

ROOT = Path(__file__).parents[2]
ADDRESSES = [
    {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
    {"ifname": "eth0", "addr_info": [{"local": "10.89.1.10", "prefixlen": 24}, {"local": "10.89.1.11", "prefixlen": 24}]},
    {"ifname": "vpn-1", "addr_info": [{"local": "10.42.3.1", "prefixlen": 24}]},
    {"ifname": "down0", "addr_info": []},
]


def tools(command: list[str]) -> tuple[int, str, str]:
    answers = {
        "address": json.dumps(ADDRESSES),
        "route": json.dumps([{"dst": "192.0.2.1", "gateway": "10.89.1.1", "dev": "eth0", "prefsrc": "10.89.1.10"}]),
        "-Hltnp": 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=5,fd=6))\n',
    }
    return 0, next(text for word, text in answers.items() if word in command), ""


def test_facts_have_the_names_that_the_roles_read() -> None:
    facts = server_facts.gather(tools, lambda: {"distribution": "Debian", "distribution_version": "12.7"})
    assert facts["default_ipv4"] == {"address": "10.89.1.10"} and facts["interfaces"] == ["lo", "eth0", "vpn-1"]
    assert facts["eth0"]["ipv4"] == {"address": "10.89.1.10", "network": "10.89.1.0", "prefix": "24"}
    assert facts["processor_vcpus"] == os.cpu_count() and facts["memtotal_mb"] > 0 and facts["disk_total"] > 1 << 30
    assert len(facts["tcp_listeners"]) == 1
    assert facts["all_ipv4_addresses"] == ["127.0.0.1", "10.89.1.10", "10.89.1.11", "10.42.3.1"]


def test_what_they_say_is_what_the_preflight_understands() -> None:
    facts = server_facts.gather(tools, lambda: {"distribution": "Debian", "distribution_version": "12.7"})
    facts |= {"service_mgr": "systemd", "architecture": "x86_64", "effective_user_id": 0}
    problems = list(
        server_problems(facts, {"cpu": "", "memory": ""}, {"Debian": 12}, "3.9", {}, {"cluster-cidr": ["10.42.0.0/16"], "service-cidr": []})
    )
    assert len(problems) == 1 and "10.42.3.0/24 of vpn-1: overlaps the cluster's pods" in problems[0]


def test_an_interface_s_second_network_is_seen_too() -> None:
    second = [{"ifname": "eth0", "addr_info": [{"local": "10.0.0.5", "prefixlen": 24}, {"local": "10.42.5.1", "prefixlen": 24}]}]
    facts = {
        **server_facts.networks(json.dumps(second)),
        "default_ipv4": {"address": "10.0.0.5"},
        "distribution": "Debian",
        "distribution_version": "12.7",
    }
    facts |= {"service_mgr": "systemd", "architecture": "x86_64", "python_version": "3.11.2"}
    (problem,) = server_problems(facts, {"cpu": "", "memory": ""}, {"Debian": 12}, "3.9", {}, {"cluster-cidr": ["10.42.0.0/16"]})
    assert "network 10.42.5.0/24 of eth0: overlaps the cluster's pods" in problem


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("cluster-cidr: 10.50.0.0/16\nnode-name: a\n", {"cluster-cidr": ["10.50.0.0/16"], "service-cidr": ["10.43.0.0/16"]}),
        (
            "node-name: a\ncluster-cidr:\n- 10.50.0.0/16\n- fd00:50::/56\nservice-cidr:\n  - 10.51.0.0/16\nlog: x\n",
            {"cluster-cidr": ["10.50.0.0/16", "fd00:50::/56"], "service-cidr": ["10.51.0.0/16"]},
        ),
        (
            'cluster-cidr:\n  - "10.50.0.0/16,FD00:50:0::/56"\n',
            {"cluster-cidr": ["10.50.0.0/16", "fd00:50::/56"], "service-cidr": ["10.43.0.0/16"]},
        ),
    ],
)
def test_the_networks_that_a_cluster_has(tmp_path: Path, text: str, networks: dict[str, list[str]]) -> None:
    configuration, datastore = tmp_path / "config.yaml", tmp_path / "state.db"
    configuration.write_text(text)
    assert server_facts.cluster_networks(configuration, datastore) == {}  # it was never started
    datastore.touch()
    assert server_facts.cluster_networks(configuration, datastore) == networks


def test_nameservers_of_the_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("# nameserver 9.9.9.9\nsearch corp\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n")
    found = server_facts.nameservers([tmp_path / "resolv.conf", tmp_path / "absent"])
    assert found == {str(tmp_path / "resolv.conf"): ["127.0.0.53", "fe80::1%eth0"]}


@pytest.mark.parametrize("name", ["Shaka-01.Corp.Example.net", "SHAKA-01", "shaka-01"])
def test_a_host_with_capitals_and_a_domain_has_a_node_s_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By the role's own default; field report 23."""
    monkeypatch.setattr(platform, "node", lambda: name)
    facts = server_facts.gather(tools, lambda: {"distribution": "Debian", "distribution_version": "12.7"})
    default = yaml.safe_load((ROOT / "roles/k3s/defaults/main.yml").read_text())["k3s_node_name"]
    given = Templar(loader=DataLoader(), variables={"ansible_facts": facts}).template(trust_as_template(default))
    assert given == "shaka-01"
    facts |= {"service_mgr": "systemd", "architecture": "x86_64", "effective_user_id": 0, "interfaces": []}
    assert list(server_problems(facts, {"cpu": "", "memory": ""}, {"Debian": 12}, "3.9", {}, node=given)) == []


@pytest.mark.parametrize("answer", ["", "[]"])
def test_a_server_without_network_tools_has_no_network_facts(answer: str) -> None:
    assert server_facts.networks(answer) == {"interfaces": [], "all_ipv4_addresses": []} and server_facts.default_address(answer) == {}


def test_a_tool_that_fails_is_as_one_that_says_nothing() -> None:
    def nothing(_command: list[str]) -> tuple[int, str, str]:
        return 1, "not json", "no such tool"

    facts = server_facts.gather(nothing, dict)
    assert facts["interfaces"] == [] and facts["tcp_listeners"] == [] and facts["default_ipv4"] == {}


def test_the_disk_of_a_path_that_is_not_there_yet_is_its_parent_s(tmp_path: Path) -> None:
    state = os.statvfs(tmp_path)
    assert server_facts.disk(tmp_path / "not/yet") == state.f_blocks * state.f_frsize


@pytest.mark.parametrize(("made", "found"), [("run/systemd/system/", "systemd"), ("proc/1/comm", "runit")])
def test_the_service_manager(tmp_path: Path, made: str, found: str) -> None:
    place = tmp_path / made
    (place if made.endswith("/") else place.parent).mkdir(parents=True)
    if not made.endswith("/"):
        place.write_text("runit\n")
    assert server_facts.service_manager(tmp_path) == found


def test_memory_is_in_mib() -> None:
    found: Any = server_facts.memory("MemFree: 1 kB\nMemTotal:        2014208 kB\n")
    assert found == 1967 and server_facts.memory("") == 0


@pytest.mark.parametrize(("has", "expected"), [(None, []), ({"xt_set"}, ["ip_set", "vxlan"]), ({"ip_set", "xt_set", "vxlan"}, [])])
def test_a_kernel_without_what_policies_need_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: set[str] | None, expected: list[str]
) -> None:
    monkeypatch.setattr(server_facts, "MODULES", ("overlay", "ip_set", "xt_set", "vxlan"))
    for path in ("usr/sbin/modprobe", "sys/module/overlay"):
        (tmp_path / path).mkdir(parents=True)
    if has is None:  # a container
        (tmp_path / "run/systemd/container").mkdir(parents=True)

    def modprobe(command: list[str]) -> tuple[int, str, str]:
        return (0 if {word for word in command[1:] if not word.startswith("--")} <= (has or set()) else 1), "", ""

    assert server_facts.kernel_lacks(modprobe, tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "wildcards"),
    [
        ("nameserver 192.0.2.1\n", []),
        ("search wild.test plain.test\n", ["wild.test"]),
        ("search wild.test\nsearch plain.test\n", []),
        ("domain wild.test.\n", ["wild.test."]),
        ("# search wild.test\nsearch .\n", []),
    ],
)
def test_a_search_domain_that_knows_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, wildcards: list[str]) -> None:
    monkeypatch.setattr(server_facts, "addresses", lambda name: ["192.0.2.7"] if name.endswith(".wild.test.") else [])
    (tmp_path / "resolv.conf").write_text(text)
    assert server_facts.search_wildcards(tmp_path / "resolv.conf") == wildcards
    assert server_facts.search_wildcards(tmp_path / "none") == []


def test_the_distribution_is_what_ansibles_setup_says() -> None:
    setup = DistributionFactCollector().collect(module=Mock())
    facts = server_facts.distribution_facts()
    assert facts == {name: setup[name] for name in facts} and len(facts) == 4
