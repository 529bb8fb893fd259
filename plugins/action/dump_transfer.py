# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries a dump between a file of the controller and a restore's pod; see the module of the same name for its documentation."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import time
from pathlib import Path
from typing import Any, BinaryIO

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import RestorePlan
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import SCRIPT
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import amount

CHUNK = 16  # MiB: what is in memory at a time
SHOWN = 5.0  # seconds between two lines of progress


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs the commands of the pod's script, and reads or writes the file."""

    TRANSFERS_FILES = False
    _supports_check_mode = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises AnsibleActionFail when the file or the pod fails, or both do not have the same in the end."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        self._plan = RestorePlan.read(arguments["plan"])
        self._kubectl = [str(word) for word in arguments.get("kubectl") or ARGUMENTS["kubectl"]["default"]]
        path = Path(str(arguments["file"])).expanduser()
        self._shown = time.monotonic()
        try:
            size, digest = self._receive(path) if arguments["to"] == "controller" else self._send(path)
        except OSError as error:
            raise AnsibleActionFail(f"{path}: {error.strerror}") from None
        return {**result, "changed": True, "bytes": size, "sha256": digest, "file": str(path)}

    def _receive(self, path: Path) -> tuple[int, str]:
        digest, total = self._whole()
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        counted = hashlib.sha256()
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for number in range(-(-total // (CHUNK << 20))):
                    chunk = self._chunk(number)
                    file.write(chunk)
                    counted.update(chunk)
                    self._show(file, total)
                file.flush()
                os.fsync(file.fileno())
            self._compare(digest, counted.hexdigest(), path)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return total, digest

    def _chunk(self, number: int) -> bytes:
        try:
            return base64.b64decode(self._call("give", str(number), str(CHUNK)))
        except binascii.Error:
            raise AnsibleActionFail("a part of the dump did not arrive whole: run the export again") from None

    def _send(self, path: Path) -> tuple[int, str]:
        counted, total = hashlib.sha256(), path.stat().st_size
        with path.open("rb") as file:
            number = 0
            while chunk := file.read(CHUNK << 20):
                self._call("take", str(number), data=chunk)
                counted.update(chunk)
                self._show(file, total)
                number += 1
        self._compare(self._whole()[0], counted.hexdigest(), path)
        return total, counted.hexdigest()

    def _whole(self) -> tuple[str, int]:
        digest, size = self._call("digest").split()
        return digest, int(size)

    def _compare(self, there: str, here: str, path: Path) -> None:
        if there != here:
            raise AnsibleActionFail(f"{path} and the dump in the pod are not the same: something changed it on its way; run again")

    def _show(self, file: BinaryIO, total: int) -> None:
        if time.monotonic() - self._shown > SHOWN:
            self._shown = time.monotonic()
            self._display.display(f"  {amount(file.tell())} of {amount(total)}")

    def _call(self, *command: str, data: bytes | None = None) -> str:
        """What a command of the pod's script prints."""
        pod = [*self._kubectl, "exec", "--stdin", f"--namespace={self._plan.namespace}", f"job/{self._plan.job}", "--", *SCRIPT, *command]
        # with something on stdin, also an empty text, no terminal changes what is printed
        answer = self._low_level_execute_command(shlex.join(pod), sudoable=True, in_data=data or b"\n")
        if answer["rc"] != 0:
            lines = str(answer["stderr"]).strip().splitlines()
            raise AnsibleActionFail(f"{command[0]} in the pod of {self._plan.job}: {lines[-1] if lines else 'no reason given'}")
        return str(answer["stdout"])
