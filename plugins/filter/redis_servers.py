# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Redis servers of a platform with their users: the shared one, and those of environments that have their own."""

from __future__ import annotations

from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.model_types import (
    Model,
    PasswordReader,
    PasswordReaders,
    RedisServerGiven,
    RedisUserGiven,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.model.redis_acl import user

DOCUMENTATION = r"""
name: redis_servers
short_description: The Redis servers of a platform with their ACL users
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - For the modules M(shaka.platform.redis_users) and M(shaka.platform.application_logins).
  - The shared Redis has the users of all environments and previews, also in a run of some; an environment's own Redis is in it when the environment
    is part of the run.
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
  description: >-
    One dictionary per server, C(namespace), C(users), by which group of secrets it is C(copied), and which previews are over (C(ended), C(complete)).
  type: list
  elements: dict
"""


def redis_servers(model: Model) -> list[RedisServerGiven]:
    """The servers in the order of the environments."""
    servers: dict[str, list[RedisUserGiven]] = {}
    for name, env in {**model["all_environments"], **(model.get("all_previews") or {})}.items():
        redis = env["redis"]
        in_run = name in model["environments"] or name in (model.get("previews") or {})
        if not redis["dedicated"] or in_run:
            apps: dict[str, PasswordReader] = {
                key: {"name": app["name"], "path": app["path"], "schedule": app["schedule"], "config_hash": app["config_hash"], "uses": app["uses"]}
                for key, app in env["apps"].items()
            }
            applications: PasswordReaders = {"namespace": env["namespace"], "reads": env["reads"], "apps": apps}
            given: RedisUserGiven = {"environment": name, "in_run": in_run, "applications": applications, "name": redis["user"], **user(redis)}
            servers.setdefault(redis["namespace"], []).append(given)
    ended, complete = model.get("ended_previews") or [], bool(model.get("complete"))
    copied = {copy["namespace"]: name for name, copy in (model.get("all_redis_copies") or {}).items()}
    return [
        {"namespace": namespace, "users": users, "copied": copied.get(namespace, ""), "ended": ended, "complete": complete}
        for namespace, users in servers.items()
    ]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"redis_servers": redis_servers}
