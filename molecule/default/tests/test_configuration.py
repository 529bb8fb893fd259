"""Pods follow what they read, and only then; a name is a variable or a file as the inventory says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from conftest import Server

# What the inventory is changed to for these tests: one value, and three names as files.
FILES = {"LOG_LEVEL": "warn"}
CHANGED = {"environments": {"staging": {"config": FILES, "config_files": ["SUBSCRIPTION_PLANS", "RATE_LIMIT_RULES", "JWT_SECRET"]}}}
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
    server.run("kubectl rollout status deployment/shaka-api -n shaka-staging --timeout=120s")
    after = pods(server)
    yield {workload for workload in before if before[workload] != after.get(workload)}
    site(server)


def seen(server: Server, path: str) -> str:
    """A file as staging's API sees it: its image has no shell."""
    found = server.json("pods -n shaka-staging -l app=shaka-api")["items"]
    pod = next(pod for pod in found if "deletionTimestamp" not in pod["metadata"])
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    tasks = dict(line.split()[:2] for line in server.run("k3s ctr task ls").splitlines()[1:])
    return server.run(f"cat /proc/{tasks[container]}{path}")


def test_only_the_pods_that_read_a_change_are_new(rolled: set[str]) -> None:
    assert rolled == {"shaka-staging/shaka-api"}


def test_configuration_and_secrets_are_files_where_the_inventory_says_so(server: Server, rolled: set[str]) -> None:
    assert json.loads(seen(server, "/root/etc/shaka-api/SUBSCRIPTION_PLANS"))["pro"] == {"requests_per_window": 1000}
    assert seen(server, "/root/run/secrets/shaka-api/JWT_SECRET") == server.lab["secrets"]["staging"]["JWT_SECRET"]
    environment = dict(entry.partition("=")[::2] for entry in seen(server, "/environ").split("\0") if entry)
    assert environment["LOG_LEVEL"] == "warn" and "DB_PASSWORD" in environment
    assert not {"SUBSCRIPTION_PLANS", "RATE_LIMIT_RULES", "JWT_SECRET"} & set(environment)
