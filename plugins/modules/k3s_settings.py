#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_settings
short_description: The rest of what a start of K3s reads, and why K3s is to be restarted
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Writes the files that hold secrets, takes drop-ins that someone else added out of K3s's sight (C(NAME) becomes C(NAME.disabled)), and compares
    what a start would read now with the record that the running one left. So a restart is due exactly when the running process was started with
    something else, also after an interrupted run.
  - Reads when K3s's certificates end. K3s renews them at a start only, when they end within O(renewal_days)
    (U(https://docs.k3s.io/cli/certificate)); a restart is due once when they do. It does not renew its authorities.
attributes:
  check_mode: {support: full, description: "Nothing is written; RV(restart) tells what the run would find."}
  diff_mode: {support: full, description: Names of files only.}
options:
  secret_files:
    description: Path to whole content, written 0600; an empty content means that the file is absent (one of someone else becomes C(NAME.disabled)).
    type: dict
    required: true
  sums:
    description: Path to sha256 of everything else that a start reads, the binary included, as it is after this run.
    type: dict
    required: true
  drop_ins:
    description: Patterns of files that K3s, its kubelet or systemd merge over ours. Those not in O(sums) are someone else's.
    type: list
    elements: str
    required: true
  record:
    description: What the running K3s was started with, in lines as sha256sum writes them.
    type: path
    required: true
  unit:
    description: The systemd unit.
    type: str
    default: k3s.service
  certificates:
    description: Patterns of certificate files; names with C(-ca.) are authorities.
    type: list
    elements: str
    default: [/var/lib/rancher/k3s/server/tls/*.crt, /var/lib/rancher/k3s/agent/*.crt]
  renewal_days:
    description: Days before its end from which on K3s renews a certificate at a start.
    type: int
    default: 120
  warning_days:
    description: Days before its end from which on a certificate is a finding.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Ensure K3s reads nothing else
  shaka.platform.k3s_settings:
    secret_files: {/etc/rancher/k3s/registries.yaml: ""}
    sums: {/etc/rancher/k3s/config.yaml: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}
    drop_ins: [/etc/rancher/k3s/config.yaml.d/*.yaml]
    record: /run/k3s-started-with
  register: settings
"""

RETURN = r"""
restart:
  description: Why K3s is to be restarted; empty when what runs is what is configured.
  returned: success
  type: list
  elements: str
running:
  description: Whether the unit is active, and starts at boot.
  returned: success
  type: bool
reload:
  description: Whether systemd is to read the unit again.
  returned: success
  type: bool
platform_findings:
  description: Certificates that end soon, and in check mode why K3s would be restarted.
  returned: success
  type: list
  elements: str
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute, commands_of
from ansible_collections.shaka.platform.plugins.module_utils.k3s_certificates import PATTERNS, ends, is_authority, matching_files
from ansible_collections.shaka.platform.plugins.module_utils.server.files import write_whole

DAY = 86400
DISABLED = ".disabled"
OURS = b"# Managed by shaka.platform"
ARGUMENT_SPEC: dict[str, Any] = {
    "secret_files": {"type": "dict", "required": True, "no_log": True},
    "sums": {"type": "dict", "required": True},
    "drop_ins": {"type": "list", "elements": "str", "required": True},
    "record": {"type": "path", "required": True},
    "unit": {"type": "str", "default": "k3s.service"},
    "certificates": {"type": "list", "elements": "str", "default": list(PATTERNS)},
    "renewal_days": {"type": "int", "default": 120},
    "warning_days": {"type": "int", "default": 30},
}


def secret_changes(files: Mapping[str, str]) -> list[str]:
    """The secret files whose content or permissions are not as wanted."""

    def differs(path: Path, content: str) -> bool:
        if not path.exists():
            return bool(content)
        return not content or path.stat().st_mode & 0o777 != 0o600 or path.read_bytes() != content.encode()

    return [path for path, content in files.items() if differs(Path(path), content)]


def write_secrets(files: Mapping[str, str], changes: Iterable[str]) -> None:
    """Write them; remove ours that are no longer wanted, and disable what someone else wrote."""
    for path in changes:
        if files[path]:
            write_whole(Path(path), files[path], 0o600)
        elif Path(path).read_bytes().startswith(OURS):
            Path(path).unlink()
        else:
            Path(path).rename(path + DISABLED)


def recorded(path: Path) -> tuple[dict[str, str], float]:
    """The record's file -> sum, and its time; nothing and 0 when there is none, as of a K3s that someone else installed."""
    try:
        lines, started = path.read_text(encoding="utf-8").splitlines(), path.stat().st_mtime
    except FileNotFoundError:
        return {}, 0
    return {name: digest for digest, _gap, name in (line.partition("  ") for line in lines)}, started


def reasons_to_restart(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not as the running process was started with, in words."""
    words = [f"{path} differs" for path in now if path in then and now[path] != then[path]]
    words += [f"{path} was not there" for path in now if path not in then]
    return words + [f"{path} was there" for path in then if path not in now]


def due(certificates: Mapping[str, int], started: float, now: float, renewal: int) -> list[str]:
    """Leaves that a start now would renew, and the running one's did not, because it was before their time."""
    return [path for path, end in certificates.items() if not is_authority(path) and started < end - renewal * DAY <= now]


def ending(certificates: Mapping[str, int], now: float, warning: int) -> list[str]:
    """Certificates that end soon, with what to do."""

    def advice(path: str) -> str:
        return "renew it with k3s certificate rotate-ca (https://docs.k3s.io/cli/certificate)" if is_authority(path) else "restart K3s"

    return [f"{path} ends {day(end)}: {advice(path)}" for path, end in certificates.items() if end - warning * DAY <= now]


def day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def run(params: dict[str, Any], check_mode: bool, execute: Execute, now: float) -> dict[str, Any]:
    """The result of the module."""
    secrets = secret_changes(params["secret_files"])
    foreign = [path for path in matching_files(params["drop_ins"]) if path not in params["sums"]]
    if not check_mode:
        write_secrets(params["secret_files"], secrets)
        for path in foreign:
            Path(path).rename(path + DISABLED)

    wanted = {**params["sums"], **{path: hashlib.sha256(text.encode()).hexdigest() for path, text in params["secret_files"].items() if text}}
    service = execute(["systemctl", "show", "--property=ActiveState,UnitFileState,NeedDaemonReload", params["unit"]])[1].split()
    reload = "NeedDaemonReload=yes" in service
    certificates = ends(execute, params["certificates"])
    restart, renewed = [], []
    if not {"ActiveState=inactive", "ActiveState=failed"} & {*service}:
        then, started = recorded(Path(params["record"]))
        restart = reasons_to_restart(then, wanted)
        restart += ["systemd holds an older unit"] if reload and not restart else []
        renewed = due(certificates, started, now, params["renewal_days"])
        restart += [f"{path} ends {day(certificates[path])} and is renewed at a start" for path in renewed]
    findings = ending({path: end for path, end in certificates.items() if path not in renewed}, now, params["warning_days"])
    changes = [f"{path} (its content is not shown)\n" for path in secrets] + [f"{path} -> {path}{DISABLED}\n" for path in foreign]
    return {
        "changed": bool(changes),
        "restart": restart,
        "running": {"ActiveState=active", "UnitFileState=enabled"} <= {*service},
        "reload": reload,
        "platform_findings": findings + ([f"{params['unit']} is to be restarted: {why}" for why in restart] if check_mode else []),
        "diff": {"before": "", "after": "".join(changes)},
        "warnings": findings,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode, commands_of(module), time.time())
    except (ValueError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
