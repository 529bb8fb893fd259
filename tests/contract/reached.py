"""A server with K3s, reached over SSH: real K3s or the lab's stand-in, which the suite must not be able to tell apart."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Server:
    """Runs commands as root on the server, over one kept SSH connection."""

    ssh: tuple[str, ...]  # the connection, to which a command is added

    @property
    def host(self) -> str:
        return self.ssh[-1].rpartition("@")[2]

    def run(self, command: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self.ssh, command], input=stdin or b"", capture_output=True, timeout=300, check=False)

    def out(self, command: str, stdin: bytes | None = None) -> str:
        """The command's output; its failure is the test's."""
        done = self.run(command, stdin)
        assert done.returncode == 0, f"{command}\n{done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode().strip()

    def kubectl(self, arguments: str) -> str:
        return self.out(f"k3s kubectl {arguments}")

    def apply(self, *objects: dict[str, Any]) -> None:
        self.out("k3s kubectl apply -f -", json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode())

    def succeeds(self, command: str) -> bool:
        return self.run(command).returncode == 0

    def in_pod(self, namespace: str, pod: str, script: str) -> subprocess.CompletedProcess[bytes]:
        return self.run(f"k3s kubectl -n {namespace} exec {pod} -- sh -c {shlex.quote(script)}")


def eventually(check: Callable[[], Result], seconds: float = 60) -> Result:
    """The check's result once it is true; what it last said when it stays false, or fails, until the time is up."""
    end = time.monotonic() + seconds
    while True:
        try:
            result = check()
            assert result, f"still {result!r} after {seconds} s"
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return result


def pod(name: str, namespace: str, image: str, command: list[str] | None = None) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command or ["sleep", "infinity"]}
    container["ports"] = [{"name": "web", "containerPort": 8080}]
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}}, "spec": spec}
