# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs, as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pod_status
short_description: A table of what runs in the platform's environments
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - A line for each Deployment and StatefulSet, with its pods that are ready, their restarts, the image, the hosts and what is wrong.
  - A preview is a line as well, with the time that it has left.
  - With O(counters), a second table has what each container asked for of memory, what it takes now, took at most, and what to set instead.
  - C(shaka status) makes the same tables.
positional: model, counters
options:
  _input:
    description: Pods, Deployments and StatefulSets of all namespaces.
    type: list
    elements: dict
    required: true
  model:
    description: The fact C(platform_model).
    type: dict
    required: true
  counters:
    description: The kernel's files C(memory.current), C(memory.peak) and C(memory.stat) of all containers, as C(grep -H) prints them.
    type: str
"""

EXAMPLES = r"""
- name: Show what runs
  ansible.builtin.debug:
    msg: "{{ found.resources | shaka.platform.pod_status(platform_model) }}"
"""

RETURN = r"""
_value:
  description: The table.
  type: str
"""

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.everyday.inventory import described
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday.status import labelled, status
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain


def pod_status(items: Any, model: Any, counters: Any = None) -> str:
    """The filter."""
    raw = plain(model, typed=True)
    environments = {name: {"namespace": env["namespace"], "hosts": described(env)["apps"]} for name, env in raw["environments"].items()}
    for name, env in (raw.get("previews") or {}).items():
        environments[labelled(name, env["preview"]["expires"], time.time())] = {"namespace": env["namespace"], "hosts": described(env)["apps"]}
    return status(plain(items, typed=True), str(raw["name"]), environments, None if counters is None else str(counters))


class FilterModule:
    """The filter of playbooks/status.yml."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pod_status": pod_status}
