"""The facts that the site reads: each parsed from what the server's own tools say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.modules import server_facts
from ansible_collections.shaka.platform.plugins.plugin_utils.model.server import server_problems

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


def test_what_they_say_is_what_the_preflight_understands() -> None:
    facts = server_facts.gather(tools, lambda: {"distribution": "Debian", "distribution_version": "12.7"})
    facts |= {"service_mgr": "systemd", "architecture": "x86_64", "effective_user_id": 0}
    problems = list(
        server_problems(facts, {"cpu": "", "memory": ""}, {"Debian": 12}, "3.9", {}, {"cluster-cidr": ["10.42.0.0/16"], "service-cidr": []})
    )
    assert len(problems) == 1 and "10.42.3.0/24 of vpn-1: overlaps the cluster's pods" in problems[0]


@pytest.mark.parametrize("answer", ["", "[]"])
def test_a_server_without_network_tools_has_no_network_facts(answer: str) -> None:
    assert server_facts.networks(answer) == {"interfaces": []} and server_facts.default_address(answer) == {}


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
