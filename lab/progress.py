"""Progress of long work: one line that is redrawn on a terminal, plain lines and a heartbeat elsewhere. Never silent for five seconds."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

HEARTBEAT = 4.0
WIDTH = 24


class Progress:
    """Shows the steps under way; steps may run in several threads."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._lock = threading.Lock()
        self._active: dict[str, tuple[float, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @contextlib.contextmanager
    def step(self, name: str, seconds: float) -> Iterator[None]:
        """Show a step while it runs; seconds is how long it usually takes."""
        started = time.monotonic()
        with self._lock:
            self._active[name] = (started, seconds)
            if not self._terminal:
                print(f"  ..    {name} (usually {seconds:.0f} s)", flush=True)
        outcome = "FAILED"
        try:
            yield
            outcome = "ok"
        finally:
            with self._lock:
                del self._active[name]
                self._clear()
                print(f"  {outcome:5} {name} {time.monotonic() - started:.0f} s", flush=True)

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
        print(text[:200], end="" if self._terminal else "\n", flush=True)

    def _clear(self) -> None:
        if self._terminal:
            print("\r\033[K", end="")
