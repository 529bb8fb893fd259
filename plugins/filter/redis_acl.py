# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter redis_acl: see plugin_utils/redis_acl.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import redis_acl as acl

DOCUMENTATION = r"""
name: redis_acl
short_description: Write an environment's Redis user as a line of an ACL file
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The user may run an allow list of commands, on the keys and channels with the environment's prefix. In a dedicated instance there is no prefix.
positional: digests
options:
  _input:
    description: C(redis) of an environment of the fact C(platform_model).
    type: dict
    required: true
  digests:
    description: The SHA-256 of its passwords, or references to them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show a user's line
  ansible.builtin.debug:
    msg: "{{ platform_model.environments.prod.redis | shaka.platform.redis_acl(['password' | ansible.builtin.hash('sha256')]) }}"
"""

RETURN = r"""
_value: {description: The line., type: str}
"""


def redis_acl(redis: Mapping[str, Any], digests: Iterable[str]) -> str:
    """The line of the ACL file."""
    return acl.line(redis, digests)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"redis_acl": redis_acl}
