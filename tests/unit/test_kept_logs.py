"""The logs of pods outlive them, within bounds."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.server import kept_logs
from ansible_collections.shaka.platform.plugins.modules import kept_logs as module

UID = "0f1e2d3c-0000-4000-8000-000000000000"


def container(root: Path, pod: str, text: str, namespace: str = "shaka-prod", file: str = "0.log") -> Path:
    """The log file of a pod's container."""
    folder = root / "var/log/pods" / f"{namespace}_{pod}_{UID}" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text)
    return folder / file


def keep(root: Path, time: str, check: bool = False, **options: Any) -> dict[str, Any]:
    params = {"namespace": "shaka-prod", "app": "api", "deployments": ["shaka-api"], "deploys": 5, "mebibytes": 200, **options}
    return module.run(params, check, time, root)


def kept(root: Path) -> dict[str, list[str]]:
    place = root / "var/lib/shaka/logs/shaka-prod/api"
    return {path.name: sorted(file.name for file in path.iterdir()) for path in sorted(place.glob("*"))}


def test_only_the_deployments_own_pods_are_kept(tmp_path: Path) -> None:
    container(tmp_path, "shaka-api-7d4b9c6f5-x2x7k", "mine")
    container(tmp_path, "shaka-api-7d4b9c6f5-x2x7k", "mine, rotated", file="0.log.20260301-120000.gz")
    for other in ("shaka-api-worker-7d4b9c6f5-x2x7k", "shaka-api-next-7d4b9c6f5-x2x7k", "shaka-apix-7d4b9c6f5-x2x7k", "postgres-0"):
        container(tmp_path, other, "of others")
    container(tmp_path, "shaka-api-7d4b9c6f5-x2x7k", "of another environment", namespace="shaka-prod2")
    done = keep(tmp_path, "20260301T120000Z")
    assert done["files"] == ["shaka-api-7d4b9c6f5-x2x7k_api_0.log", "shaka-api-7d4b9c6f5-x2x7k_api_0.log.20260301-120000.gz"]
    assert done["changed"] and kept(tmp_path) == {"20260301T120000Z": done["files"]}


def test_what_a_pod_writes_until_its_end_is_in_them(tmp_path: Path) -> None:
    log = container(tmp_path, "shaka-api-7d4b9c6f5-x2x7k", "before\n")
    keep(tmp_path, "1")
    with log.open("a") as opened:
        opened.write("while it drains\n")
    shutil.rmtree(tmp_path / "var/log/pods")
    found = tmp_path / "var/lib/shaka/logs/shaka-prod/api/1/shaka-api-7d4b9c6f5-x2x7k_api_0.log"
    assert found.read_text() == "before\nwhile it drains\n"


def test_another_file_system_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    container(tmp_path, "shaka-api-7d4b9c6f5-x2x7k", "before\n")
    monkeypatch.setattr(os, "link", refuse)
    assert keep(tmp_path, "1")["changed"]
    assert kept(tmp_path) == {"1": ["shaka-api-7d4b9c6f5-x2x7k_api_0.log"]}


def test_only_root_may_read_them(tmp_path: Path) -> None:
    container(tmp_path, "shaka-api-7d4b9c6f5-x2x7k", "private")
    keep(tmp_path, "1")
    folders = [path for path in [tmp_path / "var/lib/shaka/logs", *(tmp_path / "var/lib/shaka/logs").rglob("*")] if path.is_dir()]
    assert len(folders) == 4 and {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_a_deploy_that_is_run_again_finds_its_logs_kept(tmp_path: Path) -> None:
    container(tmp_path, "shaka-api-7d4b9c6f5-x2x7k", "text")
    assert keep(tmp_path, "1")["changed"] and not keep(tmp_path, "2")["changed"]
    container(tmp_path, "shaka-api-86b8c5d9f-aaaaa", "of the next release")
    assert keep(tmp_path, "3")["changed"] and list(kept(tmp_path)) == ["1", "3"]


def test_check_mode_and_no_pods_keep_nothing(tmp_path: Path) -> None:
    assert keep(tmp_path, "1") == {"changed": False, "files": [], "removed": []}
    container(tmp_path, "shaka-api-7d4b9c6f5-x2x7k", "text")
    assert keep(tmp_path, "1", check=True)["changed"] and kept(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "left"), [({"deploys": 2}, ["3", "4"]), ({"mebibytes": 2}, ["3", "4"]), ({"mebibytes": 0}, ["4"]), ({}, list("1234"))]
)
def test_the_oldest_are_let_go_of_and_the_last_is_always_there(tmp_path: Path, options: dict[str, Any], left: list[str]) -> None:
    for time in "1234":
        shutil.rmtree(tmp_path / "var/log/pods", ignore_errors=True)
        container(tmp_path, f"shaka-api-7d4b9c6f5-x2x7{time}", "x" * kept_logs.MEBIBYTE)
        done = keep(tmp_path, time, **options)
    assert list(kept(tmp_path)) == left and set(done["removed"]) <= set("1234") - set(left)


def test_a_full_disk_holds_up_no_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    class Module:
        check_mode = False

        def __init__(self, **_settings: Any) -> None:
            self.params = {"namespace": "shaka-prod", "app": "api"}

        def warn(self, text: str) -> None:
            told["warning"] = text

        def exit_json(self, **result: Any) -> None:
            told.update(result)

        def fail_json(self, **result: Any) -> None:
            told.update(result, failed=True)

    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "AnsibleModule", Module)
    monkeypatch.setattr(module, "run", full)
    module.main()
    assert not told.get("failed") and told["changed"] is False
    assert "the logs of shaka-prod/api could not be kept, and end with their pods: " in told["warning"] and "No space left" in told["warning"]
