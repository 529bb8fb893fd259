# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin starting_project."""

from __future__ import annotations

DOCUMENTATION = r"""
module: starting_project
short_description: Write a project to start from
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Writes what a user of this collection needs around it, C(ansible.cfg), the inventory C(inventories/prod) that the collection ships,
    C(requirements.yml) and C(requirements.txt), C(.gitignore), a README and a nightly drift check (a workflow, and a timer of systemd).
  - Overwrites nothing. A file that is there with the same content stays; for one with other content nothing at all is written.
  - Runs on the controller and contacts no server.
options:
  path:
    description: The directory of the project; it is made where it does not exist.
    type: path
    required: true
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: Says which files would be written., support: full}
"""

EXAMPLES = r"""
- name: Ensure the project is there
  shaka.platform.starting_project:
    path: ~/platform
"""

RETURN = r"""
path:
  description: The directory.
  returned: success
  type: str
files:
  description: The files that were not there yet.
  returned: success
  type: list
  elements: str
"""
