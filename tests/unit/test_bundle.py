"""A bundle packed from a server on loopback that has the upstreams' URL layout: files, a registry with a token, one with a login."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.action import bundle as action
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import Busy, alone
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import bundle, oci_archive
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.registry import Registry
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import Upstream, UpstreamError
from upstreams import image, serving, sha256

ROOT = Path(__file__).parents[2]
K3S, AIRGAP = b"\x7fELF k3s\n" * 1000, b"k3s's own images"
LAYER = b"a layer that two images share"
POSTGRES, POSTGRES_DIGEST = image("library/postgres", "15-alpine", LAYER)
API, API_DIGEST = image("team/api", "1.4.2", LAYER, b"the application")
LOCK: dict[str, Any] = {
    "files": {
        "k3s": {
            "version": "v1+k3s1",
            "path": "bin/k3s",
            "source": {"amd64": "https://github.com/k3s", "arm64": "https://github.com/k3s-arm64"},
            "sha256": {"amd64": sha256(K3S), "arm64": "a" * 64},
        },
        "images_k3s": {
            "version": "v1+k3s1",
            "path": "images/k3s.tar.zst",
            "bundled_only": True,
            "source": {"amd64": "https://github.com/airgap", "arm64": "https://github.com/airgap-arm64"},
            "sha256": {"amd64": sha256(AIRGAP), "arm64": "b" * 64},
        },
    }
}
IMAGES = {
    "postgres": f"docker.io/library/postgres:15-alpine@{POSTGRES_DIGEST}",
    "api": "pending/api",
    "backup_tools": "shaka.platform/backup-tools:0123456789ab",
}
PASSWORD = "canary-4f1e9d0c7b6a"


@pytest.fixture
def server() -> Iterator[Any]:
    files = {"/github/k3s": K3S, "/github/airgap": AIRGAP}
    with serving({**files, **{f"/hub{path}": body for path, body in POSTGRES.items()}, **API}) as listening:
        yield listening


def task(tmp_path: Path, server: Any, **options: Any) -> dict[str, Any]:
    """The action's arguments."""
    base = f"http://127.0.0.1:{server.server_address[1]}"
    mirrors = {"github.com": f"{base}/github", "docker.io": f"{base}/hub", "registry.test": base}
    requirements = tmp_path / "requirements.txt"
    requirements.touch()
    given = {
        "requirements": str(requirements),
        "path": str(tmp_path / "bundle"),
        "architecture": "amd64",
        "lock": LOCK,
        "images": IMAGES,
        "applications": {},
        "registries": {},
    }
    return {**given, "mirrors": mirrors, "timeout": 20, **options}


def pack(tmp_path: Path, server: Any, check: bool = False, logins: dict[str, tuple[str, str]] | None = None, **options: Any) -> dict[str, Any]:
    """One run; what it asks the server is counted anew."""
    server.RequestHandlerClass.asked.clear()
    return action.pack(task(tmp_path, server, **options), logins or {}, check)


def held(tmp_path: Path) -> dict[str, bytes]:
    """A directory's files by their paths."""
    place = tmp_path / "bundle"
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def lock_of(tmp_path: Path) -> dict[str, Any]:
    lock: dict[str, Any] = yaml.safe_load((tmp_path / "bundle/artifacts.lock.yml").read_text())["platform_artifacts"]
    return lock


def content(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]


def test_a_bundle_holds_its_architectures_files_and_images_and_a_second_run_fetches_nothing(tmp_path: Path, server: Any) -> None:
    applications = {"api_prod": f"registry.test/team/api@{API_DIGEST}", "api_dev": f"registry.test/team/api@{API_DIGEST}"}
    assert pack(tmp_path, server, applications=applications)["changed"]
    first = held(tmp_path)
    expected = {"artifacts.lock.yml", "bin/k3s", "images/k3s.tar.zst", "images/postgres.tar", "images/api_prod.tar"}
    assert set(first) == expected and first["bin/k3s"] == K3S
    lock = lock_of(tmp_path)
    assert {entry["path"]: entry["sha256"] for entry in lock["files"].values()} == {
        path: {"amd64": sha256(body)} for path, body in first.items() if path != "artifacts.lock.yml"
    }
    assert lock["files"]["k3s"]["source"] == "https://github.com/k3s"
    references = {name: f"{entry['reference']}@{entry['digest']}" for name, entry in lock["images"].items()}
    assert references == {"postgres": IMAGES["postgres"], "api_prod": applications["api_prod"], "api_dev": applications["api_dev"]}
    assert sum("/blobs/" in path and path.endswith(sha256(LAYER + b"amd64")) for path in server.RequestHandlerClass.asked) == 1
    assert not any("arm64" in path for path in server.RequestHandlerClass.asked)
    assert pack(tmp_path, server, applications=applications)["changed"] is False
    assert server.RequestHandlerClass.asked == [] and held(tmp_path) == first


def test_an_image_keeps_its_digests_and_its_archive_follows_from_them(tmp_path: Path, server: Any) -> None:
    pack(tmp_path, server)
    before = held(tmp_path)["images/postgres.tar"]
    blobs = content(tmp_path / "bundle/images/postgres.tar")
    (entry,) = json.loads(blobs["index.json"])["manifests"]
    assert entry["digest"] == POSTGRES_DIGEST and entry["annotations"] == {"io.containerd.image.name": "docker.io/library/postgres:15-alpine"}
    index = json.loads(blobs[f"blobs/sha256/{POSTGRES_DIGEST[7:]}"])
    (own,) = [each["digest"][7:] for each in index["manifests"] if each["platform"]["architecture"] == "amd64"]
    manifest = json.loads(blobs[f"blobs/sha256/{own}"])
    assert {part["digest"][7:] for part in (manifest["config"], *manifest["layers"])} <= {Path(name).name for name in blobs}
    assert all(sha256(body) == Path(name).name for name, body in blobs.items() if name.startswith("blobs/"))
    (tmp_path / "bundle/images/postgres.tar").write_bytes(b"damaged")
    assert pack(tmp_path, server)["fetched"] == ["image_postgres"]
    assert held(tmp_path)["images/postgres.tar"] == before


def test_check_mode_says_what_is_missing_and_touches_nothing(tmp_path: Path, server: Any) -> None:
    result = pack(tmp_path, server, check=True)
    assert result["changed"] and result["fetched"] == ["images_k3s", "k3s", "image_postgres"]
    assert not (tmp_path / "bundle").exists() and server.RequestHandlerClass.asked == []
    pack(tmp_path, server)
    assert pack(tmp_path, server, check=True)["changed"] is False


def test_a_run_that_failed_keeps_what_came_and_is_no_bundle_yet(tmp_path: Path, server: Any) -> None:
    server.RequestHandlerClass.fault |= {"/github/k3s": "wrong", "/github/airgap": "truncated"}
    with pytest.raises(UpstreamError, match=r"(?s)images_k3s:.*broke off after 8 of 16 bytes.*k3s: wrong content"):
        pack(tmp_path, server)
    assert not (tmp_path / "bundle/artifacts.lock.yml").exists()
    server.RequestHandlerClass.fault.clear()
    pack(tmp_path, server)
    assert not {f"/hub/v2/library/postgres/blobs/sha256:{sha256(LAYER + b'amd64')}"} & set(server.RequestHandlerClass.asked)
    assert {"/github/k3s", "/github/airgap"} <= set(server.RequestHandlerClass.asked) and not (tmp_path / "bundle/.partial").exists()


def test_what_an_older_version_brought_is_removed_and_the_rest_of_the_directory_left(tmp_path: Path, server: Any) -> None:
    pack(tmp_path, server, applications={"api_prod": f"registry.test/team/api@{API_DIGEST}"})
    place, other = tmp_path / "bundle", f"docker.io/library/postgres@{POSTGRES_DIGEST}"
    (place / "NOTES").write_text("mine")
    (place / "wheels").mkdir()
    (place / "wheels/old.whl").write_bytes(b"of another version")
    assert pack(tmp_path, server, applications={"api_prod": other})["removed"] == [str(place / "wheels/old.whl")]
    assert (place / "NOTES").read_text() == "mine"
    assert lock_of(tmp_path)["files"]["image_api_prod"]["source"] == other
    (entry,) = json.loads(content(place / "images/api_prod.tar")["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == f"docker.io/library/postgres:bundled-{POSTGRES_DIGEST[7:19]}"
    assert pack(tmp_path, server)["removed"] == [str(place / "images/api_prod.tar")]


def test_a_tag_is_resolved_once(tmp_path: Path, server: Any) -> None:
    applications = {"api_prod": "docker.io/library/postgres:15-alpine"}
    pack(tmp_path, server, images={}, applications=applications)
    entry = lock_of(tmp_path)["images"]["api_prod"]
    assert (entry["reference"], entry["digest"]) == ("docker.io/library/postgres:15-alpine", POSTGRES_DIGEST)
    server.RequestHandlerClass.bodies["/hub/v2/library/postgres/manifests/15-alpine"] = b"{}"  # it moved
    assert pack(tmp_path, server, images={}, applications=applications)["changed"] is False


def test_a_private_registry_gets_the_login_and_nobody_else_does(tmp_path: Path, server: Any) -> None:
    """As the playbook runs the action."""
    server.RequestHandlerClass.login = f"robot:{PASSWORD}"
    arguments = task(tmp_path, server, images={}, applications={"api_prod": "registry.test/team/api:1.4.2"})
    arguments["registries"] = {"registry.test": {"username": "robot", "password": "TOKEN"}}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable, "platform_secrets": {"registries": {"TOKEN": PASSWORD}}},
        "tasks": [{"shaka.platform.bundle": arguments}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(tmp_path / "play.yml"), "-vvv", "--diff"]
    with serving({"/cdn": b"the applicationamd64"}) as cdn:
        blob = f"/v2/team/api/blobs/sha256:{sha256(b'the applicationamd64')}"
        server.RequestHandlerClass.fault[blob] = f"redirect http://127.0.0.1:{cdn.server_address[1]}/cdn"
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 and "changed=1" in done.stdout, done.stdout
        assert cdn.RequestHandlerClass.seen == [None]
    assert PASSWORD not in done.stdout + done.stderr and not any(PASSWORD.encode() in body for body in held(tmp_path).values())


@pytest.mark.parametrize(
    ("logins", "message"),
    [
        ({}, "give one in platform_registries.registry.test"),
        ({"registry.test": ("robot", "no")}, "refuses the login of platform_registries.registry.test"),
    ],
)
def test_a_registry_that_refuses_is_named_with_what_to_do(tmp_path: Path, server: Any, logins: dict[str, tuple[str, str]], message: str) -> None:
    server.RequestHandlerClass.login = f"robot:{PASSWORD}"
    with pytest.raises(UpstreamError, match=message):
        pack(tmp_path, server, logins=logins, images={}, applications={"api_prod": "registry.test/team/api:1.4.2"})


@pytest.mark.parametrize(
    ("registry", "realm", "sent"),
    [
        ("docker.io", "https://auth.docker.io/token", True),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("registry.example.com:5000", "https://example.com/token", True),
        ("docker.io", "http://auth.docker.io/token", False),
        ("docker.io", "https://auth.docker.io.evil.example/token", False),
        ("ghcr.io", "https://evil.example/token", False),
        ("mirrored.test", "http://127.0.0.1:5000/token", True),  # the mirror that the inventory names
        ("mirrored.test", "http://127.0.0.1:5001/token", False),
    ],
)
def test_a_login_goes_to_the_registry_s_own_domain_alone(registry: str, realm: str, sent: bool) -> None:
    asked: list[str] = []

    class Answers(Upstream):
        def read(self, what: str, url: str, **headers: str) -> tuple[bytes, dict[str, str]]:
            asked.append(headers.get("Authorization", ""))
            return b'{"token": "t"}', {}

    upstream = Answers({"mirrored.test": "http://127.0.0.1:5000"}, 1)
    header = f'Bearer realm="{realm}",service="s"'
    if sent:
        assert Registry(upstream, {registry: ("robot", PASSWORD)})._grant("api", "u", registry, header) == "Bearer t"
        assert asked[0].startswith("Basic ")
        return
    with pytest.raises(UpstreamError, match="not an https:// address of its own domain; nothing was sent"):
        Registry(upstream, {registry: ("robot", PASSWORD)})._grant("api", "u", registry, header)
    assert asked == []
    assert Registry(upstream)._grant("api", "u", registry, header) == "Bearer t" and asked == [""]  # without a login there is nothing to lose


@pytest.mark.parametrize(
    ("code", "words"), [(403, "wants a login"), (429, "limit for requests"), (404, "does this version exist"), (500, "does this")]
)
def test_what_an_answer_means_is_said(code: int, words: str) -> None:
    def refuse(url: str, **_: Any) -> Any:
        raise HTTPError(url, code, "no", Message(), None)

    with pytest.raises(UpstreamError, match=f"answers {code} no; .*{words}"):
        Upstream({}, 1, refuse).read("api", "https://ghcr.io/token")


def test_an_image_that_is_not_what_its_digest_says_is_refused(tmp_path: Path, server: Any) -> None:
    server.RequestHandlerClass.fault[f"/hub/v2/library/postgres/manifests/{POSTGRES_DIGEST}"] = "wrong"
    with pytest.raises(UpstreamError, match=f"docker.io/library/postgres is {POSTGRES_DIGEST}, but what came is"):
        pack(tmp_path, server)
    assert not (tmp_path / "bundle/artifacts.lock.yml").exists()


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, None),
        ({"artifacts.lock.yml": bundle.HEADER}, None),
        ({".partial/x": ""}, None),
        ({"artifacts.lock.yml": "platform_artifacts: {}\n"}, "holds other things"),
        ({"thesis.txt": "the only copy"}, "holds other things"),
    ],
)
def test_a_directory_of_something_else_is_refused(tmp_path: Path, files: dict[str, str], problem: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = action.place_problem(str(tmp_path))
    assert found is None if problem is None else problem in str(found)


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "not an absolute path" in str(action.place_problem("bundle"))
    assert "is a file" in str(action.place_problem(str(tmp_path / "file")))
    assert action.place_problem(str(tmp_path / "new")) is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_run_at_a_time(tmp_path: Path, server: Any) -> None:
    (tmp_path / "bundle").mkdir()
    with alone(tmp_path / "bundle", ""), pytest.raises(Busy, match="another run packs into"):
        pack(tmp_path, server)


def test_an_image_without_the_architecture_and_one_of_an_old_kind() -> None:
    index = {"manifests": [{"digest": "sha256:1", "platform": {"os": "linux", "architecture": "s390x"}}]}
    with pytest.raises(UpstreamError, match="not made for amd64, only for s390x"):
        oci_archive.manifest_digest("api", index, "amd64")
    with pytest.raises(UpstreamError, match=r"schema 1.*push the image again"):
        oci_archive.parts("api", {"schemaVersion": 1})
