"""The tasks of an export, up to the first module that asks the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins import OURS, lay_out, run_tasks

ASKED = '#!/usr/bin/python\n# WANT_JSON\nprint(\'{"failed": true, "msg": "the server is asked"}\')\n'


@pytest.mark.parametrize(("file", "says"), [("prod.dump", "the server is asked"), ("nowhere/prod.dump", "in a directory that is there")])
def test_a_file_that_cannot_be_written_is_refused_before_the_dump_is_made(tmp_path: Path, file: str, says: str) -> None:
    modules = {f"{OURS}/plugins/modules/{name}.py": ASKED for name in ("database_restore", "dump_transfer")}
    lay_out(tmp_path, ("roles/restore", "plugins/module_utils", "plugins/plugin_utils"), modules)
    model = {"all_environments": {"prod": {"postgres": {"database": "shaka_production"}, "backup": {"mask": []}}}}
    done = run_tasks(tmp_path, "restore", "export", {"platform_model": model, "export_environment": "prod", "export_file": file})
    assert done.returncode == 2 and says in " ".join((done.stdout + done.stderr).split()), done.stdout + done.stderr
