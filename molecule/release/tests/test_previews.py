"""A preview has a host and data of its own, reaches nothing of its parent's, and leaves nothing behind."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Server, settled
from digests import tag
from redis_cli import redis

NAME, SPACE = "pr-12", "shaka-pr-12"
DATABASE = "shaka_preview_pr_12"
HOST = f"{NAME}.staging"
PROBE = (Path(__file__).parents[2] / "probe.py").read_text()
THERE = "select datname from pg_database union select rolname from pg_roles"


def psql(server: Server, statement: str, user: str = "postgres", database: str = "postgres") -> str:
    """In the Postgres of staging, where the preview's database is."""
    return server.run(f'kubectl exec -n shaka-staging postgres-0 -- psql -XAtU {user} -d {database} -c "{statement}" 2>&1', check=False)


def opened(server: Server) -> dict[str, bool]:
    """Whose Postgres a pod of the preview reaches, by namespaces: tried from inside its network."""
    pods = {(pod["metadata"]["namespace"], pod["metadata"]["labels"].get("app")): pod["status"] for pod in server.json("pods -A")["items"]}
    container = pods[SPACE, "shaka-api"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    process = next(int(line.split()[1]) for line in server.run("k3s ctr task ls").splitlines() if line.startswith(container))
    targets = {space: [status["podIP"], 5432, "TCP"] for (space, app), status in pods.items() if app == "postgres"}
    asked = {"clients": {NAME: process}, "targets": targets, "seconds": 2}
    found: dict[str, bool] = json.loads(server.run(f"python3 -c {shlex.quote(PROBE)} {shlex.quote(json.dumps(asked))}"))[NAME]
    return found


@pytest.fixture(scope="module")
def preview(server: Server) -> Iterator[dict[str, Any]]:
    """The answer of a preview of staging with another version than staging's."""
    image = tag(server.run)["2"]
    made = server.playbook("playbooks/preview.yml", "-e", f"preview={NAME}", "-e", "preview_of=staging", "-e", f"preview_image={image}")
    assert made.returncode == 0 and f"https://{HOST}." in made.stdout, made.stdout
    answer = server.curl(HOST, "--fail", "--retry", "10", "--retry-all-errors", "--retry-delay", "1")  # until Traefik has its certificate
    assert answer.returncode == 0, answer.stderr
    yield json.loads(answer.stdout)
    server.playbook("playbooks/preview_end.yml", "-e", f"preview={NAME}")


def test_it_answers_with_its_own_version_and_data(server: Server, preview: dict[str, Any]) -> None:
    assert (preview["version"], preview["postgres"]["database"]) == ("2", DATABASE), preview
    staging = json.loads(server.curl("staging", "--fail").stdout)
    assert (staging["version"], staging["postgres"]["database"]) == ("1", "shaka_staging"), staging
    assert psql(server, "select count(*) > 0 from visits", DATABASE, DATABASE).strip() == "t"
    assert preview["redis"]["key"] == f"preview.{NAME}:last-visit"
    assert redis(server, ["KEYS preview.*"], database=1) == [f'["preview.{NAME}:last-visit"]']


def test_it_reaches_no_data_but_its_own(server: Server, preview: dict[str, Any]) -> None:
    assert preview
    assert "permission denied for database" in psql(server, "select * from visits", DATABASE, "shaka_staging")
    assert "permission denied for database" in psql(server, "select 1", "shaka_staging", DATABASE)
    assert "permission denied for database" in psql(server, "select 1", DATABASE, "template1")
    said = redis(server, ["SET staging:x 1", "GET staging:x", f"SET preview.{NAME}:x 1", "KEYS *"], user=NAME, database=1)
    assert ["NOPERM" in line for line in said] == [True, True, False, True], said
    assert opened(server) == {"shaka-staging": True, "shaka-prod": False, "shaka-dev": False}


def test_a_run_of_the_site_leaves_it_and_verify_shows_it(server: Server, preview: dict[str, Any]) -> None:
    assert preview
    done = server.playbook("site.yml")
    assert done.returncode == 0 and settled(done.stdout), done.stdout
    shown = server.playbook("playbooks/status.yml")
    assert f"{NAME} (3 d left)" in shown.stdout, shown.stdout
    verified = server.playbook("playbooks/verify.yml")
    assert verified.returncode == 0 and NAME in verified.stdout, verified.stdout


def test_one_that_is_over_is_named_and_goes_with_all_that_it_had(server: Server, preview: dict[str, Any]) -> None:
    assert preview
    psql(server, f"comment on database {DATABASE} is 'of my own'", DATABASE, DATABASE)  # its owner may: it goes all the same
    before = json.loads(server.curl("staging", "--fail").stdout)["postgres"]
    over = ["-e", json.dumps({"platform_previews": {NAME: {"of": "staging", "expires": "2026-01-01T00:00:00Z"}}})]
    drift = server.playbook("playbooks/drift.yml", *over)
    assert drift.returncode == 3 and f"{NAME}: left: is over" in drift.stdout, drift.stdout
    ended = server.playbook("playbooks/preview_end.yml", "-e", f"preview={NAME}")
    assert ended.returncode == 0 and f"removed: {NAME}" in ended.stdout, ended.stdout
    assert SPACE not in server.run("kubectl get namespaces -o name")
    assert DATABASE not in psql(server, THERE) and "shaka_staging" in psql(server, THERE)
    assert redis(server, ["KEYS preview.*", "ACL USERS"], database=1)[0] == "[]"
    assert NAME not in "".join(redis(server, ["ACL USERS"]))
    assert f"preview-{NAME}" not in server.run("kubectl get networkpolicies -n shaka-staging -o name")
    assert json.loads(server.curl("staging", "--fail").stdout)["postgres"]["rows"] == before["rows"] + 1
    done = server.playbook("site.yml")
    assert done.returncode == 0 and settled(done.stdout), done.stdout
