# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin dump_transfer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dump_transfer
short_description: Carry a dump between a file of the controller and a restore's pod
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - In parts of 16 MiB through the connection to the server; its disk gets nothing but the pod's own volume, which goes with the pod.
  - Both sides are compared by their SHA-256 in the end. A file on the controller is written 0600, and only once it is whole.
options:
  to:
    description: Which way.
    type: str
    choices: [controller, pod]
    required: true
  file:
    description: The file on the controller.
    type: path
    required: true
  plan:
    description: What M(shaka.platform.database_restore) returned for O(shaka.platform.database_restore#module:step=plan_copy).
    type: dict
    required: true
extends_documentation_fragment: shaka.platform.kubectl
attributes:
  action: {description: Runs on the controller and in the pod., support: full}
  check_mode: {description: Does nothing., support: none}
"""

EXAMPLES = r"""
- name: Write the dump to a file on the controller
  shaka.platform.dump_transfer:
    to: controller
    file: prod.dump
    plan: "{{ planned.plan }}"
"""

RETURN = r"""
bytes:
  description: Size of the dump.
  returned: success
  type: int
sha256:
  description: Its digest.
  returned: success
  type: str
file:
  description: The file on the controller.
  returned: success
  type: str
"""
