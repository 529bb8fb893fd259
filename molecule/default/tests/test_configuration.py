"""Pods follow what they read, and only then; a name is a variable or a file as the inventory says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import Server

NAMES = ["SUBSCRIPTION_PLANS", "RATE_LIMIT_RULES", "JWT_SECRET"]
# What the inventory is changed to for these tests: one value and three names as files; everything as files.
CHANGED = {"environments": {"dev": {"config": {"LOG_LEVEL": "warn"}, "config_files": NAMES}, "staging": {"config_as": "files"}}}
ROLES = "tenancy,config,postgres,redis,api"


def pods(server: Server) -> dict[str, set[str]]:
    """The running pods of the platform's workloads, by namespace and app."""
    found: dict[str, set[str]] = {}
    for pod in server.json("pods --all-namespaces")["items"]:
        meta = pod["metadata"]
        if meta["namespace"].startswith("shaka-") and pod["status"]["phase"] == "Running" and "deletionTimestamp" not in meta:
            found.setdefault(f"{meta['namespace']}/{meta['labels'].get('app', meta['name'])}", set()).add(meta["uid"])
    return found


def site(server: Server, *more: str) -> None:
    done = server.playbook("site.yml", "--tags", ROLES, *more)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def rolled(server: Server) -> Iterator[set[str]]:
    """The workloads whose pods are new after the change."""
    before = pods(server)
    site(server, "-e", json.dumps({"platform_profile": "changed", "platform_profiles": {"changed": CHANGED}}))
    after = pods(server)
    yield {workload for workload in before if before[workload] != after.get(workload)}
    site(server)


def seen(server: Server, environment: str, path: str) -> str:
    """A file as an environment's API sees it: its image has no shell."""
    found = server.json(f"pods -n shaka-{environment} -l app=shaka-api")["items"]
    pod = next(pod for pod in found if "deletionTimestamp" not in pod["metadata"])
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    tasks = dict(line.split()[:2] for line in server.run("k3s ctr task ls").splitlines()[1:])
    return server.run(f"cat /proc/{tasks[container]}{path}")


def variables(server: Server, environment: str) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in seen(server, environment, "/environ").split("\0") if entry)


def test_only_the_pods_that_read_a_change_are_new(rolled: set[str]) -> None:
    assert rolled == {"shaka-dev/shaka-api", "shaka-staging/shaka-api"}


def test_names_are_files_where_the_inventory_says_so(server: Server, rolled: set[str]) -> None:
    assert json.loads(seen(server, "dev", "/root/etc/shaka-api/SUBSCRIPTION_PLANS"))["pro"] == {"requests_per_window": 1000}
    assert seen(server, "dev", "/root/run/secrets/shaka-api/JWT_SECRET") == server.lab["secrets"]["dev"]["JWT_SECRET"]
    environment = variables(server, "dev")
    assert environment["LOG_LEVEL"] == "warn" and "DB_PASSWORD" in environment
    assert not {*NAMES} & {*environment}


def test_an_environment_runs_on_files_alone(server: Server, rolled: set[str]) -> None:
    password = server.lab["secrets"]["staging"]["DB_PASSWORD"]
    assert seen(server, "staging", "/root/run/secrets/shaka-api/DB_PASSWORD") == password
    environment = variables(server, "staging")
    assert not {"DB_PASSWORD", "REDIS_PASSWORD", "DB_HOST", "NODE_ENV"} & {*environment} and password not in environment.values()
    answer = json.loads(server.curl("staging").stdout)
    assert answer["environment"] == "staging" and answer["postgres"]["rows"] and answer["redis"]["key"] == "staging:last-visit"
