"""The server under test, and pods on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from reached import Server, pod

from tests.over_ssh import connection


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with connection(tmp_path_factory.mktemp("ssh")) as ssh:
        server = Server(ssh)
        server.out("systemctl is-active k3s")
        yield server


@pytest.fixture(scope="session")
def namespace(server: Server) -> Iterator[str]:
    """A namespace with two pods, `web` (answers on 8080 with the client's address) and `client`; beside it NAME-other, with a `client` too."""
    name = f"contract-{int(time.time())}"
    lab = "lab stand-in" in server.out("k3s --version")
    image = os.environ.get("K3S_CONTRACT_IMAGE", "lab.local/redis:7" if lab else "docker.io/library/debian:12-slim")
    both = (name, f"{name}-other")
    for each in both:
        server.kubectl(f"create namespace {each}")
        server.kubectl(f"label namespace {each} pod-security.kubernetes.io/enforce=privileged")  # whatever this server's default is
        server.kubectl(f"-n {each} wait --for=create serviceaccount/default --timeout=30s")
    serve = (
        "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1) or die $!; "
        'while ($c = $s->accept) { print $c $c->peerhost, "\\n"; close $c }'
    )
    server.apply(pod("web", name, image, ["perl", "-e", serve]), pod("client", name, image), pod("client", f"{name}-other", image))
    for each in both:
        server.kubectl(f"-n {each} wait --for=condition=Ready pod --all --timeout=120s")
    yield name
    server.kubectl(f"delete namespace {name} {name}-other --wait=false")
