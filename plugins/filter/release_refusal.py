# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a release may not begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import release
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain

DOCUMENTATION = r"""
name: release_refusal
short_description: Why a release is not begun
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Checks what is asked for before anything changes.
positional: environment, app, image, playbook
options:
  _input: {description: The fact C(platform_model)., type: dict, required: true}
  environment: {description: The environment., type: str, required: true}
  app: {description: The application., type: str, required: true}
  image: {description: The image., type: str, required: true}
  playbook: {description: "C(deploy), or C(rollback), whose image is found in the records.", type: str, required: true}
"""

EXAMPLES = r"""
- name: Check what is asked for
  ansible.builtin.assert:
    that: platform_model | shaka.platform.release_refusal('prod', 'api', deploy_image, 'deploy') == ''
"""

RETURN = r"""
_value: {description: "The variable, its value, the rule and the fix; empty when it may begin.", type: str}
"""


def release_refusal(model: Any, environment: str, app: str, image: str, playbook: str) -> str:
    """The filter: plain data to the pure function."""
    return release.refusal(plain(model, typed=True), str(environment), str(app), str(image), str(playbook))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_refusal": release_refusal}
