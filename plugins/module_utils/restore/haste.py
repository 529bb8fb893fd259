# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""More CPU for a Postgres while it is restored into: as much as the server has and its namespace leaves, without a restart.

Its own limit is made for every day, and a restore at that speed would take several times as long. The pod keeps the former limit as an annotation, so
that whoever clears a restore that did not end puts it back; a Postgres that restarts has the limit of its StatefulSet anyway.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.quantities import format_cpu, parse_cpu
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import cpu_room

POD, CONTAINER = "postgres-0", "postgres"
FORMER = "shaka.platform/cpu-limit-before-restore"  # annotation of the pod


def give(kubectl: Kubectl, namespace: str) -> None:
    """Raise the limit, where that is possible. Raises Unanswered where the pod cannot be read."""
    obj = _pod(kubectl, namespace)
    limit = _limit(obj)
    if not limit or former(obj):
        return
    room, cores = cpu_room(kubectl, namespace), (os.cpu_count() or 1) * 1000
    wanted = min(each for each in (cores, room.most, None if room.left is None else parse_cpu(limit) + room.left) if each is not None)
    if wanted <= parse_cpu(limit):
        return
    ok, _output = kubectl.run("annotate", "pod", POD, f"--namespace={namespace}", "--overwrite", f"{FORMER}={limit}")
    if ok and not _resize(kubectl, namespace, format_cpu(wanted)):  # an older Kubernetes, or a quota that was used meanwhile
        _forget(kubectl, namespace)


def take_back(kubectl: Kubectl, namespace: str) -> None:
    """The limit of before. Raises Unanswered."""
    limit = former(_pod(kubectl, namespace))
    if limit:
        if not _resize(kubectl, namespace, limit):
            raise Unanswered(f"the CPU limit of {POD} in {namespace} cannot be set back to {limit}")
        _forget(kubectl, namespace)


def find(kubectl: Kubectl, namespace: str) -> str:
    """The limit of before, where it is raised; else ''. Raises Unanswered."""
    return former(_pod(kubectl, namespace))


def former(obj: Any) -> str:
    return str(((obj or {}).get("metadata") or {}).get("annotations", {}).get(FORMER) or "")


def _pod(kubectl: Kubectl, namespace: str) -> Any:
    return kubectl.find(f"/api/v1/namespaces/{namespace}/pods/{POD}")


def _limit(obj: Any) -> str:
    containers = ((obj or {}).get("spec") or {}).get("containers") or []
    mine: Mapping[str, Any] = next((each for each in containers if each["name"] == CONTAINER), {})
    return str(((mine.get("resources") or {}).get("limits") or {}).get("cpu") or "")


def _resize(kubectl: Kubectl, namespace: str, limit: str) -> bool:
    change = {"spec": {"containers": [{"name": CONTAINER, "resources": {"limits": {"cpu": limit}}}]}}
    return kubectl.run("patch", "pod", POD, f"--namespace={namespace}", "--subresource=resize", f"--patch={json.dumps(change)}")[0]


def _forget(kubectl: Kubectl, namespace: str) -> None:
    kubectl.run("annotate", "pod", POD, f"--namespace={namespace}", f"{FORMER}-")
