"""A change of the way in takes itself back unless it is confirmed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.shaka.platform.plugins.action import remote_access
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute
from ansible_collections.shaka.platform.plugins.module_utils.server.access import AccessError, File, Sshd, may_log_in
from ansible_collections.shaka.platform.plugins.module_utils.server.commit_confirm import AT_BOOT, Commit


class Service:
    """A part whose service has what it took at its last activation; words that it refuses, and words that another file overrules."""

    name = "the service"

    def __init__(self, path: Path, text: str) -> None:
        self.files = [File(path, text, 0o644, "check %s")]
        self.path, self.taken = path, path.with_name("taken")

    def stale(self, execute: Execute) -> str:
        return "" if self.taken.exists() and self.taken.read_text() == self.path.read_text() else "the running one is another"

    def problem(self, execute: Execute) -> str:
        return "overruled" if "overruled" in self.path.read_text() else ""

    def activate(self, execute: Execute) -> None:
        self.taken.write_text(self.path.read_text())

    def save(self, keep: Path, execute: Execute) -> tuple[list[str], list[str]]:
        return [f"touch {self.path}-before"], [f"if [ -e {self.path} ]; then cp {self.path} {self.taken}; else rm -f {self.taken}; fi"]


class Server:
    """Runs what the script runs, and stands in for systemd."""

    def __init__(self) -> None:
        self.armed = False

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] == "systemd-run":
            assert not self.armed, "two timers"
            self.armed = True
        elif command[:2] == ["systemctl", "stop"] and not self.armed:
            return 5, "", f"Failed to stop {command[2]}: Unit {command[2]} not loaded."
        elif command[0] == "systemctl":
            self.armed = self.armed and command[1] != "stop"
            return (3 if command[1] == "is-active" else 0), "", ""
        elif command[0] == "check":
            return (1, "", "line 1: broken") if "broken" in Path(command[1]).read_text() else (0, "", "")
        elif command[0] == "sh":
            subprocess.run(command, check=True)
        return 0, "", ""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc/rules"


def commit(place: Path, text: str, server: Server) -> Commit:
    return Commit([Service(place, text)], server, place.parents[1] / "rollback", place.parents[1] / "units")


def state(place: Path) -> tuple[str, str]:
    taken = place.with_name("taken")
    return place.read_text() if place.exists() else "", taken.read_text() if taken.exists() else ""


def test_a_confirmed_change_stays_and_the_next_run_has_nothing_to_do(place: Path) -> None:
    server = Server()
    assert commit(place, "new", server).apply(True, 60)["changed"] and state(place) == ("", "")
    assert commit(place, "new", server).apply(False, 60)["unconfirmed"] and server.armed
    commit(place, "new", server).confirm()
    assert state(place) == ("new", "new") and not server.armed
    assert commit(place, "new", server).apply(False, 60) == {"changed": False, "diff": [], "unconfirmed": False}


@pytest.mark.parametrize("before", ["", "old"])
def test_an_unconfirmed_change_goes_back_to_what_was_there(place: Path, before: str) -> None:
    server = Server()
    if before:
        commit(place, before, server).apply(False, 60)
        commit(place, before, server).confirm()
    commit(place, "new", server).apply(False, 60)
    commit(place, "new", server).undo()
    assert state(place) == (before, before) and not server.armed
    with pytest.raises(AccessError, match="too late"):
        commit(place, "new", server).confirm()


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_restart_undoes_as_long_as_nobody_confirmed(place: Path, confirmed: bool) -> None:
    server = Server()
    commit(place, "new", server).apply(False, 60)
    link = place.parents[1] / f"units/sysinit.target.wants/{AT_BOOT}"
    unit = link.read_text()
    command = re.search(r"^ExecStart=/bin/sh (.*)$", unit, re.MULTILINE)
    assert command and f"ConditionPathExists={command[1]}\n" in unit
    if confirmed:
        commit(place, "new", server).confirm()
    else:
        subprocess.run(["sh", command[1]], check=True)
        assert state(place) == ("", "")
    assert not Path(command[1]).exists() and not link.is_symlink() and not (place.parents[1] / "units" / AT_BOOT).exists()


def test_a_broken_file_is_never_put_in_place(place: Path) -> None:
    server = Server()
    commit(place, "old", server).apply(False, 60)
    commit(place, "old", server).confirm()
    with pytest.raises(AccessError, match="refused the new file, the old one stays active: line 1: broken"):
        commit(place, "broken", server).apply(False, 60)
    assert state(place) == ("old", "old") and not server.armed
    assert not list(place.parent.glob("*candidate"))


def test_a_change_that_another_file_overrules_is_taken_back_at_once(place: Path) -> None:
    server = Server()
    with pytest.raises(AccessError, match=r"overruled\. What was there before is back"):
        commit(place, "overruled", server).apply(False, 60)
    assert state(place) == ("", "") and not server.armed


def test_an_interrupted_run_is_confirmed_by_the_next_and_still_goes_back_to_the_beginning(place: Path) -> None:
    server = Server()
    commit(place, "first", server).apply(False, 60)
    assert commit(place, "first", server).apply(True, 60)["changed"]
    commit(place, "second", server).apply(False, 60)
    assert server.armed
    commit(place, "second", server).undo()
    assert state(place) == ("", "")


def test_rules_changed_by_hand_are_put_back(place: Path) -> None:
    server = Server()
    commit(place, "new", server).apply(False, 60)
    commit(place, "new", server).confirm()
    place.with_name("taken").write_text("by hand")
    result = commit(place, "new", server).apply(False, 60)
    assert result["unconfirmed"] and result["diff"][0]["before"] == "the service: the running one is another\n"
    assert state(place) == ("new", "new")


def sshd_says(text: str) -> Execute:
    return lambda command: (0, text if "-T" in command else "", "")


def test_sshds_own_view_must_be_the_files() -> None:
    part = Sshd(File(Path("/x"), "# c\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\nMatch all\nMaxAuthTries 4\n", 0o600), "root")
    assert part.problem(sshd_says("passwordauthentication no\npermitrootlogin without-password\nmaxauthtries 6\n")) == ""
    assert "for root sshd would use 'passwordauthentication yes'" in part.problem(sshd_says("passwordauthentication yes\npermitrootlogin no\n"))


def with_match_local_port(command: list[str]) -> tuple[int, str, str]:
    """An sshd whose files have `Match LocalPort`, as OpenSSH 9.2 answers."""
    if "-T" in command and "lport=" not in command[-1]:
        return 255, "", "'Match LocalPort' in configuration but 'lport' not in connection test specification."
    return 0, "passwordauthentication no\nauthorizedkeysfile none\n" if "-T" in command else "", ""


def test_an_sshd_that_matches_ports_is_asked_with_one(tmp_path: Path) -> None:
    part = Sshd(File(Path("/x"), "PasswordAuthentication no\n", 0o600), "root")
    assert part.problem(with_match_local_port) == ""
    assert may_log_in("ops", tmp_path, with_match_local_port) is False
    assert "does not say what it would use for root: broken" in part.problem(lambda command: (255 if "-T" in command else 0, "", "broken"))


@pytest.mark.parametrize(
    ("sshd", "keys", "expected"),
    [
        ("authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n", "# none\n\n", False),
        ("authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n", "ssh-ed25519 AAAA me\n", True),
        ("authorizedkeysfile %h/.ssh/authorized_keys\n", "ssh-ed25519 AAAA me\n", True),
        ("authorizedkeysfile none\nauthorizedkeyscommand /usr/bin/keys\n", "", True),
        ("authorizedkeysfile none\ntrustedusercakeys /etc/ssh/ca.pub\n", "", True),
        ("authorizedkeysfile none\nauthorizedkeyscommand none\n", "ssh-ed25519 AAAA me\n", False),
    ],
)
def test_a_user_without_a_key_is_seen(tmp_path: Path, sshd: str, keys: str, expected: bool) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/authorized_keys").write_text(keys)
    assert may_log_in("ops", tmp_path, sshd_says(sshd)) is expected


@pytest.mark.parametrize(("refused", "starting", "why"), [(0, 9, None), (2, 9, None), (1, 0, "Connection refused")])
def test_a_server_that_refuses_connections_for_a_moment_is_asked_again(
    refused: int, starting: float, why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sshd does so while it reads its files anew; whoever is excluded waits for the connection's own timeout, and is not asked again."""
    answers = [AnsibleConnectionFailure("Connection refused")] * refused
    plugin = object.__new__(remote_access.ActionModule)
    plugin._connection = first = object()

    def phase(name: str, variables: dict[str, Any]) -> dict[str, Any]:
        assert name == "confirm" and plugin._connection == "another"
        if answers:
            raise answers.pop()
        return {"changed": False}

    monkeypatch.setattr(plugin, "_phase", phase)
    monkeypatch.setattr(plugin, "_second", lambda connection: "another")
    monkeypatch.setattr(remote_access, "STARTING", starting)
    monkeypatch.setattr(remote_access, "PAUSE", 0)
    assert plugin._confirmation({}) == why
    assert plugin._connection is first
