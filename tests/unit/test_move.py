"""A move to another server: what is stopped starts again as it was, whatever interrupts it; certificates go along; what would be lost is named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.module_utils.move import certificates, record, writers, written

ROOT = Path(__file__).parents[2]
PROD = cast(
    Environment,
    {
        "name": "prod",
        "namespace": "acme-prod",
        "apps": {"api": {"labels": ["acme-api"], "schedule": ""}},
        "postgres": {"database": "shop", "databases": ["reports"]},
    },
)
ENVIRONMENTS = {"prod": PROD}
API, POOL = "/apis/apps/v1/namespaces/acme-prod/deployments/acme-api", "/apis/apps/v1/namespaces/acme-prod/deployments/pgbouncer"


class Cluster(Kubectl):
    """Objects by their path, Postgres's answers by database, and an order to fail at the n-th change."""

    def __init__(self, objects: dict[str, Any] | None = None, answers: dict[str, Any] | None = None, fail_at: int = 0) -> None:
        super().__init__(["kubectl"], 1)
        self.objects = {API: deployment(3), POOL: deployment(1)} if objects is None else objects
        self.answers = answers or {}
        self.fail_at, self.changes, self.asked = fail_at, 0, [""]

    def find(self, path: str) -> Any:
        if "/pods?" in path:
            return {"items": []}
        return self.objects.get(path)

    def run(self, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        self.changes += 1
        if self.changes == self.fail_at:
            return False, "the connection was lost"
        if arguments[0] == "scale":
            self.objects[f"/apis/apps/v1/namespaces/acme-prod/{arguments[1].replace('deployment', 'deployments')}"] = deployment(
                int(arguments[3].partition("=")[2])
            )
        elif arguments[0] in ("apply", "create"):
            made = json.loads(text or "")
            kind, name, namespace = made["kind"].lower() + "s", made["metadata"]["name"], made["metadata"].get("namespace")
            self.objects[f"/api/v1/namespaces/{namespace}/{kind}/{name}" if namespace else f"/api/v1/{kind}/{name}"] = made
        elif arguments[0] == "delete":
            self.objects.pop(f"/api/v1/namespaces/{arguments[3].partition('=')[2]}/{arguments[1]}s/{arguments[2]}", None)
        return True, ""

    def execute(self, namespace: str, pod: str, *command: str, text: str | None = None) -> tuple[bool, str]:
        self.asked.append(text or "")
        database = (text or "").partition('\\connect "')[2].partition('"')[0]
        return True, json.dumps(self.answers.get(database, []))

    @property
    def replicas(self) -> tuple[int, int]:
        return tuple(self.objects[path]["spec"]["replicas"] for path in (API, POOL))


def deployment(replicas: int) -> dict[str, Any]:
    return {"spec": {"replicas": replicas}}


def test_what_was_stopped_starts_again_as_it_was() -> None:
    cluster = Cluster()
    assert writers.stop(cluster, ENVIRONMENTS, "2026-11-26T20:00:00Z") == (["acme-prod/acme-api", "acme-prod/pgbouncer"], "2026-11-26T20:00:00Z")
    assert cluster.replicas == (0, 0)
    assert writers.stop(cluster, ENVIRONMENTS, "2026-11-26T20:05:00Z") == ([], "2026-11-26T20:00:00Z"), "again: it is stopped since the first time"
    assert writers.start(cluster, 1) == ["acme-prod/acme-api", "acme-prod/pgbouncer"]
    assert (cluster.replicas, record.read(cluster)) == ((3, 1), {})
    assert writers.start(cluster, 1) == []


@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_stop_that_was_broken_off_forgets_no_number(when: int) -> None:
    cluster = Cluster(fail_at=when)
    with pytest.raises(Unanswered):
        writers.stop(cluster, ENVIRONMENTS, "2026-11-26T20:00:00Z")
    writers.stop(cluster, ENVIRONMENTS, "2026-11-26T20:01:00Z")
    assert cluster.replicas == (0, 0)
    writers.start(cluster, 1)
    assert cluster.replicas == (3, 1)


def test_a_start_that_was_broken_off_is_completed() -> None:
    cluster = Cluster()
    writers.stop(cluster, ENVIRONMENTS, "2026-11-26T20:00:00Z")
    cluster.fail_at = cluster.changes + 2
    with pytest.raises(Unanswered):
        writers.start(cluster, 1)
    assert writers.start(cluster, 1) and cluster.replicas == (3, 1)


REPORT = "/apis/batch/v1/namespaces/acme-prod/cronjobs/acme-report"
BY_THE_CLOCK = {"prod": {**PROD, "apps": {**PROD["apps"], "report": {"name": "acme-report", "labels": ["acme-report"], "schedule": "*/5 * * * *"}}}}


class Clock(Cluster):
    """With an application that runs by the clock, and the pods of its Jobs in these phases."""

    def __init__(self, suspended: bool = False, phases: tuple[str, ...] = ("Succeeded", "Failed")) -> None:
        super().__init__({API: deployment(3), REPORT: {"spec": {"suspend": suspended}}})
        self.phases = phases

    def find(self, path: str) -> Any:
        if path.endswith("/pods?labelSelector=app%3Dacme-report"):
            return {"items": [{"metadata": {"name": "acme-report-1"}, "status": {"phase": phase}} for phase in self.phases]}
        return super().find(path)

    def run(self, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        if arguments[:2] == ("patch", "cronjobs/acme-report"):
            self.objects[REPORT]["spec"] |= json.loads(arguments[-1].partition("=")[2])["spec"]
        assert arguments[0] != "rollout" or "acme-report" not in arguments[2]
        return super().run(*arguments, text=text)


def test_what_runs_by_the_clock_is_stopped_too_and_goes_on_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it writes after the last backup, into what is being restored, and on both servers afterwards."""
    environments = cast(Any, BY_THE_CLOCK)
    cluster = Clock()
    assert writers.stop(cluster, environments, "2026-11-26T20:00:00Z")[0] == ["acme-prod/acme-api", "acme-prod/cronjobs/acme-report"]
    assert cluster.objects[REPORT]["spec"]["suspend"] is True
    writers.start(cluster, 1)
    assert cluster.objects[REPORT]["spec"]["suspend"] is None and cluster.objects[API] == deployment(3)
    writers.stop(off := Clock(suspended=True), environments, "2026-11-26T20:00:00Z")
    writers.start(off, 1)
    assert off.objects[REPORT]["spec"]["suspend"] is True
    monkeypatch.setattr(writers, "END_SECONDS", 0)
    with pytest.raises(writers.StillWritten, match="this pod has not ended: acme-report-1"):
        writers.stop(Clock(phases=("Running",)), environments, "2026-11-26T20:00:00Z")


def test_an_application_that_was_off_before_stays_off() -> None:
    cluster = Cluster({API: deployment(0)})
    assert writers.stop(cluster, ENVIRONMENTS, "2026-11-26T20:00:00Z")[0] == []
    assert writers.start(cluster, 1) == []


def readers() -> set[str]:
    """How the platform's own sessions call themselves that only read."""
    scripts = [path.read_text() for role in ("backup", "restore") for path in (ROOT / "roles" / role / "files").glob("*.sh")]
    sessions = (ROOT / "plugins/module_utils/verify/postgres_login.py").read_text()
    names = [*re.findall(r"PGAPPNAME=(\w[\w-]*)", "".join(scripts)), *re.findall(r'"application_name": "(\w+)"', sessions)]
    assert {"backup", "verify"} < {*names}
    return {*names}


def test_whoever_is_still_connected_is_named_and_who_only_reads_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "QUIET_SECONDS", 0)
    other = {"pid": 7, "role": "shop_owner", "application": "cron", "state": "idle", "database": "shop", "seconds": 3}
    known = [{**other, "role": "postgres", "application": "psql"}, *({**other, "application": name} for name in readers())]
    assert writers.stop(Cluster(answers={"postgres": known}), ENVIRONMENTS, "2026-11-26T20:00:00Z")
    with pytest.raises(writers.StillWritten, match=r"prod: shop_owner in shop \(cron, process 7\)"):
        writers.stop(Cluster(answers={"postgres": [*known, other]}), ENVIRONMENTS, "2026-11-26T20:00:00Z")


def secret(name: str, namespace: str = "acme-prod", kind: str = "kubernetes.io/tls", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": "1", "resourceVersion": "5", "annotations": {"cert-manager.io/certificate-name": name}}
    return {"type": kind, "metadata": {**metadata, **more.get("metadata", {})}, "data": more.get("data", {"tls.crt": "Yw==", "tls.key": "aw=="})}


def source() -> Cluster:
    plain: dict[str, Any] = {"annotations": {}}
    listed = [
        secret("api-tls"),
        secret("half", data={"tls.key": "aw=="}),
        secret("own", metadata=plain),
        secret("acme-account-key", "cert-manager", "Opaque", metadata=plain),
        secret("acme-account-key", "acme-prod", "Opaque", metadata=plain),
        secret("webhook-ca", "cert-manager", "Opaque", metadata=plain),
    ]
    issuers = [{"spec": {"acme": {"privateKeySecretRef": {"name": "acme-account-key"}}}}, {"spec": {"selfSigned": {}}}]
    labels = {"app.kubernetes.io/managed-by": "shaka.platform", "app.kubernetes.io/part-of": "acme", "set": "tenancy.prod"}
    spaces = {f"/api/v1/namespaces/{name}": {"metadata": {"name": name, "labels": labels}} for name in ("acme-prod", "cert-manager")}
    return Cluster({**spaces, "/api/v1/secrets": {"items": listed}, "/apis/cert-manager.io/v1/clusterissuers": {"items": issuers}})


def test_only_certificates_and_the_accounts_keys_are_carried() -> None:
    found = certificates.read(source())
    assert [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found] == [
        ("acme-prod", "api-tls"),
        ("cert-manager", "acme-account-key"),
    ]
    assert found[0]["metadata"] == {"name": "api-tls", "namespace": "acme-prod", "annotations": {"cert-manager.io/certificate-name": "api-tls"}}


def test_certificates_arrive_before_their_namespaces_and_once() -> None:
    target, found = Cluster({}), certificates.read(source())
    spaces = certificates.namespaces(source(), found)
    assert certificates.write(target, found, spaces, check=True) == ["acme-prod/api-tls", "cert-manager/acme-account-key"] and target.objects == {}
    assert certificates.write(target, found, spaces, check=False) == ["acme-prod/api-tls", "cert-manager/acme-account-key"]
    own = {"app.kubernetes.io/managed-by": "shaka.platform", "app.kubernetes.io/part-of": "acme"}
    assert target.objects["/api/v1/namespaces/cert-manager"]["metadata"] == {"name": "cert-manager", "labels": own}, "the platform's own"
    assert certificates.write(target, found, spaces, check=False) == []
    found[0]["data"] = {"tls.crt": "bmV3", "tls.key": "bmV3"}
    assert certificates.write(target, found, spaces, check=False) == ["acme-prod/api-tls"]
    assert target.objects["/api/v1/namespaces/acme-prod/secrets/api-tls"]["data"]["tls.crt"] == "bmV3"


def test_what_was_written_since_the_move_is_named_by_table() -> None:
    nothing = {"since": "20:00", "tables": {}}
    cluster = Cluster({}, {"shop": nothing, "reports": nothing, "postgres": []})
    assert written.since(cluster, ENVIRONMENTS) == [], "no move was complete"
    written.begin(cluster, ENVIRONMENTS, "2026-11-26T20:00:00Z")
    assert record.read(cluster)[record.COMPLETE] == "2026-11-26T20:00:00Z"
    assert written.since(cluster, ENVIRONMENTS) == []
    cluster.answers["shop"] = {"since": "20:00", "tables": {"public.orders": 12}}
    cluster.answers["reports"] = {"since": None, "tables": {}}
    assert written.since(cluster, ENVIRONMENTS) == [
        "prod/shop: 12 rows of public.orders",
        "prod/reports: unknown, as Postgres counts only since it was started (it crashed, or somebody reset them)",
    ]
    writers.stop(cluster, ENVIRONMENTS, "2026-11-26T21:00:00Z")
    assert record.COMPLETE not in record.read(cluster) and written.since(cluster, ENVIRONMENTS) == [], "another server has everything now"


PLAYS = """
- hosts: k3s_servers
  gather_facts: false
  any_errors_fatal: true
  roles: [shaka.platform.move]
- hosts: move_old:move_new:move_back_old:move_back_new
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: "{{ inventory_hostname }} is in {{ group_names | select('match', 'move_') | join }}"}
"""


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ("move_from=old move_to=new", 0, ["old is in move_old", "new is in move_new"]),
        ("move_from=old move_to=new move_back=true move_confirm=old", 0, ["old is in move_back_old", "new is in move_back_new"]),
        ("move_from=old move_to=nwe", 2, ["move_to is 'nwe': name two servers of the inventory, which has old, new, third"]),
        ("move_from=old move_to=old", 2, ["name two servers"]),
        ("move_to=new", 2, ["move_from is ''"]),
        ("move_from=old move_to=new move_confirm=new", 2, ["move_confirm is 'new', and it has to be old"]),
    ],
)
def test_which_servers_are_meant(tmp_path: Path, given: str, code: int, says: list[str]) -> None:
    (tmp_path / "play.yml").write_text(PLAYS)
    (tmp_path / "hosts.yml").write_text("k3s_servers: {hosts: {old: , new: , third: }, vars: {ansible_connection: local}}\n")
    (tmp_path / "ansible.cfg").write_text(f"[defaults]\ncollections_path = {ROOT / '.ansible/collections'}\n")
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml", "-i", "hosts.yml", "-e", given]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")} | {"ANSIBLE_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    output = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode, [text for text in says if text not in output]) == (code, []), output
    assert "third is in" not in output
