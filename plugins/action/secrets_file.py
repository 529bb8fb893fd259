# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Completes the inventory's secrets and encrypts them; see the module of the same name for its documentation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import VaultLib, VaultSecretsContext, is_encrypted
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.shaka.platform.plugins.plugin_utils.credentials import flat
from ansible_collections.shaka.platform.plugins.plugin_utils.generation import complete, wanted

HEAD = "---\n# Made by playbooks/secrets.yml. To read or change: ansible-vault edit\n"
NO_PASSWORD = "there is no vault password to encrypt with: give --vault-password-file or --ask-vault-pass (or set vault_password_file in ansible.cfg)"
ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "environments": {"type": "dict", "required": True},
    "minimum": {"type": "dict", "default": {}},
    "given": {"type": "list", "elements": "str", "default": []},
    "rotate": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ControllerAction):
    """Runs on the controller alone. No value is in the result."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        path = Path(arguments["path"])
        encrypted = path.exists() and is_encrypted(path.read_bytes())
        content = self._loader.load_from_file(str(path), cache="none") if path.exists() else {}
        if not isinstance(content, Mapping) or not isinstance(content.get("platform_secrets") or {}, Mapping):
            raise AnsibleActionFail(f"{path} is not 'platform_secrets: {{...}}'")
        try:
            done = complete(
                {group: {name: "".join(text) for name, text in names.items()} for group, names in flat(content.get("platform_secrets")).items()},
                wanted(arguments["environments"]),
                arguments["minimum"],
                arguments["given"],
                [part.strip() for part in arguments["rotate"] if part.strip()],
            )
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from error
        changed = bool(done.generated or done.rotated or not encrypted)
        if changed and not self._task.check_mode:
            self._write(path, {**{str(key): value for key, value in content.items()}, "platform_secrets": done.secrets})
        return {
            "changed": changed,
            "generated": done.generated,
            "rotated": done.rotated,
            "given": done.given,
            "encrypted": changed and not encrypted,
        }

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Whole, encrypted in memory, by a rename: the plain text is on no disk."""
        vault_secrets = VaultSecretsContext.current().secrets
        if not vault_secrets:
            raise AnsibleActionFail(NO_PASSWORD)
        text = HEAD + yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=False)
        new = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(VaultLib(secrets=vault_secrets).encrypt(text))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
