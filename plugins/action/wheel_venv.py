# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of wheel_venv: asks the server whether its environment is the pinned one, and only else gets the wheels and sends them."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import Busy
from ansible_collections.shaka.platform.plugins.modules.wheel_venv import ARGUMENT_SPEC, REQUIREMENTS
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import wheels
from ansible_collections.shaka.platform.plugins.plugin_utils.sends_files import SendsFiles

display = Display()


class ActionModule(SendsFiles):
    """See the module of the same name for the documentation."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(ARGUMENT_SPEC)[1]
        requirements = Path(arguments["requirements"])
        arguments["sum"] = hashlib.sha256(requirements.read_bytes()).hexdigest()
        result = self._module(arguments, task_vars)
        if result.get("failed") or not result.get("wanted"):
            return result
        try:
            chosen = self._wheels(requirements, arguments["wheels"], result["wanted"])
        except (wheels.WheelError, Busy, OSError) as error:
            raise AnsibleActionFail(str(error)) from error
        return self._module({**arguments, "received": self._send(chosen, requirements, result["wanted"]["partial"], task_vars or {})}, task_vars)

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name="shaka.platform.wheel_venv", module_args=arguments, task_vars=task_vars)
        return result

    def _wheels(self, requirements: Path, bundled: str, wanted: Mapping[str, str]) -> list[Path]:
        if bundled:
            return wheels.chosen(Path(bundled), requirements.read_text(encoding="utf-8"), wanted["python"], wanted["machine"])
        return wheels.downloaded(requirements, wanted["python"], wanted["machine"])

    def _send(self, chosen: list[Path], requirements: Path, partial: str, task_vars: Mapping[str, Any]) -> str:
        """Send all of it as one file; where it lies on the server."""
        remote = self.place_for(partial)
        with tempfile.NamedTemporaryFile(suffix=".zip") as packed:
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(REQUIREMENTS, wheels.without(requirements.read_text(encoding="utf-8"), "pip"))
                for wheel in chosen:
                    archive.write(wheel, wheel.name)
            packed.flush()
            size = Path(packed.name).stat().st_size
            display.display(f"  sending {len(chosen)} wheels to {task_vars.get('inventory_hostname', 'the server')}, {size / 1e6:.0f} MB")
            self._connection.put_file(packed.name, remote)
        return remote
