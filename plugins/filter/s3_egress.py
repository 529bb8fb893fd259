# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the pods of backups may reach."""

from __future__ import annotations

DOCUMENTATION = r"""
name: s3_egress
short_description: The egress rule of a NetworkPolicy that leads to an S3 endpoint
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - An address opens itself, a Service of the cluster its namespace, a name that has private addresses these, and any other name all public addresses,
    as a NetworkPolicy knows no names. C(cidrs) of the bucket go before all that.
positional: model, resolved
options:
  _input:
    description: C(backup.s3) of an environment of the model.
    type: dict
    required: true
  model:
    description: The fact C(platform_model).
    type: dict
    required: true
  resolved:
    description: Name -> addresses, as the server knows them; the fact C(resolved) of M(shaka.platform.server_facts).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what a backup of prod may reach
  ansible.builtin.debug:
    msg: "{{ platform_model.environments.prod.backup.s3 | shaka.platform.s3_egress(platform_model, ansible_facts.resolved | default({})) }}"
"""

RETURN = r"""
_value:
  description: An item of C(spec.egress).
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model.backup import egress
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain


def s3_egress(s3: Any, model: Any, resolved: Any) -> dict[str, Any]:
    return egress(plain(s3, typed=True), model, plain(resolved, typed=True))  # it reads little of the model, whose copy would cost more


class FilterModule:
    """Filters of the backups' templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"s3_egress": s3_egress}
