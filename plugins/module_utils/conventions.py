# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all modules share: commands and locale, the user of the connection, the pods of a workload, pauses, requests at once, where things lie."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

# What the platform keeps on a server: upstreams' manifests, wheels and their venv, and its own records
STATE = "/var/lib/shaka"
# A Kubernetes object, or a part of one, that is only read
Object = Mapping[str, Any]
# AnsibleModule.run_command: the words of a command (and `data` for its stdin) -> (exit code, stdout, stderr)
Execute = Callable[..., tuple[int, str, str]]
# Begins the names of the keys of each preview in Redis, and of no environment's
PREVIEW_KEYS = "preview."
# CronJobs of backups; the names of their Jobs begin with it, and it is the label `app` of their pods
POSTGRES_BACKUP, REDIS_BACKUP = "postgres-backup", "redis-backup"
# Requests to one server at a time
WORKERS = 8
# Networks of a cluster whose configuration names none (https://docs.k3s.io/cli/server, Networking)
K3S_NETWORKS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}
# Seconds between two looks at something that is not ready yet
PAUSE = 1.0
# What commands print must be as their manuals have it, whatever language the server has or the ssh client sends along (Debian's sends LANG and LC_*).
LOCALE = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "LANGUAGE": ""}


def pod_template(workload: Object) -> Object:
    """What the pods of a workload are made from; a CronJob has it in that of its Jobs. Empty where there is none."""
    spec = workload.get("spec") or {}
    return ((spec.get("jobTemplate") or {}).get("spec") or spec).get("template") or {}


def user_of_connection() -> str:
    """The account that Ansible connects as, not the one that it became: sudo and doas name it, and su to root leaves LOGNAME."""
    return os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER") or getpass.getuser()


class RunsCommands(Protocol):
    """An AnsibleModule, as far as it runs commands."""

    run_command: Execute
    run_command_environ_update: dict[str, str]


def commands_of(module: RunsCommands) -> Execute:
    """How a module runs commands: in the C locale."""
    module.run_command_environ_update = LOCALE
    return module.run_command
