"""The K3s role's decisions: what the kubelet keeps back, and which configuration is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.shaka.platform.plugins.filter.k3s_config_problems import k3s_config_problems
from ansible_collections.shaka.platform.plugins.filter.system_reserved import system_reserved

ROLE = Path(__file__).parents[2] / "roles/k3s"
KEYS = yaml.safe_load((ROLE / "vars/main/config_keys.yml").read_text())["__k3s_config_keys"]
RESERVE = {"cpu": "250m", "memory": "700Mi"}


@pytest.mark.parametrize(
    ("server", "vcpus", "memtotal_mb", "expected"),
    [
        ({"cpu": "2", "memory": "2Gi"}, 2, 2048, {"cpu": "250m", "memory": "600Mi"}),  # the size is the machine's
        ({"cpu": "2", "memory": "2Gi"}, 4, 24576, {"cpu": "2250m", "memory": "23128Mi"}),  # the machine shows more than it may use
        ({"cpu": "2", "memory": "2Gi"}, 2, 1966, {"cpu": "250m", "memory": "600Mi"}),  # the kernel keeps some of it
        ({"cpu": "", "memory": ""}, 4, 4096, {"cpu": "250m", "memory": "600Mi"}),  # not declared
        ({}, 1, 4096, {"cpu": "250m", "memory": "600Mi"}),
    ],
)
def test_allocatable_is_the_declared_size_minus_the_reserve(server: dict[str, str], vcpus: int, memtotal_mb: int, expected: dict[str, str]) -> None:
    assert system_reserved(RESERVE, server, {"processor_vcpus": vcpus, "memtotal_mb": memtotal_mb}, "100Mi") == expected


@pytest.mark.parametrize(
    ("reserve", "message"),
    [
        ({"cpu": "2", "memory": "700Mi"}, r"reserved\.cpu takes all"),
        ({"cpu": "250m", "memory": "2Gi"}, r"reserved\.memory takes all"),
        ({"cpu": "250m", "memory": "64Mi"}, r"reserved\.memory is less than the 100Mi"),
        ({"cpu": "250m", "memory": "700MB"}, "did you mean 700Mi"),
    ],
)
def test_a_reserve_that_cannot_work_is_refused(reserve: dict[str, str], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        system_reserved(reserve, {"cpu": "2", "memory": "2Gi"}, {"processor_vcpus": 2, "memtotal_mb": 2048}, "100Mi")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"secrets-encryption": True, "kubelet-arg": ["max-pods=110"], "node-name": "n", "v": 2}, []),
        ({"secret-encryption": True}, ["'secret-encryption'", "did you mean 'secrets-encryption'?"]),
        ({"zzz": 1}, ["'zzz' and would skip it"]),
        ({"secrets-encryption": "yes"}, ["true or false"]),
        ({"disable": "traefik"}, ["a list of texts"]),
        ({"node-name": ["n"]}, ["one text or number"]),
        ({"token": "x"}, ["holds a secret"]),
    ],
)
def test_what_k3s_would_not_take_as_meant_is_named(config: dict[str, Any], words: list[str]) -> None:
    problems = k3s_config_problems(config, KEYS)
    assert len(problems) == (1 if words else 0)
    assert all(word in problems[0] for word in words)


def test_no_key_is_of_two_kinds_and_no_value_is_shown() -> None:
    names = [name for kind in KEYS.values() for name in kind]
    assert len(names) == len(set(names))
    assert "hunter2" not in k3s_config_problems({"token": "hunter2"}, KEYS)[0]


def test_the_role_s_own_configuration_has_known_keys_only() -> None:
    own = yaml.safe_load((ROLE / "vars/main/config.yml").read_text())["__k3s_config_defaults"]
    assert set(own) <= {name for names in KEYS.values() for name in names}
