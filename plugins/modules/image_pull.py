#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pulls an image ahead of the pods that need it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: image_pull
short_description: Pull an image ahead of the pods that need it
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Asks the server's container runtime for an image, and has it pulled unless it is there. So a Deployment whose old pods end before the new ones
    start is not down for as long as a pull takes, or for good when it fails.
  - Logins and mirrors are those of K3s's C(registries.yaml), as for the kubelet.
attributes:
  check_mode: {support: full, description: Says whether it would pull.}
  diff_mode: {support: none, description: An image has no text to compare.}
options:
  image: {description: "The image, as in a pod.", type: str, required: true}
  seconds: {description: "For how long a pull may take.", type: int, default: 900}
  crictl:
    description: Command of the container runtime's client.
    type: list
    elements: str
    default: [/usr/local/bin/k3s, crictl]
"""

EXAMPLES = r"""
- name: Ensure the server has the image
  shaka.platform.image_pull:
    image: ghcr.io/example/api@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
"""

RETURN = r"""
msg: {description: "Why it could not be pulled, in the words of the registry or the runtime.", returned: failure, type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import commands_of
from ansible_collections.shaka.platform.plugins.module_utils.release import image


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "seconds": {"type": "int", "default": 900},
            "crictl": {"type": "list", "elements": "str", "default": ["/usr/local/bin/k3s", "crictl"]},
        },
        supports_check_mode=True,
    )
    given, execute = module.params, commands_of(module)
    wanted = not image.present(execute, given["crictl"], given["image"])
    problem = image.pull_problem(execute, given["crictl"], given["image"], given["seconds"]) if wanted and not module.check_mode else ""
    if problem:
        module.fail_json(msg=f"Nothing was changed. The image {given['image']} could not be pulled: {problem}")
    module.exit_json(changed=wanted)


if __name__ == "__main__":
    main()
