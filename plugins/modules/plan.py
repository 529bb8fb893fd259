# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin plan."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Compare what the site would run with the server's size
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Renders the objects of all roles of C(playbooks/site.yml) on the controller, for every environment, and adds up what they request of CPU, memory,
    disk and pods at rest and at the peak (every Deployment rolling out, every scheduled job running). No server and no cluster is contacted.
  - A finding is a total beyond the server, a container allowed more memory than the server has, one outside its namespace's LimitRange, and a quota
    that its namespace's pods exceed. Each names the variables to change. A quota that this server cannot fill is a note.
  - Needs the fact C(platform_model) of the role C(platform).
options:
  show:
    description: Print the objects and the table (V(all)), or the table only when it does not fit (V(verdict)).
    type: str
    choices: [all, verdict]
    default: all
  findings:
    description: Return the findings in RV(platform_findings) instead of failing, for a playbook that only reports.
    type: bool
    default: false
  report:
    description: File on the controller for the plan as JSON (CPU in millicores, memory and disk in bytes); empty for none.
    type: path
    default: ""
  model:
    description: The model to plan for in place of the fact C(platform_model), such as the one while a release lasts.
    type: dict
    default: {}
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: Changes nothing but its report., support: full}
"""

EXAMPLES = r"""
- name: Ensure the platform fits its server
  shaka.platform.plan:
    show: verdict
"""

RETURN = r"""
text: {description: The table., returned: success, type: str}
fit:
  description: Rows, totals, findings and notes; CPU in millicores, memory and disk in bytes.
  returned: success
  type: dict
objects:
  description: "What would be applied: C(set), C(kind), C(namespace), C(name)."
  returned: success
  type: list
  elements: dict
platform_findings:
  description: The findings.
  returned: with O(findings=true)
  type: list
  elements: str
"""
