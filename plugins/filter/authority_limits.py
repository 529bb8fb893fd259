# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter authority_limits: see plugin_utils/model/authority_limits.py."""

from __future__ import annotations

DOCUMENTATION = r"""
name: authority_limits
short_description: Find certificates that their authority would refuse to issue now
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Let's Encrypt issues 5 certificates for the same set of names in 7 days, and takes no order for a name that it could not prove 5 times in an hour.
  - Counts from what the cluster knows, for certificates that cert-manager would order now. Also names orders that an authority has refused until a
    moment that is still to come.
positional: model
options:
  _input:
    description: The fact C(issuance) of M(shaka.platform.server_facts); nothing is known, and no problem, when it is null.
    type: dict
    required: true
  model:
    description: The fact C(platform_model).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what the authority would refuse
  ansible.builtin.debug:
    msg: "{{ (ansible_facts.issuance | shaka.platform.authority_limits(platform_model)).problems }}"
"""

RETURN = r"""
_value:
  description: C(problems), what it would refuse; and C(warnings), what would use up the last of a limit. Both are lists of text.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model.authority_limits import limit_findings
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain


def authority_limits(issuance: Any, model: Any) -> dict[str, list[str]]:
    """The filter."""
    return limit_findings(plain(issuance, typed=True), plain(model, typed=True))._asdict()


class FilterModule:
    """Filters of the role preflight."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"authority_limits": authority_limits}
