"""When K3s is to be restarted, and what is kept out of its sight."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.modules import k3s_settings

DAY = 86400
NOW = 1_800_000_000.0


class Server:
    """A K3s's files under a directory, the record of its start, and what systemd and openssl would say."""

    def __init__(self, root: Path) -> None:
        self.root, self.unit, self.ends = root, "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no", dict[str, float]()
        (root / "config.yaml.d").mkdir()
        (root / "tls").mkdir()
        self.secrets = {str(root / "registries.yaml"): "", str(root / "k3s.service.env"): "A=1\n"}
        self.sums = {"/usr/local/bin/k3s": "1" * 64, "/etc/rancher/k3s/config.yaml": "2" * 64}
        (root / "k3s.service.env").write_text("A=1\n")
        (root / "k3s.service.env").chmod(0o600)
        self.start()

    def start(self, **others: str) -> None:
        """Leave the record that a start now would leave."""
        read = {**self.sums, **{path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in self.secrets if Path(path).exists()}, **others}
        (self.root / "record").write_text("".join(f"{digest}  {path}\n" for path, digest in read.items()))

    def certificate(self, name: str, days: float) -> None:
        (self.root / "tls" / name).touch()
        self.ends[str(self.root / "tls" / name)] = NOW + days * DAY

    def execute(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] == "systemctl":
            return 0, self.unit, ""
        lines = [f"{path}=notAfter={time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(self.ends[path]))}\n" for path in command[4:]]
        return 0, "".join(lines), ""

    def look(self, check_mode: bool = False) -> dict[str, Any]:
        params = {
            "secret_files": self.secrets, "sums": self.sums, "drop_ins": [str(self.root / "config.yaml.d/*.yaml")],
            "record": str(self.root / "record"), "unit": "k3s.service", "certificates": [str(self.root / "tls/*.crt")],
            "renewal_days": 120, "warning_days": 30,
        }  # fmt: skip
        return k3s_settings.run(params, check_mode, self.execute, NOW)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_nothing_is_due_when_it_runs_with_what_is_configured(server: Server) -> None:
    assert server.look() == {
        "changed": False, "running": True, "restart": [], "reload": False, "platform_findings": [],
        "diff": {"before": "", "after": ""}, "warnings": [],
    }  # fmt: skip


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_start_with_something_else_is_due_whoever_wrote_it(server: Server, check_mode: bool) -> None:
    server.sums["/etc/rancher/k3s/config.yaml"] = "3" * 64
    result = server.look(check_mode)
    assert result["restart"] == ["/etc/rancher/k3s/config.yaml differs"] and not result["changed"]
    assert bool(result["platform_findings"]) is check_mode


def test_a_stopped_service_is_only_to_be_started(server: Server) -> None:
    server.sums["/etc/rancher/k3s/config.yaml"] = "3" * 64
    server.unit = "ActiveState=inactive\nNeedDaemonReload=yes"
    assert server.look()["restart"] == [] and server.look()["reload"]


def test_a_k3s_of_which_nothing_is_known_is_restarted(server: Server) -> None:
    (server.root / "record").unlink()
    assert "/usr/local/bin/k3s was not there" in server.look()["restart"]


def test_a_unit_that_systemd_has_not_read_is_due(server: Server) -> None:
    server.unit = "ActiveState=active\nNeedDaemonReload=yes"
    assert server.look()["restart"] == ["systemd holds an older unit"]


def test_registries_are_written_for_root_only_and_never_shown(server: Server) -> None:
    path = server.root / "registries.yaml"
    server.secrets[str(path)] = "# Managed by shaka.platform\nhunter2"
    planned = server.look(check_mode=True)
    assert planned["changed"] and not path.exists()
    result = server.look()
    assert result["changed"] and path.read_text().endswith("hunter2") and path.stat().st_mode & 0o777 == 0o600
    assert result["restart"] == planned["restart"] == [f"{path} was not there"]
    assert "hunter2" not in str(result)
    server.start()
    assert not server.look()["changed"] and server.look()["restart"] == []
    server.secrets[str(path)] = ""
    assert server.look()["restart"] == [f"{path} was there"] and not path.exists()
    path.write_text("by hand")
    assert server.look()["changed"] and not path.exists() and Path(f"{path}.disabled").read_text() == "by hand"


@pytest.mark.parametrize("started_with_it", [True, False])
def test_a_drop_in_of_someone_else_is_taken_out_of_sight(server: Server, started_with_it: bool) -> None:
    path = server.root / "config.yaml.d/99-mine.yaml"
    path.write_text("debug: true\n")
    server.start(**({str(path): "4" * 64} if started_with_it else {}))
    planned = server.look(check_mode=True)
    assert planned["changed"] and path.exists() and "99-mine.yaml" in planned["diff"]["after"]
    result = server.look()
    assert result["changed"] and not path.exists() and Path(f"{path}.disabled").read_text() == "debug: true\n"
    assert result["restart"] == planned["restart"] == ([f"{path} was there"] if started_with_it else [])


def test_a_certificate_is_renewed_once_by_a_restart_in_its_time(server: Server) -> None:
    server.certificate("client-admin.crt", 121)
    server.certificate("server-ca.crt", 119)
    started = (server.root / "record").stat()
    assert started.st_mtime < NOW and server.look()["restart"] == []
    server.certificate("client-admin.crt", 119)
    assert "client-admin.crt ends 2027-05-14 and is renewed at a start" in server.look()["restart"][0]

    os.utime(server.root / "record", (NOW, NOW))  # that start has had its chance: never again for the same certificate
    assert server.look()["restart"] == []


def test_what_ends_soon_and_no_restart_renews_is_a_finding(server: Server) -> None:
    server.certificate("server-ca.crt", 29)
    server.certificate("client-ca.crt", 31)
    result = server.look()
    assert len(result["platform_findings"]) == 1 and "rotate-ca" in result["platform_findings"][0]
    assert result["warnings"] == result["platform_findings"] and result["restart"] == []


@pytest.mark.parametrize(
    ("state", "running"),
    [
        ("ActiveState=active\nUnitFileState=enabled", True),
        ("ActiveState=inactive\nUnitFileState=enabled", False),
        ("ActiveState=activating\nUnitFileState=enabled", False),
        ("ActiveState=active\nUnitFileState=disabled", False),
        ("ActiveState=inactive\nUnitFileState=", False),
    ],
)
def test_a_unit_that_does_not_run_or_would_not_come_back_after_a_boot_is_said(server: Server, state: str, running: bool) -> None:
    server.unit = f"{state}\nNeedDaemonReload=no"
    assert server.look()["running"] is running
