"""Pieces that are expensive to make, each kept in the cache under the hash of what goes into it.

A step works in a directory with a partial name and renames it at its end: a build that was killed is taken up where it stood, and what it left
half-made is never taken for finished.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab import paths
from lab.progress import Progress

KEPT_DAYS = 14  # how long the cache keeps what nobody asked for
STOPPED = "stopped, as another part of the build failed"


def digest(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sources(top: Path) -> list[Path]:
    """The files at or below a path that a build reads: not its tests and texts, nor what it leaves there."""
    found = [top] if top.is_file() else sorted(top.rglob("*"))
    return [p for p in found if p.is_file() and not p.name.endswith((".pyc", ".zst", "_test.go", ".md")) and p.name != ".gitignore"]


class Commands:
    """The commands that the lanes of a build run; when one lane fails, the others' are ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def _refuse_when_stopped(self) -> None:
        if self._stopped:
            raise SystemExit(STOPPED)

    def run(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path) -> None:
        """Run a command; its output goes to a log, whose end is shown when it fails."""
        with log.open("ab") as output:
            with self._lock:
                self._refuse_when_stopped()
                process = subprocess.Popen(
                    command, cwd=cwd, env={**os.environ, **environment}, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                )  # fmt: skip
                self._running.add(process)
            try:
                code = process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
        self._refuse_when_stopped()
        if code != 0:
            end = "\n".join(line[:300] for line in log.read_text(errors="replace").splitlines()[-20:])
            raise SystemExit(f"{' '.join(command[:5])} ... failed ({code}); the end of {log}:\n{end}")

    def stop(self) -> None:
        """End what runs, with its children, and refuse what is still to come."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                os.killpg(process.pid, signal.SIGTERM)


@dataclass(frozen=True)
class Job:
    """What a recipe gets: its step's name, the directory to make the piece in, and those of the pieces it needs, by their names."""

    name: str
    target: Path
    made: Mapping[str, Path]
    commands: Commands
    log: Path

    def run(self, *command: str | Path, cwd: Path = paths.ROOT, **environment: str) -> None:
        """Run a command; raises SystemExit with the end of its output when it fails."""
        self.commands.run([str(word) for word in command], cwd, environment, self.log)


@dataclass(frozen=True, eq=False)
class Step:
    """A piece: what goes in (files, pins, the recipe's own text, earlier pieces), how it is made, and how long that takes on two cores."""

    name: str
    recipe: Callable[[Job], None]
    seconds: float
    inputs: tuple[Path, ...] = ()
    pins: str = ""
    needs: tuple[Step, ...] = ()

    @cached_property
    def key(self) -> str:
        found = hashlib.sha256(f"{self.name}\n{self.pins}\n{inspect.getsource(self.recipe)}".encode())
        for top in self.inputs:
            for path in sources(top):
                name = path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path
                found.update(f"{name} {digest(path)}\n".encode())
        for step in self.needs:
            found.update(step.key.encode())
        return found.hexdigest()[:16]

    @property
    def place(self) -> Path:
        return paths.cache() / "steps" / (re.sub(r"\W+", "-", self.name).strip("-") + f"-{self.key}")

    def build(self, progress: Progress, commands: Commands) -> None:
        """Make the piece unless it is there."""
        if self.place.exists():
            os.utime(self.place)  # somebody asked for it
            return
        partial = self.place.with_name(f"{self.place.name}.{os.getpid()}.partial")  # a killed build's commands may still write into theirs
        for left in partial.parent.glob(f"{self.place.name}.*partial"):
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        with progress.step(self.name, self.seconds):
            log = paths.cache() / "logs" / f"{self.place.name}.log"
            log.parent.mkdir(exist_ok=True)
            log.write_bytes(b"")
            self.recipe(Job(self.name, partial, {step.name: step.place for step in self.needs}, commands, log))
        partial.rename(self.place)


@contextmanager
def alone() -> Iterator[None]:
    """One build at a time; a second one waits and then finds everything made."""
    with (paths.cache() / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(lanes: Sequence[Sequence[Step]], progress: Progress) -> None:
    """Make all steps: the lanes beside each other, a lane's steps in their order. Fails as soon as one of them does."""
    commands = Commands()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: end what runs as well

    def follow(lane: Sequence[Step]) -> None:
        try:
            for step in lane:
                step.build(progress, commands)
        except BaseException:
            commands.stop()
            raise

    with ThreadPoolExecutor(len(lanes)) as pool:
        try:
            futures = [pool.submit(follow, lane) for lane in lanes]
            failures = [error for error in (future.exception() for future in futures) if error]
        except BaseException:  # the user's Ctrl-C
            commands.stop()
            raise
    if failures:
        raise min(failures, key=lambda error: str(error) == STOPPED)


def sweep(*folders: Path) -> None:
    """Remove what builds that were killed left, and what nobody asked for in a while. Only while no other build runs."""
    for folder in folders:
        for path in folder.iterdir() if folder.exists() else ():
            old = time.time() - path.lstat().st_mtime > KEPT_DAYS * 86400
            if path.is_symlink() or not (old or path.name.endswith(".partial")):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
