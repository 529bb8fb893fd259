# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Never silent: a heartbeat while a task runs long, and the tables that tasks return."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: notification
author: The shaka.platform founders (@shaka-platform)
short_description: Show what is still running, and tables
version_added: "0.1.0"
description:
  - When nothing was printed for 4 seconds, prints one line that names the task, the hosts it still runs on, how long it has been running and, for
    a wait, how long it may take and which attempt this is; again every 4 seconds. On a terminal the line is rewritten in place and
    erased before anything else is printed; elsewhere it is a plain line, and what Ansible holds back in its buffer is flushed with it.
  - Prints the tables in C(platform_table) of a task's result, a list of mappings with C(title), C(columns), C(rows) and, optionally, C(failed) (the
    positions of rows to show in red). Roles use it for what a person reads, for example the fit plan and the result of verify.
notes:
  - Must be enabled in C(ansible.cfg) (C(callbacks_enabled)). It changes no result and no exit code. Without it, runs take some seconds longer, as it
    imports the collection's filters once for all tasks, spares these the garbage of the whole run, and keeps the modules as they are packed for the
    server from run to run, in C(shaka-platform/modules) of the user's cache directory.
  - The variable E(SHAKA_PROGRESS=off) in the environment switches the heartbeat off.
"""

import contextlib
import gc
import importlib
import os
import pkgutil
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible_collections.shaka.platform.plugins import filter as filters
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.packed_modules import PackedModules, packed_modules
from ansible_collections.shaka.platform.plugins.plugin_utils.report.tables import table

SILENCE = 4.0  # seconds
TICK = 0.5
# arguments with which tasks say how long they may wait, in seconds
BOUNDS = ("wait_timeout", "timeout", "seconds")
# these talk to the terminal themselves
PROMPTING = frozenset({"pause"})


def load_filters() -> None:
    """Import the collection's filters: a task runs in a fork of this process, and would compile those that it uses again."""
    for module in pkgutil.iter_modules(filters.__path__):
        with contextlib.suppress(ImportError):  # the task that needs it says what is missing
            importlib.import_module(f"{filters.__name__}.{module.name}")


class Heartbeat:
    """The line about what is running. Pure: the callback reports events, the thread asks for a line, and both pass the time."""

    def __init__(self, now: float) -> None:
        self.last_output = now
        self.begun = now
        self.task = ""
        self.limit = ""
        self.attempt = ""
        self.hosts: list[str] = []
        self.quiet = False

    def start(self, task: str, limit: str, quiet: bool, now: float) -> None:
        self.task, self.limit, self.attempt, self.hosts, self.quiet, self.begun = task, limit, "", [], quiet, now

    def line(self, now: float, each: float = SILENCE) -> str | None:
        """The line to print now; None while the silence is short or a prompt owns the terminal."""
        if self.quiet or now - self.last_output < each:
            return None
        facts = [", ".join(self.hosts[:3]) + (f" and {len(self.hosts) - 3} more" if len(self.hosts) > 3 else ""), self.attempt, self.limit]
        detail = "; ".join(fact for fact in facts if fact)
        return f"  ... {now - self.begun:3.0f} s  {self.task or 'preparing'}" + (f" ({detail})" if detail else "")


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Watches the display to know how long it has been silent; a daemon thread then prints a line."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "shaka.platform.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.heartbeat = Heartbeat(time.monotonic())
        self.terminal = sys.stdout.isatty()
        self.drawn = False
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None
        self.modules: PackedModules | None = None

    # events

    def v2_playbook_on_start(self, playbook: Any) -> None:
        load_filters()
        with contextlib.suppress(OSError, RuntimeError):  # no home, no room: the run packs its own
            self.modules = packed_modules()
            self.modules.lay_out()
        if self.thread is None and os.environ.get("SHAKA_PROGRESS") != "off":
            self._watch()
            self.thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self.thread.start()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        # Each task runs in a fork, whose collections would go through all that is here, and copy its pages: a quarter of a run's CPU time.
        gc.freeze()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        quiet = str(task.action).rsplit(".", 1)[-1] in PROMPTING
        self.heartbeat.start(str(task.get_name()).removeprefix("shaka.platform."), longest_wait(task.args), quiet, time.monotonic())

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.heartbeat.hosts = [*self.heartbeat.hosts, host.get_name()]

    def v2_runner_retry(self, result: Any) -> None:
        attempts, retries = result.result.get("attempts"), result.result.get("retries")
        self.heartbeat.attempt = f"attempt {attempts} of {retries} failed" if attempts and retries else ""

    def v2_runner_on_ok(self, result: Any) -> None:
        self._over(result)
        self._show(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._over(result)
        self._show(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._over(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._over(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self.heartbeat.start("", "", True, time.monotonic())
        with contextlib.suppress(OSError):  # no room: the next run packs its own
            if self.modules:
                self.modules.keep()

    # how

    def _over(self, result: Any) -> None:
        name = result.host.get_name()
        self.heartbeat.hosts = [host for host in self.heartbeat.hosts if host != name]

    def _show(self, result: Any) -> None:
        tables = result.result.get("platform_table")
        for shown in tables if isinstance(tables, list) else ():
            if isinstance(shown, Mapping):
                failed = {int(position) for position in shown.get("failed") or ()}
                rows = [[" ".join(str(cell).split()) for cell in row] for row in shown.get("rows") or ()]
                self._display.display(f"\n{shown.get('title', '')}", color=constants.COLOR_HIGHLIGHT)
                for position, line in enumerate(table(list(shown.get("columns") or ()), rows).splitlines(), start=-2):
                    self._display.display(f"  {line}", color=constants.COLOR_ERROR if position in failed else None)

    def _watch(self) -> None:
        """Wrap the display, to know when it prints. Workers inherit the wrapper by fork, but print through a queue: in them it does nothing."""
        display, owner = self._display, os.getpid()
        original = display.display

        def watched(msg: str, *args: Any, **kwargs: Any) -> None:
            if os.getpid() != owner:
                original(msg, *args, **kwargs)
                return
            with display._lock:
                self._erase()
                original(msg, *args, **kwargs)
                if not kwargs.get("log_only"):
                    self.heartbeat.last_output = time.monotonic()

        display.display = watched

    def _erase(self) -> None:
        if self.drawn:
            sys.stdout.write("\r\033[K")
            self.drawn = False

    def _run(self) -> None:
        """The thread. It prints only while it holds the display's lock, which is also held around every fork."""
        drawn_at = 0.0
        while not self.ended.wait(TICK):
            with self._display._lock:
                now = time.monotonic()
                # a line that is rewritten in place shows the current seconds
                each = SILENCE if not self.drawn else 0.0
                line = self.heartbeat.line(now, each) if now - drawn_at >= 1.0 or not self.drawn else None
                try:
                    if line and self.terminal:
                        columns = os.get_terminal_size(sys.stdout.fileno()).columns or 80
                        sys.stdout.write(f"\r\033[K{line[: columns - 1]}")
                        self.drawn, drawn_at = True, now
                    elif line:
                        sys.stdout.write(f"{line}\n")
                        self.heartbeat.last_output = now
                    sys.stdout.flush()
                except (OSError, ValueError):
                    return  # nobody reads any more


def longest_wait(arguments: Mapping[str, Any]) -> str:
    """How long the task may wait, where its arguments say so."""
    for name in BOUNDS:
        value = str(arguments.get(name) or "")
        if value.isdigit():
            return f"waits up to {value} s"
    return ""
