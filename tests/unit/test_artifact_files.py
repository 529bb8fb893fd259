"""Pinned files: what is found, sent, downloaded and refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.shaka.platform.plugins.filter.resolve_artifacts import resolve_artifacts
from ansible_collections.shaka.platform.plugins.modules import artifact_files
from ansible_collections.shaka.platform.plugins.modules.artifact_files import ArtifactError, Memory, run

CONTENT = b"the pinned content\n"
SUM = hashlib.sha256(CONTENT).hexdigest()


def params(tmp_path: Path, received: dict[str, str] | None = None, **file: Any) -> dict[str, Any]:
    entry = {
        "name": "k3s",
        "dest": str(tmp_path / "bin/k3s"),
        "sha256": SUM,
        "src": None,
        "url": None,
        "mode": "0755",
        "links": ["kubectl"],
        "size": 0,
        **file,
    }
    return {"files": [entry], "memory": str(tmp_path / "memory.json"), "timeout": 5, "received": received or {}}


class Response(io.BytesIO):
    def __init__(self, content: bytes, length: int | None = None) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content) if length is None else length)}


def serve(content: bytes, length: int | None = None) -> Any:
    return lambda url, **_: Response(content, length)


def forbidden(url: str, **_: Any) -> Any:
    raise AssertionError(f"{url} was downloaded")


def test_a_missing_file_is_wanted_then_placed_with_its_links(tmp_path: Path) -> None:
    first = run(params(tmp_path, src="/bundle/k3s"), check_mode=False)
    assert first["files"][0]["action"] == "wanted"
    partial = Path(first["files"][0]["partial"])
    assert partial.parent == tmp_path / "bin" and ".tar" not in partial.name
    partial.write_bytes(CONTENT)
    second = run(params(tmp_path, received={"k3s": str(partial)}, src="/bundle/k3s"), check_mode=False)
    assert second["changed"] and second["files"][0]["action"] == "sent"
    dest = tmp_path / "bin/k3s"
    assert dest.read_bytes() == CONTENT and dest.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin/kubectl").readlink() == Path("k3s")
    assert not partial.exists()


def test_what_came_elsewhere_is_moved(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(CONTENT)
    run(params(tmp_path, received={"k3s": str(upload)}, src="/x"), check_mode=False)
    assert (tmp_path / "bin/k3s").read_bytes() == CONTENT and not upload.exists()


def test_a_second_run_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(params(tmp_path, url="https://x"), check_mode=False, opener=serve(CONTENT))
    monkeypatch.setattr(artifact_files, "sha256_of", lambda path: pytest.fail(f"{path} was read"))
    assert run(params(tmp_path, url="https://x"), check_mode=False, opener=forbidden)["changed"] is False


def test_a_swapped_file_of_the_same_size_and_time_is_found(tmp_path: Path) -> None:
    run(params(tmp_path, url="https://x"), check_mode=False, opener=serve(CONTENT))
    dest = tmp_path / "bin/k3s"
    times = dest.stat()
    dest.write_bytes(CONTENT.replace(b"pinned", b"forged"))
    os.utime(dest, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run(params(tmp_path, url="https://x"), check_mode=True)["files"][0]["action"] == "downloaded"


def test_only_mode_and_links_are_put_right(tmp_path: Path) -> None:
    run(params(tmp_path, url="https://x"), check_mode=False, opener=serve(CONTENT))
    (tmp_path / "bin/k3s").chmod(0o600)
    (tmp_path / "bin/kubectl").unlink()
    assert run(params(tmp_path, url="https://x"), check_mode=True)["files"][0]["action"] == "attributes"
    assert not (tmp_path / "bin/kubectl").exists()
    assert run(params(tmp_path, url="https://x"), check_mode=False, opener=forbidden)["changed"]
    assert run(params(tmp_path, url="https://x"), check_mode=False, opener=forbidden)["changed"] is False


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    assert run(params(tmp_path, url="https://x"), check_mode=True, opener=forbidden)["changed"]
    assert run(params(tmp_path, src="/bundle/k3s"), check_mode=True)["changed"]
    assert list(tmp_path.iterdir()) == []


def refuse_route(url: str, **_options: Any) -> Any:
    raise OSError("no route")


@pytest.mark.parametrize(
    ("opener", "words"),
    [
        (serve(b"forged"), ["k3s", "https://x", SUM, hashlib.sha256(b"forged").hexdigest()]),
        (serve(CONTENT[:5], length=len(CONTENT)), ["k3s", "broke off", "expected 19 bytes, got 5"]),
        (refuse_route, ["k3s", "https://x", "no route"]),
    ],
)
def test_a_bad_download_is_refused_and_the_old_file_stays(tmp_path: Path, opener: Any, words: list[str]) -> None:
    dest = tmp_path / "bin/k3s"
    dest.parent.mkdir()
    dest.write_bytes(b"old")
    with pytest.raises(ArtifactError) as error:
        run(params(tmp_path, url="https://x"), check_mode=False, opener=opener)
    assert all(word in str(error.value) for word in words)
    assert dest.read_bytes() == b"old"


def test_a_full_disk_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="MiB free"):
        run(params(tmp_path, src="/x", size=1 << 60), check_mode=False)


def test_a_damaged_memory_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text("{")
    run(params(tmp_path, url="https://x"), check_mode=False, opener=serve(CONTENT))
    assert json.loads((tmp_path / "memory.json").read_text())[str(tmp_path / "bin/k3s")]["sha256"] == SUM
    assert Memory(tmp_path / "memory.json").digest(tmp_path / "bin/none") is None


LOCK = {
    "arch": "amd64",
    "files": {
        "k3s": {"path": "bin/k3s", "source": "https://k3s.example/k3s", "sha256": {"amd64": SUM}},
        "images_core": {"path": "images/core.tar.zst", "source": "lab", "sha256": SUM},
        "crds": {"path": "manifests/crds.yaml", "source": {"any": "https://crds.example"}, "sha256": {"any": SUM}},
    },
}


def test_files_come_from_the_bundle_or_their_public_source() -> None:
    places: list[dict[str, Any]] = [
        {"match": "bin/k3s", "dest": "/usr/local/bin/k3s", "mode": "0755", "links": ["kubectl"]},
        {"match": "manifests/*"},
    ]
    assert resolve_artifacts(LOCK, places, "/bundle/", "x86_64") == [
        {"name": "k3s", "dest": "/usr/local/bin/k3s", "sha256": SUM, "mode": "0755", "links": ["kubectl"], "src": "/bundle/bin/k3s"},
        {
            "name": "crds",
            "dest": "/var/lib/shaka/manifests/crds.yaml",
            "sha256": SUM,
            "mode": "0644",
            "links": [],
            "src": "/bundle/manifests/crds.yaml",
        },
    ]
    assert [file["url"] for file in resolve_artifacts(LOCK, places, "", "x86_64")] == ["https://k3s.example/k3s", "https://crds.example"]


@pytest.mark.parametrize(
    ("match", "bundle", "architecture", "message"),
    [
        ("bin/k3s", "", "aarch64", "'k3s': the lock has no sha256 for arm64"),
        ("bin/k3s", "/b", "aarch64", "is for amd64, the server is arm64"),
        ("bin/k3s", "", "riscv64", "the server is a riscv64"),
        ("bin/rke2", "", "x86_64", "no file bin/rke2"),
        ("images/*", "", "x86_64", "images_core' has no public source"),
    ],
)
def test_a_lock_that_does_not_serve_is_refused(match: str, bundle: str, architecture: str, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        resolve_artifacts(LOCK, [{"match": match, "dest": "/x/"}], bundle, architecture)


def test_what_is_for_bundles_only_comes_in_a_bundle_only() -> None:
    lock = {"files": {"airgap": {"path": "images/k3s.tar.zst", "bundled_only": True, "source": "https://x.example", "sha256": SUM}}}
    places = [{"match": "images/*", "dest": "/i/"}]
    assert resolve_artifacts(lock, places, "", "aarch64") == []
    assert [file["src"] for file in resolve_artifacts(lock, places, "/bundle", "x86_64")] == ["/bundle/images/k3s.tar.zst"]


def test_a_server_downloads_from_the_mirror() -> None:
    lock = {"files": {"k3s": {"path": "bin/k3s", "source": "https://github.com/k3s", "sha256": SUM}}}
    (file,) = resolve_artifacts(lock, [{"match": "bin/k3s", "dest": "/x/k3s"}], "", "x86_64", {"github.com": "https://mirror.example/github"})
    assert file["url"] == "https://mirror.example/github/k3s"
