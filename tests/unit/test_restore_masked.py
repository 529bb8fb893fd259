"""The tasks of a restore into another environment, up to the first step that changes something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stand_ins import OURS, lay_out, run_tasks

# The plan is of the databases in its place; every other step is one too far.
MODULE = """#!/usr/bin/python
# WANT_JSON
import json, sys
step = json.load(open(sys.argv[1]))["step"]
plan = {"backup": "20261126T020000Z", "environment": "staging", "databases": %s}
print(json.dumps({"plan": plan, "empty": False, "problem": ""} if step == "plan" else {"failed": True, "msg": "it goes on"}))
"""
SHOP, REPORTS = {"name": "shop", "masked": True}, {"name": "reports", "masked": False}


@pytest.mark.parametrize(
    ("databases", "given", "says"),
    [
        ([SHOP], {}, "it goes on"),
        ([SHOP, REPORTS], {}, "reports of prod would come to staging as it is"),
        ([SHOP, REPORTS], {"restore_unmasked": True}, "it goes on"),
        ([SHOP, REPORTS], {"restore_into": "", "restore_confirm": "prod"}, "it goes on"),
    ],
)
def test_what_no_mask_is_for_comes_to_another_environment_only_when_it_may(
    tmp_path: Path, databases: list[object], given: dict[str, object], says: str
) -> None:
    module = MODULE % json.dumps(databases).replace("true", "True").replace("false", "False")
    own = ("roles/restore", "plugins/module_utils", "plugins/plugin_utils")
    lay_out(tmp_path, own, {f"{OURS}/plugins/modules/database_restore.py": module})
    (tmp_path / "key.txt").write_text("")
    backup = {"mask": ["update customers set email = ''"], "reader": {"access_key": "s3/ACCESS_KEY", "secret_key": "s3/SECRET_KEY"}}
    model = {"all_environments": {name: {"postgres": {"database": "shop"}, "backup": backup} for name in ("prod", "staging")}}
    asked = {"restore_environment": "prod", "restore_into": "staging", "restore_confirm": "staging", "restore_identity_file": "key.txt", **given}
    secrets = {"prod": {"BACKUP_KEY": "b"}, "s3": {"ACCESS_KEY": "a", "SECRET_KEY": "s"}}
    done = run_tasks(tmp_path, "restore", "bring", {"platform_model": model, "platform_secrets": secrets, **asked})
    assert done.returncode == 2 and says in " ".join((done.stdout + done.stderr).split()), done.stdout + done.stderr
