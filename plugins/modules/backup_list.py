#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_list
short_description: What backups of an environment there are
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Lists the dumps of an environment in its bucket, of every server and Postgres that it has had, reads their manifests, and says of each whether it
    counts. Changes nothing.
  - A bucket that cannot be read is a finding in RV(problem), not a failure.
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: none, description: It changes nothing.}
options:
  environment: {description: Its name., type: str, required: true}
  s3: {description: "C(backup.s3) of the environment, from the fact C(platform_model).", type: dict, required: true}
  credentials:
    description: The access key and the secret key of who may list and read.
    type: list
    elements: str
    required: true
  backup_key: {description: The environment's secret C(BACKUP_KEY)., type: str, required: true}
  timeout: {description: Seconds for each question., type: int, default: 90}
"""

EXAMPLES = r"""
- name: List the backups of prod
  shaka.platform.backup_list:
    environment: prod
    s3: "{{ platform_model.environments.prod.backup.s3 }}"
    credentials: ["{{ platform_secrets.s3.ACCESS_KEY }}", "{{ platform_secrets.s3.SECRET_KEY }}"]
    backup_key: "{{ platform_secrets.prod.BACKUP_KEY }}"
"""

RETURN = r"""
backups:
  description: The newest first.
  returned: success
  type: list
  elements: dict
  contains:
    environment: {description: Its name., type: str}
    server: {description: The inventory's host that made it., type: str}
    system_identifier: {description: Postgres's own., type: str}
    backup: {description: Its stamp., type: str}
    kind: {description: C(scheduled); C(manual) or C(before-restore)., type: str}
    finished: {description: When it was complete., type: str}
    seconds: {description: How long it took., type: float}
    databases: {description: "Each one's C(name), C(bytes), C(database_bytes) and C(seconds).", type: list, elements: dict}
    flaw: {description: Why it does not count; empty for one that does., type: str}
problem: {description: Why the bucket could not be read; empty when it was., returned: success, type: str}
platform_table:
  description: A table for a person.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.backup import environment_dumps, overview
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket, Credentials, StoreError


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "environment": {"type": "str", "required": True},
            "s3": {"type": "dict", "required": True},
            "credentials": {"type": "list", "elements": "str", "required": True, "no_log": True},
            "backup_key": {"type": "str", "required": True, "no_log": True},
            "timeout": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    given = module.params
    if len(given["credentials"]) != 2:
        module.fail_json(msg="credentials are two texts: the access key and the secret key")
    bucket, name = Bucket(given["s3"], Credentials(*given["credentials"]), timeout=given["timeout"]), given["environment"]
    try:
        objects, manifests = environment_dumps.objects(bucket, name), environment_dumps.manifests(bucket, name)
    except StoreError as error:
        module.warn(str(error))
        module.exit_json(changed=False, backups=[], problem=str(error), platform_table=[])
    found = overview.backups(objects, manifests, str(given["s3"]["prefix"]), given["backup_key"])
    rows, failed = overview.rows(found)
    table = {"title": f"backups of {given['environment']}", "columns": overview.COLUMNS, "rows": rows, "failed": failed}
    module.exit_json(changed=False, backups=found, problem="", platform_table=[table])


if __name__ == "__main__":
    main()
