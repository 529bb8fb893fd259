# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an inventory sets of the roles' variables."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_variables
short_description: The values of the roles' variables, as far as they are set
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The values of the variables that roles declare in their argument_specs, so that all are checked before the first role changes anything. The entry
    point is called C(inventory), so that Ansible does not check the same again at each role's start; C(main) where a role runs without the role
    platform.
  - A value that cannot be known yet, because it needs the server's facts, is left out. It is checked when the role platform runs with them, which is
    before the first role of the play. The role platform's own variables, C(platform_*), need none.
options: {}
"""

EXAMPLES = r"""
- name: Show the packages that the inventory asks for
  ansible.builtin.debug:
    msg: "{{ lookup('shaka.platform.role_variables').host_packages }}"
"""

RETURN = r"""
_list:
  description:
    - One dictionary, name to value. C(names) lists the names that begin as a role's variables do and that no role declares, C(awaits_facts) the
      declared ones whose values cannot be known yet, C(plain_secrets) the inventory's files that hold secrets in plain text, C(misread) what YAML
      takes for something else than was written, by its path.
  type: list
  elements: dict
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import is_trusted_as_template
from ansible_collections.shaka.platform.plugins.plugin_utils import collection
from ansible_collections.shaka.platform.plugins.plugin_utils.model.plain_secrets import plain_files
from ansible_collections.shaka.platform.plugins.plugin_utils.model.written import misread
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain as evaluated

SECRETS = "platform_secrets"
COMMENT = "holds {#, with which a comment begins that Ansible leaves out; write !unsafe in front of the value"


def leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, text) of each text in a variable that Ansible would evaluate as a template, before it does."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    elif isinstance(value, str) and is_trusted_as_template(value):
        yield path, value


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible-core has no type information
    """See the documentation."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        given = variables or {}
        interface, texts = collection.interface(), collection.text_keys()
        platform = {name: given[name] for name in interface.variables if name in given}
        try:
            values = {name: self._templar.template(value) for name, value in platform.items()}
            not_as_written = dict(flaw for name, value in values.items() for flaw in misread(value, name, hidden=name == SECRETS, texts=texts))
        except AnsibleError:
            flaws = [flaw for name, value in platform.items() for flaw in self._flaws(value, name)]
            if not flaws:
                raise
            raise AnsibleError("\n".join(flaws)) from None  # Ansible's own message shows the line of the file, which may be a secret's
        not_as_written |= {path: COMMENT for name, value in platform.items() for path, text in leaves(value, name) if "{#" in text}
        unknown: list[str] = []
        for role, options in interface.roles.items():
            for name in options.keys() & given.keys():
                try:
                    values[name] = self._templar.template(given[name])
                except AnsibleError:  # it needs the server's facts, or another role's
                    unknown += [] if self._is_default(role, name, given[name]) else [name]
        declared = {*interface.variables, *(name for options in interface.roles.values() for name in options)}
        prefixes = tuple(f"{role}_" for role in (collection.SHARED, *interface.roles))
        undeclared = [name for name in given if name in collection.MOVED or (name.startswith(prefixes) and name not in declared)]
        plain = plain_files(Path(given["inventory_dir"])) if given.get("inventory_dir") else []
        return [{**values, "names": undeclared, "awaits_facts": unknown, "misread": not_as_written, "plain_secrets": plain}]

    def _flaws(self, value: Any, name: str) -> Iterator[str]:
        """What of a variable Ansible cannot evaluate, by its path; of a secret without the reason, which may hold a part of it."""
        for path, text in leaves(value, name):
            try:
                evaluated(self._templar.template(text))
            except AnsibleError as error:
                reason = "" if name == SECRETS else f" ({str(error).splitlines()[0].rstrip('.')})"
                yield f"{path}: is a template to Ansible that cannot be evaluated{reason}; write !unsafe in front of the value if it is none"

    def _is_default(self, role: str, name: str, value: Any) -> bool:
        """Whether a value is the role's own, which needs no check."""
        return bool(value == collection.role_variables(self._loader, collection.ROLES / role, "defaults").get(name))
