"""Two servers in one inventory, each with images of its own and a fit plan of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import missing, missing_from, read, text, with_sum

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "roles/artifacts/files/artifacts.lock.yml"
OWN = f"mirror.test/postgres:15@sha256:{'1' * 64}"
API = {name: f"ghcr.io/acme/api@sha256:{name[0] * 64}" for name in ("a", "b")}
VARIABLES = {
    "platform_bundle": "",
    "platform_preflight_only": False,
    "platform_artifacts_locked": True,
    "platform_artifact_mirrors": {},
    "platform_image_overrides": {},
    "platform_model": {"images": ["postgres"], "registries": {}, "application_images": {"api_prod": API["a"]}},
}


def artifacts(folder: Path, steps: str, one: dict[str, Any], two: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run a task file of the role for two servers. The lock has all sums but that of Postgres's image."""
    shipped = lock = read(SHIPPED)
    for item in missing(lock, ["postgres"], with_bundled=True):
        lock = with_sum(lock, item, f"{'sha256:' if item.kind == 'images' else ''}{'ab' * 32}")
    (folder / "artifacts.lock.yml").write_text(text(missing_from(shipped, lock)))
    hosts = {"all": {"hosts": {"one": one, "two": two}, "vars": VARIABLES}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    role = {"ansible.builtin.include_role": {"name": "shaka.platform.artifacts", "tasks_from": steps}}
    shown = {"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} has {{ platform_images.postgres }}"}}
    play = {"hosts": "all", "gather_facts": False, "any_errors_fatal": steps == "bundle", "tasks": [role, shown]}
    (folder / "play.yml").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(folder / "hosts.yml"), str(folder / "play.yml")]
    command += ["-e", f"bundle_path={folder}/bundle"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_what_the_lock_lacks_of_the_second_server_is_refused_too(tmp_path: Path) -> None:
    done = artifacts(tmp_path, "main", {"platform_image_overrides": {"postgres": OWN}}, {})
    assert f"one has {OWN}" in done.stdout, done.stdout
    assert "two has" not in done.stdout and "the lock has no sum of: postgres" in done.stdout, done.stdout


def test_a_bundle_that_would_lack_the_images_of_the_second_server_is_refused(tmp_path: Path) -> None:
    own = {"platform_model": {**VARIABLES["platform_model"], "application_images": {"api_prod": API["b"]}}}  # type: ignore[dict-item]
    done = artifacts(tmp_path, "bundle", {}, own)
    said = " ".join(done.stdout.split())
    assert done.returncode == 2 and f"here of one, and lacks {API['b']}, which two has" in said, done.stdout
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("servers", "named"), [(["one"], "reports/fit.json"), (["one", "two"], "reports/fit.one.json")])
def test_each_of_several_servers_has_its_fit_plan(servers: list[str], named: str) -> None:
    tasks = yaml.safe_load((ROOT / "roles/preflight/tasks/main.yml").read_text())
    written = next(task["shaka.platform.plan"]["report"] for task in tasks if "shaka.platform.plan" in task)
    variables = {"platform_report_dir": "reports", "inventory_dir": "inv", "inventory_hostname": "one", "ansible_play_hosts_all": servers}
    assert Templar(loader=DataLoader(), variables=variables).template(trust_as_template(written)) == named
