"""What a release asks of the cluster and keeps there, with an API server and a kubectl that answer as theirs do."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.release import explain

ROOT = Path(__file__).parents[2]
OLD, NEW = ("lab.local/api@sha256:" + letter * 64 for letter in "ab")
SECRET = "5a0c9e71b3d8f2460e97ac15"
POD = {
    "metadata": {"name": "shaka-api-next-1", "namespace": "shaka-prod", "uid": "u1"},
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {"name": "api", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 2}}}
        ],
    },
}


class Cluster:
    """Answers of the API server by path, and the kubectl that leads to it."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, Any] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        config = {"clusters": [{"cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}], "users": [{"user": {}}]}
        self.applied = folder / "applied.json"
        kubectl = folder / "kubectl"
        kubectl.write_text(
            f"#!/bin/sh\ncase $1 in\nconfig) echo '{json.dumps(config)}';;\napply) cat > {self.applied};;\n"
            f"logs) echo 'panic: assignment to entry in nil map'; echo 'password {SECRET}';;\nesac\n"
        )
        kubectl.chmod(0o755)
        self.command = [str(kubectl)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                found = answers.get(path)
                missing = {"reason": "NotFound", "message": f"{path} not found"}
                self.send_response(200 if found else 404)
                self.end_headers()
                self.wfile.write(json.dumps(found or missing).encode())

            def log_message(self, *_arguments: object) -> None:
                """Nobody reads it."""

        return Handler

    def records(self, **options: Any) -> dict[str, Any]:
        """What release_records returns, run as Ansible runs it."""
        given = {"namespace": "shaka-prod", "app": "api", "workload": "shaka-api", "kubectl": self.command, **options}
        program = "from ansible_collections.shaka.platform.plugins.modules.release_records import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program], input=json.dumps({"ANSIBLE_MODULE_ARGS": given}), capture_output=True, text=True, check=False,
            env={"PYTHONPATH": str(ROOT / ".ansible/collections")},
        )  # fmt: skip
        return dict(json.loads(done.stdout))

    def keep(self) -> None:
        """What was applied is what the API server has from now on."""
        self.answers["/api/v1/namespaces/shaka-prod/configmaps/releases"] = json.loads(self.applied.read_text())

    def runs(self, image: str) -> None:
        spec = {"template": {"spec": {"containers": [{"image": image}]}}}
        self.answers["/apis/apps/v1/namespaces/shaka-prod/deployments/shaka-api"] = {"spec": spec}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


RECORD = {"kind": "deploy", "image": NEW, "config_hash": "c0ffee", "strategy": "rolling", "by": "ana"}


def test_a_release_is_kept_with_what_ran_before(cluster: Cluster) -> None:
    cluster.runs(OLD)
    first = cluster.records()
    assert (first["running"], first["records"], first["underway"]) == (OLD, [], {})
    cluster.records(step="begin", record=RECORD)
    cluster.keep()
    assert cluster.records()["underway"]["previous"] == OLD
    cluster.records(step="update", record={"state": "succeeded"})
    cluster.keep()
    cluster.runs(NEW)
    after = cluster.records(step="target")
    assert after["target"]["image"] == OLD and after["records"][0]["finished"] and after["underway"] == {}


def test_a_rollback_knows_a_release_that_was_killed_before_it_recorded_its_end(cluster: Cluster) -> None:
    cluster.runs(OLD)
    cluster.records(step="begin", record=RECORD)
    cluster.keep()
    cluster.runs(NEW)  # and the inventory has it
    assert cluster.records(step="target")["target"]["image"] == OLD
    cluster.runs(OLD)  # it was killed before, and put right
    assert "known: none" in cluster.records(step="target")["msg"]


def test_records_of_another_application_stay(cluster: Cluster) -> None:
    cluster.runs(OLD)
    cluster.records(step="begin", record=RECORD)
    cluster.keep()
    cluster.records(step="begin", app="web", record=RECORD)
    assert json.loads(cluster.applied.read_text())["data"].keys() == {"api", "web"}


def test_nothing_is_written_in_check_mode_or_over_what_cannot_be_read(cluster: Cluster) -> None:
    cluster.runs(OLD)
    cluster.records(step="begin", record=RECORD, _ansible_check_mode=True)
    assert not cluster.applied.exists()
    cluster.answers["/api/v1/namespaces/shaka-prod/configmaps/releases"] = {"data": {"api": "by hand"}}
    assert cluster.records(step="begin", record=RECORD)["failed"] and not cluster.applied.exists()


def test_a_rollback_without_a_release_fails_with_what_there_is(cluster: Cluster) -> None:
    cluster.runs(OLD)
    assert "known: none" in cluster.records(step="target")["msg"]


def test_a_failing_pod_is_explained_without_its_secrets(cluster: Cluster) -> None:
    cluster.answers |= {
        "/api/v1/namespaces/shaka-prod/pods": {"items": [POD]},
        "/api/v1/namespaces/shaka-prod/events": {"items": [{"reason": "BackOff", "message": f"Back-off restarting, with {SECRET}"}]},
        "/api/v1/namespaces/shaka-prod/secrets": {"items": [{"data": {"DB_PASSWORD": base64.b64encode(SECRET.encode()).decode()}}]},
    }
    text = "\n".join(explain.of_pods(Kubectl(cluster.command, 5), "shaka-prod", "shaka-api-next"))
    assert "pod shaka-api-next-1: Running, CrashLoopBackOff, 4 restarts" in text
    assert "event: BackOff: Back-off restarting" in text and "log: panic: assignment to entry in nil map" in text
    assert SECRET not in text
