"""The bundle and the connected path against an upstream on this machine: release files under the upstreams' own URLs, images in a real registry."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import pytest
import yaml
from conftest import ROOT, Server

from lab import registry as registries

SHIPPED = yaml.safe_load((ROOT / "roles/artifacts/files/artifacts.lock.yml").read_text())["platform_artifacts"]
LOGICAL = sorted({*SHIPPED["images"], "api"})


OCI = "application/vnd.oci.image.index.v1+json"


def pod(image: str) -> dict[str, Any]:
    """A pod that may not pull."""
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "main", "image": image, "imagePullPolicy": "Never", "securityContext": locked}
    context = {"runAsUser": 1000, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "packed"}, "spec": {"securityContext": context, "containers": [container]}}


@dataclass(frozen=True)
class Upstream:
    """The lab's files and images where the shipped lock looks for its own."""

    lock: dict[str, Any]
    mirrors: dict[str, str]
    digests: dict[str, str]
    work: Path

    def play(self, server: Server, name: str, **variables: Any) -> tuple[int, str]:
        """Run a playbook with an inventory of its own, into which the resolved lock goes; how much changed, and what it said."""
        inventory = self.work / "sandbox"
        shutil.copytree(ROOT / "inventories/sandbox", inventory, dirs_exist_ok=True)
        shipped = self.work / "shipped.yml"
        shipped.write_text(json.dumps({"platform_artifacts": self.lock}))
        connected = {"__platform_shipped_lock": str(shipped), "__artifacts_shipped": str(shipped), "platform_artifact_mirrors": self.mirrors}
        own = {} if variables.get("platform_bundle") else connected  # a bundle has its own lock
        (self.work / "variables.json").write_text(json.dumps({"lab_name": server.name, **own, **variables}))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(Path(server.lab["bundle"]) / "wheels")}
        settings = ["-e", f"@{ROOT}/molecule/k3s/vars/settings.yml"]
        command = ["ansible-playbook", name, "-i", str(inventory), *settings, "-e", f"@{self.work}/variables.json"]
        if name == "site.yml":
            command += ["-t", "k3s"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
        return int(done.stdout.rpartition("changed=")[2].split()[0]), done.stdout


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def lock_of(bundle: Path, place: Path) -> dict[str, Any]:
    """The lab's files linked under the shipped lock's addresses; K3s's sum is in the published list only, that of Traefik's roles nowhere."""
    files = json.loads((bundle / "artifacts.lock.yml").read_text())["platform_artifacts"]["files"]
    for name in [name for name, entry in files.items() if entry["path"].startswith("wheels/")]:  # pip knows where they come from
        del files[name]
    for large in ("images_data", "images_platform"):  # one archive stands for K3s's own images
        del files[large]
    for name, entry in files.items():
        known = SHIPPED["files"].get(name, {})
        source = known.get("source", f"https://github.com/{entry['path']}")
        entry["source"] = source if isinstance(source, str) else {"amd64": source["amd64"]}
        if entry["path"].startswith("images/"):
            entry |= {"bundled_only": True, "source": {"amd64": f"https://github.com/images/{name}.tar.zst"}}
        parts = urlsplit(entry["source"] if isinstance(entry["source"], str) else entry["source"]["amd64"])
        path = place / parts.netloc / unquote(parts.path).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(bundle / entry["path"])
        if name == "k3s":
            entry["sums"] = {"amd64": known["sums"]["amd64"]}
            path.with_name("sha256sum-amd64.txt").write_text(f"{entry['sha256']['amd64']}  k3s\n")
        if name in ("k3s", "traefik_rbac"):
            entry["sha256"] = {}
    return {"files": files, "images": {name: {"reference": "lab.local/api:1"} for name in LOGICAL}}


def manifest(registry: str, name: str, body: bytes | None = None) -> bytes:
    """Read a manifest of the image `api`, or write one."""
    headers = {"Content-Type": OCI} if body else {"Accept": f"{OCI}, application/vnd.docker.distribution.manifest.v2+json"}
    request = Request(f"http://{registry}/v2/api/manifests/{name}", data=body, method="PUT" if body else "GET", headers=headers)
    with urlopen(request, timeout=20) as response:
        read: bytes = response.read()
    return read


def push(bundle: Path, registry: str, tag: str) -> str:
    """Push one of the lab's images; its digest."""
    registries.push(f"docker-archive:{bundle}/images/platform.tar.zst:lab.local/api:{tag}", f"{registry}/api:{tag}")
    return f"sha256:{hashlib.sha256(manifest(registry, tag)).hexdigest()}"


def push_index(registry: str, tag: str, digests: dict[str, str]) -> str:
    """Make a tag an index, as upstreams' are; its digest."""
    entries = []
    for architecture, digest in digests.items():
        body = manifest(registry, digest)
        platform = {"os": "linux", "architecture": architecture}
        entries.append({"mediaType": json.loads(body)["mediaType"], "digest": digest, "size": len(body), "platform": platform})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI, "manifests": entries}).encode()
    manifest(registry, tag, index)
    return f"sha256:{hashlib.sha256(index).hexdigest()}"


@pytest.fixture(scope="module")
def upstream(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    work = tmp_path_factory.mktemp("upstream")
    bundle = Path(server.lab["bundle"])
    address = server.lab["address"].rpartition(".")[0] + ".1"  # this machine, in the lab's network
    lock = lock_of(bundle, work / "web")
    web = ThreadingHTTPServer((address, 0), partial(Quiet, directory=str(work / "web")))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        with registries.serving(address, work / "registry") as registry:
            digests = {tag: push(bundle, registry, tag) for tag in ("1", "2")}
            digests["2"] = push_index(registry, "2", {"arm64": digests["1"], "amd64": digests["2"]})
            here = f"http://{address}:{web.server_address[1]}"
            mirrors = {host: f"{here}/{host}" for host in ("github.com", "raw.githubusercontent.com", "downloads.rclone.org")}
            yield Upstream(lock, {**mirrors, "lab.local": f"http://{registry}"}, digests, work)
    finally:
        web.shutdown()


def test_a_bundle_from_the_upstreams_brings_the_server_to_the_same_files_and_its_images_run(server: Server, upstream: Upstream) -> None:
    bundle = upstream.work / "bundle"
    released = f"lab.local/api@{upstream.digests['2']}"
    variables = {"bundle_path": str(bundle), "platform_releases": {"prod": {"image": released}}}
    changed, out = upstream.play(server, "playbooks/bundle.yml", **variables)
    assert changed == 2 and "artifacts were resolved and written" in out  # the inventory's lock, the bundle
    assert upstream.play(server, "playbooks/bundle.yml", **variables)[0] == 0
    before = server.run("systemctl show k3s --property MainPID --value")
    changed, _out = upstream.play(server, "site.yml", platform_bundle=str(bundle), platform_releases=variables["platform_releases"])
    assert changed == 1  # two archives more
    assert server.run("systemctl show k3s --property MainPID --value") == before
    # K3s names an imported image by its digest as well (retagImages in its pkg/agent/containerd/containerd.go); its stand-in does not.
    tag = f"lab.local/api:bundled-{upstream.digests['2'][7:19]}"
    listed = server.run(f"for i in $(seq 60); do k3s ctr images ls | grep -F '{tag}' && break; sleep 1; done")
    assert upstream.digests["2"] in listed
    server.run(f"k3s ctr images tag --force {tag} {released}")
    try:
        server.run(f"kubectl apply -f - <<'EOF'\n{json.dumps(pod(released))}\nEOF")
        server.run("kubectl wait --for=condition=Ready pod/packed --timeout=60s")
    finally:
        server.run("kubectl delete pod packed --grace-period=0 --force", check=False)


def test_without_a_bundle_the_lock_is_resolved_and_the_server_downloads_what_it_lacks(server: Server, upstream: Upstream) -> None:
    (upstream.work / "sandbox/artifacts.lock.yml").unlink(missing_ok=True)
    server.run("rm /var/lib/shaka/manifests/traefik-rbac.yaml; echo tampered >> /var/lib/shaka/manifests/cert-manager.yaml")
    changed, out = upstream.play(server, "playbooks/artifacts.yml", platform_bundle="")
    assert changed == 1 and "asking the upstreams for" in out  # the inventory's lock
    changed, out = upstream.play(server, "site.yml", platform_bundle="")
    assert changed == 1 and "asking the upstreams for" not in out  # the files
    sums = {entry["path"]: entry["sha256"].get("any") for entry in upstream.lock["files"].values()}
    found = server.run("cd /var/lib/shaka/manifests && sha256sum cert-manager.yaml traefik-rbac.yaml").split()
    kept = yaml.safe_load((upstream.work / "sandbox/artifacts.lock.yml").read_text())["platform_artifacts"]
    assert found[0] == sums["manifests/cert-manager.yaml"] and found[2] == kept["files"]["traefik_rbac"]["sha256"]["any"]
    assert kept["files"]["k3s"]["sha256"]["amd64"] == hashlib.sha256((Path(server.lab["bundle"]) / "bin/k3s").read_bytes()).hexdigest()
    assert kept["images"]["api"]["digest"] == upstream.digests["1"]
