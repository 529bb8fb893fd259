"""A copy of a datastore that is being written to."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.server import datastore
from ansible_collections.shaka.platform.plugins.modules import k3s_datastore


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """K3s's directory, with a row that is in the write-ahead log alone."""
    server = tmp_path / "server"
    for folder in ("db", "cred"):
        (server / folder).mkdir(parents=True)
    (server / "token").write_text("K10secret")
    (server / "cred/encryption-config.json").write_text("{}")
    return server


def execute(command: list[str], **_options: object) -> tuple[int, str, str]:
    return (0, "77\n", "") if command[0] == "systemctl" else (0, "k3s version v1.36.3+k3s1 (abc)\ngo version\n", "")


def params(data: Path, tmp_path: Path, keep: int = 3) -> dict[str, object]:
    return {"reasons": ["/usr/local/bin/k3s differs"], "data": str(data), "path": str(tmp_path / "copies"), "unit": "k3s.service", "keep": keep}


def test_before_the_first_start_there_is_nothing_to_copy(data: Path, tmp_path: Path) -> None:
    assert k3s_datastore.run(params(data, tmp_path), False, execute) == {"changed": False, "made": "", "removed": []}
    assert not (tmp_path / "copies").exists()


def test_a_copy_holds_what_was_written_last_and_what_opens_it(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "db/state.db", isolation_level=None)) as running:
        running.execute("pragma journal_mode = wal")
        running.execute("create table kine (name text)")
        running.execute("insert into kine values ('/registry/pods/a')")
        assert k3s_datastore.run(params(data, tmp_path), True, execute)["changed"] and not (tmp_path / "copies").exists()
        made = Path(k3s_datastore.run(params(data, tmp_path), False, execute)["made"])
        running.execute("insert into kine values ('/registry/pods/b')")  # K3s goes on
    with closing(sqlite3.connect(made / "db/state.db")) as copy:
        assert copy.execute("select name from kine").fetchall() == [("/registry/pods/a",)]
    assert (made / "token").read_text() == "K10secret" and (made / "cred/encryption-config.json").exists()
    assert (made / "about").read_text() == "k3s version v1.36.3+k3s1 (abc)\n/usr/local/bin/k3s differs\n"
    assert {path.stat().st_mode & 0o077 for path in (made, made.parent, made / "db", made / "db/state.db", made / "token")} == {0}


def test_the_newest_stay_and_what_a_killed_run_left_goes(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "db/state.db")) as running:
        running.execute("create table kine (name text)")
    place = tmp_path / "copies"
    for name in ("20260101T000000Z", "20260201T000000Z", ".20260301T000000Z", "notes"):
        (place / name).mkdir(parents=True)
    _made, gone = datastore.take(data, place, "20260401T000000Z", "", 2)
    assert [path.name for path in gone] == ["20260101T000000Z"]
    assert sorted(path.name for path in place.iterdir()) == ["20260201T000000Z", "20260401T000000Z", "notes"]


def test_without_room_nothing_is_written(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "db/state.db").write_bytes(b"")
    monkeypatch.setattr(datastore, "ROOM", 1 << 60)
    with pytest.raises(datastore.NoRoom, match="MiB free"):
        datastore.take(data, tmp_path / "copies", "20260401T000000Z", "", 2)
    assert list((tmp_path / "copies").iterdir()) == []
