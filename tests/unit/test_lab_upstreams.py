"""The lab's real K3s: packed by the collection's own playbook, here from a server on loopback, or a word on who did not answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from upstreams import image, serving, sha256

from lab import bundle, paths, upstreams
from lab.hosts import Lab

SHIPPED = paths.ROOT / "roles/artifacts/files/artifacts.lock.yml"
HOSTS = ("github.com", "raw.githubusercontent.com", "downloads.rclone.org", "docker.io", "quay.io", "lab.local")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the sandbox's lab in it, real K3s chosen; a sandbox that runs on this machine stays."""
    monkeypatch.setenv("SHAKA_CACHE", str(tmp_path))
    monkeypatch.setattr(Lab, "down", lambda self: None)
    monkeypatch.setenv("K3S", "real")
    Lab("sandbox").prepare(upstreams.path(), memory="2g", cpus="2")
    return upstreams.path()


def variables(tmp_path: Path, port: int) -> dict[str, Any]:
    """Every upstream is at a port of this machine; no wheels, which pip's index has."""
    requirements = tmp_path / "requirements.txt"
    requirements.touch()
    mirrors = {host: f"http://127.0.0.1:{port}/{host}" for host in HOSTS}
    overrides = {"api": upstreams.APPLICATION}
    return {"platform_artifact_mirrors": mirrors, "platform_image_overrides": overrides, "__artifacts_requirements": str(requirements)}


def test_the_choice_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K3S", raising=False)
    assert upstreams.path() == bundle.path() and "stand-in" in upstreams.version()
    monkeypatch.setenv("K3S", "real")
    assert upstreams.path() != bundle.path() and "stand-in" not in upstreams.version()
    monkeypatch.setenv("K3S", "rael")
    with pytest.raises(SystemExit, match=r"K3S: 'rael'.*K3S=real"):
        upstreams.path()


def test_both_are_the_same_version() -> None:
    assert yaml.safe_load(SHIPPED.read_text())["platform_artifacts"]["files"]["k3s"]["version"] == bundle.K3S_VERSION


def test_upstreams_that_do_not_answer_are_named(tmp_path: Path, place: Path) -> None:
    with serving({}) as closed:
        port = closed.server_address[1]
    with pytest.raises(SystemExit) as ended:
        upstreams.pack(place, variables(tmp_path, port))
    said = " ".join(str(ended.value).split())
    assert f"http://127.0.0.1:{port}/github.com/" in said and f"http://127.0.0.1:{port}/docker.io/" in said
    assert "without K3S the lab takes its stand-in" in said and not (place / "artifacts.lock.yml").exists()


def test_what_the_upstreams_have_becomes_the_labs_bundle(tmp_path: Path, place: Path) -> None:
    lock = yaml.safe_load(SHIPPED.read_text())["platform_artifacts"]
    bodies: dict[str, bytes] = {}
    for name, entry in lock["files"].items():
        source = entry["source"] if isinstance(entry["source"], str) else entry["source"]["amd64"]
        parts = urlsplit(source)
        bodies[f"/{parts.netloc}{parts.path}"] = content = f"the file {name}".encode()
        entry.update(sha256={"any" if isinstance(entry["source"], str) else "amd64": sha256(content)}, sum_sources={})
    for name, entry in [*lock["images"].items(), ("api", {"reference": upstreams.APPLICATION})]:
        host, _slash, rest = entry["reference"].partition("/")
        repository, _colon, tag = rest.partition(":")
        paths_of, digest = image(repository, tag, name.encode())
        bodies |= {f"/{host}{path}": body for path, body in paths_of.items()}
        entry["digest"] = digest
    shipped = tmp_path / "shipped.yml"
    shipped.write_text(json.dumps({"platform_artifacts": lock}))
    locks = {"__artifacts_shipped": str(shipped), "__platform_shipped_lock": str(shipped)}
    with serving(bodies) as server:
        upstreams.pack(place, {**variables(tmp_path, server.server_address[1]), **locks})
    packed = yaml.safe_load((place / "artifacts.lock.yml").read_text())["platform_artifacts"]
    assert (place / "bin/k3s").read_bytes() == b"the file k3s"
    assert {"postgres", "redis", "traefik", "api"} <= set(packed["images"])
    assert all((place / entry["path"]).is_file() for entry in packed["files"].values())
    assert not shutil.which("git") or not (paths.ROOT / "inventories/sandbox/artifacts.lock.yml").exists()
