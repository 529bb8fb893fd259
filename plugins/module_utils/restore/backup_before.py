# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A backup of what a restore is going to replace, from the CronJob that also makes the scheduled ones."""

from __future__ import annotations

import copy
import json

from ansible_collections.shaka.platform.plugins.module_utils.conventions import POSTGRES_BACKUP
from ansible_collections.shaka.platform.plugins.module_utils.engine.readiness import condition
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore.choice import BEFORE_RESTORE

KIND = "shaka.platform/backup-kind"  # annotation of a backup's pod
WITHOUT = "to restore without one: -e restore_backup_first=false"


class NoBackupBefore(Exception):
    """There is no backup of what is there now; nothing was changed."""


def take(kubectl: Kubectl, namespace: str, stamp: str, cronjob: str = POSTGRES_BACKUP) -> bool:
    """Whether the backup is complete; the first call starts it. Raises NoBackupBefore, Unanswered.

    :arg stamp: of the restore.
    """
    name = f"{cronjob}-before-{stamp.lower()}"
    job = kubectl.find(f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}")
    if job is None:
        _start(kubectl, namespace, name, cronjob)
        return False
    if condition(job, "Failed").get("status") == "True":
        raise NoBackupBefore(f"the backup of what is there now failed: {_reason(kubectl, namespace, name, job)}; {WITHOUT}")
    return condition(job, "Complete").get("status") == "True"


def _start(kubectl: Kubectl, namespace: str, name: str, of: str) -> None:
    cronjob = kubectl.find(f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{of}")
    if cronjob is None:
        raise NoBackupBefore(f"{namespace} has no CronJob {of} to back up what is there now: run the site (--tags backup); {WITHOUT}")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": of, "uid": cronjob["metadata"]["uid"], "controller": True}
    spec = copy.deepcopy(cronjob["spec"]["jobTemplate"]["spec"])
    metadata = spec["template"].setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), KIND: BEFORE_RESTORE}
    labels = (cronjob["spec"]["jobTemplate"].get("metadata") or {}).get("labels") or {}
    # the CronJob's history limits count it, and remove it in time
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]},
        "spec": spec,
    }
    ok, output = kubectl.run("create", "--filename=-", text=json.dumps(job))
    if not ok:
        raise NoBackupBefore(f"the Job {name} was refused: {output}; {WITHOUT}")


def _reason(kubectl: Kubectl, namespace: str, name: str, job: dict[str, object]) -> str:
    """The last line of its log, else what the Job itself says."""
    ok, output = kubectl.run("logs", f"--namespace={namespace}", f"job/{name}", "--tail=1")
    return output.strip() if ok and output.strip() else str(condition(job, "Failed").get("message") or "no reason given")
