# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the server's disks have room for a restore, before anything is fetched; and how much CPU the namespace leaves it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.quantities import format_cpu, parse_cpu

PODS = "/var/lib/kubelet"  # volumes of the kind emptyDir
# Left free: at 95 % the kubelet begins to evict pods (its eviction-hard for nodefs.available as K3s sets it)
LEFT = 0.06
SMALL_POD = 200  # millicores with which the pod of a restore works well enough, where there is little
GROWTH = 1.15  # a database that is being filled is larger than the one it was dumped from, for its WAL


@dataclass(frozen=True)
class DiskNeed:
    """Bytes that a folder's disk must have free."""

    folder: str
    bytes: int


def lacking(needs: Iterable[DiskNeed]) -> list[str]:
    """What is missing, in words; needs of folders on one disk add up."""
    by_disk: dict[int, list[DiskNeed]] = {}
    for need in needs:
        folder = need.folder
        while not os.path.exists(folder):  # noqa: PTH110
            folder = os.path.dirname(folder)  # noqa: PTH120
        by_disk.setdefault(os.stat(folder).st_dev, []).append(DiskNeed(folder, need.bytes))  # noqa: PTH116
    problems = []
    for mine in by_disk.values():
        disk = os.statvfs(mine[0].folder)
        free, needed = disk.f_bavail * disk.f_frsize - int(disk.f_blocks * disk.f_frsize * LEFT), sum(need.bytes for need in mine)
        if needed > free:
            problems.append(f"the disk of {mine[0].folder} has room for {amount(max(free, 0))} and the restore needs {amount(needed)}")
    return problems


def data_folder(kubectl: Kubectl, namespace: str, claim: str) -> str:
    """Where the volume of a claim is on this server; the pods' folder if it is not a folder here. Raises Unanswered."""
    found = kubectl.find(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}") or {"spec": {}}
    volume = kubectl.find(f"/api/v1/persistentvolumes/{found['spec'].get('volumeName') or 'none'}") or {"spec": {}}
    place = volume["spec"].get("local") or volume["spec"].get("hostPath") or {}
    return str(place.get("path") or PODS)


@dataclass(frozen=True)
class CpuRoom:
    """CPU that a namespace still gives, in millicores. None: any.

    `left`: of all its quotas now. `spare`: what these have beyond the peak of the environment, whose updates and backups need the rest meanwhile.
    `most`: for one container, by its LimitRange.
    """

    left: int | None = None
    spare: int | None = None
    most: int | None = None

    def for_pod(self) -> int | None:
        """What the pod of a restore may have: half of what is spare, as Postgres, which does most of the work, gets the rest."""
        half = None if self.spare is None else max(self.spare // 2, SMALL_POD)
        return least(half, self.left, self.most)

    def for_more(self) -> int | None:
        """What may be added to a container that runs, as far as the namespace's quota goes."""
        return least(self.spare, self.left)


def least(*amounts: int | None) -> int | None:
    """Of those that there are."""
    return min((each for each in amounts if each is not None), default=None)


def cpu_room(kubectl: Kubectl, namespace: str, spare: int | None) -> CpuRoom:
    """Raises Unanswered.

    :arg spare: of the inventory's quota; the namespace may have others.
    """
    core = f"/api/v1/namespaces/{namespace}"
    quotas, ranges = ((kubectl.find(f"{core}/{kind}") or {}).get("items") or [] for kind in ("resourcequotas", "limitranges"))
    return CpuRoom(least(*_left_by(quotas)), spare, least(*_allowed_by(ranges)))


def _left_by(quotas: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    for quota in quotas:
        status = quota.get("status") or {}
        if (hard := (status.get("hard") or {}).get("limits.cpu")) is not None:
            yield parse_cpu(hard) - parse_cpu((status.get("used") or {}).get("limits.cpu") or "0")


def _allowed_by(ranges: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    for limit in (limit for each in ranges for limit in each["spec"]["limits"]):
        if limit["type"] in ("Container", "Pod") and (most := (limit.get("max") or {}).get("cpu")) is not None:
            yield parse_cpu(most)


def fitted(resources: Mapping[str, Any], cpu: int | None) -> dict[str, Any]:
    """A container's resources, its CPU limit lowered to `cpu` millicores, not below its request: with less a restore takes longer, and works."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    least = max(parse_cpu(requests.get("cpu") or "0"), 1)
    if cpu is None or "cpu" not in limits or parse_cpu(limits["cpu"]) <= cpu or cpu < least:
        return dict(resources)
    return {**resources, "limits": {**limits, "cpu": format_cpu(cpu)}}


def amount(number: float) -> str:
    """Bytes, for a person."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number / size:.1f} {unit}" if number < 10 * size else f"{number / size:.0f} {unit}"
    return f"{number:.0f} bytes"
