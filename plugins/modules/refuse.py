# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin refuse."""

from __future__ import annotations

DOCUMENTATION = r"""
module: refuse
short_description: End the run with one readable list of what to change
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Fails when there is something in the list, and prints O(message) once as plain text. Runs on the controller and contacts nothing.
options:
  problems:
    description: What to change, as C(path) and C(reason) joined by a colon. Empty means that nothing happens.
    type: list
    elements: str
    required: true
  message:
    description: The same as one text for the screen; without it the problems are the error message.
    type: str
    default: ""
  findings:
    description: Return the problems in RV(platform_findings) instead of failing, for a playbook that only reports.
    type: bool
    default: false
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: Changes nothing., support: full}
"""

EXAMPLES = r"""
- name: Refuse an inventory that cannot be built
  shaka.platform.refuse:
    problems: ["platform_acme.email: is not filled in"]
"""

RETURN = r"""
platform_findings:
  description: The problems, with O(findings=true).
  returned: with O(findings=true)
  type: list
  elements: str
"""
