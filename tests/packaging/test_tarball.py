"""The built collection as a user has it: installed from its tarball into an empty home, without this repository's ansible.cfg."""

from __future__ import annotations

import re
import shutil
import stat
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.built import ROOT, Home

BIN = Path(sys.executable).parent
# What a user of the collection gets, at the top.
SHIPPED = {
    "CHANGELOG.md", "COPYING", "FILES.json", "MANIFEST.json", "README.md", "SECURITY.md", "bin", "bindep.txt", "changelogs", "docs", "inventories",
    "meta", "playbooks", "plugins", "roles",
}  # fmt: skip
# Of a new project's inventory, what only its owner knows.
TO_FILL_IN = re.compile(
    r"platform_environments\.\w+\.api\.(image|host)|ansible_host of \S+|platform_acme\.email|platform_s3\.(endpoint|bucket)"
    r"|platform_backup_recipient|platform_image_overrides\.backup|platform_secrets\.\w+"
)


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Home(tmp_path_factory.mktemp("builder"), BIN).build(tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def home(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("home"), BIN)
    done = made.install(tarball)
    assert done.returncode == 0 and "does not support" not in done.stdout, done.stdout
    return made


@pytest.fixture(scope="module")
def project(home: Home) -> Path:
    done = home.play("init", "-e", "path=platform")
    assert done.returncode == 0 and "changed=1 " in done.stdout, done.stdout
    return home.path / "platform"


def contents(directory: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def findings(text: str) -> list[str]:
    """The lines that preflight ends with, but for their number."""
    lines = text.strip().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("report: "))
    return lines[start + 1 : -1]


def test_the_tarball_holds_what_a_user_needs_and_nothing_of_this_machine(tarball: Path, tmp_path: Path) -> None:
    with tarfile.open(tarball) as archive:
        archive.extractall(tmp_path, filter="data")
    texts = contents(tmp_path)
    assert {name.split("/")[0] for name in texts} == SHIPPED
    assert {name.split("/")[1] for name in texts if name.startswith("inventories/")} == {"prod"}
    here = [str(ROOT), str(BIN), str(Path.home() / ".pyenv"), str(Path.home() / ".cache")]
    assert [name for name, text in texts.items() if any(place.encode() in text for place in here)] == []
    assert not any(re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY|AGE-SECRET-KEY-1[0-9A-Z]{20}", text) for text in texts.values())


def test_a_new_project_says_what_is_to_be_filled_in_and_nothing_else(home: Home, project: Path) -> None:
    done = home.play("preflight", cwd=project)
    assert done.returncode == 3, done.stdout
    warned = [line for line in done.stdout.splitlines() if "[WARNING]" in line]
    assert len(warned) == 1 and "NO BACKUPS of dev, staging, prod: platform_s3.endpoint is not filled in" in warned[0], warned
    assert "advice" not in done.stdout
    told = findings(done.stdout)
    assert told and [line for line in told if not TO_FILL_IN.match(line)] == []
    assert done.stdout.strip().endswith(f"preflight: {len(told)} findings")
    assert (project / "reports/prod/preflight.json").is_file() and (project / "reports/prod/fit.json").is_file()


def test_the_projects_inventory_is_the_collections(project: Path) -> None:
    shipped, copied = contents(ROOT / "inventories/prod"), contents(project / "inventories/prod")
    assert copied == shipped
    assert stat.S_IMODE((project / "inventories/prod/group_vars/all/secrets.yml").stat().st_mode) == 0o600


def test_the_project_names_the_versions_it_was_made_with(project: Path) -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert yaml.safe_load((project / "requirements.yml").read_text())["collections"] == [{"name": "shaka.platform", "version": version}]
    installed = (project / "requirements.txt").read_text().splitlines()
    assert f"ansible-core{yaml.safe_load((ROOT / 'meta/runtime.yml').read_text())['requires_ansible']}" in installed
    assert {re.split("[>=~ ]", line)[0] for line in installed if not line.startswith("#")} == {"ansible-core", "jmespath", "jsonschema"}
    assert not any("@" in word and word.strip("@").isupper() for text in contents(project).values() for word in text.decode().split())


def test_the_nightly_check_runs_the_command_of_this_machine_in_the_project(project: Path) -> None:
    service = (project / "nightly/shaka-drift.service").read_text().splitlines()
    assert f"WorkingDirectory={project}" in service and f'ExecStart="{BIN / "ansible-playbook"}" shaka.platform.drift' in service
    steps = yaml.safe_load((project / ".github/workflows/drift.yml").read_text())["jobs"]["drift"]["steps"]
    assert any(step.get("run", "").strip().endswith("ansible-playbook shaka.platform.drift") for step in steps)


def test_nothing_of_a_project_is_overwritten(home: Home, project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    again = home.play("init", "-e", f"path={project}")
    assert again.returncode == 0 and "changed=0 " in again.stdout
    for name in ("README.md", "inventories/prod/hosts.yml"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("mine\n")
    before = contents(copy)
    refused = home.play("init", "-e", f"path={copy}")
    assert refused.returncode == 2 and contents(copy) == before
    assert "README.md" in refused.stdout and "inventories/prod/hosts.yml" in refused.stdout


def test_secrets_are_made_and_encrypted_in_the_project(home: Home, project: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(project, mine)
    (mine / ".vault-password").write_text("a password of the test\n")
    (mine / "ansible.cfg").write_text((mine / "ansible.cfg").read_text().replace("# vault_password_file", "vault_password_file"))
    made = home.play("secrets", cwd=mine)
    assert made.returncode == 0, made.stdout
    assert (mine / "inventories/prod/group_vars/all/secrets.yml").read_text().startswith("$ANSIBLE_VAULT;")
    left = home.play("preflight", cwd=mine)
    missing = [line for line in findings(left.stdout) if line.startswith("platform_secrets")]
    assert left.returncode == 3 and len(missing) == 3, missing  # those of dev, staging and prod that come from elsewhere
    assert all(not re.search("DB_PASSWORD|JWT_SECRET", line) for line in missing), "what the playbook makes"


def test_without_an_ansible_cfg_one_message_has_all_the_lines(home: Home, project: Path, tmp_path: Path) -> None:
    inventory = str(project / "inventories/prod")
    bare = home.play("drift", "-i", inventory, cwd=tmp_path)
    assert bare.returncode == 2
    lines = bare.stdout.partition("Add these lines:")[2].partition("`ansible-playbook shaka.platform.init")[0]
    (tmp_path / "ansible.cfg").write_text(lines)
    assert {"[defaults]", "[inventory]"} <= set(lines.splitlines())
    then = home.play("preflight", "-i", inventory, cwd=tmp_path)
    assert then.returncode == 3 and findings(then.stdout), then.stdout


@pytest.mark.parametrize("name", ["site", "verify", "secrets"])
def test_an_inventory_without_a_server_is_an_error_without_an_ansible_cfg_too(home: Home, tmp_path: Path, name: str) -> None:
    """The case that Ansible passes over: a mistyped inventory, and a limit."""
    done = home.play(name, "-i", "inventories/prdo", "--limit", "microsaas-server", cwd=tmp_path)
    assert done.returncode not in (0, 3) and "no server in its group k3s_servers" in done.stdout


def test_keeping_files_on_the_server_is_refused_before_it_is_contacted(home: Home, project: Path) -> None:
    done = home.play("site", cwd=project, ANSIBLE_KEEP_REMOTE_FILES="1")
    assert done.returncode == 2 and "ANSIBLE_KEEP_REMOTE_FILES" in done.stdout and "Check the inventory, before" not in done.stdout


def test_the_console_script_runs_from_the_installed_collection_and_through_a_link(home: Home, project: Path, tmp_path: Path) -> None:
    (tmp_path / "shaka").symlink_to(home.path / ".ansible/collections/ansible_collections/shaka/platform/bin/shaka")
    done = home.run(str(tmp_path / "shaka"), "psql", "prdo", cwd=project)
    assert done.returncode == 2 and done.stdout == "shaka: 'prdo' is not an environment; did you mean prod? known: dev, prod, staging\n"
    assert not list(home.path.rglob("everyday/__pycache__")), "which may lie where only root writes"
