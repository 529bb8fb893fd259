# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Completes the inventory's secrets and encrypts them; see the module of the same name for its documentation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.constants import config
from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import VaultLib, VaultSecretsContext, is_encrypted, parse_vaulttext_envelope
from ansible.template import is_trusted_as_template
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.shaka.platform.plugins.plugin_utils.model import sops
from ansible_collections.shaka.platform.plugins.plugin_utils.model.credentials import flat
from ansible_collections.shaka.platform.plugins.plugin_utils.model.generation import generate_missing, needed_names
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain
from ansible_collections.shaka.platform.plugins.plugin_utils.whole_file import replace_file

HEAD = "---\n# Made by the playbook shaka.platform.secrets. To read or change: ansible-vault edit\n"
NO_PASSWORD = "there is no vault password to encrypt with: give --vault-password-file or --ask-vault-pass (or set vault_password_file in ansible.cfg)"
WHICH_PASSWORD = (
    "{names} are all given as vault ids, and the file is not encrypted yet: say for which one, by ANSIBLE_VAULT_ENCRYPT_IDENTITY=NAME "
    "or vault_encrypt_identity in ansible.cfg"
)
ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "environments": {"type": "dict", "required": True},
    "redis": {"type": "dict", "default": {}},
    "minimum": {"type": "dict", "default": {}},
    "given": {"type": "list", "elements": "str", "default": []},
    "rotate": {"type": "list", "elements": "str", "default": []},
}


class Literal(str):
    """Text that Ansible does not take for a template, as the tag !unsafe says."""

    __slots__ = ()


class Writer(yaml.SafeDumper):
    """Writes variables for Ansible."""


Writer.add_representer(Literal, lambda writer, text: writer.represent_scalar("!unsafe", str(text)))


def as_written(value: Any) -> Any:
    """Plain values, but with !unsafe kept where it makes a difference: without it a password with braces would be another one."""
    if isinstance(value, Mapping):
        return {plain(key, typed=True): as_written(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_written(item) for item in value]
    text = plain(value, typed=True)
    literal = isinstance(text, str) and any(mark in text for mark in ("{{", "{%", "{#")) and not is_trusted_as_template(value)
    return Literal(text) if literal else text


class ActionModule(ControllerAction):
    """Runs on the controller alone. The result contains no value."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        path = Path(arguments["path"])
        try:
            file = self._file(path)
            content = file.content
            if not isinstance(content.get("platform_secrets") or {}, Mapping):
                raise AnsibleActionFail(f"{path} is not 'platform_secrets: {{...}}'")
            problems = Problems()
            present = flat(content.get("platform_secrets"), problems)
            if problems:  # they would be left out
                raise AnsibleActionFail("\n".join(f"{problem.path}: {problem.text}" for problem in problems))
            done = generate_missing(
                present,
                needed_names(arguments["environments"], arguments["redis"]),
                arguments["minimum"],
                arguments["given"],
                [part.strip() for part in arguments["rotate"] if part.strip()],
            )
            new = [*done.generated, *done.rotated, *done.kept]
            changed = bool(new or not file.encrypted)
            if changed and not self._task.check_mode:
                file.write(done.secrets, [plain(path, typed=True) for path in new])
        except (ValueError, sops.SopsError) as error:
            raise AnsibleActionFail(str(error)) from error
        return {
            "changed": changed,
            "generated": done.generated,
            "rotated": done.rotated,
            "given": done.given,
            "kept": done.kept,
            "encrypted": changed and not file.encrypted,
        }

    def _file(self, path: Path) -> SecretsFile:
        """The file, by the way it is encrypted or will be. A file for the vault is refused beside one for SOPS."""
        content = self._loader.load_from_file(str(path), cache="none", trusted_as_template=True) if path.exists() else {}
        if not isinstance(content, Mapping):
            raise AnsibleActionFail(f"{path} is not 'platform_secrets: {{...}}'")
        if sops.is_sops(path, content):
            return SopsFile(path, content)
        for other in (path.with_name(path.stem + suffix) for suffix in sops.SUFFIXES):
            if other.exists():
                raise AnsibleActionFail(f"{other.name} is beside {path}: two files set the same variable; keep one (-e secrets_file={other})")
        return VaultFile(path, content)


class SecretsFile:
    """A file of variables, one of which is `platform_secrets`."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path, self.content, self.encrypted = path, content, False

    def write(self, secrets: Mapping[str, Any], new: Collection[str]) -> None:
        """Encrypt in memory and replace the file by a rename: no disk gets the plain text. `new`: GROUP/NAME of each new value."""
        raise NotImplementedError

    def _whole(self, secrets: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.content, "platform_secrets": secrets}


class VaultFile(SecretsFile):
    """Encrypted by ansible-vault. A rewritten file keeps its vault id and the password that opened it, so the same people can read it."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        super().__init__(path, content)
        self.encrypted = path.exists() and is_encrypted(path.read_bytes())

    def write(self, secrets: Mapping[str, Any], new: Collection[str]) -> None:
        vault_secrets = VaultSecretsContext.current().secrets
        if not vault_secrets:
            raise AnsibleActionFail(NO_PASSWORD)
        vault = VaultLib(secrets=vault_secrets)
        if self.encrypted:
            present = self.path.read_bytes()
            identity = parse_vaulttext_envelope(present)[3]
            _text, _opened_by, secret = vault.decrypt_and_get_vault_id(present)
        else:
            identity, secret = self._identity(vault_secrets)
        text = HEAD + yaml.dump(as_written(self._whole(secrets)), Dumper=Writer, sort_keys=False, default_flow_style=False)
        replace_file(self.path, vault.encrypt(text, secret=secret, vault_id=identity), 0o600)

    @staticmethod
    def _identity(vault_secrets: list[tuple[str, Any]]) -> tuple[str, Any]:
        """The vault id that a new file is encrypted for, with its password."""
        named = dict(vault_secrets)
        chosen = config.get_config_value("DEFAULT_VAULT_ENCRYPT_IDENTITY") or (next(iter(named)) if len(named) == 1 else "")
        if chosen not in named:
            raise AnsibleActionFail(WHICH_PASSWORD.format(names=", ".join(named)))
        return chosen, named[chosen]


class SopsFile(SecretsFile):
    """Encrypted by SOPS, for the file's present recipients or those of `.sops.yaml`."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.encrypted = sops.encrypted(content)
        self.path, self.content = path, sops.decrypt(path) if self.encrypted else content

    def write(self, secrets: Mapping[str, Any], new: Collection[str]) -> None:
        if self.encrypted:
            values = plain(secrets, typed=True)
            sops.update(self.path, {("platform_secrets", group, name): values[group][name] for group, name in (path.split("/", 1) for path in new)})
        else:
            sops.create(self.path, plain(self._whole(secrets), typed=True))
