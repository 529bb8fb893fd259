# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Redis servers of a platform with their users: the shared one, and those of environments that have their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model.redis_acl import user

DOCUMENTATION = r"""
name: redis_servers
short_description: The Redis servers of a platform with their ACL users
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - For the modules M(shaka.platform.redis_users) and M(shaka.platform.application_logins).
  - The shared Redis has the users of all environments, also in a run of some; an environment's own Redis is in it when the environment is part of
    the run.
options:
  _input: {description: The fact C(platform_model)., type: dict, required: true}
"""

EXAMPLES = r"""
- name: Show who uses which Redis
  ansible.builtin.debug:
    msg: "{{ platform_model | shaka.platform.redis_servers }}"
"""

RETURN = r"""
_value:
  description: One dictionary per server, C(namespace) and C(users).
  type: list
  elements: dict
"""


def redis_servers(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The servers in the order of the environments."""
    servers: dict[str, list[dict[str, Any]]] = {}
    for name, env in model["all_environments"].items():
        redis = env["redis"]
        if not redis["dedicated"] or name in model["environments"]:
            application = {"namespace": env["namespace"], "api": {"name": env["api"]["name"]}, "config_hash": env["config_hash"]}
            whose = {"environment": name, "in_run": name in model["environments"], "application": application}
            servers.setdefault(redis["namespace"], []).append({**whose, "name": redis["user"], **user(redis)})
    return [{"namespace": namespace, "users": users} for namespace, users in servers.items()]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"redis_servers": redis_servers}
