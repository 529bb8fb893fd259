# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin run_lock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Let one run at a time work on a server
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Takes the server's lock for as long as this C(ansible-playbook) runs. When another run has it, the task fails and names that run's playbook, user,
    host, process and start.
  - A process on the controller holds it over a connection. It ends with C(ansible-playbook), so that the lock of a run that ended, failed or was
    killed is free at once. When the controller loses its network or its power, sshd notices, within C(ClientAliveInterval) times
    C(ClientAliveCountMax).
  - The lock is on C(/run/shaka) of the server, which only root can open.
  - Works over the connections C(ssh) and C(local); over another it warns and goes on.
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: "Takes no lock, as nothing will be changed.", support: full}
"""

EXAMPLES = r"""
- name: Ensure no other run works on the server
  shaka.platform.run_lock:
"""

RETURN = r"""
"""
