# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where an action puts a file on the server until its module takes it: at one place each, so that a run that is killed leaves nothing for good."""

from __future__ import annotations

from pathlib import PurePosixPath

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

FOLDER = "~/.ansible/shaka.platform"  # of a user that becomes root


class SendsFiles(ActionBase):  # type: ignore[misc]  # ansible-core has no types
    """An action whose module takes a file that the connection has put on the server."""

    def place_for(self, partial: str) -> str:
        """Where to put a file whose module wants it at `partial`: there, or where the connection's user may write. Raises AnsibleActionFail."""
        if self._connects_as_owner():
            return partial
        done = self._low_level_execute_command(f"umask 077 && mkdir -p {FOLDER} && cd {FOLDER} && pwd", sudoable=False)
        if done["rc"] != 0:
            raise AnsibleActionFail(f"the user that Ansible connects as cannot make {FOLDER} on the server: {done['stderr'].strip()}")
        return str(PurePosixPath(done["stdout"].strip().splitlines()[-1]) / PurePosixPath(partial).name)

    def _connects_as_owner(self) -> bool:
        """Whether the connection's user may write next to the destination itself."""
        return self._connection.become is None or self.get_become_option("become_user", default="root") == self._get_remote_user()
