"""Writes what each task of a run took, as JSON, to the file named by TASK_SECONDS: for benchmarks/noop.py alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_seconds
type: aggregate
short_description: What each task took
description: [Writes a list of tasks with their seconds.]
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible-core has no type information
    """A task's time is that until the next one starts, so nothing of the run is left out."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_seconds"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[dict[str, Any]] = []
        self.begun = time.monotonic()
        self.current = "start"

    def _next(self, name: str) -> None:
        now = time.monotonic()
        self.tasks.append({"task": self.current, "seconds": now - self.begun})
        self.begun, self.current = now, name

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._next(f"{task.get_name()} [{task.action.rsplit('.', 1)[-1]}]")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._next("end")
        Path(os.environ["TASK_SECONDS"]).write_text(json.dumps(self.tasks))
