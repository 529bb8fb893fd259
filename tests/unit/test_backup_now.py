"""The tasks of a backup that is taken now, with modules that answer as a cluster does in which each job ends well."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from stand_ins import lay_out, run_tasks

STORED, BARE = {"s3": {"endpoint": "https://s3.test"}}, {"s3": {"endpoint": ""}}
JOB = {"metadata": {"name": "job", "namespace": "shaka-prod", "annotations": {"backup-of": "prod"}}}
STATUS = {"status": {"succeeded": 1, "conditions": [{"type": "Complete"}]}}
TOLD = {"stamp": "20261126T020000Z", "databases": []}
ANSWERS = {
    "CronJob": [
        {"metadata": {"name": "postgres-backup", "namespace": "shaka-prod", "uid": "u"}, "spec": {"jobTemplate": {"metadata": {}, "spec": {}}}}
    ],
    "Job": [{**JOB, **STATUS}],
    "Pod": [{"metadata": {"name": "pod", "namespace": "shaka-prod", "creationTimestamp": "1", "ownerReferences": [{"name": "job"}]}}],
}
MODULE = """#!/usr/bin/python
# WANT_JSON
import json, sys
given = json.load(open(sys.argv[1]))
print(json.dumps({{"changed": False, "resources": {answers!r}.get(given.get("kind"), []), "log_lines": ['backup ' + {told!r}]}}))
"""


def backup(folder: Path, environments: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    answer = MODULE.format(answers=ANSWERS, told=json.dumps(TOLD))
    lay_out(folder, ["."], {f"kubernetes/core/plugins/modules/{name}.py": answer for name in ("k8s", "k8s_info", "k8s_log")})
    model = {"environments": {name: {"name": name, "namespace": f"shaka-{name}", "backup": kind} for name, kind in environments.items()}}
    return run_tasks(folder, "backup", "now", {"platform_model": {**model, "redis_copies": {}}, "backup_deadline_seconds": 0}, *arguments)


def test_an_environment_without_a_bucket_is_left_out(tmp_path: Path) -> None:
    """The site makes no CronJob of it."""
    done = backup(tmp_path, {"dev": BARE, "prod": STORED})
    assert done.returncode == 0 and "prod 20261126T020000Z" in done.stdout, done.stdout


def test_where_there_is_none_the_variable_is_named(tmp_path: Path) -> None:
    done = backup(tmp_path, {"dev": BARE})
    assert done.returncode == 2 and "There are no backups of dev: fill in platform_s3.endpoint" in " ".join(done.stdout.split()), done.stdout


def test_in_check_mode_nothing_is_waited_for(tmp_path: Path) -> None:
    done = backup(tmp_path, {"prod": STORED}, "--check")
    assert done.returncode == 0 and "Wait until" not in done.stdout, done.stdout
