#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_datastore
short_description: A copy of K3s's datastore from before a change of K3s
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Copies the SQLite datastore of the running K3s by SQLite's online backup, with the token and the keys that open it, into a directory named by the
    time. Only root can read it. The oldest copies go.
  - It is for an undo on the same host (C(docs/k3s.md)). It is not a backup - the volumes are not in it, and it does not leave the server.
  - Without a datastore, as before the first start, nothing is done.
attributes:
  check_mode: {support: full, description: Nothing is copied; what would be is reported as changed.}
  diff_mode: {support: none, description: There is no text to compare.}
options:
  reasons:
    description: Why K3s is to be restarted; written beside the copy.
    type: list
    elements: str
    default: []
  data:
    description: K3s's directory with the datastore.
    type: path
    default: /var/lib/rancher/k3s/server
  path:
    description: The directory of the copies.
    type: path
    default: /var/lib/shaka/k3s-datastore
  unit:
    description: The systemd unit; the version of K3s that it runs is written beside the copy.
    type: str
    default: k3s.service
  keep:
    description: How many copies stay.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Ensure a copy of the datastore from before the change
  shaka.platform.k3s_datastore:
    reasons: ["/usr/local/bin/k3s differs"]
"""

RETURN = r"""
made:
  description: The new copy's directory; empty when there is no datastore, and in check mode.
  returned: success
  type: str
  sample: /var/lib/shaka/k3s-datastore/20261126T100000Z
removed:
  description: The older copies that were removed.
  returned: success
  type: list
  elements: str
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute, commands_of
from ansible_collections.shaka.platform.plugins.module_utils.server import datastore

ARGUMENT_SPEC: dict[str, Any] = {
    "reasons": {"type": "list", "elements": "str", "default": []},
    "data": {"type": "path", "default": "/var/lib/rancher/k3s/server"},
    "path": {"type": "path", "default": "/var/lib/shaka/k3s-datastore"},
    "unit": {"type": "str", "default": "k3s.service"},
    "keep": {"type": "int", "default": 3},
}


def running_version(unit: str, execute: Execute) -> str:
    """What the running program says of itself; the file may already be the next version's."""
    _code, pid, _err = execute(["systemctl", "show", unit, "--property=MainPID", "--value"])
    code, out, _err = execute([f"/proc/{pid.strip()}/exe", "--version"])
    return out.splitlines()[0] if code == 0 and out else "K3s, which does not run"


def run(params: dict[str, Any], check_mode: bool, execute: Execute) -> dict[str, Any]:
    """The module's result. Raises datastore.NoRoom, OSError or sqlite3.Error."""
    data, place = Path(params["data"]), Path(params["path"])
    if not (data / datastore.DATABASE).exists():
        return {"changed": False, "made": "", "removed": []}
    if check_mode:
        return {"changed": True, "made": "", "removed": []}
    about = "\n".join([running_version(params["unit"], execute), *params["reasons"], ""])
    made, gone = datastore.take(data, place, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), about, max(1, params["keep"]))
    return {"changed": True, "made": str(made), "removed": [str(path) for path in gone]}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        module.exit_json(**run(module.params, module.check_mode, commands_of(module)))
    except datastore.NoRoom as error:
        module.fail_json(msg=f"{error}. Free some (k3s crictl rmi --prune removes images that nothing uses), or set k3s_datastore_copies to 0.")
    except Exception as error:  # pylint: disable=broad-exception-caught  # sqlite3's and the file system's
        module.fail_json(msg=f"K3s's datastore could not be copied, and K3s was not restarted: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
