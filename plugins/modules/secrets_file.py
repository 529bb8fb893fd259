#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_file
short_description: Complete and encrypt the inventory's secrets
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Generates the secrets that an inventory lacks, replaces those named, and writes the file encrypted with the vault password of the command line.
  - A file that SOPS has encrypted, or whose name ends in C(.sops.yml) or C(.sops.yaml), is encrypted by the program C(sops) instead. Unchanged values
    keep their encrypted text, and an encrypted file keeps its recipients.
  - Runs on the controller. Neither its result nor its output contains a value, and no value is written to a plain file.
attributes:
  check_mode: {support: full, description: Names what would be generated.}
  diff_mode: {support: none, description: A difference would show values.}
options:
  path: {description: "The file, with C(platform_secrets) in it.", type: path, required: true}
  environments:
    description: C(platform_environments) of the inventory.
    type: dict
    required: true
  redis: {description: C(platform_redis) of the inventory., type: dict, default: {}}
  minimum: {description: C(platform_secret_minimum)., type: dict, default: {}}
  given:
    description: Names whose values come from elsewhere; they are not generated.
    type: list
    elements: str
    default: []
  rotate:
    description: C(GROUP/NAME) of secrets to replace.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Ensure every secret has a value, and the file is encrypted
  shaka.platform.secrets_file:
    path: "{{ inventory_dir }}/group_vars/all/secrets.yml"
    environments: "{{ platform_environments }}"
    given: [STRIPE_SECRET_KEY]
"""

RETURN = r"""
generated:
  description: Names that had no value.
  returned: success
  type: list
  elements: str
  sample: [prod/DB_PASSWORD]
rotated: {description: Names that have a new value., returned: success, type: list, elements: str}
given:
  description: Names that still lack a value from elsewhere.
  returned: success
  type: list
  elements: str
kept:
  description: Names of the values of before that stay, since data is encrypted with them.
  returned: success
  type: list
  elements: str
  sample: [prod/ENCRYPTION_KEY_PREVIOUS]
encrypted: {description: Whether the file was plain text before., returned: success, type: bool}
"""
