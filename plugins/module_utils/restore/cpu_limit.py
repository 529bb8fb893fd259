# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The CPU limit of a Postgres that is restored into: as much as the server has and the namespace's quota has to spare, without a restart.

Its own limit is made for every day, and a restore at that speed would take several times as long. The pod keeps the limit of before as an annotation,
so that whoever clears a restore that did not end sets it back; a Postgres that restarts has the limit of its StatefulSet anyway.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.data.postgres_instance import POD
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.quantities import format_cpu, parse_cpu
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import cpu_room, least

CONTAINER = "postgres"
BEFORE = "shaka.platform/cpu-limit-before-restore"  # annotation of the pod


def raise_limit(kubectl: Kubectl, namespace: str, spare: int | None) -> None:
    """Where that is possible: not with an older Kubernetes, nor for a pod whose requests are its limits. Raises Unanswered.

    :arg spare: see `room.CpuRoom`.
    """
    obj = _pod(kubectl, namespace)
    limit = _limit(obj)
    if not limit or _before(obj):
        return
    room, cores = cpu_room(kubectl, namespace, spare), (os.cpu_count() or 1) * 1000
    more = room.for_more()
    wanted = least(cores, room.most, None if more is None else parse_cpu(limit) + more)
    if wanted is None or wanted <= parse_cpu(limit):
        return
    kubectl.must("annotate", "pod", POD, f"--namespace={namespace}", "--overwrite", f"{BEFORE}={limit}")
    ok, _problem = _resize(kubectl, namespace, format_cpu(wanted))
    if not ok and _limit(_pod(kubectl, namespace)) == limit:  # an answer may be lost, and the change be made
        _forget(kubectl, namespace)


def set_back(kubectl: Kubectl, namespace: str) -> None:
    """To what it was before. Raises Unanswered."""
    limit = find(kubectl, namespace)
    if limit:
        ok, problem = _resize(kubectl, namespace, limit)
        if not ok:
            raise Unanswered(f"the CPU limit of {POD} in {namespace} cannot be set back to {limit}: {problem}")
        _forget(kubectl, namespace)


def find(kubectl: Kubectl, namespace: str) -> str:
    """The limit of before, where it is raised; else ''. Raises Unanswered."""
    return _before(_pod(kubectl, namespace))


def _before(obj: Any) -> str:
    return str(((obj or {}).get("metadata") or {}).get("annotations", {}).get(BEFORE) or "")


def _pod(kubectl: Kubectl, namespace: str) -> Any:
    return kubectl.find(f"/api/v1/namespaces/{namespace}/pods/{POD}")


def _limit(obj: Any) -> str:
    containers = ((obj or {}).get("spec") or {}).get("containers") or []
    mine: Mapping[str, Any] = next((each for each in containers if each["name"] == CONTAINER), {})
    return str(((mine.get("resources") or {}).get("limits") or {}).get("cpu") or "")


def _resize(kubectl: Kubectl, namespace: str, limit: str) -> tuple[bool, str]:
    change = {"spec": {"containers": [{"name": CONTAINER, "resources": {"limits": {"cpu": limit}}}]}}
    return kubectl.run("patch", "pod", POD, f"--namespace={namespace}", "--subresource=resize", f"--patch={json.dumps(change)}")


def _forget(kubectl: Kubectl, namespace: str) -> None:
    kubectl.must("annotate", "pod", POD, f"--namespace={namespace}", f"{BEFORE}-")
