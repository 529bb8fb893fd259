#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: reset_server
short_description: Remove the platform from a server
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Ends K3s and its containers and removes their mounts, interfaces, packet filter rules, control groups, directories and volumes; then
    restores every file that the platform wrote elsewhere to its earlier state.
  - These files are read from the list that the platform's modules keep on the server, so files that an earlier version wrote are included.
  - An interrupted run is completed by the next one. A bare server is left as it is.
  - Packages stay, and so do running sysctl values and loaded kernel modules until the next boot. Backups in S3 are never touched.
attributes:
  check_mode: {support: full, description: Lists only.}
  diff_mode: {support: full, description: What would be removed.}
options:
  list_only:
    description: Only list what would be removed. The return values are those of a removal.
    type: bool
    default: false
  names:
    description: The names by which the server may be confirmed.
    type: list
    elements: str
    default: []
  confirm:
    description: The server's name, one of I(names) or its host name. Several are separated by commas. Nothing is removed without it.
    type: str
    default: ""
  keep_data: {description: Leave the local volumes on the disk., type: bool, default: false}
  keep_ssh: {description: Leave the platform's settings of sshd., type: bool, default: true}
  mounts:
    description: Mount points below the platform's directories with files of other machines that may be emptied. Any other refuses the reset.
    type: list
    elements: str
    default: []
  users:
    description: Accounts to remove with their homes. The one that Ansible connects as is refused.
    type: list
    elements: str
    default: []
  packages:
    description: Packages that the caller purges once this has succeeded. Those that are there are listed, and need the server's name, too.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Remove the platform from the server
  shaka.platform.reset_server:
    confirm: microsaas-server
"""

RETURN = r"""
found:
  description: Kind -> names of what would be removed, or was removed.
  returned: success
  type: dict
hostname:
  description: The server's own name, which confirms, too.
  returned: success
  type: str
question:
  description: Whether a user has to be asked; false in check mode, and when there is nothing to remove.
  returned: success
  type: bool
platform_table:
  description: The same, for the screen.
  returned: with I(list_only)
  type: list
  elements: dict
"""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute, commands_of, user_of_connection
from ansible_collections.shaka.platform.plugins.module_utils.server import ledger, traces
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import Busy, alone
from ansible_collections.shaka.platform.plugins.module_utils.server.reset import Installation, Kept, NotOurs

ARGUMENT_SPEC: dict[str, Any] = {
    "list_only": {"type": "bool", "default": False},
    "names": {"type": "list", "elements": "str", "default": []},
    "confirm": {"type": "str", "default": ""},
    "keep_data": {"type": "bool", "default": False},
    "keep_ssh": {"type": "bool", "default": True},
    "mounts": {"type": "list", "elements": "str", "default": []},
    "users": {"type": "list", "elements": "str", "default": []},
    "packages": {"type": "list", "elements": "str", "default": []},
}
LOCKED = Path("/var/lib")  # a directory that every server has
PATIENCE = 180.0  # seconds to wait for another reset: one whose controller was killed goes on running here
BUSY = f"another reset has been running on this server for {PATIENCE:.0f} s; run it again when that has ended"
SHOWN = 5  # names per kind on the screen
WIDTH = 36  # characters per name
KUBECTL = ["/usr/local/bin/k3s", "kubectl", "get", "cronjobs,jobs", "--all-namespaces", "--output=json", "--request-timeout=10s"]


class ResetRefused(Exception):
    """The reset must not happen; the text says what to do instead."""


def present(packages: list[str], execute: Execute) -> list[str]:
    """Those of the packages of which something is there, if only their settings, which a purge removes."""
    states = {name: execute(["dpkg-query", "--show", "--showformat=${db:Status-Status}\\n", name])[1].split() for name in packages}
    return [name for name, found in states.items() if {*found} - {"not-installed"}]


def last_backups(execute: Execute) -> dict[str, str] | None:
    """NAMESPACE/CLAIM -> time of the last backup; None when the cluster does not answer."""
    code, out, _err = execute(KUBECTL) if os.access(KUBECTL[0], os.X_OK) else (1, "", "")
    return traces.last_backups(json.loads(out)["items"]) if code == 0 else None


def shown(names: list[str]) -> str:
    """The names on one line; long names are cut, equal ones counted."""
    names = [name if len(name) <= WIDTH else f"{name[: WIDTH - 3]}..." for name in names]
    counts = {name: names.count(name) for name in names}
    words = [name if number == 1 else f"{number} x {name}" for name, number in counts.items()]
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")


def loss(volume: str, backups: Mapping[str, str] | None) -> str:
    """What is known about a volume's backup, in words."""
    if backups is None:
        return "last backup: not known, the cluster does not answer"
    claim = volume.partition(" ")[0]
    if claim not in backups:
        return "has no backup job"
    return f"last backup {backups[claim]}" if backups[claim] else "NEVER BACKED UP"


def tables(found: Mapping[str, list[str]], kept: Kept, backups: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """What is removed, what data is lost and what stays, for the screen."""
    rows = [[kind, str(len(names)), shown(names)] for kind, names in found.items() if names and kind != "volumes"]
    lost = [[volume, loss(volume, backups)] for volume in found["volumes"]]
    stays = ["all other packages" if found["packages"] else "packages", "backups in S3", "sysctl values in force until the next boot"]
    stays += [path for path in ledger.load() if kept.ssh and path.startswith("/etc/ssh/")] + (["volumes"] if kept.data else [])
    result: list[dict[str, Any]] = [
        {"title": "What the platform has on this server, and a reset removes", "columns": ["kind", "", "which"], "rows": rows}
    ]
    if lost:
        never = [position for position, row in enumerate(lost) if not row[1].startswith("last backup 2")]
        result.append({"title": "Data that is lost", "columns": ["volume", "backup"], "rows": lost, "failed": never})
    return [*result, {"title": "What stays", "columns": ["", ""], "rows": [["", each] for each in stays]}]


def refuse_own_account(account: str, users: list[str]) -> None:
    """Refuse to remove the account, or the keys, of the connection that the reset runs over."""
    if account in users:
        raise ResetRefused(f"reset_users has {account}, the account that Ansible connects as: connect as another one, or take it out of reset_users")
    if f"/home/{account}/.ssh/authorized_keys" in ledger.load():
        raise ResetRefused(f"Ansible connects as {account}, whose keys the platform installed and a reset removes: connect as another account")


def run(params: dict[str, Any], check_mode: bool, execute: Execute) -> dict[str, Any]:
    """The result of the module."""
    account = user_of_connection()
    refuse_own_account(account, params["users"])
    kept = Kept(params["keep_data"], params["keep_ssh"])
    server = Installation(execute, kept, params["users"], account)
    own = server.listing()
    found = {**own, "packages": present(params["packages"], execute)}
    anything = any(found.values())
    hostname = socket.gethostname()
    result = {"found": found, "hostname": hostname, "question": anything and not check_mode}
    if params["list_only"]:
        shows = {"platform_table": tables(found, kept, last_backups(execute) if found["volumes"] else {})} if anything else {}
        return {**result, **shows, "changed": False}
    typed = {name.strip() for name in params["confirm"].split(",")} - {""}
    if anything and not check_mode:
        names = [*dict.fromkeys([*params["names"], hostname])]
        if not typed & {*names}:
            raise ResetRefused(
                f"nothing was removed: '{params['confirm']}' is not the name of this server; type, or give as reset_confirm, {' or '.join(names)}"
            )
        if any(own.values()):
            server.refuse_what_is_not_ours(params["mounts"])
            server.remove()
        if remaining := {kind: names for kind, names in server.listing().items() if names}:
            raise ResetRefused(
                f"the reset ended, but there is still: {'; '.join(f'{kind}: {shown(names)}' for kind, names in remaining.items())}; run it again"
            )
    before = "".join(f"{kind}: {name}\n" for kind, names in found.items() for name in names)
    return {**result, "changed": anything, "diff": {"before": before, "after": ""}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        with alone(LOCKED, BUSY, PATIENCE):
            result = run(module.params, module.check_mode, commands_of(module))
    except (Busy, NotOurs, ResetRefused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
