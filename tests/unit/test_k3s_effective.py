"""Whether a running K3s is judged by what it does."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.verify import hardening
from ansible_collections.shaka.platform.plugins.module_utils.verify.hardening import ApiProbe, HttpAnswer, NotReady

READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "metadata": {"labels": {"tier": "db"}}}
KUBELET = {"maxPods": 60, "imageGCHighThresholdPercent": 80, "podPidsLimit": 1024}
BY_RBAC = {"authorization": {"mode": "Webhook"}}
BY_NONE = {"authorization": {"mode": "AlwaysAllow"}}
REVIEW = "POST /apis/authorization.k8s.io/v1/subjectaccessreviews"
WANTED = {
    "node": "n", "labels": ["tier=db"], "kubelet": KUBELET, "kubelet_arguments": [], "pod_security": "restricted", "encryption": "secretbox",
}  # fmt: skip


class Fake(ApiProbe):
    """A hardened server; tests take one thing away."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.answers: dict[str, HttpAnswer] = {}
        self.plain = False
        self.level: str | None = "Metadata"
        (state / "server/db").mkdir(parents=True)
        (state / "server").chmod(0o700)
        (state / "server/logs").mkdir(mode=0o700)
        self.database = sqlite3.connect(state / "server/db/state.db")
        self.database.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY, name TEXT, deleted INTEGER, value BLOB)")

    def store(self, name: str, value: bytes, deleted: bool = False) -> None:
        self.database.execute("INSERT INTO kine (name, deleted, value) VALUES (?, ?, ?)", (f"/registry/secrets/{name}", deleted, value))
        self.database.commit()

    def ask(
        self, path: str, method: str = "GET", body: Any = None, *, anonymous: bool = False, port: int = 6443, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        key = f"{'anonymous ' if anonymous else ''}{method} {path}"
        if key in self.answers:
            return self.answers[key]
        if anonymous:
            return HttpAnswer(401, {})
        if method == "GET" and path.endswith("limit=1") and self.level:
            event = {"level": self.level, "userAgent": (headers or {})["User-Agent"]}
            (self.state / "server/logs/audit.log").write_text(f"not json\n{json.dumps(event)}\n")
        if path.endswith("configz"):
            return HttpAnswer(200, {"kubeletconfig": {**KUBELET, **BY_RBAC}})
        if "pods?dryRun" in path:
            return HttpAnswer(403, {"message": 'pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged'})
        if method == "PATCH":
            return HttpAnswer(403, {"message": "is not allowed to modify node"})
        if path.endswith("subjectaccessreviews"):
            return HttpAnswer(201, {"status": {"allowed": False}})
        if method == "POST":
            self.store(f"kube-system/{body['metadata']['name']}", b"plain" if self.plain else b"k8s:enc:secretbox:v1:key:x")
        if method == "DELETE":
            self.store(f"kube-system/{path.rpartition('/')[2]}", b"", deleted=True)
        return HttpAnswer(200, READY)

    def findings(self, **wanted: Any) -> list[str]:
        audit = {"audit_log": str(self.state / "server/logs/audit.log")}
        return hardening.findings(self, {**WANTED, **audit, **wanted}, may_write=True)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(hardening, "READ_ONLY", 1)  # a port on which nobody listens here
    return Fake(tmp_path)


def test_a_hardened_server_passes_also_before_its_first_secret(server: Fake) -> None:
    assert server.findings() == []
    server.store("default/old", b"plain text of long ago")
    server.store("default/old", b"k8s:enc:secretbox:v1:key:y")
    server.store("default/gone", b"plain text", deleted=True)
    assert server.findings() == []


@pytest.mark.parametrize(
    ("key", "answer", "says"),
    [
        ("anonymous GET /api/v1/namespaces", HttpAnswer(403, {}), "API server answers anonymous requests (403"),
        ("anonymous GET /pods", HttpAnswer(200, {}), "kubelet answers anonymous requests (200"),
        ("GET /api/v1/nodes/n", HttpAnswer(200, {}), "lacks the label tier=db: kubectl label node n"),
        ("GET /api/v1/nodes/n/proxy/configz", HttpAnswer(200, {"kubeletconfig": {**KUBELET, **BY_RBAC, "maxPods": 110}}), "maxPods 110, not 60"),
        ("GET /api/v1/nodes/n/proxy/configz", HttpAnswer(200, {"kubeletconfig": {**KUBELET, **BY_NONE}}), "AlwaysAllow"),
        (REVIEW, HttpAnswer(201, {"status": {"allowed": True}}), "an account without rights may read Secrets"),
        (REVIEW, HttpAnswer(503, {"message": "no"}), "503 no"),
        ("GET /api/v1/nodes/n/proxy/configz", HttpAnswer(502, "down"), "cannot be read: 502 down"),
        ("POST /api/v1/namespaces/default/pods?dryRun=All", HttpAnswer(201, {}), "is not refused by Pod Security (201"),
        ("POST /api/v1/namespaces/default/pods?dryRun=All", HttpAnswer(403, {"message": "no quota"}), "(403 no quota)"),
        ("PATCH /api/v1/nodes/n?dryRun=All", HttpAnswer(200, {}), "NodeRestriction is not in force"),
    ],
)
def test_each_gap_is_named(server: Fake, key: str, answer: HttpAnswer, says: str) -> None:
    server.answers[key] = answer
    found = server.findings()
    assert len(found) == 1 and says in found[0]


def test_plain_and_otherwise_encrypted_secrets_are_named(server: Fake) -> None:
    server.plain = True
    assert "1 of 1 Secrets are not encrypted by secretbox" in server.findings()[0]
    server.store("default/a", b"k8s:enc:aescbc:v1:key:x")
    assert "1 of 1" in server.findings()[0] and "such as default/a" in server.findings()[0]


@pytest.mark.parametrize(("level", "says"), [(None, "leaves no trace"), ("RequestResponse", "at level RequestResponse")])
def test_an_audit_log_that_says_too_little_or_too_much(server: Fake, level: str | None, says: str) -> None:
    server.level = level
    assert says in server.findings()[0]


@pytest.mark.parametrize("folder", ["server/logs", "server"])
def test_an_open_directory_of_the_server_is_named(server: Fake, folder: str) -> None:
    (server.state / folder).chmod(0o755)
    (finding,) = server.findings()
    assert finding == f"{server.state / folder} is open to others: chmod 0700 {server.state / folder}"


@pytest.mark.parametrize("flag", ["max-pods=9", "--image-gc-high-threshold=90", "pod-max-pids=5"])
def test_a_flag_of_the_user_overrides_a_field(server: Fake, flag: str) -> None:
    other = {"maxPods": 9, "imageGCHighThresholdPercent": 90, "podPidsLimit": 5, **BY_RBAC}
    server.answers["GET /api/v1/nodes/n/proxy/configz"] = HttpAnswer(200, {"kubeletconfig": other})
    assert len(server.findings(kubelet_arguments=[flag])) == 2


def test_no_answer_is_a_finding_and_waiting_ends_with_the_reason(tmp_path: Path) -> None:
    api = ApiProbe(tmp_path)  # without certificates there is nobody to ask
    found = hardening.findings(api, {**WANTED, "audit_log": str(tmp_path / "audit.log")}, may_write=True)
    assert len(found) >= 6 and all("does not answer" in sentence or "cannot be read" in sentence for sentence in found)
    with pytest.raises(NotReady, match="node n is not Ready: K3s does not answer"):
        hardening.wait_until_ready(api, "n", 0, 0)


def test_a_node_that_is_not_ready_says_why() -> None:
    waiting = {"status": {"conditions": [{"type": "Ready", "status": "False", "message": "no network"}]}}
    assert hardening.not_ready(HttpAnswer(200, waiting), "n") == "no network"
    assert hardening.not_ready(HttpAnswer(404, {"message": "not found"}), "n") == "404 not found"
    assert hardening.not_ready(HttpAnswer(200, READY), "n") == ""
    tainted = {**READY, "spec": {"taints": [{"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}]}}
    assert "node.cloudprovider.kubernetes.io/uninitialized" in hardening.not_ready(HttpAnswer(200, tainted), "n")
