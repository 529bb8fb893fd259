# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin refuse."""

from __future__ import annotations

DOCUMENTATION = r"""
module: refuse
short_description: End the run with one readable list of problems
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Fails when the list is not empty, and prints O(message) once as plain text. Runs on the controller and contacts no server.
options:
  problems:
    description: What to change, as C(path) and C(reason) joined by a colon. Nothing happens when it is empty.
    type: list
    elements: str
    required: true
  message:
    description: The problems as one text for the screen; without it they are joined to the error message.
    type: str
    default: ""
  findings:
    description: Return the problems in RV(platform_findings) instead of failing, for a playbook that only reports.
    type: bool
    default: false
  warnings:
    description: What is allowed and dangerous; shown as warnings.
    type: list
    elements: str
    default: []
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: Changes nothing., support: full}
"""

EXAMPLES = r"""
- name: Check the inventory
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
