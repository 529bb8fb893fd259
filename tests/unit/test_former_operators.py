"""Who leaves the inventory loses access."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.server import former, ledger
from ansible_collections.shaka.platform.plugins.modules import former_operators, host_preflight

KEYS = "/home/{}/.ssh/authorized_keys"


def test_they_are_whom_the_platform_gave_access_and_the_inventory_does_not_have() -> None:
    recorded = [KEYS.format("ana"), "/home/ana/.kube/config", KEYS.format("bob"), "/home/eve/notes", "/etc/sudoers.d/50-shaka-operator"]
    assert former.former_operators(["ana", ""], recorded) == ["bob"]
    assert former.former_operators(["", ""], recorded) == ["ana", "bob"]
    assert former.former_operators(["ana", "bob"], recorded) == []


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A server's root with the account ana, who has all that an operator gets."""
    for path in ("etc/sudoers.d", "home/ana/.ssh", "home/ana/.kube", "var/lib/shaka"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "etc/shadow").write_text("root:*:1::::::\nana:*:20000:0:99999:7:::\n")
    for path in ("etc/sudoers.d/50-shaka-operator", "home/ana/.ssh/authorized_keys", "home/ana/.kube/config"):
        (tmp_path / path).write_text("given\n")
    return tmp_path


@pytest.mark.parametrize(("expires", "login"), [("", True), ("1", False), ("20800", True)])
def test_what_an_account_still_has(server: Path, expires: str, login: bool) -> None:
    (server / "etc/shadow").write_text(f"ana:!*:20000:0:99999:7::{expires}:\n")
    assert former.access_of("ana", server) == [*(["its login"] if login else []), "~/.ssh/authorized_keys", "~/.kube/config"]
    assert former.account_is_open("nobody-like-that", server) is False


@pytest.fixture
def here(server: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is run on the server and forgotten by its ledger."""
    happened: dict[str, Any] = {"root": server, "run": [], "forgotten": []}
    monkeypatch.setattr(ledger, "forget", lambda names: happened["forgotten"].extend(Path(name).name for name in names))
    return happened


def module(here: dict[str, Any], check: bool, code: int = 0, sudo: bool = False) -> dict[str, Any]:
    def execute(command: list[str]) -> tuple[int, str, str]:
        here["run"].append(" ".join(command))
        return code, "", "no such thing"

    return former_operators.run(["ana"], sudo, check, execute, here["root"])


def test_check_mode_says_what_there_is_to_take_away(here: dict[str, Any], server: Path) -> None:
    done = module(here, check=True)
    assert done["changed"] and len(done["taken"]) == 4 and not here["run"] and not here["forgotten"]
    assert (server / "home/ana/.ssh/authorized_keys").exists()


def test_the_account_is_locked_before_anything_else_and_its_other_files_stay(here: dict[str, Any], server: Path) -> None:
    (server / "home/ana/notes").write_text("hers")
    module(here, check=False)
    assert here["run"][0] == "usermod --lock --expiredate 1 ana" and "loginctl terminate-user ana" in here["run"]
    assert [path.name for path in sorted(server.rglob("*")) if path.is_file()] == ["shadow", "notes"]
    assert here["forgotten"] == ["authorized_keys", "config", "50-shaka-operator"], "a reset brings none of it back"


def test_another_operator_s_rule_stays_and_a_lock_that_fails_is_an_error(here: dict[str, Any], server: Path) -> None:
    module(here, check=False, sudo=True)
    assert (server / "etc/sudoers.d/50-shaka-operator").exists()
    with pytest.raises(former.StillThere, match="ana can still log in: usermod: no such thing"):
        module(here, check=False, code=1)


def test_the_account_that_ansible_connects_as_is_not_locked(server: Path) -> None:
    (server / "var/lib/shaka/manifest.json").write_text('{"/home/ana/.ssh/authorized_keys": null}')
    params = {"packages": [], "firewall": False, "sshd": False, "operator": "", "operators": [""], "time_zone": "", "blocked_modules": []}
    found = host_preflight.run(params, "ana", server / "home/ana", lambda *_a: (1, "", ""), server)
    assert found["former_operators"] == ["ana"] and found["former_sudo"] and "connect as another one" in found["problems"][0]
    assert host_preflight.run(params, "root", server, lambda *_a: (1, "", ""), server)["problems"] == []
