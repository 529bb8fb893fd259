# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a step of a restore on the server; what takes long is asked for again and again, and printed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.plugin_utils import masks
from ansible_collections.shaka.platform.plugins.plugin_utils.ansible_settings import connection_flaw

SECRETS = ("identity", "credentials", "backup_key")


class ActionModule(ActionBase):  # type: ignore[misc]
    """See the module's documentation."""

    TRANSFERS_FILES = False
    module = "shaka.platform.database_restore"

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises AnsibleActionFail where a secret would be written to the server's disk, or a file of the inventory cannot be read."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if any(arguments.get(name) for name in SECRETS) and (flaw := connection_flaw(self._connection)):
            raise AnsibleActionFail(flaw)
        mask, folder = arguments.pop("mask", None), Path(str(arguments.pop("mask_folder", "")))
        try:
            if mask:
                arguments["mask"] = masks.script(map(str, mask), folder)
            if file := arguments.pop("file", None):
                arguments["size"] = Path(str(file)).expanduser().stat().st_size
        except OSError as error:
            raise AnsibleActionFail(f"{error.filename} cannot be read: {error.strerror}") from None
        return self._run_to_its_end(arguments, task_vars)

    def _run_to_its_end(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        notes: list[str] = []
        shown = ""
        while True:
            result: dict[str, Any] = self._execute_module(module_name=self.module, module_args=arguments, task_vars=task_vars)
            notes += result.pop("warnings", None) or []
            line = str(result.get("progress") or "")
            if line and line != shown:
                self._display.display(f"  {line}")
                shown = line
            if not result.get("running"):
                return {**result, "warnings": notes} if notes else result
            time.sleep(PAUSE)
