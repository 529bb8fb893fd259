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
    counts, whether it was the last one to be restored in a drill, and when the next is due. Changes nothing.
  - A bucket that cannot be read is a finding in RV(problem), not a failure.
attributes:
  check_mode: {support: full, description: It only reads.}
  diff_mode: {support: none, description: It changes nothing.}
options:
  environment: {description: "Its name, or that of a copied Redis.", type: str, required: true}
  kind: {description: "Whether dumps of its databases, or copies of a Redis.", type: str, choices: [dumps, redis], default: dumps}
  namespace: {description: "Its namespace, where the last drill is kept.", type: str, required: true}
  backup: {description: "C(backup) of the environment, from the fact C(platform_model).", type: dict, required: true}
  credentials:
    description: The access key and the secret key of who may list and read.
    type: list
    elements: str
    required: true
  backup_key: {description: The environment's secret C(BACKUP_KEY)., type: str, required: true}
  timeout: {description: Seconds for each question., type: int, default: 90}
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: List the backups of prod
  shaka.platform.backup_list:
    environment: prod
    namespace: "{{ platform_model.environments.prod.namespace }}"
    backup: "{{ platform_model.environments.prod.backup }}"
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
    data: {description: "O(kind): C(dumps) or C(redis).", type: str}
    server: {description: The inventory's host that made it., type: str}
    system_identifier: {description: "Postgres's own, of a Redis its cluster's.", type: str}
    backup: {description: Its stamp., type: str}
    kind: {description: C(scheduled); C(manual) or C(before-restore)., type: str}
    finished: {description: When it was complete., type: str}
    seconds: {description: How long it took., type: float}
    databases: {description: "Each one's C(name), C(bytes), C(database_bytes) and C(seconds).", type: list, elements: dict}
    flaw: {description: Why it does not count; empty for one that does., type: str}
    verified: {description: "Whether its manifest is authentic, and its objects are there with their sizes.", type: bool}
    drilled: {description: "When the last drill of the environment restored it, and in how many seconds; empty for those that it was not.", type: str}
    next_due: {description: "When the environment's next backup is due, as a stamp; or that it is made by hand.", type: str}
problem: {description: Why the bucket could not be read; empty when it was., returned: success, type: str}
platform_table:
  description: A table for a person.
  returned: success
  type: list
  elements: dict
"""

import datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.backup import environment_dumps, overview
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import DRILL, DUMPS, UTC
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket, Credentials, StoreError
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "environment": {"type": "str", "required": True},
            "kind": {"type": "str", "choices": ["dumps", "redis"], "default": "dumps"},
            "namespace": {"type": "str", "required": True},
            "backup": {"type": "dict", "required": True},
            "credentials": {"type": "list", "elements": "str", "required": True, "no_log": True},
            "backup_key": {"type": "str", "required": True, "no_log": True},
            "timeout": {"type": "int", "default": 90},
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    given = module.params
    if len(given["credentials"]) != 2:
        module.fail_json(msg="credentials are two texts: the access key and the secret key")
    name, backup = given["environment"], given["backup"]
    bucket = Bucket(backup["s3"], Credentials(*given["credentials"]), timeout=given["timeout"])
    try:
        objects = environment_dumps.objects(bucket, name, given["kind"])
        manifests = environment_dumps.manifests(bucket, name, given["kind"])
    except StoreError as error:
        module.warn(str(error))
        module.exit_json(changed=False, backups=[], problem=str(error), platform_table=[])
    # a server that was lost has no drill to tell of, and its backups are listed all the same
    drill = Kubectl(given["kubectl"], 10).get(f"/api/v1/namespaces/{given['namespace']}/configmaps/{DRILL}")[0] if given["kind"] == DUMPS else None
    due = overview.next_due(backup["schedule"], backup["time_zone"], datetime.datetime.now(UTC))
    found = overview.backups(objects, manifests, str(backup["s3"]["prefix"]), given["backup_key"])
    found = overview.with_drill_and_due(found, (drill or {}).get("data") or {}, due)
    rows, failed = overview.rows(found, name, due)
    title = f"backups of {name}" if given["kind"] == DUMPS else f"copies of Redis, {name}"
    table = {"title": title, "columns": overview.COLUMNS, "rows": rows, "failed": failed}
    module.exit_json(changed=False, backups=[{"data": given["kind"], **backup} for backup in found], problem="", platform_table=[table])


if __name__ == "__main__":
    main()
