"""The K3s role's decisions: what the kubelet keeps back, and which configuration is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.filter.k3s_config_problems import k3s_config_problems
from ansible_collections.shaka.platform.plugins.filter.k3s_registries_problems import k3s_registries_problems
from ansible_collections.shaka.platform.plugins.filter.merge_k3s_config import merge_k3s_config
from ansible_collections.shaka.platform.plugins.filter.system_reserved import system_reserved
from ansible_collections.shaka.platform.plugins.module_utils.engine.yamlio import Loader

ROLE = Path(__file__).parents[2] / "roles/k3s"
FLAGS = yaml.safe_load((ROLE / "vars/main/component_flags.yml").read_text())["__k3s_component_flags"]
RULES = {**yaml.safe_load((ROLE / "vars/main/config_rules.yml").read_text())["__k3s_config_rules"], "flags": FLAGS}
OWN = yaml.safe_load((ROLE / "vars/main/config.yml").read_text())["__k3s_config_defaults"]
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
    assert system_reserved(RESERVE, server, {"processor_vcpus": vcpus, "memtotal_mb": memtotal_mb}, "100Mi") == {**expected, "go_memory": "490MiB"}


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
    "config",
    [
        {"secrets-encryption-provider": "aescbc", "tls-san-security": False, "v": 2, "write-kubeconfig-mode": "0640", "disable": ["metrics-server"]},
        {"node-label": ["tier=db", "example.com/zone=a", "node.kubernetes.io/pool=x", "empty="], "node-taint": "a.io/b:PreferNoSchedule"},
        {"node-label": ["topology.kubernetes.io/zone=a", "notkubernetes.io/x=y", "Disk_type=NVMe.2"], "service-node-port-range": "30000-30100"},
        {"cluster-cidr": "10.50.0.0/16,fd00:50::/56", "service-cidr": ["10.51.0.0/16", "fd00:51::/112"], "cluster-dns": "10.51.0.10"},
        {"disable": "metrics-server"},
        {"node-ip": ["10.0.0.5"], "advertise-address": "10.0.0.5", "resolv-conf": "/etc/pods.conf", "kubelet-arg": "v=2"},
        {"kubelet-arg": ["container-log-max-files=4", "--v=2"], "kube-apiserver-arg": ["feature-gates=A=true,B=false"], "etcd-arg": ["any=1"]},
    ],
)
def test_what_k3s_takes_as_meant_passes(config: dict[str, Any]) -> None:
    assert k3s_config_problems(config, RULES) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"secret-encryption": True}, "k3s_config.secret-encryption: K3s has no such key and would ignore it; did you mean 'secrets-encryption'?"),
        ({"zzz": 1}, "would ignore it"),
        ({"selinux": "yes"}, "must be true or false, not 'yes'"),
        ({"lb-server-port": "6444"}, "must be a whole number"),
        ({"disable": {"traefik": True}}, "must be a text or a list of texts"),
        ({"log": ["n"]}, "must be one text or number"),
        ({"cluster-domain": "corp.internal"}, "it stays cluster.local"),
        ({"https-listen-port": 7443}, "it stays 6443"),
        ({"bind-address": "10.0.0.5"}, "on 127.0.0.1"),
        ({"node-external-ip": ["203.0.113.5"]}, "clients have no address"),
        ({"with-node-id": True}, "k3s_node_name"),
        ({"disable": ["servicelb"]}, "'servicelb' is set by the role: without it port 80 and 443 lead nowhere"),
        ({"disable": "coredns"}, "without it no application finds its database"),
        ({"flannel-backend": "none"}, "without it pods have no network"),
        ({"disable-network-policy": True}, "no network profile"),
        ({"default-local-storage-path": "/data"}, "mount a larger disk there"),
        ({"kubelet-arg": ["node-ip=10.0.0.5"]}, "'node-ip' is set by the role: set node-ip"),
        ({"resolv-conf": "pods.conf"}, "the path of a file"),
        ({"token": "x"}, "contains a secret"),
        ({"node-name": "n"}, "is set by the role: set k3s_node_name"),
        ({"secrets-encryption": False}, "it stays on"),
        ({"disable": ["metrics"]}, "must be one of coredns, servicelb, traefik, local-storage, metrics-server, runtimes, not 'metrics'"),
        ({"flannel-backend": "calico"}, "not 'calico'"),
        ({"write-kubeconfig-mode": 416}, "octal permissions"),
        ({"node-label": ["tier"]}, "labels name=value"),
        ({"node-label": ["node-role.kubernetes.io/db=true"]}, "not 'node-role.kubernetes.io/db=true'"),
        ({"node-label": ["topology.kubernetes.io/rack=1"]}, "topology.kubernetes.io/region and /zone"),
        ({"node-label": ["team.k8s.io/a=1"]}, "not 'team.k8s.io/a=1'"),
        ({"node-label": ["disk=nvme-"]}, "a letter or digit at both ends"),
        ({"node-label": ["a/b/c=d"]}, "with a domain and '/' before it"),
        ({"node-label": ["My_Team/x=y"]}, "not 'My_Team/x=y'"),
        ({"node-label": [f"{'x' * 64}=y"]}, "at most 63"),
        ({"node-taint": ["a=b:Never"]}, "PreferNoSchedule"),
        ({"node-taint": "dedicated=db:NoSchedule"}, "no pod of the platform would have a node"),
        ({"kubelet-arg": ["register-with-taints=a=b:NoExecute"]}, "set node-taint"),
        ({"advertise-address": "10.0.0.5,fd00::5"}, "one address"),
        ({"service-node-port-range": "30000"}, "ports such as"),
        ({"kubelet-arg": ["v"]}, "'v' is not of the form name=value"),
        ({"kubelet-arg": ["max-pods=10"]}, "'max-pods' is set by the role: set k3s_max_pods"),
        ({"kubelet-arg": "kube-reserved=cpu=500m,memory=1Gi"}, "set k3s_system_reserved, which is for K3s, too"),
        ({"kubelet-arg": ["v=1", "--v=2"]}, "'v' is set twice"),
        ({"kubelet-arg": ["container-log-max-file=4"]}, "'container-log-max-file' and would not start; did you mean 'container-log-max-files'?"),
        ({"kube-apiserver-arg": ["audit-policy-file=/x"]}, "set k3s_audit_rules"),
        ({"kube-apiserver-arg": ["enable-admission-plugins+=X"]}, "not of the form name=value"),
        ({"kube-proxy-arg": [True]}, "must be a text or a list of texts"),
    ],
)
def test_what_k3s_would_not_take_as_meant_is_named(config: dict[str, Any], words: str) -> None:
    problems = k3s_config_problems(config, RULES)
    assert len(problems) == 1
    assert problems[0].startswith(f"k3s_config.{next(iter(config))}: ") and words in problems[0]


def test_no_key_is_of_two_kinds_and_no_secret_is_shown() -> None:
    names = [name for kind in RULES["keys"].values() for name in kind]
    assert len(names) == len(set(names))
    assert "hunter2" not in k3s_config_problems({"token": "hunter2"}, RULES)[0]
    ruled = {key for kind in ("choices", "shapes", "fixed") for key in RULES[kind]}
    assert {key.split()[0] for key in ruled} <= set(names)


def test_the_role_s_own_configuration_is_what_k3s_takes() -> None:
    own = {key: value for key, value in OWN.items() if "{{" not in str(value) or key.endswith("-arg")}
    assert k3s_config_problems(own, {**RULES, "fixed": {}}) == []


def test_the_user_s_part_stands_over_the_role_s() -> None:
    role = {"disable": ["traefik"], "kubelet-arg": ["v=1", "pod-max-pids=9"], "selinux": False}
    user = {"disable": ["traefik", "servicelb"], "kubelet-arg": "--v=4", "selinux": True, "node-label": "a=b"}
    merged = {"disable": ["traefik", "servicelb"], "kubelet-arg": ["pod-max-pids=9", "--v=4"], "selinux": True, "node-label": ["a=b"]}
    assert merge_k3s_config(role, user, RULES["keys"]["list"]) == merged
    assert role == {"disable": ["traefik"], "kubelet-arg": ["v=1", "pod-max-pids=9"], "selinux": False}


def test_a_blank_beside_a_comma_is_no_part_of_a_value() -> None:
    user = {"cluster-cidr": "10.50.0.0/16, fd00:50::/56", "node-ip": ["10.0.0.5 ,fd00::5\n"], "kubelet-arg": ["feature-gates=A=true, B=true"]}
    merged = {"cluster-cidr": ["10.50.0.0/16,fd00:50::/56"], "node-ip": ["10.0.0.5,fd00::5"], "kubelet-arg": ["feature-gates=A=true, B=true"]}
    assert merge_k3s_config({}, user, RULES["keys"]["list"]) == merged


MIRROR = {"endpoint": ["https://mirror.lan:5000"], "rewrite": {"^a/(.*)": "b/$1"}}


@pytest.mark.parametrize(
    ("registries", "words"),
    [
        ({"mirrors": {"docker.io": MIRROR, "*": MIRROR}, "configs": {"mirror.lan:5000": {"auth": {"username": "u", "password": "hunter2"}}}}, None),
        ({"mirror": {}}, "k3s_registries.mirror: K3s knows mirrors and configs"),
        ({"mirrors": ["docker.io"]}, "must be a mapping by registry"),
        ({"mirrors": {"https://docker.io": MIRROR}}, "'https://docker.io' is not a registry"),
        ({"mirrors": {"docker.io": {"endpoints": []}}}, "k3s_registries.mirrors.docker.io.endpoints: K3s knows endpoint, rewrite"),
        ({"mirrors": {"docker.io": {"endpoint": ["mirror.lan:5000"]}}}, "is not an http:// or https:// URL"),
        ({"mirrors": {"docker.io": {"endpoint": "https://mirror.lan"}}}, "must be a list"),
        ({"configs": {"mirror.lan": {"auth": {"pasword": "hunter2"}}}}, "auth.pasword: K3s knows username"),
        ({"configs": {"mirror.lan": {"auth": {"password": ["hunter2"]}}}}, "auth.password: must be a text"),
        ({"configs": {"mirror.lan": {"tls": {"insecure_skip_verify": "yes"}}}}, "must be true or false"),
        ({"configs": {"mirror.lan": None}}, "must be a mapping with auth, tls"),
    ],
)
def test_registries_that_k3s_would_skip_are_named_without_their_passwords(registries: dict[str, Any], words: str | None) -> None:
    problems = k3s_registries_problems(registries)
    assert len(problems) == (1 if words else 0)
    assert words is None or words in problems[0]
    assert "hunter2" not in str(problems)


@pytest.mark.parametrize(("exempt", "expected"), [(["kube-system"], ["kube-system"]), (["tools"], ["kube-system", "tools"]), ([], ["kube-system"])])
def test_k3s_s_own_components_are_always_exempt_from_pod_security(exempt: list[str], expected: list[str]) -> None:
    text = trust_as_template((ROLE / "templates/admission.yaml.j2").read_text())
    made = Templar(loader=DataLoader(), variables={"k3s_pod_security": "restricted", "k3s_pod_security_exempt": exempt}).template(text)
    assert yaml.safe_load(str(made))["plugins"][0]["configuration"]["exemptions"]["namespaces"] == expected


def test_k3s_reads_each_value_as_it_is() -> None:
    config = {
        "node-name": "1e3",
        "tls-san": ["0o17", "y", "2026-01-01", "ação"],
        "disable": [],
        "secrets-encryption": True,
        "flannel-mtu": 1400,
        "token": None,
    }
    given = trust_as_template("{{ lookup('ansible.builtin.template', file) }}")
    file = str(ROLE / "templates/config.yaml.j2")
    text = Templar(loader=DataLoader(), variables={"__k3s_config": config, "file": file}).template(given)
    assert yaml.load(str(text), Loader=Loader) == config  # as Kubernetes reads YAML
