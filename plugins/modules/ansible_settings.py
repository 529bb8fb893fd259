# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin ansible_settings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ansible_settings
short_description: Check what the platform relies on of Ansible's own settings
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Fails when C(ansible.cfg) lacks a line without which a result would be hidden, and prints every line to add at once, with its reason. Where the
    lines that are missing would only be better, it prints them as advice.
  - Fails when the connection of a host does not pipeline, because Ansible would then write modules to files on the server, with the secrets among
    their arguments. The playbooks of this collection set C(ansible_pipelining).
  - Runs on the controller and contacts no server.
options:
  report:
    description:
      - The kind of a run whose result is its exit code and its report, C(drift), C(verify) or C(preflight). Its callback must be enabled, and an
        inventory that cannot be read must be an error.
    type: str
    default: ""
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: Changes nothing., support: full}
"""

EXAMPLES = r"""
- name: Check Ansible's own settings
  shaka.platform.ansible_settings:
    report: drift
"""

RETURN = r"""
"""
