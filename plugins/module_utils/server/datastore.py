# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies of K3s's datastore, each from before a change of K3s, for an undo on the same host: an older K3s may not read what a newer one wrote."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

DATABASE = "db/state.db"
NAMED = re.compile(r"[0-9]{8}T[0-9]{6}Z")
# What opens the datastore: the token that its bootstrap keys are encrypted with, and the keys of its Secrets.
KEYS = ("token", "cred/encryption-config.json")
ROOM = 256 * 1024 * 1024  # bytes that stay free on the disk


class NoRoom(Exception):
    """The disk has no room for a copy; the text says how much it needs."""


def copies(place: Path) -> list[Path]:
    """The finished copies, oldest first."""
    return sorted(path for path in place.iterdir() if NAMED.fullmatch(path.name)) if place.is_dir() else []


def take(data: Path, place: Path, name: str, about: str, keep: int) -> tuple[Path, list[Path]]:
    """A copy of what runs, consistent although K3s goes on writing, and the older ones that it replaces.

    :arg data: K3s's directory `server`.
    :arg about: what the copy is of, for a reader; the file `about` in it.
    :arg keep: how many copies stay, the new one included.
    :raises NoRoom: before anything is written.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    needed = (data / DATABASE).stat().st_size + ROOM
    if (free := shutil.disk_usage(place).free) < needed:
        raise NoRoom(f"a copy of K3s's datastore needs {needed >> 20} MiB free on the disk of {place}, which has {free >> 20}")
    for partial in place.glob(".*"):  # of a run that was killed
        shutil.rmtree(partial)
    partial = place / f".{name}"
    partial.mkdir(mode=0o700)
    for source, target in _pairs(data, partial):
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if source.name == Path(DATABASE).name:
            copy_database(source, target)
        else:
            shutil.copyfile(source, target)
        target.chmod(0o600)
    (partial / "about").touch(mode=0o600)
    (partial / "about").write_text(about, encoding="utf-8")
    for file in partial.rglob("*"):
        _flush(file)
    partial.rename(place / name)
    gone = copies(place)[:-keep]
    for old in gone:
        shutil.rmtree(old)
    return place / name, gone


def copy_database(source: Path, target: Path) -> None:
    """SQLite's own online copy (https://www.sqlite.org/backup.html), with the write-ahead log in it."""
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as running, closing(sqlite3.connect(target)) as copy:
        running.backup(copy)


def _pairs(data: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    for name in (DATABASE, *KEYS):
        if (data / name).exists():
            yield data / name, target / name


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
