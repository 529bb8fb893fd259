"""A release that users do not notice: a good one, the way back, and a bad one that is undone by itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Server
from digests import tag

# However slow: what else runs on this machine is not the release's fault. How a slow one is judged is in tests/unit and prove/releases.
ASKED = {"path": "/hello", "seconds": 7, "p95_factor": 100}
GATE = {"platform_profile": "gate", "platform_profiles": {"gate": {"environments": {"prod": {"api": {"gate": ASKED}}}}}}
LEAVING = 10  # seconds in which a pod that ends still answers what reaches it


@pytest.fixture(scope="module")
def digests(server: Server) -> dict[str, str]:
    return tag(server.run)


@pytest.fixture
def settings(tmp_path: Path) -> str:
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(GATE))
    return f"@{path}"


@contextmanager
def users(server: Server) -> Iterator[list[str]]:
    """One request after the other meanwhile; what was answered, as the version or the error."""
    ended, answers = threading.Event(), list[str]()

    def ask() -> None:
        while not ended.wait(0.1):
            done = server.curl("prod", "--fail")
            answers.append(json.loads(done.stdout)["version"] if done.returncode == 0 else f"failed: {done.stderr}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


def image(server: Server) -> str:
    return server.run("kubectl -n shaka-prod get deployment shaka-api -o jsonpath='{.spec.template.spec.containers[0].image}'")


def left_over(server: Server) -> list[str]:
    names = server.run("kubectl -n shaka-prod get deployments,services,jobs,ingressroutes.traefik.io,middlewares.traefik.io -o name").split()
    return [name for name in names if "next" in name or "release" in name]


def test_a_release_and_its_way_back_are_not_noticed(server: Server, digests: dict[str, str], settings: str) -> None:
    before = image(server)
    with users(server) as answers:
        done = server.playbook("playbooks/deploy.yml", "-e", settings, "-e", "deploy_environment=prod", "-e", f"deploy_image={digests['2']}")
    assert done.returncode == 0, done.stdout
    assert image(server) == digests["2"] and left_over(server) == []
    assert set(answers) == {"1", "2"} and answers[-1] == "2"

    agreed = server.playbook("site.yml", "--tags", "apps")  # the inventory has it now
    assert agreed.returncode == 0 and "changed=0" in agreed.stdout, agreed.stdout

    with users(server) as answers:
        done = server.playbook("playbooks/rollback.yml", "-e", "rollback_environment=prod")
        deadline = time.monotonic() + LEAVING
        while answers[-1] != "1" and time.monotonic() < deadline:
            time.sleep(0.1)
    assert done.returncode == 0, done.stdout
    assert image(server) == before and set(answers) == {"1", "2"} and answers[-1] == "1"


def test_a_bad_release_is_undone_before_users_meet_it(server: Server, digests: dict[str, str], settings: str) -> None:
    before = image(server)
    with users(server) as answers:
        done = server.playbook("playbooks/deploy.yml", "-e", settings, "-e", "deploy_environment=prod", "-e", f"deploy_image={digests['fails']}")
    assert done.returncode == 2
    end = " ".join(done.stdout[-4000:].split())
    assert "The release was undone" in end and "requests through the edge failed" in end and "has no column" in end, done.stdout
    assert image(server) == before and left_over(server) == [] and set(answers) == {"1"}


def test_the_releases_are_recorded(server: Server, digests: dict[str, str]) -> None:
    done = server.playbook("playbooks/releases.yml", "-e", "platform_only=prod", "-e", "releases_format=json")
    assert done.returncode == 0 and "undone" in done.stdout and digests["2"] in done.stdout, done.stdout


@pytest.mark.parametrize("wanted", ["lab.local/api:2", "lab.local/api@sha256:12"])
def test_an_image_that_could_become_another_is_refused(server: Server, wanted: str) -> None:
    done = server.playbook("playbooks/deploy.yml", "-e", "deploy_environment=prod", "-e", f"deploy_image={wanted}")
    assert done.returncode == 2 and "Nothing was changed" in done.stdout and "deploy_image" in done.stdout, done.stdout
