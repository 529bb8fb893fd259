"""A user's own kubeconfig, whose token is renewed in time."""

from __future__ import annotations

import base64
import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.modules import operator_kubeconfig as module

DAY = 86400
ADMINISTRATOR = """apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: https://127.0.0.1:6443
  name: default
"""


class Cluster:
    """kubectl of a cluster that signs tokens at a time of its own."""

    def __init__(self) -> None:
        self.now, self.uid, self.made = 0, "u1", 0

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if "get" in command:
            return 0, self.uid, ""
        self.made += 1
        hours = int(next(part for part in command if part.startswith("--duration="))[11:-1])
        said = {"iat": self.now, "exp": self.now + hours * 3600, "kubernetes.io": {"serviceaccount": {"uid": self.uid}}}
        return 0, f"head.{base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip('=')}.signature\n", ""


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "k3s.yaml").write_text(ADMINISTRATOR.format(authority="QQ=="))
    mine = {"user": getpass.getuser(), "path": str(tmp_path / "home/.kube/config"), "administrator": str(tmp_path / "k3s.yaml")}
    return {**mine, "service_account": "kube-system/operator-ana", "days": 90, "kubectl": ["kubectl"]}


def run(params: dict[str, Any], cluster: Cluster, check_mode: bool = False) -> str:
    outcome = module.run(params, check_mode, cluster, cluster.now)
    assert "signature" not in json.dumps(outcome)
    assert outcome["changed"] == bool(outcome["reason"])
    return str(outcome["reason"])


def test_it_is_made_once_and_renewed_in_its_last_third(params: dict[str, Any]) -> None:
    cluster, path = Cluster(), Path(params["path"])
    assert run(params, cluster, check_mode=True) == "there was none" and not path.exists()
    assert run(params, cluster) == "there was none"
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    document = json.loads(path.read_text())
    assert document["clusters"][0]["cluster"] == {"server": "https://127.0.0.1:6443", "certificate-authority-data": "QQ=="}
    cluster.now = 59 * DAY
    assert run(params, cluster) == ""
    cluster.now = 61 * DAY
    assert run(params, cluster, check_mode=True) == "its token expires soon" and cluster.made == 1
    assert run(params, cluster) == "its token expires soon" and run(params, cluster) == "" and cluster.made == 2


def test_another_cluster_another_account_and_open_permissions_are_seen(params: dict[str, Any]) -> None:
    cluster, path = Cluster(), Path(params["path"])
    run(params, cluster)
    cluster.uid = "u2"
    assert run(params, cluster) == "the ServiceAccount was replaced"
    Path(params["administrator"]).write_text(ADMINISTRATOR.format(authority="Qg=="))
    assert run(params, cluster) == "the cluster's address or authority changed"
    path.chmod(0o644)
    assert run(params, cluster) == "others could read or change it" and path.stat().st_mode & 0o777 == 0o600
    path.write_text("apiVersion: v1\nkind: Config\n")
    assert run(params, cluster) == "it is not the platform's" and run(params, cluster) == ""


def test_a_check_before_there_is_a_cluster_fails_not(params: dict[str, Any]) -> None:
    outcome = module.run({**params, "administrator": "/not/there", "user": "nobody-yet"}, True, Cluster(), 0)
    assert outcome["reason"] == "there is no cluster yet"
