# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an inventory sets of the roles' variables, and what each role takes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_variables
short_description: The variables of the collection's roles, with what the inventory sets of them
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - For each role with argument_specs, its options and the values of all variables that carry its name as prefix, so that
    a mistake is found before the first role changes anything. The entry point is called C(inventory), so that Ansible does not check the same again
    at each role's start; C(main) where a role runs without the role platform.
  - A value that cannot be known yet, because it needs the server's facts, is left out. It is checked when the role platform runs with them, which is
    before the first role of the play.
options:
  except:
    description: Roles to leave out.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what is set of the role host
  ansible.builtin.debug:
    msg: "{{ lookup('shaka.platform.role_variables').host['values'] }}"
"""

RETURN = r"""
_list:
  description: One dictionary, role name to C(options), C(values), and C(unknown), the names whose values cannot be known yet.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.shaka.platform.plugins.plugin_utils import collection


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible-core has no type information
    """See the documentation."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        roles = {role: collection.variables_of(role) for role in collection.argument_specs() if role not in self.get_option("except")}
        return [{role: {"options": options, **self._values(role, variables or {})} for role, options in roles.items()}]

    def _values(self, role: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        unknown: list[str] = []
        defaults = collection.role_variables(self._loader, collection.ROLES / role, "defaults")
        for name in variables:
            if name.startswith(f"{role}_"):
                try:
                    values[name] = self._templar.template(variables[name])
                except AnsibleError:
                    if variables[name] != defaults.get(name):  # a default of the role itself needs no check
                        unknown.append(name)
        return {"values": values, "unknown": unknown}
