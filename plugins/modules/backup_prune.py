#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin backup_prune."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_prune
short_description: Delete the backups that no span keeps
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Runs on the controller, with credentials that may delete and that never reach the server. The server itself deletes nothing.
  - Keeps the last backup of each of so many days, ISO weeks and months, what is younger than 48 hours, the newest O(floor), and what somebody took by
    hand or a restore took before it began, until it is named in O(delete).
  - Deletes nothing of an environment whose backups verify found wrong, of another Postgres than the one that runs now, or whose newest backup is much
    smaller than the one before. A dump without a manifest goes after a day.
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {support: full, description: Shows what would be deleted.}
  diff_mode: {support: none, description: The table shows each backup with the reason.}
options:
  server: {description: "The server whose backups these are, as its host is called in the inventory.", type: str, required: true}
  environments: {description: C(platform_model.environments)., type: dict, required: true}
  redis_copies: {description: "C(platform_model.redis_copies), each of which is called NAME/redis here.", type: dict, default: {}}
  keys: {description: "Environment, or name of a copied Redis, to its secret C(BACKUP_KEY).", type: dict, required: true}
  access_key: {description: Access key of the credentials that may delete., type: str, required: true}
  secret_key: {description: Their secret key., type: str, required: true}
  current: {description: "Environment to its running Postgres's system identifier, NAME/redis to its cluster's.", type: dict, required: true}
  failed:
    description: Environments, and NAME/redis, whose backups the last verify found wrong.
    type: list
    elements: str
    default: []
  delete:
    description: Backups to delete although they would be kept, as ENVIRONMENT/STAMP or NAME/redis/STAMP.
    type: list
    elements: str
    default: []
  floor: {description: How many of the newest stay whatever the spans say., type: int, default: 3}
  lock: {description: "The artifacts lock, for rclone.", type: dict, required: true}
  bundle: {description: The bundle on the controller; empty for none., type: str, default: ""}
  mirrors: {description: C(platform_artifact_mirrors)., type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Delete the backups that no span keeps
  shaka.platform.backup_prune:
    server: "{{ inventory_hostname }}"
    environments: "{{ platform_model.environments }}"
    keys: "{{ platform_secrets | shaka.platform.pick_secrets(platform_model.environments, ['BACKUP_KEY']) }}"
    access_key: "{{ platform_secrets.s3_keeper.ACCESS_KEY }}"
    secret_key: "{{ platform_secrets.s3_keeper.SECRET_KEY }}"
    current: {prod: "7412345678901234567"}
    lock: "{{ platform_artifacts }}"
"""

RETURN = r"""
deleted:
  description: ENVIRONMENT/STAMP of what was deleted, or would be.
  returned: success
  type: list
  elements: str
platform_findings:
  description: Why nothing was deleted of an environment.
  returned: success
  type: list
  elements: str
"""
