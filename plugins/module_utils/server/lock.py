# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lets one process run at a time. The lock is on an existing directory or file, so none is left behind for it, and it ends with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path


class Busy(OSError):
    """Another process holds the lock and did not end in time."""


@contextlib.contextmanager
def alone(place: Path, busy: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a directory or file. Waits `patience` seconds for another holder, then raises Busy with the text `busy`."""
    descriptor = os.open(place, os.O_RDONLY)
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Busy(busy) from None
                time.sleep(0.5)
        yield
    finally:
        os.close(descriptor)
