# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way of a release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import release
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain

DOCUMENTATION = r"""
name: release_plan
short_description: The way of a release of an application
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Its names, the candidate's pods, the users' shares, the gate and the migration.
positional: environment, app
options:
  _input: {description: The fact C(platform_model)., type: dict, required: true}
  environment: {description: The environment., type: str, required: true}
  app: {description: The application., type: str, required: true}
"""

EXAMPLES = r"""
- name: Show how a release of the API reaches its users
  ansible.builtin.debug:
    msg: "{{ (platform_model | shaka.platform.release_plan('prod', 'api')).steps }}"
"""

RETURN = r"""
_value:
  description: >-
    C(app), C(name), C(candidate), C(kind), C(namespace), C(host), C(path), C(strategy), C(trial), C(pull), C(steps), C(gate), C(migrate),
    C(config_hash).
  type: dict
"""


def release_plan(model: Any, environment: str, app: str) -> dict[str, Any]:
    """The filter: plain data to the pure function."""
    return dict(release.plan(plain(model, typed=True), str(environment), str(app)))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"release_plan": release_plan}
