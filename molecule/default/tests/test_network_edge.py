"""The platform as another host of its network sees it, and as the operator does."""

from __future__ import annotations

import ssl

import pytest
from conftest import Server
from outside import open_ports
from visitor import CLOSED, SERVED, Visitor, reads, untrusting

OPERATOR = "ana"


def test_only_22_80_443_answer_from_another_host(server: Server) -> None:
    node_port = server.json("service traefik -n traefik")["spec"]["ports"][0]["nodePort"]
    for port in (6443, node_port):
        server.run(f"timeout 5 bash -c 'exec 3<>/dev/tcp/{server.lab['address']}/{port}'")
    assert open_ports(server.name, server.lab["address"], range(1, 65536)) == [22, 80, 443]


def test_the_operator_reads_everything_but_secrets_and_changes_nothing(server: Server) -> None:
    for reading in ("nodes", "pods -A", "persistentvolumes", "certificates -A", "resourcequotas -A"):
        shown = server.ssh(f"kubectl get {reading} --no-headers", user=OPERATOR)
        assert shown.returncode == 0 and shown.stdout.strip(), f"{reading}: {shown.stderr}"
    for refused in (
        "get secrets -n shaka-prod",
        "delete pod postgres-0 -n shaka-prod",
        "exec -n shaka-prod postgres-0 -- true",
        "get --raw /api/v1/secrets",
    ):
        answer = server.ssh(f"kubectl {refused}", user=OPERATOR)
        assert answer.returncode != 0 and "orbidden" in answer.stderr, f"{refused}: {answer.stdout}{answer.stderr}"
    assert server.ssh("cat /etc/rancher/k3s/k3s.yaml", user=OPERATOR).returncode != 0
    assert server.run(f"stat -c '%U %a' /home/{OPERATOR}/.kube/config").strip() == f"{OPERATOR} 600"


def test_the_edge_speaks_no_old_tls_and_serves_no_other_name(server: Server) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol version"):
        Visitor(server).connect(untrusting(maximum_version=ssl.TLSVersion.TLSv1_1))
    with pytest.raises(ssl.SSLError):
        Visitor(server).connect(untrusting(), name="other.test")


def test_traefik_reads_no_secret_beyond_the_namespaces_that_it_serves(server: Server) -> None:
    assert reads(server, *CLOSED, *SERVED) == {**dict.fromkeys(CLOSED, "403"), **dict.fromkeys(SERVED, "200")}
