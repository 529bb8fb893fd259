# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes a project to start from; see the module of the same name for its documentation."""

from __future__ import annotations

import getpass
import shutil
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import project_sources, project_values
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.shaka.platform.plugins.plugin_utils.starting_project import ProjectError, filled_in, missing_files, write

ARGUMENT_SPEC: dict[str, Any] = {"path": {"type": "path", "required": True}}


def of_this_machine(directory: Path) -> dict[str, str]:
    """What the unit files of the nightly check say of the machine that they are made on. systemd takes a % for itself."""
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = {
        "@DIRECTORY@": str(directory),
        "@USER@": getpass.getuser(),
        "@ANSIBLE_PLAYBOOK@": str(beside) if beside.exists() else shutil.which("ansible-playbook") or "ansible-playbook",
    }
    return {word: text.replace("%", "%%") for word, text in found.items()}


class ActionModule(ControllerAction):
    """Runs on the controller alone."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        directory = Path(arguments["path"]).absolute()
        texts = filled_in(project_sources(), {**project_values(), **of_this_machine(directory)})
        try:
            missing = missing_files(directory, texts)
            if missing and not self._task.check_mode:
                write(directory, texts, missing)
        except (ProjectError, OSError) as error:
            raise AnsibleActionFail(str(error)) from error
        return {"changed": bool(missing), "path": str(directory), "files": missing}
