# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings the backup tools to the controller; see the module of the same name for its documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.server.lock import Busy
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import tools
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import LockError, architecture_of
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import Upstream, UpstreamError
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction

ARGUMENT_SPEC: dict[str, Any] = {
    "lock": {"type": "dict", "required": True},
    "architecture": {"type": "str", "required": True},
    "bundle": {"type": "str", "default": ""},
    "mirrors": {"type": "dict", "default": {}},
    "timeout": {"type": "int", "default": 30},
    "programs": {"type": "str", "required": True},
    "images": {"type": "str", "required": True},
}


def listed(ready: dict[Path, str], programs: str, images: str) -> list[dict[str, Any]]:
    """The files as artifact_files takes them."""
    files = []
    for path, sha256 in ready.items():
        folder = images if path.name == tools.IMAGE else programs
        mode = "0755" if path.stat().st_mode & 0o100 else "0644"
        files.append({"name": path.name, "src": str(path), "dest": f"{folder.rstrip('/')}/{path.name}", "sha256": sha256, "mode": mode})
    return files


class ActionModule(ControllerAction):
    """Runs on the controller alone."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        bundle = Path(arguments["bundle"]) if arguments["bundle"] else None
        try:
            architecture = architecture_of(arguments["architecture"])
            ready = tools.ready(arguments["lock"], architecture, bundle, Upstream(arguments["mirrors"], arguments["timeout"]))
        except (Busy, LockError, UpstreamError, tools.ToolsError, OSError) as error:
            return {"failed": True, "msg": str(error)}
        return {"changed": False, "files": listed(ready, arguments["programs"], arguments["images"])}
