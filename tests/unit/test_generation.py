"""The secrets playbook: what is missing is generated, what is named is replaced, the rest stays, and the file is encrypted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.template import is_trusted_as_template
from ansible_collections.shaka.platform.plugins.plugin_utils.model.credentials import encrypts
from ansible_collections.shaka.platform.plugins.plugin_utils.model.generation import generate_missing, needed_names, random_value

ROOT = Path(__file__).parents[2]
GROUPS = {"prod": ["DB_PASSWORD", "STRIPE_KEY", "BACKUP_KEY"], "shared": ["ADMIN"]}


def run(found: dict[str, dict[str, str]], rotate: tuple[str, ...] = ()) -> tuple[dict[str, dict[str, str]], list[str], list[str], list[str]]:
    done = generate_missing(found, GROUPS, {}, ["STRIPE_KEY"], rotate, lambda least: f"new-{least}")
    return done.secrets, done.generated, done.rotated, done.given


def test_what_is_missing_is_generated_and_the_rest_stays() -> None:
    found = {"prod": {"DB_PASSWORD": "old", "STRIPE_KEY": "", "BACKUP_KEY": "kept"}, "s3": {"ACCESS_KEY": "kept"}}
    secrets, generated, rotated, given = run(found)
    assert secrets == {**found, "shared": {"ADMIN": "new-32"}}
    assert (generated, rotated, given) == (["shared/ADMIN"], [], ["prod/STRIPE_KEY"])


def test_one_is_rotated_by_name() -> None:
    secrets, _generated, rotated, _given = run(
        {"prod": {"DB_PASSWORD": "old", "STRIPE_KEY": "x", "BACKUP_KEY": "x"}, "shared": {"ADMIN": "kept"}}, ("prod/DB_PASSWORD",)
    )
    assert (secrets["prod"]["DB_PASSWORD"], secrets["shared"]["ADMIN"], rotated) == ("new-32", "kept", ["prod/DB_PASSWORD"])


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("prod/DB_PASSWRD", "did you mean prod/DB_PASSWORD"),
        ("prod/STRIPE_KEY", "comes from elsewhere"),
        ("prod/BACKUP_KEY", "proves who made the backups"),
    ],
)
def test_what_cannot_be_rotated_is_refused(path: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run({}, (path,))


def test_values_are_long_enough_and_never_the_same() -> None:
    assert len({random_value(32) for _turn in range(100)}) == 100
    assert len(random_value(32)) >= 64 and len(random_value(101)) >= 101


def test_an_environment_s_names_are_those_that_the_model_asks_for() -> None:
    found = needed_names(
        {"prod": {"secrets": ["JWT", "DB_PASSWORD"], "postgres": {"app_user": "app", "pgbouncer": {"enabled": True}}}, "dev": None}, {}
    )
    assert found["prod"] == ["DB_PASSWORD", "REDIS_PASSWORD", "BACKUP_KEY", "JWT", "DB_OWNER_PASSWORD", "PGBOUNCER_PASSWORD", "WAL_PASSWORD"]
    assert found["dev"] == ["DB_PASSWORD", "REDIS_PASSWORD", "BACKUP_KEY"] and found["shared"] == ["REDIS_ADMIN_PASSWORD", "HASH_KEY"]
    assert needed_names({}, {"backup": {"enabled": True}})["shared"] == ["REDIS_ADMIN_PASSWORD", "HASH_KEY", "BACKUP_KEY"]


def test_a_key_that_data_is_encrypted_with_stays_until_it_is_removed_by_hand() -> None:
    groups = {"prod": ["ENCRYPTION_KEY", "JWT_SECRET"]}
    done = generate_missing(
        {"prod": {"ENCRYPTION_KEY": "old", "JWT_SECRET": "old"}}, groups, {}, [], ["prod/ENCRYPTION_KEY", "prod/JWT_SECRET"], lambda _n: "new"
    )
    assert done.secrets == {"prod": {"ENCRYPTION_KEY": "new", "ENCRYPTION_KEY_PREVIOUS": "old", "JWT_SECRET": "new"}}
    assert done.kept == ["prod/ENCRYPTION_KEY_PREVIOUS"]
    with pytest.raises(ValueError, match=r"ENCRYPTION_KEY_PREVIOUS.*would be lost"):
        generate_missing(done.secrets, groups, {}, [], ["prod/ENCRYPTION_KEY"])


def test_the_key_of_before_a_rotation_is_never_made_anew() -> None:
    """A random one would open nothing, and keep the first rotation from keeping the one that does."""
    groups = {"prod": ["ENCRYPTION_KEY", "ENCRYPTION_KEY_PREVIOUS"]}
    assert generate_missing({}, groups, {}, [], [], lambda _n: "new").secrets == {"prod": {"ENCRYPTION_KEY": "new"}}
    done = generate_missing({"prod": {"ENCRYPTION_KEY": "old"}}, groups, {}, [], ["prod/ENCRYPTION_KEY"], lambda _n: "new")
    assert done.secrets == {"prod": {"ENCRYPTION_KEY": "new", "ENCRYPTION_KEY_PREVIOUS": "old"}}
    with pytest.raises(ValueError, match="opens what was encrypted before"):
        generate_missing(done.secrets, groups, {}, [], ["prod/ENCRYPTION_KEY_PREVIOUS"])


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *((name, True) for name in ("ENCRYPTION_KEY", "encryption_key", "APP_KEY", "SECRET_KEY_BASE", "RAILS_MASTER_KEY", "FERNET", "CRYPTO_SEED")),
        *((name, True) for name in ("MASTERKEY", "app_key2", "DATA_KEYRING", "AES256_SECRET", "PASSWORD_PEPPER", "HASHIDS_SALT", "PASSPHRASE")),
        *((name, False) for name in ("BASALT", "KEYCLOAK_TOKEN", "SALTED_TOKEN")),
        *((name, False) for name in ("JWT_SECRET", "DB_PASSWORD", "HASH_KEY", "BACKUP_KEY", "APP_KEY_PREVIOUS", "MONKEY_TOKEN", "SESSION_SECRET")),
    ],
)
def test_a_key_by_which_data_may_be_encrypted_is_known_by_its_name(name: str, kept: bool) -> None:
    assert encrypts(name) is kept


def test_the_playbook_encrypts_with_the_vault_password_and_shows_no_value(tmp_path: Path) -> None:
    variables = tmp_path / "inventory/group_vars/all"
    variables.mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("k3s_servers: {hosts: {server: {}}}\n")
    (variables / "platform.yml").write_text("platform_environments: {prod: {}}\n")
    (variables / "secrets.yml").write_text("platform_secrets: {prod: {DB_PASSWORD: canary-of-a-value-that-was-there}}\n")
    (tmp_path / "password").write_text("vault-password\n")
    vault = ["--vault-password-file", str(tmp_path / "password")]
    command = ["ansible-playbook", "playbooks/secrets.yml", "-i", str(tmp_path / "inventory"), *vault, "--diff", "-vvv"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    file = variables / "secrets.yml"
    assert file.read_text().startswith("$ANSIBLE_VAULT;") and file.stat().st_mode & 0o777 == 0o600
    shown = subprocess.run(["ansible-vault", "view", *vault, str(file)], capture_output=True, text=True, check=True).stdout
    values = [value for names in yaml.safe_load(shown)["platform_secrets"].values() for value in names.values()]
    assert len(values) == 6 and "canary-of-a-value-that-was-there" in values
    assert "5 generated" in said
    assert [value for value in values if value in said] == []


def test_a_rewritten_file_keeps_its_vault_id_and_the_password_that_opened_it(tmp_path: Path) -> None:
    """With dev's password given first, prod's file must not become dev's."""
    variables = tmp_path / "inventory/group_vars/all"
    variables.mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("k3s_servers: {hosts: {server: {}}}\n")
    (variables / "platform.yml").write_text("platform_environments: {prod: {}}\n")
    file = variables / "secrets.yml"
    file.write_text("platform_secrets: {}\n")
    for name in ("dev", "prod"):
        (tmp_path / name).write_text(f"password-of-{name}\n")
    both = [word for name in ("dev", "prod") for word in ("--vault-id", f"{name}@{tmp_path / name}")]
    command = ["ansible-playbook", "playbooks/secrets.yml", "-i", str(tmp_path / "inventory"), *both]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, env={**environment, **more}, capture_output=True, text=True, check=False)

    refused = run()
    assert refused.returncode and "dev, prod are all given as vault ids" in refused.stdout and file.read_text() == "platform_secrets: {}\n"
    assert run(ANSIBLE_VAULT_ENCRYPT_IDENTITY="prod").returncode == 0
    before = file.read_text()
    assert before.startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
    command += ["-e", "rotate=prod/DB_PASSWORD"]
    assert run().returncode == 0
    assert file.read_text() != before and file.read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
    view = ["ansible-vault", "view", "--vault-id", f"prod@{tmp_path / 'prod'}", str(file)]
    assert "DB_PASSWORD" in subprocess.run(view, capture_output=True, text=True, check=True).stdout


ODD = r"""
platform_secrets:
  prod:
    DB_PASSWORD: a-template-{{ base }}
    REDIS_PASSWORD: !unsafe "braces{{ and {%"
    STRIPE_KEY: |
      -----BEGIN KEY-----
      ação 🤙 \\ "quoted" 'single'
      -----END KEY-----
    BACKUP_KEY: "0123"
    TAB: " \\t ends "
"""


def test_values_in_a_rewritten_file_are_what_they_were(tmp_path: Path) -> None:
    """Among them one with braces, which without !unsafe would be a template from then on; and one that is a template."""
    variables = tmp_path / "inventory/group_vars/all"
    variables.mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("k3s_servers: {hosts: {server: {}}}\n")
    (variables / "platform.yml").write_text("platform_environments: {prod: {}}\nbase: {of: dict}\n")
    (variables / "secrets.yml").write_text(ODD)
    (tmp_path / "password").write_text("vault-password\n")
    command = ["ansible-playbook", "playbooks/secrets.yml", "-i", str(tmp_path / "inventory"), "--vault-password-file", str(tmp_path / "password")]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    vault = VaultLib(secrets=[("default", VaultSecret(b"vault-password"))])
    text = vault.decrypt((variables / "secrets.yml").read_bytes()).decode()
    (tmp_path / "was.yml").write_text(ODD)
    (tmp_path / "is.yml").write_text(text)
    was, now = (
        DataLoader().load_from_file(str(tmp_path / name), trusted_as_template=True)["platform_secrets"]["prod"] for name in ("was.yml", "is.yml")
    )
    assert {name: now[name] for name in was} == was and now["STRIPE_KEY"].count("\n") == 3
    marked = {name: is_trusted_as_template(value) for name, value in now.items() if "{{" in value}
    assert marked == {"DB_PASSWORD": True, "REDIS_PASSWORD": False}


def test_a_value_that_is_not_text_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    variables = tmp_path / "inventory/group_vars/all"
    variables.mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("k3s_servers: {hosts: {server: {}}}\n")
    (variables / "platform.yml").write_text("platform_environments: {prod: {}}\n")
    (variables / "secrets.yml").write_text("platform_secrets: {prod: {DB_PASSWORD: 0123456701}}\n")
    (tmp_path / "password").write_text("vault-password\n")
    command = ["ansible-playbook", "playbooks/secrets.yml", "-i", str(tmp_path / "inventory"), "--vault-password-file", str(tmp_path / "password")]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "platform_secrets.prod.DB_PASSWORD: is not text; quote it" in " ".join(done.stdout.split())
    assert (variables / "secrets.yml").read_text() == "platform_secrets: {prod: {DB_PASSWORD: 0123456701}}\n"


def test_what_the_chosen_profile_needs_is_generated_too(tmp_path: Path) -> None:
    variables = tmp_path / "inventory/group_vars/all"
    variables.mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("k3s_servers: {hosts: {server: {}}}\n")
    large = {"environments": {"prod": {"postgres": {"app_user": "app", "pgbouncer": {"enabled": True}}}}, "redis": {"backup": {"enabled": True}}}
    inventory = {"platform_environments": {"prod": {"postgres": {"user": "own"}}}, "platform_profiles": {"large": large}, "platform_profile": "large"}
    (variables / "platform.yml").write_text(yaml.safe_dump(inventory))
    (tmp_path / "password").write_text("vault-password\n")
    command = ["ansible-playbook", "playbooks/secrets.yml", "-i", str(tmp_path / "inventory"), "--vault-password-file", str(tmp_path / "password")]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, capture_output=True, text=True, check=True)
    text = VaultLib(secrets=[("default", VaultSecret(b"vault-password"))]).decrypt((variables / "secrets.yml").read_bytes()).decode()
    secrets = yaml.safe_load(text)["platform_secrets"]
    assert {"DB_OWNER_PASSWORD", "PGBOUNCER_PASSWORD"} <= secrets["prod"].keys() and "BACKUP_KEY" in secrets["shared"]
