"""A container registry on this machine: tests pull and pack from it, and the bundle of real K3s gets the lab's own application there."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def serving(address: str, work: Path, logins: str = "") -> Iterator[str]:
    """Its host and port; `logins` are lines as htpasswd writes them (bcrypt), without any nobody is asked who he is."""
    with socket.socket() as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
    settings: dict[str, Any] = {"version": "0.1", "http": {"addr": f"{address}:{port}"}, "storage": {"filesystem": {"rootdirectory": str(work)}}}
    work.mkdir(parents=True)
    if logins:
        (work / "htpasswd").write_text(logins)
        settings["auth"] = {"htpasswd": {"realm": "lab", "path": str(work / "htpasswd")}}
    (work / "registry.yml").write_text(json.dumps(settings))  # JSON is YAML
    with (work / "registry.log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(work / "registry.yml")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex((address, port)) != 0:
            assert time.monotonic() < deadline and process.poll() is None, (work / "registry.log").read_text()
            time.sleep(0.1)
        yield f"{address}:{port}"
    finally:
        process.terminate()
        process.wait()


def push(source: str, target: str, *options: str) -> None:
    """Copy an image, such as docker-archive:PATH:NAME, into a registry of ours."""
    command = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", *options, source, f"docker://{target}"]
    subprocess.run(command, check=True, timeout=120)
