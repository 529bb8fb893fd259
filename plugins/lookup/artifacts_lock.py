# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The artifacts lock that a run begins with."""

from __future__ import annotations

DOCUMENTATION = r"""
name: artifacts_lock
short_description: The artifacts lock that is given, as plain data
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The lock of the bundle, or that of the collection with what the inventory's C(artifacts.lock.yml) adds to it. Reads files of the controller only;
    M(shaka.platform.artifacts_lock) resolves what is missing.
options:
  _terms: {description: The collection's lock (one path)., type: list, elements: path, required: true}
  inventory: {description: "Directory of the inventory, whose file adds to the lock.", type: path, required: true}
  bundle: {description: Directory of the bundle; empty for none., type: str, default: ""}
  overrides: {description: Logical name to the reference that the inventory names in place of the lock's., type: dict, default: {}}
  images: {description: Logical names of the images that the platform uses., type: list, elements: str, default: []}
"""

EXAMPLES = r"""
- name: Show which images the lock has
  ansible.builtin.debug:
    msg: "{{ lookup('shaka.platform.artifacts_lock', 'roles/artifacts/files/artifacts.lock.yml', inventory=inventory_dir).images }}"
"""

RETURN = r"""
_list:
  description:
    - One dictionary with C(lock), its C(images) (their logical names), C(references) (name to reference) and C(missing) (what it has no sum of).
    - C(lacks) has the files that the bundle should have and has not, C(pending) is true when the bundle is still to be made, and C(flaws) says of a
      lock that was left out why.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import given_lock, images, missing, references


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible-core has no type information
    """See the documentation."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        bundle, overrides = self.get_option("bundle"), self.get_option("overrides")
        found = given_lock(Path(terms[0]), Path(self.get_option("inventory")), Path(bundle) if bundle else None)
        return [
            {
                "lock": found.lock,
                "images": images(found.lock),
                "references": references(found.lock, overrides, self.get_option("images")),
                "missing": [item.label for item in missing(found.lock, overrides)],
                "lacks": found.lacks,
                "pending": found.pending,
                "flaws": found.flaws,
            }
        ]
