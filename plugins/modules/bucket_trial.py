#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin bucket_trial."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bucket_trial
short_description: Try what the keys of the backups may do in their buckets
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Runs on the controller. With the server's keys it writes, reads, lists, overwrites and deletes one object (C(preflight), in the folder of an
    environment's backups); with C(s3_reader) it reads and lists, with C(s3_keeper) it lists and deletes. It asks whether the bucket has versions and
    Object Lock.
  - One trial for each different bucket and keys, all at the same time, at most 20 seconds. A service that the controller does not reach is a
    warning.
  - A finding is what does not work - writing, reading back, listing, deleting by the keeper - and, where others than the server's keys read or
    delete, that the server's may read, overwrite or delete. One pair of keys for everything is a warning that says what it means.
  - Where no keys may delete the object it stays, and is used again.
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {support: full, description: "It only lists and asks, and writes nothing."}
  diff_mode: {support: none, description: The table shows what was tried.}
options:
  server: {description: "The server, as its host is called in the inventory.", type: str, required: true}
  environments: {description: C(platform_model.environments)., type: dict, required: true}
  secrets:
    description: Of C(platform_secrets) the groups and names that C(backup.writer) and C(backup.reader) of the environments name, and C(s3_keeper).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Try the buckets
  shaka.platform.bucket_trial:
    server: "{{ inventory_hostname }}"
    environments: "{{ platform_model.environments }}"
    secrets: "{{ platform_secrets | shaka.platform.pick_secrets(['s3', 's3_reader', 's3_keeper'], ['ACCESS_KEY', 'SECRET_KEY']) }}"
"""

RETURN = r"""
platform_findings:
  description: What does not work, or should be refused and is not.
  returned: success
  type: list
  elements: str
platform_table:
  description: "A table for each bucket: which keys may what."
  returned: success
  type: list
  elements: dict
"""
