#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lists the moments that can be recovered, or recovers one into new databases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: point_in_time
short_description: Recover an environment's databases as they were at a moment
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Looks in the environment's bucket for base backups and WAL of every Postgres that the environment has had, and checks that they lead to the
    moment.
  - With an O(identity), a Job recovers a Postgres of its own to that moment and restores its databases into new ones beside the live ones, which
    are not touched. Without one, only what can be recovered is returned.
  - The identity and the credentials of S3 go through a pipe into the pod's memory.
attributes:
  check_mode: {support: full, description: Looks whether the moment can be recovered.}
  diff_mode: {support: none, description: Nothing that is there changes.}
options:
  environment: {description: "An environment, of C(environments) of the fact C(platform_model).", type: dict, required: true}
  moment:
    description: ISO 8601 with its zone, such as V(2026-11-24T10:00:00Z), or V(latest).
    type: str
    default: latest
  origin:
    description: C(SERVER/SYSTEM_IDENTIFIER), to look at the archive of that Postgres alone.
    type: str
    default: ""
  credentials: {description: C(access_key) and C(secret_key) that read the bucket., type: dict, required: true}
  backup_key: {description: The environment's BACKUP_KEY., type: str, required: true}
  identity: {description: The age identity that opens the backups., type: str, default: ""}
  rclone: {description: The program., type: path, default: /var/lib/shaka/tools/rclone}
  deadline: {description: Seconds that a recovery may take., type: int, default: 14400}
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: See which moments can be recovered
  shaka.platform.point_in_time:
    environment: "{{ platform_model.environments.prod }}"
    credentials: {access_key: "{{ key }}", secret_key: "{{ secret }}"}
    backup_key: "{{ platform_secrets.prod.BACKUP_KEY }}"
  check_mode: true
"""

RETURN = r"""
archives:
  description: What there is of each Postgres, with C(server), C(system_identifier), C(bases), C(windows) of time and C(flaws).
  returned: success
  type: list
  elements: dict
moment: {description: "The moment, in UTC.", returned: success, type: str}
base: {description: The base backup that it is recovered from., returned: success, type: str}
wal_objects: {description: Objects of WAL that it needs., returned: success, type: int}
databases: {description: Database -> the new one that it was restored into., returned: success, type: dict}
log: {description: What the recovery said., returned: success, type: list, elements: str}
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.backup import points
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import UTC
from ansible_collections.shaka.platform.plugins.module_utils.backup.recovery_job import RecoveryFailed, RecoveryJob
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket, Credentials, StoreError
from ansible_collections.shaka.platform.plugins.module_utils.backup.wal import SHOWN, Unrecoverable
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl, Unanswered

ARGUMENT_SPEC: dict[str, Any] = {
    "environment": {"type": "dict", "required": True},
    "moment": {"type": "str", "default": points.LATEST},
    "origin": {"type": "str", "default": ""},
    "credentials": {"type": "dict", "required": True, "no_log": True},
    "backup_key": {"type": "str", "required": True, "no_log": True},
    "identity": {"type": "str", "default": "", "no_log": True},
    "rclone": {"type": "path", "default": "/var/lib/shaka/tools/rclone"},
    "deadline": {"type": "int", "default": 14400},
    **ARGUMENTS,
}


def run(params: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The module's result. Raises ValueError, StoreError, Unrecoverable, RecoveryFailed, Unanswered."""
    env, s3 = params["environment"], params["environment"]["backup"]["s3"]
    credentials = Credentials(params["credentials"]["access_key"], params["credentials"]["secret_key"])
    asked = points.requested(params["moment"])
    if asked and asked > datetime.datetime.now(UTC):
        raise ValueError(f"{params['moment']} has not come yet")
    found = points.stores(Bucket(s3, credentials, Path(params["rclone"])), params["origin"], s3["prefix"], env["name"], params["backup_key"])
    chosen = points.choose(found, asked)
    result: dict[str, Any] = {
        "changed": False,
        "archives": points.summary(found),
        "moment": f"{chosen.moment.astimezone(UTC):{SHOWN}}",
        "base": chosen.base.stamp,
        "wal_objects": len(chosen.way.pieces),
        "databases": {},
        "log": [],
    }
    if params["identity"] and not check:
        job = RecoveryJob(Kubectl(params["kubectl"], 60), env, chosen, params["deadline"])
        result["log"] = job.run(s3, credentials, params["identity"])
        result |= {"changed": True, "databases": job.databases}
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except (ValueError, StoreError, Unrecoverable, RecoveryFailed, Unanswered) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
