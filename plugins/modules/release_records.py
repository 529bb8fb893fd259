#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and writes the records of an application's releases."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: release_records
short_description: Read and write the records of an application's releases
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - The last 50 releases of each application are in the ConfigMap C(releases) of its environment's namespace, which no set of objects has, so that no
    run of the site touches it.
attributes:
  check_mode: {support: full, description: Only O(step=read) and O(step=target) do something.}
  diff_mode: {support: none, description: A record is not a desired state.}
options:
  step:
    description:
      - V(read) lists them.
      - V(target) finds the release that a rollback brings back, and fails when there is none.
      - V(begin) adds a record that is under way, and gives one an end that was under way, as its run was killed.
      - V(update) changes the newest record.
    type: str
    choices: [read, target, begin, update]
    default: read
  namespace: {description: The environment's namespace., type: str, required: true}
  app: {description: The application., type: str, required: true}
  workload: {description: Name of its Deployment or CronJob., type: str, required: true}
  kind: {description: Which of the two it is., type: str, choices: [deployments, cronjobs], default: deployments}
  to: {description: "For O(step=target): number of a release, or the beginning of its digest. Empty means the one before.", type: str, default: ""}
  record:
    description: Keys of the record. For O(step=update) those that change.
    type: dict
    default: {}
  title: {description: "Title of the table, for O(step=read); without one there is none.", type: str, default: ""}
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Read the records of earlier releases
  shaka.platform.release_records:
    namespace: shaka-prod
    app: api
    workload: shaka-api
"""

RETURN = r"""
records: {description: "The releases, the newest last.", returned: success, type: list, elements: dict}
running: {description: Image of the workload; empty when there is none., returned: success, type: str}
underway: {description: "The newest record, if it has no end.", returned: success, type: dict}
target: {description: "The record that a rollback brings back, with O(step=target).", returned: success, type: dict}
migrations: {description: "Numbers of the releases since then whose migration ran.", returned: success, type: list, elements: int}
free_percent: {description: Percent of the disk of K3s that is free., returned: success, type: int}
platform_table: {description: A table for a person., returned: success, type: list, elements: dict}
"""

import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Object, pod_template
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.release import records

DATA = Path("/var/lib/rancher")
PLACES = {"deployments": "apps/v1", "cronjobs": "batch/v1"}  # kind -> API
MANAGER = "shaka.platform-releases"


def image_of(workload: Object) -> str:
    """The image of the first container of a workload; empty when there is none."""
    containers = (pod_template(workload).get("spec") or {}).get("containers") or [{}]
    return str(containers[0].get("image") or "")


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "choices": ["read", "target", "begin", "update"], "default": "read"},
            "namespace": {"type": "str", "required": True},
            "app": {"type": "str", "required": True},
            "workload": {"type": "str", "required": True},
            "kind": {"type": "str", "choices": list(PLACES), "default": "deployments"},
            "to": {"type": "str", "default": ""},
            "record": {"type": "dict", "default": {}},
            "title": {"type": "str", "default": ""},
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    given, kubectl = module.params, Kubectl(module.params["kubectl"], 20)
    space, app, step = given["namespace"], given["app"], given["step"]
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: UP017 - a server's Python may be 3.10
    try:
        stored = kubectl.find(f"/api/v1/namespaces/{space}/configmaps/{records.CONFIG_MAP}") or {}
        deployed = kubectl.find(f"/apis/{PLACES[given['kind']]}/namespaces/{space}/{given['kind']}/{given['workload']}") or {}
        data = dict(stored.get("data") or {})
        known = records.load(data.get(app, ""))
    except (Unanswered, ValueError) as error:
        module.fail_json(msg=f"the records of releases (ConfigMap {space}/{records.CONFIG_MAP}, {app}): {error}")
    running = image_of(deployed)
    changed, chosen, migrations = False, cast("records.Record | None", None), list[int]()
    if step == "target":
        try:
            ended = records.settled(known, running, now)  # as the next `begin` writes it: one that was killed at its very end has succeeded
            chosen = records.target(ended, running, given["to"])
            migrations = records.migrations_since(ended, chosen["image"])
        except records.NoRelease as error:
            module.fail_json(msg=str(error))
    elif step != "read":
        values = {str(key): str(value) for key, value in given["record"].items()}
        if step == "begin":
            known = records.begun(records.settled(known, running, now), now=now, previous=running, **values)
        elif records.underway(known):
            ends = {"finished": now} if "state" in values else {}
            known = records.changed(known, **values, **ends)
        changed = True
        if not module.check_mode:
            meta = {"name": records.CONFIG_MAP, "namespace": space}
            kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {**data, app: records.dump(known)}}
            try:
                kubectl.keep(kept, MANAGER)
            except Unanswered as error:
                module.fail_json(msg=f"the release could not be recorded: {error}")
    usage = shutil.disk_usage(DATA if DATA.exists() else "/")
    table = {"title": given["title"], "columns": records.COLUMNS, "rows": records.rows(known, running)}
    module.exit_json(
        changed=changed, records=known, running=running, underway=records.underway(known) or {}, target=chosen or {}, migrations=migrations,
        free_percent=usage.free * 100 // usage.total, platform_table=[table] if given["title"] else [],
    )  # fmt: skip


if __name__ == "__main__":
    main()
