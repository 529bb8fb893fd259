# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter resolve_model: see plugin_utils/model/resolve.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import interface
from ansible_collections.shaka.platform.plugins.plugin_utils.model.resolve import resolve
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain

DOCUMENTATION = r"""
name: resolve_model
short_description: The inventory's model, with defaults, checks and derived values
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Applies the roles' argument_specs to the inventory's variables and their dictionaries, checks the rules across them, and fills in what follows
    from names.
  - Collects every problem instead of stopping at the first. A secret's value is in none of them.
positional: lock
options:
  _input:
    description: What P(shaka.platform.role_variables#lookup) returns, and C(hosts) (host to its address).
    type: dict
    required: true
  lock:
    description: What P(shaka.platform.artifacts_lock#lookup) knows of the lock; C(images), C(lacks), C(pending) and C(flaws) are read.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what an inventory leaves to do
  ansible.builtin.debug:
    msg: "{{ (variables | shaka.platform.resolve_model(lock)).problems }}"
"""

RETURN = r"""
_value:
  description: C(model), C(problems) (list of text) and C(message) (all of them for the screen).
  type: dict
"""


def resolve_model(variables: Any, lock: Any) -> dict[str, Any]:
    """The filter: plain data to the pure function, its result as a dictionary."""
    if not isinstance(variables, Mapping) or not isinstance(lock, Mapping):
        raise AnsibleFilterError("resolve_model takes the variables and what is known of the lock, both dictionaries")
    now = datetime.now(UTC).isoformat()
    known = {"now": now, "bundle_lacks": lock["lacks"], "image_pending": lock["pending"], "lock_flaws": lock["flaws"]}
    result = resolve({**plain(variables), **plain(known)}, interface(), plain(lock["images"]))
    return {
        "model": result.model,
        "problems": [f"{problem.path}: {problem.text}" for problem in result.problems],
        "message": result.message(),
        "warnings": result.warnings,
    }


class FilterModule:
    """Filters of the inventory's model."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"resolve_model": resolve_model}
