"""A server with K3s, reached over SSH: real K3s or the lab's stand-in, which the suite must not be able to tell apart."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

HERE = Path(__file__).parent
Result = TypeVar("Result")


@dataclass(frozen=True)
class Server:
    """Runs commands as root on the server, over one kept SSH connection."""

    host: str
    options: tuple[str, ...]

    def run(self, command: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        arguments = ["ssh", *self.options, f"root@{self.host}", command]
        return subprocess.run(arguments, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, timeout=300, check=False)

    def out(self, command: str, stdin: bytes | None = None) -> str:
        """The command's output; its failure is the test's."""
        done = self.run(command, stdin)
        assert done.returncode == 0, f"{command}\n{done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode().strip()

    def kubectl(self, arguments: str, *objects: object) -> str:
        stdin = yaml.safe_dump_all(objects).encode() if objects else None
        return self.out(f"k3s kubectl {arguments}{' -f -' if objects else ''}", stdin)

    def succeeds(self, command: str) -> bool:
        return self.run(command).returncode == 0

    def in_pod(self, namespace: str, pod: str, script: str) -> str:
        return f"k3s kubectl -n {namespace} exec {pod} -- sh -c {shlex.quote(script)}"


def eventually(check: Callable[[], Result], seconds: float = 60) -> Result:
    """The check's result once it is true; the last failure when it stays false until the time is up."""
    end = time.monotonic() + seconds
    while True:
        try:
            result = check()
            if result or time.monotonic() > end:
                assert result, f"still {result!r} after {seconds} s"
                return result
        except AssertionError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    host, key = os.environ.get("K3S_CONTRACT_HOST"), os.environ.get("K3S_CONTRACT_KEY")
    if not host or not key:
        pytest.skip("needs a server with K3s: set K3S_CONTRACT_HOST and K3S_CONTRACT_KEY (and K3S_CONTRACT_PORT when it is not 22)")
    control = tmp_path_factory.mktemp("ssh") / "control"
    options = {"Port": os.environ.get("K3S_CONTRACT_PORT", "22"), "IdentityFile": key, "ControlPath": str(control), "ControlMaster": "auto", "ControlPersist": "60"}
    options |= {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR", "BatchMode": "yes", "ConnectTimeout": "10"}
    server = Server(host, tuple(word for name, value in options.items() for word in ("-o", f"{name}={value}")))
    server.out("systemctl is-active k3s")
    yield server
    subprocess.run(["ssh", *server.options, "-O", "exit", f"root@{host}"], capture_output=True, check=False)


@pytest.fixture(scope="session")
def namespace(server: Server) -> Iterator[str]:
    """A namespace with two pods, `web` (answers on 8080 with the client's address) and `client`; beside it NAME-other, with a `client` too."""
    name = f"contract-{int(time.time())}"
    lab = "lab stand-in" in server.out("k3s --version")
    image = os.environ.get("K3S_CONTRACT_IMAGE", "lab.local/base:1" if lab else "docker.io/library/debian:12-slim")
    for each in (name, f"{name}-other"):
        server.kubectl(f"create namespace {each}")
        eventually(lambda each=each: server.succeeds(f"k3s kubectl -n {each} get serviceaccount default"))  # type: ignore[misc]
    serve = (
        'use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1) or die $!; '
        'while ($c = $s->accept) { print $c $c->peerhost, "\\n"; close $c }'
    )
    server.kubectl("apply", pod("web", name, image, ["perl", "-e", serve]), pod("client", name, image), pod("client", f"{name}-other", image))
    for each in (name, f"{name}-other"):
        server.kubectl(f"-n {each} wait --for=condition=Ready pod --all --timeout=120s")
    yield name
    server.kubectl(f"delete namespace {name} {name}-other --wait=false")


def pod(name: str, namespace: str, image: str, command: list[str] | None = None) -> dict[str, object]:
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command or ["sleep", "infinity"], "ports": [{"name": "web", "containerPort": 8080}]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}}, "spec": spec}
