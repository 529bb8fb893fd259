"""Root writes below a user's home with that user's rights: whatever links the user puts there."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.server import home, ledger
from ansible_collections.shaka.platform.plugins.module_utils.server.home import make_parent, with_rights_of_its_home
from ansible_collections.shaka.platform.plugins.modules import config_files

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A place that others may enter. Those of pytest are closed to them, by each run of it that begins, also while this one is in there."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.fixture
def ana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user, in a directory of root's."""
    monkeypatch.setattr(home, "HOMES", tmp_path / "home")
    monkeypatch.setattr(ledger, "LEDGER", tmp_path / "ledger.json")
    place = tmp_path / "home/ana"
    place.mkdir(parents=True)
    os.chown(place, NOBODY, NOBODY)
    return place


def test_a_file_is_the_users(ana: Path) -> None:
    file = ana / ".ssh/authorized_keys"
    make_parent(file, 0o700)
    assert with_rights_of_its_home(file, lambda: (file.write_text("key"), os.geteuid(), os.getgroups())) == (3, NOBODY, [])
    assert (file.stat().st_uid, file.parent.stat().st_uid, file.parent.stat().st_mode & 0o777) == (NOBODY, NOBODY, 0o700)
    assert os.geteuid() == 0


def test_what_the_user_may_not_do_is_an_error_of_the_file_system(ana: Path, tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("root's")
    secret.chmod(0o600)
    (ana / "notes").symlink_to(secret)
    for work in ((ana / "notes").read_text, lambda: (ana / "notes").write_text("mine"), lambda: (ana / "notes").chmod(0o666)):
        with pytest.raises(PermissionError):
            with_rights_of_its_home(ana / "notes", work)
    assert ledger.state(ana / "notes") == {"link": str(secret)}
    with pytest.raises(OSError, match="ValueError: wrong"):
        with_rights_of_its_home(ana / "notes", _wrong)


def _wrong() -> None:
    raise ValueError("wrong")


def test_paths_outside_of_homes_are_roots(ana: Path, tmp_path: Path) -> None:
    assert [home.keeper(path) for path in (tmp_path / "etc/x", ana, ana / "x", tmp_path / "home/none/x")] == [None, None, (NOBODY, NOBODY), None]


def test_a_directory_of_the_users_in_a_home_of_roots_is_the_users(ana: Path) -> None:
    """As sshd's ChrootDirectory wants homes."""
    os.chown(ana, 0, 0)
    assert home.keeper(ana / ".ssh/authorized_keys") is None
    (ana / ".ssh").mkdir()
    os.chown(ana / ".ssh", NOBODY, NOBODY)
    assert [home.keeper(ana / path) for path in (".ssh/authorized_keys", "x")] == [(NOBODY, NOBODY), None]


def racing(folder: Path, target: Path) -> None:
    """The user, who puts links under every name that the run may use, as fast as possible."""
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    names = [f"authorized_keys{end}" for end in ("", ".shaka-candidate")]
    while True:
        for name in [*names, *(path.name for path in folder.glob("*.shaka-new"))]:
            try:
                (folder / "link").symlink_to(target)
                (folder / "link").rename(folder / name)
            except OSError:
                continue


def test_no_link_that_the_user_puts_there_reaches_a_file_of_roots(ana: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_files, "pwd", _Users())
    target = tmp_path / "shadow"
    target.write_text("root's")
    target.chmod(0o644)  # also where it can be read
    (ana / ".ssh").mkdir()
    os.chown(ana / ".ssh", NOBODY, NOBODY)
    racer = multiprocessing.get_context("fork").Process(target=racing, args=(ana / ".ssh", target))
    racer.start()
    wanted: dict[str, Any] = {"dest": str(ana / ".ssh/authorized_keys"), "content": "ssh-ed25519 key\n", "mode": "0600", "directory_mode": "0700"}
    wanted |= {"link": None, "owner": "ana", "validate": None, "apply": []}
    deadline = time.monotonic() + float(os.environ.get("SHAKA_RACE_SECONDS", "3"))
    tries = 0
    while time.monotonic() < deadline:
        tries += 1
        with contextlib.suppress(OSError):  # the user was in the way: no file, and no harm
            write(wanted, tmp_path)
        assert (target.read_text(), target.stat().st_uid, target.stat().st_mode & 0o777) == ("root's", 0, 0o644)
    racer.terminate()
    racer.join()
    assert tries > 5
    write(wanted, tmp_path)
    assert (ana / ".ssh/authorized_keys").read_text() == wanted["content"] and not (ana / ".ssh/authorized_keys").is_symlink()


def test_a_fifo_does_not_hold_the_run(ana: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "ANSWER", 0.3)
    fifo = ana / "config"
    os.mkfifo(fifo)
    os.chown(fifo, NOBODY, NOBODY)
    with pytest.raises(OSError, match="is it a plain file"):
        with_rights_of_its_home(fifo, fifo.read_text)


def write(wanted: dict[str, Any], tmp_path: Path) -> None:
    config_files.run([wanted], False, lambda *_args, **_more: (0, "", ""), tmp_path / "owed")


class _Users:
    """One user is called ana."""

    def getpwnam(self, _name: str) -> Any:
        return type("User", (), {"pw_uid": NOBODY})

    def getpwuid(self, _uid: int) -> Any:
        return type("User", (), {"pw_name": "ana"})
