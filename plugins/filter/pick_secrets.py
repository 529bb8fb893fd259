# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The few secrets that a module needs, so that it is sent no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.preview_secrets import with_previews

DOCUMENTATION = r"""
name: pick_secrets
short_description: Pick some secrets by name, per environment
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description: Picks from C(platform_secrets) what a module needs. Use the result only for an argument with C(no_log).
positional: environments, names
options:
  _input: {description: C(platform_secrets)., type: dict, required: true}
  environments:
    description:
      - Names of environments, as a list or as the keys of a dictionary.
      - A dictionary may have previews among its environments, whose secrets follow from the platform's.
    type: raw
    required: true
  names:
    description: Names of secrets; one that an environment does not have is left out.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Ensure the databases, with only the database passwords sent
  shaka.platform.postgres_databases:
    environments: "{{ platform_model.environments }}"
    passwords: "{{ platform_secrets | shaka.platform.pick_secrets(platform_model.environments, ['DB_PASSWORD']) }}"
    image: "{{ platform_images.postgres }}"
"""

RETURN = r"""
_value: {description: Environment to secret name to value., type: dict}
"""


def pick_secrets(secrets: Mapping[str, Any], environments: Iterable[str], names: Iterable[str]) -> dict[str, dict[str, str]]:
    picked = list(names)
    if not isinstance(secrets, Mapping):  # a finding, after which preflight goes on
        secrets = {}
    known = with_previews(secrets, environments) if isinstance(environments, Mapping) else secrets
    groups = {name: own if isinstance(own := known.get(name), Mapping) else {} for name in environments}
    return {name: {key: str(own[key]) for key in picked if own.get(key)} for name, own in groups.items()}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"pick_secrets": pick_secrets}
