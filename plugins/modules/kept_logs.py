#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The logs of pods that are about to be replaced."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kept_logs
short_description: Keep the logs of an application's pods beyond their end
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The kubelet removes a pod's logs with the pod. This gives the log files a second name in C(/var/lib/shaka/logs/<namespace>/<app>/<time>), readable
    by root only, as hard links. So what the pods write until their end is in them, too, until the kubelet rotates the file.
  - Where C(/var/log) is a file system of its own it makes copies, which end with the moment of the call.
  - C(shaka logs --before-deploy) shows them.
  - Where they cannot be kept, such as on a full disk, it warns, since a release must not depend on them.
attributes:
  check_mode: {support: full, description: Keeps nothing.}
  diff_mode: {support: none, description: Logs are not shown.}
options:
  namespace:
    description: The namespace of the pods.
    type: str
    required: true
  app:
    description: The application in the inventory.
    type: str
    required: true
  deployments:
    description: Names of the Deployments whose pods end.
    type: list
    elements: str
    required: true
  deploys:
    description: Of how many deploys the logs are kept.
    type: int
    default: 5
  mebibytes:
    description: How many MiB the logs of an application take together; the last deploy's are kept at any size.
    type: int
    default: 200
"""

EXAMPLES = r"""
- name: Keep the logs of the pods that this deploy replaces
  shaka.platform.kept_logs:
    namespace: shaka-prod
    app: api
    deployments: [shaka-api]
"""

RETURN = r"""
files:
  description: The log files, as they are called where they are kept.
  returned: success
  type: list
  elements: str
  sample: [shaka-api-7d4b9c6f5-x2x7k_api_0.log]
removed:
  description: The deploys whose logs were let go of, by their times.
  returned: success
  type: list
  elements: str
  sample: [20260301T120000Z]
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.server import kept_logs

ARGUMENT_SPEC: dict[str, Any] = {
    "namespace": {"type": "str", "required": True},
    "app": {"type": "str", "required": True},
    "deployments": {"type": "list", "elements": "str", "required": True},
    "deploys": {"type": "int", "default": 5},
    "mebibytes": {"type": "int", "default": 200},
}


def run(params: dict[str, Any], check_mode: bool, now: str, root: Path = Path("/")) -> dict[str, Any]:
    """The result of the module; raises OSError."""
    files = kept_logs.written(root, params["namespace"], params["deployments"])
    place = kept_logs.shelf(root, params["namespace"], params["app"])
    removed: list[str] = []
    changed = bool(files)
    if files and not check_mode:
        changed = kept_logs.keep(files, place, now)
        removed = kept_logs.let_go(place, params["deploys"], params["mebibytes"])
    return {"changed": changed, "files": sorted(files), "removed": removed}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    except OSError as error:
        # A full disk is a reason to go back to what ran before, not to stay.
        module.warn(f"the logs of {module.params['namespace']}/{module.params['app']} could not be kept, and end with their pods: {error}")
        result = {"changed": False, "files": [], "removed": []}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
