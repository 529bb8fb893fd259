# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Implements the lookup rendered."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rendered
short_description: A role's template, rendered
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The text of a file in a role's folder C(templates), rendered with the variables that the caller sees. The builtin lookup C(template) does the same
    with a copy of all variables, which with a large inventory takes longer than the rendering itself.
options:
  _terms:
    description: The templates' names.
    required: true
"""

EXAMPLES = r"""
- name: Show the packet filter's rules
  ansible.builtin.debug:
    msg: "{{ lookup('shaka.platform.rendered', 'firewall.nft.j2') }}"
"""

RETURN = r"""
_raw:
  description: Each one's text.
  type: list
  elements: str
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible-core has no type information
    """See the documentation."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        return [self._rendered(term, variables or {}) for term in terms]

    def _rendered(self, name: str, variables: Mapping[str, Any]) -> Any:
        path = self.find_file_in_search_path(variables, "templates", name)
        if not path:
            raise AnsibleError(f"there is no template {name}")
        templar = self._templar.copy_with_new_env(searchpath=[str(Path(path).parent)])
        return templar.template(trust_as_template(self._loader.get_text_file_contents(path)), escape_backslashes=False)
