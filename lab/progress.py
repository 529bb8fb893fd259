"""Progress of long work: one line that is redrawn on a terminal, plain lines and a heartbeat elsewhere. Never silent for five seconds.

How long a step is going to take is what it took the last time, which the cache remembers.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lab import paths

HEARTBEAT = 4.0
WIDTH = 24


class Progress:
    """Shows the steps under way; steps may run in several threads."""

    def __init__(self, timings: Path | None = None) -> None:
        self._terminal = sys.stdout.isatty()
        self._lock = threading.Lock()
        self._active: dict[str, tuple[float, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._timings = timings or paths.cache() / "timings.json"
        self._known = _read(self._timings)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @contextlib.contextmanager
    def step(self, name: str, seconds: float) -> Iterator[None]:
        """Show a step while it runs; seconds is how long it takes where it never ran before."""
        started = time.monotonic()
        with self._lock:
            usual = max(1.0, self._known.get(name, seconds))
            self._active[name] = (started, usual)
            if not self._terminal:
                print(f"  ..    {name} (about {usual:.0f} s)", flush=True)
        outcome = "FAILED"
        try:
            yield
            outcome = "ok"
        finally:
            took = time.monotonic() - started
            with self._lock:
                del self._active[name]
                self._clear()
                print(f"  {outcome:5} {name} {took:.0f} s", flush=True)
                if outcome == "ok":
                    self._known[name] = round(took, 1)
                    _write(self._timings, {**_read(self._timings), name: self._known[name]})

    def _beat(self) -> None:
        while not self._stop.wait(0.5 if self._terminal else HEARTBEAT):
            with self._lock:
                if self._active:
                    self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        parts = []
        for name, (started, seconds) in self._active.items():
            elapsed = now - started
            filled = int(WIDTH * min(1.0, elapsed / seconds))
            bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}] " if self._terminal else ""
            parts.append(f"{bar}{name} {elapsed:.0f}/{seconds:.0f} s")
        self._clear()
        text = "  " + "   ".join(parts)
        width = shutil.get_terminal_size().columns - 1 if self._terminal else 200  # a longer line would wrap, and not be redrawn
        print(text[:width], end="" if self._terminal else "\n", flush=True)

    def _clear(self) -> None:
        if self._terminal:
            print("\r\033[K", end="")


def _read(path: Path) -> dict[str, float]:
    """What was remembered; nothing when there is no such file, or half of one."""
    try:
        found = json.loads(path.read_text())
        return {str(name): float(seconds) for name, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, timings: dict[str, float]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(timings, indent=1, sort_keys=True))
    partial.rename(path)
