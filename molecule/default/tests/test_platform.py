"""What runs after the site: HTTPS from three environments, data behind them, and room on a small server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import Server

COMMANDS = yaml.safe_load((Path(__file__).parent / "owners_commands.yml").read_text())
GIB = 1 << 30


def memory(text: str) -> int:
    """Bytes of a quantity in Ki, Mi or Gi."""
    return int(text[:-2]) << {"Ki": 10, "Mi": 20, "Gi": 30}[text[-2:]]


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_environment_serves_https_with_an_acme_certificate_and_uses_its_data(server: Server, environment: str) -> None:
    first = server.curl(environment, "--fail")
    assert first.returncode == 0, first.stderr
    answer = json.loads(first.stdout)
    again = json.loads(server.curl(environment, "--fail").stdout)
    assert again["postgres"]["rows"] > answer["postgres"]["rows"]
    database = {"dev": "shaka_dev", "staging": "shaka_staging", "prod": "shaka_production"}[environment]
    assert answer["postgres"]["database"] == database
    count = server.run(f"kubectl exec -n shaka-{environment} postgres-0 -- psql -XAt -U {database} -d {database} -c 'select count(*) from visits'")
    assert int(count) >= 2
    number = {"dev": 0, "staging": 1, "prod": 2}[environment]
    assert server.run(f"kubectl exec -n shaka-shared redis-0 -- redis-cli -n {number} GET {environment}:last-visit").strip()


def test_http_is_redirected_to_https(server: Server) -> None:
    answer = server.curl("prod", "--head", scheme="http")
    assert "301" in answer.stdout.splitlines()[0] or "308" in answer.stdout.splitlines()[0]
    assert f"https://prod.{server.lab['domain']}/" in answer.stdout


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: str(entry["command"])[:60])
def test_owners_command_works_as_written(server: Server, entry: dict[str, str]) -> None:
    output = server.run(entry["command"])
    assert re.search(entry["shows"], output), output


def test_allocatable_is_capped_to_a_small_server(server: Server) -> None:
    allocatable = server.json("node microsaas-server")["status"]["allocatable"]
    assert memory(allocatable["memory"]) <= 2 * GIB
    assert allocatable["cpu"] in ("1800m", "2", "1750m", "1900m")


def test_no_pod_is_pending_killed_or_restarting(server: Server) -> None:
    for pod in server.json("pods --all-namespaces")["items"]:
        name = pod["metadata"]["name"]
        assert pod["status"]["phase"] in ("Running", "Succeeded"), name
        for container in pod["status"].get("containerStatuses", []):
            terminated = container["lastState"].get("terminated", {})
            assert terminated.get("reason") != "OOMKilled", name
            if pod["metadata"]["namespace"].startswith("shaka-"):
                assert container["restartCount"] == 0, name


def test_environments_are_isolated_by_connection(server: Server) -> None:
    """Staging's Postgres does not answer dev's pods; dev's own does."""
    probe = "kubectl exec -n shaka-dev postgres-0 -- timeout 5 pg_isready -t 3 -h postgres-{0}.shaka-{0}.svc.cluster.local"
    assert "accepting connections" in server.run(probe.format("dev"))
    for other in ("staging", "prod"):
        assert "no response" in server.run(probe.format(other), check=False)


def test_no_container_of_the_platform_can_fill_the_disk(server: Server) -> None:
    pods = [pod for pod in server.json("pods --all-namespaces")["items"] if pod["metadata"]["namespace"] != "kube-system"]
    parts = [(pod["metadata"]["name"], part) for pod in pods for part in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]]
    assert len(parts) > 10
    assert [name for name, part in parts if "ephemeral-storage" not in part["resources"]["limits"]] == []
    assert [name for name, part in parts if "ephemeral-storage" not in part["resources"]["requests"]] == []
    ranges = {item["metadata"]["namespace"]: item["spec"]["limits"][0] for item in server.json("limitranges --all-namespaces")["items"]}
    assert ranges["shaka-prod"]["default"]["ephemeral-storage"] == "256Mi"
