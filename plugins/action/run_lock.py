# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holds a server for this run; see the module of the same name for its documentation."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import select
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.plugin_utils import run_lock
from ansible_collections.shaka.platform.plugins.plugin_utils.second_connection import beside

display = Display()
LOOK = 0.2  # seconds between two looks at who has the lock
ANSWER = 30.0  # seconds for the server to say so
AGAIN = 1.0  # seconds until a lost connection is made again


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core has no type information
    """Starts a process beside Ansible's that keeps the lock over a connection, until Ansible's own process ends, however it ends."""

    _supports_check_mode = True
    _supports_async = False
    _connection: Any

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = {**super().run(tmp, task_vars), "changed": False}
        self.validate_argument_spec({})
        if self._task.check_mode:
            return {**result, "msg": "nothing will be changed, so that nobody has to wait"}
        main, name = os.getppid(), self._connection.transport
        if name not in ("ssh", "local"):
            return {
                **result,
                "warnings": [f"the connection {name} cannot hold a lock: see to it that no other run works on the server at the same time"],
            }
        info = {
            "token": secrets.token_hex(8),
            "playbook": ", ".join(Path(path).name for path in context.CLIARGS.get("args") or ["a run"]),
            "user": getpass.getuser(),
            "host": socket.gethostname(),
            "pid": str(main),
            "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        }
        # over SSH `cat` ends with the connection; on this machine the process itself can be watched
        until = "cat > /dev/null" if name == "ssh" else f"tail --pid={main} --follow /dev/null"
        reading, writing = os.pipe()
        self._keep(run_lock.holding(info, until), main, reading, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            return {**result, **self._outcome(info, pipe)}

    def _outcome(self, mine: dict[str, str], pipe: Any) -> dict[str, Any]:
        """Waits until the lock is ours, or somebody else's."""
        deadline = time.monotonic() + ANSWER
        while time.monotonic() < deadline:
            ended = bool(select.select([pipe], [], [], LOOK)[0])
            said = self._low_level_execute_command(run_lock.reading(), sudoable=True)
            holder = run_lock.holder_of(said["stdout"] if said["rc"] == 0 else "")
            if not ended and holder.get("token") == mine["token"]:
                return {"msg": "this run has the server"}
            if ended:
                answer = json.loads(pipe.read() or b"{}")
                if answer.get("rc") == run_lock.HELD and (holder.get("host"), holder.get("pid")) == (mine["host"], mine["pid"]):
                    return {"msg": "this run has the server since an earlier play"}
                if answer.get("rc") == run_lock.HELD:
                    return {"failed": True, "msg": run_lock.refusal(holder)}
                return {
                    "failed": True,
                    "msg": f"the run's lock on the server could not be taken: {answer.get('stderr') or answer.get('msg') or answer}",
                }
        return {"failed": True, "msg": f"the server did not say within {ANSWER:.0f} s whose run has its lock"}

    def _keep(self, command: str, main: int, reading: int, writing: int) -> None:
        """The process that keeps the lock. It is nobody's child, so that it outlives this task."""
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        try:
            os.close(reading)
            os.setsid()
            if os.fork():
                os._exit(0)
            self._hold(command, main, writing)
        finally:
            os._exit(1)  # whatever happened: this is a copy of Ansible's process, and must not go on as it

    def _hold(self, command: str, main: int, writing: int) -> NoReturn:
        threading.Thread(target=_end_with, args=(main,), daemon=True).start()
        display.verbosity = 0
        with contextlib.suppress(RuntimeError):  # it has none outside of a worker
            display.set_queue(None)  # what Ansible's process reads is not for this one
        self._connection = _without_terminal(self._connection)
        told = False
        while True:
            try:
                answer = self._low_level_execute_command(command, sudoable=True)
            except Exception as error:  # pylint: disable=broad-exception-caught  # there is nobody to raise it to
                answer = {"msg": str(error)}
            if not told:
                os.write(writing, json.dumps({key: answer.get(key) for key in ("rc", "stderr", "msg")}).encode()[:4096])
                os.close(writing)
                told = True
            if answer.get("rc") == run_lock.HELD:
                os._exit(0)
            time.sleep(AGAIN)  # the connection was lost, and the run goes on over another


def _without_terminal(first: Any) -> Any:
    """A copy of the connection without a terminal on the server: there, the end of this process is the end of the command's input."""
    second = beside(first)
    if "use_tty" in second._options:
        second.set_option("use_tty", False)
    return second


def _end_with(main: int) -> None:
    """Ends this process once another has ended, also one that nobody has waited for yet."""
    try:
        select.select([os.pidfd_open(main)], [], [])
    except (AttributeError, OSError):  # no such process any more, or not Linux
        while _runs(main):
            time.sleep(LOOK)
    os._exit(0)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
