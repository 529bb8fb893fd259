"""Applications of every kind in one environment of its own, where the network denies by default and nothing serves HTTPS."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Server, settled

CONVERGE = "molecule/environments/converge.yml"
DATA = ("-e", "@molecule/environments/vars/data.yml")

APPS = """
worker:
  protocol: none
  probes: {readiness: {type: http, port: 3000, path: /readyz}}
web: {internal: true, port: 3100, reaches: [cache]}
cache:
  image: lab.local/redis:7
  command: [redis-server, --port, "7700", --dir, /data]
  protocol: tcp
  port: 7700
  config: []
  secrets: []
  volumes: {data: {mount: /data, size: 1Gi}}
  writable: {/var/scratch: 10Mi}
report:
  image: lab.local/postgres:15
  schedule: "0 0 1 1 *"
  time_zone: America/Sao_Paulo
  secrets: [DB_PASSWORD]
  command: [sh, -c, 'PGPASSWORD=$DB_PASSWORD psql -h $DB_HOST -U $DB_USER -d $DB_NAME -XAtqc "select 6 * 7"; echo ${REDIS_PASSWORD-none}']
"""
SECRETS = {name: f"{{{{ ('jobs {name}' ~ lab.secrets.prod.DB_PASSWORD) | hash('sha256') }}}}" for name in ("DB_PASSWORD", "REDIS_PASSWORD")}
CLAIMS = ("postgres-pvc", "shaka-cache-data")
PROBE = (ROOT / "molecule/probe.py").read_text()


def inventory(folder: Path, apps: dict[str, Any]) -> tuple[str, ...]:
    """The sandbox's environments and this one, with these applications, for a run of it alone."""
    known = yaml.safe_load((ROOT / "inventories/sandbox/group_vars/all/platform.yml").read_text())["platform_environments"]
    jobs = {"network": "zero_trust", "redis": {"database": 3}, "backup": {"s3": {"endpoint": ""}}, "apps": apps}
    over = {
        "platform_environments": {**known, "jobs": jobs},
        "__secrets_of_jobs": {"jobs": SECRETS},
        "platform_secrets": "{{ lab.secrets | combine(__secrets, __secrets_of_jobs, recursive=true) }}",
    }
    (folder / "jobs.yml").write_text(yaml.safe_dump(over, sort_keys=False))
    return (*DATA, "-e", f"@{folder}/jobs.yml", "-e", "platform_only=jobs", "--tags", "tenancy,config,postgres,redis,apps")


@pytest.fixture(scope="module")
def jobs(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server with that environment, which goes with its data when the tests are over."""
    done = server.playbook(CONVERGE, *inventory(tmp_path_factory.mktemp("jobs"), yaml.safe_load(APPS)))
    assert done.returncode == 0, done.stdout
    yield server
    gone = ["namespaces/shaka-jobs", *(f"persistentvolumeclaims/shaka-jobs/{name}" for name in CLAIMS)]
    done = server.playbook(CONVERGE, "--tags", "tenancy,config,postgres,redis", *DATA, "-e", json.dumps({"platform_delete": gone}))
    assert done.returncode == 0, done.stdout
    server.run("kubectl wait --for=delete namespace/shaka-jobs --timeout=180s")  # the API server ends its pods and empties it first


def test_a_second_run_changes_nothing(jobs: Server, tmp_path: Path) -> None:
    again = jobs.playbook(CONVERGE, *inventory(tmp_path, yaml.safe_load(APPS)))
    assert again.returncode == 0 and settled(again.stdout), again.stdout


def test_each_finds_what_it_sees(jobs: Server) -> None:
    """The worker's readiness is that Postgres and Redis answer it; the job asks Postgres, and has no password of Redis."""
    deployments = {item["metadata"]["name"]: item["status"].get("readyReplicas") for item in jobs.json("deployments -n shaka-jobs")["items"]}
    assert deployments == {"shaka-worker": 1, "shaka-web": 1, "shaka-cache": 1}
    jobs.run("kubectl create job -n shaka-jobs --from=cronjob/shaka-report once && kubectl wait -n shaka-jobs --for=condition=complete job/once")
    assert jobs.run("kubectl logs -n shaka-jobs job/once").split() == ["42", "none"]


def test_only_whom_the_inventory_names_reaches_a_port(jobs: Server) -> None:
    tasks = dict(line.split()[:2] for line in jobs.run("k3s ctr task ls").splitlines()[1:])
    clients, addresses = {}, {}
    for pod in jobs.json("pods -n shaka-jobs")["items"]:
        (container,) = pod["status"]["containerStatuses"]
        name = pod["metadata"]["labels"]["app"]
        if pod["status"]["phase"] == "Running":
            clients[name], addresses[name] = int(tasks[container["containerID"].removeprefix("containerd://")]), pod["status"]["podIP"]
    ports = {"postgres": 5432, "shaka-web": 3100, "shaka-worker": 3000, "shaka-cache": 7700}
    asked = {"clients": clients, "targets": {name: [addresses[name], port, "TCP"] for name, port in ports.items()}, "seconds": 2}
    found = json.loads(jobs.run(f"python3 -c {shlex.quote(PROBE)} {shlex.quote(json.dumps(asked))}"))
    opened = {(client, target) for client, targets in found.items() for target, is_open in targets.items() if is_open and client != target}
    assert opened == {("shaka-worker", "postgres"), ("shaka-web", "postgres"), ("shaka-web", "shaka-cache")}


def test_what_is_taken_out_goes_and_its_volume_stays(jobs: Server, tmp_path: Path) -> None:
    volume = jobs.run("kubectl get pvc shaka-cache-data -n shaka-jobs -o jsonpath='{.spec.volumeName}'")
    rest = {name: app for name, app in yaml.safe_load(APPS).items() if name not in ("cache", "report")}
    rest["web"].pop("reaches")
    done = jobs.playbook(CONVERGE, *inventory(tmp_path, rest))
    assert done.returncode == 0, done.stdout
    ours = "deployments,services,cronjobs,serviceaccounts,networkpolicies"
    left = jobs.run(f"kubectl get {ours} -n shaka-jobs -l shaka.platform/role=apps -o name").split()
    assert not [name for name in left if "cache" in name or "report" in name] and "deployment.apps/shaka-web" in left
    assert jobs.run("kubectl get pvc shaka-cache-data -n shaka-jobs -o jsonpath='{.spec.volumeName}'") == volume
