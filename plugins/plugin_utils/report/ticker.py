# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prints a line every few seconds while an action does something long, so that the user sees progress."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from ansible.utils.display import Display

Own = TypeVar("Own", bound="Ticker")
SILENCE = 5.0  # seconds between two lines


class Ticker:
    """A context in which `line(seconds)` is shown every few seconds."""

    def __init__(self, line: Callable[[float], str]) -> None:
        self.line = line
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._tick, daemon=True)

    def _tick(self) -> None:
        seconds = 0.0
        while not self.ended.wait(SILENCE):
            seconds += SILENCE
            Display().display(self.line(seconds))

    def __enter__(self: Own) -> Own:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
