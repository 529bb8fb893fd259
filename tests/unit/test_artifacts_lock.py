"""The connected path against a server on loopback that has the upstreams' URL layout: releases, raw files, a registry with its token dance."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.modules import artifact_files
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import lock as artifact_lock
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import registry, upstream
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import LockError
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import Upstream, UpstreamError
from upstreams import serving, sha256

from lab import bundle, paths

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "roles/artifacts/files/artifacts.lock.yml"
K3S = b"\x7fELF k3s\n" * 1000
RBAC = b"kind: ClusterRole\n"
INDEX = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).encode()


@pytest.fixture
def server() -> Iterator[Any]:
    bodies = {
        "/github/k3s-io/k3s/releases/download/v1%2Bk3s1/k3s": K3S,
        "/github/k3s-io/k3s/releases/download/v1%2Bk3s1/sha256sum-amd64.txt": f"{'0' * 64}  k3s-airgap\n{sha256(K3S)}  k3s\n".encode(),
        "/raw/traefik/rbac.yml": RBAC,
        "/hub/v2/library/postgres/manifests/15-alpine": INDEX,
        "/elsewhere": K3S,
    }
    with serving(bodies) as listening:
        yield listening


def mirrors(server: Any) -> dict[str, str]:
    base = f"http://127.0.0.1:{server.server_address[1]}"
    return {"github.com": f"{base}/github", "raw.githubusercontent.com": f"{base}/raw", "docker.io": f"{base}/hub"}


RELEASE = "https://github.com/k3s-io/k3s/releases/download/v1%2Bk3s1"
LOCK: dict[str, Any] = {
    "files": {
        "k3s": {
            "version": "v1+k3s1",
            "path": "bin/k3s",
            "source": {"amd64": f"{RELEASE}/k3s"},
            "sums": {"amd64": f"{RELEASE}/sha256sum-amd64.txt"},
            "sha256": {},
        },
        "rbac": {"version": "v3", "path": "manifests/rbac.yaml", "source": "https://raw.githubusercontent.com/traefik/rbac.yml", "sha256": {}},
        "known": {"path": "manifests/known.yaml", "source": "https://github.com/known", "sha256": {"any": "a" * 64}},
        "airgap": {"path": "images/k3s.tar.zst", "bundled_only": True, "source": "https://github.com/airgap", "sha256": {}},
    },
    "images": {
        "postgres": {"reference": "docker.io/library/postgres:15-alpine"},
        "redis": {"reference": "docker.io/library/redis:7", "digest": f"sha256:{'b' * 64}"},
    },
}
SUMS_PATH = "/github/k3s-io/k3s/releases/download/v1%2Bk3s1/sha256sum-amd64.txt"
MANIFEST_PATH = "/hub/v2/library/postgres/manifests/15-alpine"


def run_task(tmp_path: Path, server: Any, *arguments: str, **options: Any) -> tuple[int, str]:
    """The action as a user runs it; what it returned is in result.json."""
    (tmp_path / "shipped.yml").write_text(yaml.safe_dump({"platform_artifacts": LOCK}))
    task = {
        "shipped": str(tmp_path / "shipped.yml"),
        "images": ["postgres", "api"],
        "path": str(tmp_path / "artifacts.lock.yml"),
        "mirrors": mirrors(server),
        "timeout": 1,
        **options,
    }
    report = {"dest": str(tmp_path / "result.json"), "content": "{{ done | to_json }}", "mode": "0600"}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [
            {"shaka.platform.artifacts_lock": task, "register": "done"},
            {"ansible.builtin.copy": report, "check_mode": False, "diff": False},
        ],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(playbook), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_what_is_missing_is_resolved_once_and_kept(tmp_path: Path, server: Any) -> None:
    code, out = run_task(tmp_path, server)
    assert code == 0, out
    assert "3 artifacts were resolved and written to" in out and "commit it" in out
    kept = tmp_path / "artifacts.lock.yml"
    first, held = kept.read_text(), yaml.safe_load(kept.read_text())["platform_artifacts"]
    assert held["files"]["k3s"]["sha256"] == {"amd64": sha256(K3S)}
    assert held["files"]["rbac"]["sha256"] == {"any": sha256(RBAC)}
    assert held["images"] == {"postgres": {"reference": "docker.io/library/postgres:15-alpine", "digest": f"sha256:{sha256(INDEX)}"}}
    assert set(held["files"]) == {"k3s", "rbac"} and kept.stat().st_mode & 0o777 == 0o644
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["lock"]["files"]["k3s"]["source"] == {"amd64": f"{RELEASE}/k3s"}
    assert result["references"]["postgres"] == f"docker.io/library/postgres:15-alpine@sha256:{sha256(INDEX)}"
    assert result["references"]["api"] == "pending/api"
    asked = len(server.RequestHandlerClass.asked)
    server.RequestHandlerClass.bodies[MANIFEST_PATH] = INDEX + b" "
    code, out = run_task(tmp_path, server, locked=True)
    assert code == 0 and kept.read_text() == first
    assert json.loads((tmp_path / "result.json").read_text())["changed"] is False
    assert len(server.RequestHandlerClass.asked) == asked


def test_check_mode_reads_and_does_not_write(tmp_path: Path, server: Any) -> None:
    code, out = run_task(tmp_path, server, "--check")
    assert code == 0 and "would be resolved" in out, out
    assert not (tmp_path / "artifacts.lock.yml").exists()
    assert json.loads((tmp_path / "result.json").read_text())["lock"]["images"]["postgres"]["digest"] == f"sha256:{sha256(INDEX)}"


def test_locked_refuses_all_at_once_and_asks_nobody(tmp_path: Path, server: Any) -> None:
    code, out = run_task(tmp_path, server, locked=True, overrides={"postgres": "registry.test/postgres:15"})
    assert code == 2 and "no sum of: k3s (amd64), rbac" in " ".join(out.split()) and "postgres" not in out.split("no sum of")[1].split(".")[0]
    assert server.RequestHandlerClass.asked == [] and not (tmp_path / "artifacts.lock.yml").exists()


def test_every_bad_upstream_is_named_and_nothing_is_written(tmp_path: Path, server: Any) -> None:
    server.RequestHandlerClass.fault |= {SUMS_PATH: "truncated", MANIFEST_PATH: "wrong", "/raw/traefik/rbac.yml": "slow"}
    code, out = run_task(tmp_path, server)
    words = " ".join(out.replace("\\n", " ").split())
    assert code == 2 and not (tmp_path / "artifacts.lock.yml").exists()
    for part in ("k3s (amd64):", "broke off after", "postgres: the registry says", "rbac:", "did not answer for 1 s", "platform_artifact_mirrors"):
        assert part in words, (part, words)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read"), ("[]", "contains no platform_artifacts")],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    kept = tmp_path / "artifacts.lock.yml"
    kept.write_text(content)
    with pytest.raises(LockError, match=f"(?s){message}.*version control"):
        artifact_lock.read(kept)
    assert artifact_lock.read(tmp_path / "none.yml") == {}


def test_a_missing_release_and_a_list_without_the_file(server: Any) -> None:
    reader = Upstream(mirrors(server), 1)
    with pytest.raises(UpstreamError, match=r"answers 404 .* does this version exist"):
        reader.content_sum("k3s", f"{RELEASE}/none")
    with pytest.raises(UpstreamError, match="has no sha256 of k3s-arm64"):
        reader.published_sum("k3s", f"{RELEASE}/sha256sum-amd64.txt", "k3s-arm64")
    with pytest.raises(UpstreamError, match="cannot be read"):
        Upstream({"github.com": "http://127.0.0.1:9"}, 1).content_sum("k3s", f"{RELEASE}/k3s")


def file_params(tmp_path: Path, server: Any, pinned: bytes = K3S) -> dict[str, Any]:
    url = upstream.mirrored(f"{RELEASE}/k3s", mirrors(server))
    entry: dict[str, Any] = {
        "name": "k3s",
        "dest": str(tmp_path / "bin/k3s"),
        "sha256": sha256(pinned),
        "src": None,
        "url": url,
        "mode": "0755",
        "links": [],
        "size": 0,
    }
    return {"files": [entry], "memory": str(tmp_path / "memory.json"), "timeout": 1, "received": {}, "only_in": None}


@pytest.mark.parametrize("fault", ["", "redirect"])
def test_the_server_downloads_what_is_pinned(tmp_path: Path, server: Any, fault: str) -> None:
    server.RequestHandlerClass.fault["/github/k3s-io/k3s/releases/download/v1%2Bk3s1/k3s"] = fault
    assert artifact_files.run(file_params(tmp_path, server), check_mode=False)["changed"]
    assert (tmp_path / "bin/k3s").read_bytes() == K3S
    assert artifact_files.run(file_params(tmp_path, server), check_mode=False)["changed"] is False


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong", "wrong content from .* is left as it was"),
        ("truncated", "(broke off|failed)"),
        ("missing", "404"),
        ("slow", "no answer for 1 s; does the server reach it"),
    ],
)
def test_a_bad_download_changes_nothing(tmp_path: Path, server: Any, fault: str, message: str) -> None:
    path = "/github/k3s-io/k3s/releases/download/v1%2Bk3s1/k3s"
    server.RequestHandlerClass.fault[path] = fault
    if fault == "missing":
        del server.RequestHandlerClass.bodies[path]
    dest = tmp_path / "bin/k3s"
    dest.parent.mkdir()
    dest.write_bytes(b"old")
    with pytest.raises(artifact_files.ArtifactError, match=re.compile(message, re.DOTALL)):
        artifact_files.run(file_params(tmp_path, server), check_mode=False)
    assert dest.read_bytes() == b"old" and [entry.name for entry in dest.parent.iterdir()] == ["k3s"]


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("postgres:15", ("docker.io", "library/postgres", "15")),
        ("docker.io/library/postgres:15-alpine", ("docker.io", "library/postgres", "15-alpine")),
        ("quay.io/jetstack/cert-manager-webhook", ("quay.io", "jetstack/cert-manager-webhook", "latest")),
        ("registry.example:5000/team/api:1", ("registry.example:5000", "team/api", "1")),
        ("registry.example:5000/api", ("registry.example:5000", "api", "latest")),
        ("team/api", ("docker.io", "team/api", "latest")),
        ("localhost/api:2", ("localhost", "api", "2")),
    ],
)
def test_references(reference: str, parts: tuple[str, str, str]) -> None:
    assert dataclasses.astuple(registry.parse(reference)) == (*parts, "")


def test_an_entry_of_another_version_is_out_of_date_and_a_contradiction_is_refused() -> None:
    old = {"files": {"k3s": {"source": {"amd64": "https://github.com/old"}, "sha256": {"amd64": "c" * 64}}}, "images": {"gone": {"reference": "x"}}}
    assert artifact_lock.merged(LOCK, old, "kept.yml") == LOCK
    forged = {"files": {"known": {"source": "https://github.com/known", "sha256": {"any": "d" * 64}}}}
    with pytest.raises(LockError, match=r"known: the collection's lock says aaaa.*kept.yml says dddd"):
        artifact_lock.merged(LOCK, forged, "kept.yml")


def shipped() -> dict[str, Any]:
    return artifact_lock.read(SHIPPED)


def write_lock(path: Path, lock: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"platform_artifacts": lock}))


def test_the_lock_that_is_given_is_the_bundles_or_the_shipped_one_with_the_inventorys(tmp_path: Path) -> None:
    shipped_file, inventory, bundle = tmp_path / "shipped.yml", tmp_path / "inventory", tmp_path / "bundle"
    write_lock(shipped_file, LOCK)
    write_lock(inventory / "artifacts.lock.yml", {"images": {"postgres": {**LOCK["images"]["postgres"], "digest": f"sha256:{'f' * 64}"}}})
    connected = artifact_lock.given_lock(shipped_file, inventory, None)
    assert connected.lock["images"]["postgres"]["digest"] == f"sha256:{'f' * 64}" and not connected.pending
    assert artifact_lock.given_lock(shipped_file, inventory, bundle) == dataclasses.replace(connected, pending=True)
    write_lock(bundle / "artifacts.lock.yml", {"files": {"k3s": {"path": "bin/k3s"}, "crds": {"path": "crds.yaml"}}, "images": {}})
    (bundle / "crds.yaml").touch()
    packed = artifact_lock.given_lock(shipped_file, inventory, bundle)
    assert (packed.lock["images"], packed.lacks, packed.pending, packed.flaws) == ({}, ["bin/k3s"], False, {})


def test_a_lock_that_cannot_be_used_is_left_out_and_said(tmp_path: Path) -> None:
    shipped_file, inventory, bundle = tmp_path / "shipped.yml", tmp_path / "inventory", tmp_path / "bundle"
    write_lock(shipped_file, LOCK)
    write_lock(inventory / "artifacts.lock.yml", {"files": {"known": {"source": "https://github.com/known", "sha256": {"any": "d" * 64}}}})
    found = artifact_lock.given_lock(shipped_file, inventory, None)
    assert found.lock == LOCK and "the collection's lock says aaaa" in found.flaws["artifacts.lock.yml"]
    bundle.mkdir()
    (bundle / "artifacts.lock.yml").write_text("[]")
    assert "make the bundle again" in artifact_lock.given_lock(shipped_file, inventory, bundle).flaws["platform_bundle"]


def test_every_shipped_sum_has_two_sources_that_a_reader_can_open() -> None:
    """Files of two owners at one commit each; a sum without them is resolved."""
    address = re.compile(r"https://github\.com/([^/]+)/[^/]+/blob/[0-9a-f]{40}/\S+")
    for name, entry in [*shipped()["files"].items(), *shipped()["images"].items()]:
        sources = entry.get("sum_sources") or []
        for key in entry.get("sha256") or ({"": entry["digest"]} if "digest" in entry else {}):
            owners = {match[1] for text in (sources[key] if isinstance(sources, dict) else sources) if (match := address.fullmatch(text))}
            assert len(owners) >= 2, name
    assert set(shipped()["files"]["k3s"]["sha256"]) == {"amd64", "arm64"}


def test_the_lab_has_the_kubernetes_of_the_lock() -> None:
    """The patch version too, in all that it is built of: what is tested is what a server gets."""
    locked = {name: shipped()["files"][name] for name in ("k3s", "images_k3s")}
    assert {entry["version"] for entry in locked.values()} == {bundle.K3S_VERSION}
    addresses = [address for entry in locked.values() for part in ("source", "sums") for address in entry[part].values()]
    assert [address for address in addresses if f"/{quote(bundle.K3S_VERSION)}/" not in address] == []
    version = bundle.K3S_VERSION.partition("+")[0]
    _major, minor, patch = version.split(".")
    modules = re.findall(r"^replace k8s\.io/\S+ => \S+ (v\S+)$", (paths.LAB / "k3s/go.mod").read_text(), re.MULTILINE)
    assert set(modules) == {f"v0.{minor}.{patch}"}, "Kubernetes' own modules"
    assert f".gitMinor={minor}" in (paths.LAB / "k3s/build.sh").read_text()
    assert f" {version} " in (ROOT / "roles/k3s/vars/main/component_flags.yml").read_text(), "run: python3 -m lab.component_flags"
