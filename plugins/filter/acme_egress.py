# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What cert-manager may reach."""

from __future__ import annotations

DOCUMENTATION = r"""
name: acme_egress
short_description: The egress rules of a NetworkPolicy that lead to an ACME directory
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The directory is opened as P(shaka.platform.s3_egress#filter) opens an endpoint. Besides it, ports 80 and 443 of all public addresses are open, at
    one of which the answer to a challenge is looked for when the server stands behind others.
positional: model, resolved
options:
  _input:
    description: The directory's URL.
    type: str
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
- name: Show what cert-manager may reach
  ansible.builtin.debug:
    msg: "{{ platform_model.acme.server | shaka.platform.acme_egress(platform_model, ansible_facts.resolved | default({})) }}"
"""

RETURN = r"""
_value:
  description: Items of C(spec.egress).
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model.acme import egress
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain


def acme_egress(server: Any, model: Any, resolved: Any) -> list[dict[str, Any]]:
    """The filter."""
    return egress(str(server), model, plain(resolved, typed=True))  # it reads little of the model, whose copy would cost more


class FilterModule:
    """Filters of the templates of cert-manager."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"acme_egress": acme_egress}
