"""The engine on a server's real API server, over SSH: the very program that apply_set starts there, without Ansible around it."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.engine.worker import PROGRAM

from tests.over_ssh import connection

UTILS = Path(__file__).resolve().parents[2] / "plugins/module_utils"
PLACE = "ansible_collections/shaka/platform/plugins/module_utils"
PYTHON = "/var/lib/shaka/venv/bin/python"


@dataclass(frozen=True)
class Cluster:
    """One server; `part_of` is this run's platform, so that nothing of another one is in its way."""

    ssh: tuple[str, ...]
    root: str
    part_of: str

    def run(self, command: str, stdin: bytes = b"", *, check: bool = True) -> str:
        done = subprocess.run([*self.ssh, command], input=stdin, capture_output=True, timeout=240, check=False)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode()

    def kubectl(self, arguments: str, *, check: bool = True) -> str:
        return self.run(f"k3s kubectl {arguments}", check=check).strip()

    def get(self, what: str) -> Any:
        return json.loads(self.kubectl(f"get {what} -o json"))

    def kill(self) -> None:
        """SIGKILL for the run that was started with `killable`."""
        self.run(f"kill -9 $(cat {self.root}/killable)")

    def apply(self, *objects: dict[str, Any], role: str = "probe", check: bool = False, killable: bool = False, **options: Any) -> dict[str, Any]:
        """The result of one run with these objects as the set `role.one`; `sets` gives several. Ended by `kill`: {}."""
        sets = options.pop("sets", {f"{role}.one": list(objects)})
        params = {
            "role": role, "part_of": self.part_of, "complete": True, "secrets": {}, "kubeconfig": "/etc/rancher/k3s/k3s.yaml", "wait": True,
            "wait_timeout": 90, "prune": True, "delete": [], "controllers": [],
            "sets": [{"name": name, "objects": members} for name, members in sets.items()],
            **options,
        }  # fmt: skip
        request = json.dumps({"params": params, "check": check, "diff": True}).encode()
        remember = f"<&0 & echo $! > {self.root}/killable; wait $!" if killable else ""
        answer = self.run(f'{PYTHON} -I -c "{PROGRAM}" {self.root} {remember}', request, check=not killable)
        return dict(json.loads(answer)) if answer else {}


def actions(result: dict[str, Any]) -> dict[str, str]:
    """What happened to each object, by kind and name; a failure is the test's."""
    assert not result.get("failed"), result["msg"]
    return {f"{obj['kind']} {obj['name']}": obj["action"] for obj in result["objects"]}


def differences(result: dict[str, Any]) -> dict[str, list[str]]:
    """The fields of each object that is not as it should be."""
    assert not result.get("failed"), result["msg"]
    return {f"{obj['kind']} {obj['name']}": obj["fields"] for obj in result["objects"] if obj["action"] not in ("unchanged", "kept")}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with connection(tmp_path_factory.mktemp("ssh")) as ssh:
        yield from _unpacked(ssh)


def _unpacked(ssh: tuple[str, ...]) -> Iterator[Cluster]:
    """The engine on the server; what the tests made is removed afterwards."""
    name = f"probe-{int(time.time())}"
    found = Cluster(ssh, f"/tmp/{name}", name)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in UTILS.rglob("*.py"):
            archive.add(path, f"{PLACE}/{path.relative_to(UTILS)}")
    found.run(f"mkdir {found.root} && tar -xz -C {found.root}", packed.getvalue())
    yield found
    labelled = f"-l app.kubernetes.io/part-of={name}"
    found.kubectl(f"delete namespace,crd {labelled} --wait=false", check=False)
    found.run(f"rm -r {found.root}")
