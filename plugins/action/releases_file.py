# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes a release into the inventory; see the module of the same name for its documentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain
from ansible_collections.shaka.platform.plugins.plugin_utils.releases_file import UnreadableReleases, with_release
from ansible_collections.shaka.platform.plugins.plugin_utils.whole_file import replace_file

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "environment": {"type": "str", "required": True},
    "app": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
}


class ActionModule(ControllerAction):
    """Runs on the controller alone."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        path, given = Path(arguments["path"]), plain(arguments)
        try:
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            after = with_release(before, given["environment"], given["app"], given["image"])
            if not path.parent.is_dir():
                raise AnsibleActionFail(
                    f"{path} cannot be written: there is no directory {path.parent}; make it, or name another file with release_file"
                )
            if not os.access(path.parent, os.W_OK):
                raise AnsibleActionFail(f"{path} cannot be written: its directory is not yours to write in")
            if after != before and not self._task.check_mode:
                replace_file(path, after, path.stat().st_mode & 0o777 if before else None)
        except UnreadableReleases as error:
            raise AnsibleActionFail(f"{path}: {error}") from None
        except OSError as error:
            raise AnsibleActionFail(f"{path} cannot be written: {error.strerror}") from None
        return {"changed": after != before, "path": str(path)}
