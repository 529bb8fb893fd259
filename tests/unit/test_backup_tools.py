"""The backup tools: taken out of archives as their upstreams make them, packed, and read back out of the image."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.action import backup_tools as action
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import lock as artifact_lock
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import tools, tools_image
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.tools import ToolsError
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import Upstream, UpstreamError
from upstreams import serving, sha256

AGE, RCLONE, ROOTS = b"\x7fELF age" * 100, b"\x7fELF rclone" * 100, b"-----BEGIN CERTIFICATE-----\n"


def tar_gz(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, body in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return packed.getvalue()


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return packed.getvalue()


AGE_RELEASE = tar_gz(**{"age/LICENSE": b"free", "age/age": AGE, "age/age-keygen": b"other"})
RCLONE_RELEASE = zipped(**{"rclone-v1-linux-amd64/README.txt": b"rclone", "rclone-v1-linux-amd64/rclone": RCLONE})
LOCK: dict[str, Any] = {
    "files": {
        "age": {
            "version": "v1", "path": "tools/age.tar.gz", "member": "age/age",
            "source": {"amd64": "https://github.com/age"}, "sha256": {"amd64": sha256(AGE_RELEASE)},
        },
        "rclone": {
            "version": "v1", "path": "tools/rclone.zip", "member": "rclone-*/rclone",
            "source": {"amd64": "https://github.com/rclone"}, "sha256": {"amd64": sha256(RCLONE_RELEASE)},
        },
        "ca_certificates": {
            "version": "1", "path": "tools/ca-certificates.crt", "source": "https://github.com/roots", "sha256": {"any": sha256(ROOTS)},
        },
        "k3s": {"path": "bin/k3s", "source": "https://github.com/k3s", "sha256": {"any": "a" * 64}},
    },
    "images": {},
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[Any]:
    with serving({"/age": AGE_RELEASE, "/rclone": RCLONE_RELEASE, "/roots": ROOTS}) as listening:
        yield listening


def upstream(server: Any) -> Upstream:
    return Upstream({"github.com": f"http://127.0.0.1:{server.server_address[1]}"}, 20)


def with_entry(name: str, **changed: Any) -> dict[str, Any]:
    """The lock with one entry changed."""
    return {**LOCK, "files": {**LOCK["files"], name: {**LOCK["files"][name], **changed}}}


def bundle_of(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle/tools"
    folder.mkdir(parents=True)
    for name, body in (("age.tar.gz", AGE_RELEASE), ("rclone.zip", RCLONE_RELEASE), ("ca-certificates.crt", ROOTS)):
        (folder / name).write_bytes(body)
    return folder.parent


def image_of(archive: Path) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, tarfile.TarInfo], dict[str, bytes]]:
    """What K3s finds in an archive, every sum on the way compared: name, manifest, configuration, the layer's members and their content."""
    with tarfile.open(archive) as opened:
        parts = {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]
    assert all(sha256(body) == name.rpartition("/")[2] for name, body in parts.items() if name.startswith("blobs/"))

    def blob(descriptor: dict[str, Any]) -> bytes:
        body = parts[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert len(body) == descriptor["size"]
        return body

    (entry,) = json.loads(parts["index.json"])["manifests"]
    manifest = json.loads(blob(entry))
    config, (layer,) = json.loads(blob(manifest["config"])), map(blob, manifest["layers"])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{sha256(layer)}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        members = {member.name: member for member in files}
        contents = {name: files.extractfile(member).read() for name, member in members.items() if member.isfile()}  # type: ignore[union-attr]
    return entry["annotations"]["io.containerd.image.name"], manifest, config, members, contents


def test_the_image_holds_the_tools_and_nothing_else(server: Any) -> None:
    ready = tools.ready(LOCK, "amd64", None, upstream(server))
    assert {path.name: sha256(path.read_bytes()) for path in ready} == {path.name: total for path, total in ready.items()}
    (archive,) = [path for path in ready if path.name == tools.IMAGE]
    name, manifest, config, members, contents = image_of(archive)
    assert name == tools_image.reference(LOCK) and name.startswith("shaka.platform/backup-tools:")
    assert contents == {"tools/age": AGE, "tools/rclone": RCLONE, "tools/ca-certificates.crt": ROOTS}
    assert {name: oct(member.mode) for name, member in members.items()} == {
        "tools": "0o755", "tools/age": "0o755", "tools/rclone": "0o755", "tools/ca-certificates.crt": "0o644",
    }  # fmt: skip
    assert {(member.uid, member.gid, member.mtime, member.uname) for member in members.values()} == {(0, 0, 0, "")}
    assert (config["architecture"], config["os"], config["config"]["Entrypoint"]) == ("amd64", "linux", ["/tools/rclone"])
    assert [layer["mediaType"] for layer in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar"]


def test_they_are_made_once_and_a_bundle_gives_the_same_bytes(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tools.ready(LOCK, "amd64", None, upstream(server))
    asked = list(server.RequestHandlerClass.asked)
    assert tools.ready(LOCK, "amd64", None, upstream(server)) == first and server.RequestHandlerClass.asked == asked
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    bundled = tools.ready(LOCK, "amd64", bundle_of(tmp_path), upstream(server))
    assert sorted(bundled.values()) == sorted(first.values()) and server.RequestHandlerClass.asked == asked


def test_the_name_follows_from_what_is_in_it() -> None:
    others = [with_entry("age", sha256={"amd64": "f" * 64}), with_entry("age", version="v2"), with_entry("rclone", member="rclone")]
    names = {tools_image.reference(lock) for lock in (LOCK, *others)}
    assert len(names) == 4
    assert tools_image.reference(with_entry("k3s", version="v2")) == tools_image.reference(LOCK)
    assert tools_image.reference({"files": {}}) == ""
    assert artifact_lock.references(LOCK, {}, ["backup_tools"]) == {"backup_tools": tools_image.reference(LOCK)}
    assert artifact_lock.images(LOCK) == ["backup_tools"] and artifact_lock.images({"files": {}, "images": {}}) == []


def test_a_server_gets_programs_and_archive(server: Any) -> None:
    files = action.listed(tools.ready(LOCK, "amd64", None, upstream(server)), "/var/lib/shaka/tools", "/images/")
    assert {file["dest"]: file["mode"] for file in files} == {
        "/images/backup-tools.tar": "0644", "/var/lib/shaka/tools/age": "0755", "/var/lib/shaka/tools/rclone": "0755",
        "/var/lib/shaka/tools/ca-certificates.crt": "0644",
    }  # fmt: skip
    assert all(hashlib.sha256(Path(file["src"]).read_bytes()).hexdigest() == file["sha256"] for file in files)


@pytest.mark.parametrize(
    ("lock", "says"),
    [
        ({"files": {}}, "no backup tools.*make the bundle again"),
        (with_entry("age", sha256={"arm64": "a" * 64}), "age: the artifacts lock has no sum of it for amd64"),
        (with_entry("age", member="age/aged"), "age: age/aged is 0 times in its archive.*correct `member`"),
        (with_entry("rclone", member="rclone-*"), "rclone: rclone-.* is 2 times"),
    ],
)
def test_what_the_lock_lacks_is_said(server: Any, lock: dict[str, Any], says: str) -> None:
    with pytest.raises(ToolsError, match=says):
        tools.ready(lock, "amd64", None, upstream(server))


def test_what_is_damaged_is_refused_and_leaves_nothing(server: Any, tmp_path: Path, cache: Path) -> None:
    server.RequestHandlerClass.fault["/rclone"] = "wrong"
    with pytest.raises(UpstreamError, match="rclone: wrong content"):
        tools.ready(LOCK, "amd64", None, upstream(server))
    bundle = bundle_of(tmp_path)
    (bundle / "tools/age.tar.gz").write_bytes(b"damaged")
    with pytest.raises(ToolsError, match=r"age: .*age.tar.gz is missing or not the pinned file; make the bundle again"):
        tools.ready(LOCK, "amd64", bundle, upstream(server))
    cut = gzip.compress(b"no tar")[:-3]
    (bundle / "tools/age.tar.gz").write_bytes(cut)
    with pytest.raises(ToolsError, match=r"age: .*cannot be read as an archive"):
        tools.ready(with_entry("age", sha256={"amd64": sha256(cut)}), "amd64", bundle, upstream(server))
    assert list((cache / "shaka-platform/tools").iterdir()) == []


def test_the_controller_runs_the_locks_rclone_or_its_own(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    pinned = tools.own_rclone(LOCK, None, upstream(server))
    assert pinned.read_bytes() == RCLONE and os.access(pinned, os.X_OK)
    pinned.write_bytes(b"tampered")
    with pytest.raises(ToolsError, match="is not the pinned rclone; delete"):
        tools.own_rclone(LOCK, None, upstream(server))
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolsError, match=r"no rclone, and the artifacts lock none for its Darwin on x86_64: install it from"):
        tools.own_rclone(LOCK, None, upstream(server))
    (tmp_path / "rclone").write_text("#!/bin/sh\n")
    (tmp_path / "rclone").chmod(0o755)
    assert tools.own_rclone(LOCK, None, upstream(server)) == tmp_path / "rclone"
