# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter redis_acl: see plugin_utils/redis_acl.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils import redis_acl as acl

DOCUMENTATION = r"""
name: redis_acl
short_description: An environment's Redis user as a line of an ACL file
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - An allow list of commands, on the keys and channels of the environment's prefix. An instance of its own has no prefix.
positional: password
options:
  _input: {description: C(redis) of an environment of the fact C(platform_model)., type: dict, required: true}
  password: {description: The password as the file has it, type: str, required: true}
"""

EXAMPLES = r"""
- name: Show a user's line
  ansible.builtin.debug:
    msg: "{{ platform_model.environments.prod.redis | shaka.platform.redis_acl('nopass') }}"
"""

RETURN = r"""
_value: {description: The line., type: str}
"""


def redis_acl(redis: Mapping[str, Any], password: str) -> str:
    """The line of the ACL file."""
    return acl.line(redis, password)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"redis_acl": redis_acl}
