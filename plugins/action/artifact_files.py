# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of artifact_files: asks the server what it lacks, then sends that and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.module_utils.server.files import sha256_of
from ansible_collections.shaka.platform.plugins.modules.artifact_files import ARGUMENT_SPEC, summary
from ansible_collections.shaka.platform.plugins.plugin_utils.report.ticker import Ticker
from ansible_collections.shaka.platform.plugins.plugin_utils.sends_files import SendsFiles

display = Display()
MODULE = "shaka.platform.artifact_files"
SMALL = 1_000_000  # bytes below which a file is sent without a word


class ActionModule(SendsFiles):
    """See the module of the same name for the documentation."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(ARGUMENT_SPEC)[1]
        files: list[dict[str, Any]] = [{key: value for key, value in file.items() if value is not None} for file in arguments["files"]]
        arguments = {**arguments, "files": files}
        for file in files:
            if "src" in file:
                if not Path(file["src"]).is_file():
                    raise AnsibleActionFail(f"{file['name']}: no file {file['src']} on the controller: is platform_bundle right and complete?")
                file["size"] = Path(file["src"]).stat().st_size
        result = self._module(arguments, task_vars)
        wanted = [entry for entry in result.get("files", []) if entry["action"] == "wanted"]
        if result.get("failed") or not wanted:
            return result
        sources = {file["name"]: file for file in files}
        received = {entry["name"]: self._send(sources[entry["name"]], entry["partial"], task_vars) for entry in wanted}
        second = self._module({**arguments, "files": [sources[name] for name in received], "received": received}, task_vars)
        if second.get("failed"):
            return second
        sent = {entry["name"]: entry for entry in second["files"]}
        return {**result, **summary([sent.get(entry["name"], entry) for entry in result["files"]], files)}

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        return result

    def _send(self, file: dict[str, Any], partial: str, task_vars: dict[str, Any] | None) -> str:
        """Send one file; where it lies on the server until the module verifies it and renames it."""
        got = sha256_of(Path(file["src"]))
        if got != file["sha256"].lower():
            sums = f"expected sha256 {file['sha256']}, got {got}"
            raise AnsibleActionFail(f"{file['name']}: {file['src']} on the controller is not the pinned file: {sums}; it was not sent")
        host = (task_vars or {}).get("inventory_hostname", "the server")
        remote = self.place_for(partial)
        text = f"  sending {file['name']} to {host}, {file['size'] / 1e6:.0f} MB"
        if file["size"] >= SMALL:
            display.display(text)
        with Ticker(lambda seconds: f"{text}: {seconds:.0f} s"):
            self._connection.put_file(file["src"], remote)
        return remote
