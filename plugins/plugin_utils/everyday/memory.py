# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a container takes of memory, and which of the inventory's values does not fit that. Pure: the kernel's counters in, values out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

# The counters of all containers, each behind the name of its file; K3s has one of the two folders (https://docs.kernel.org/admin-guide/cgroup-v2.html).
FILES = ("--include=memory.current", "--include=memory.peak", "--include=memory.stat")
COMMAND = ("grep", "-rsHE", *FILES, "^([0-9]+|(file|shmem) [0-9]+)$", "/sys/fs/cgroup/kubepods.slice", "/sys/fs/cgroup/kubepods")
COUNTER = re.compile(r".*[/-]([0-9a-f]{64})(?:\.scope)?/memory\.(?:(current|peak):|stat:(file|shmem) )([0-9]+)")
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGT]i|[kMGT])?")
UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
MEBI, STEP = 2**20, 16 * 2**20  # what is advised is a multiple of the second
NEAR, FAR = 0.9, 4  # share of the limit that is too near to it; times the peak that are far from it
SETTLED = 24.0  # hours after which a peak tells what a container does not need


class Used(NamedTuple):
    """Bytes of a container: now, at most since it started, and what of those now is page cache, which it gives back when memory is short."""

    now: int
    peak: int
    cache: int

    @property
    def held(self) -> int:
        """The peak without page cache."""
        return max(0, self.peak - self.cache)


def used(text: str) -> dict[str, Used]:
    """By the id of the container, from what COMMAND prints. A kernel without `memory.peak` (before Linux 5.19, or cgroup v1) has none."""
    counters: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        if match := COUNTER.fullmatch(line):
            counters.setdefault(match[1], {})[match[2] or match[3]] = int(match[4])
    return {
        name: Used(found.get("current", 0), found["peak"], max(0, found.get("file", 0) - found.get("shmem", 0)))
        for name, found in counters.items()
        if "peak" in found
    }


def size(quantity: object) -> int:
    """Bytes of a quantity as the API server writes it; 0 for none."""
    match = QUANTITY.fullmatch(str(quantity or ""))
    return int(float(match[1]) * UNITS.get(match[2] or "", 1)) if match else 0


def amount(number: int) -> str:
    """A quantity of at least as many bytes."""
    return f"{-(-number // MEBI)}Mi" if number else ""


def advice(request: int, limit: int, taken: Used, killed: bool, hours: float) -> Iterator[tuple[str, int]]:
    """What to set instead: the key of the inventory, and bytes.

    :arg killed: whether it was ended for want of memory the last time.
    :arg hours: for how long it has run.
    """
    if limit and (killed or taken.held > NEAR * limit):
        yield "limits.memory", _rounded(max(limit, taken.held) * 1.5)
    elif hours >= SETTLED and limit > max(FAR * taken.peak, 2 * request, 2 * STEP):
        yield "limits.memory", _rounded(max(request, taken.peak * 2))
    if request < taken.held / 2:
        yield "requests.memory", min(_rounded(taken.held), limit or _rounded(taken.held))


def _rounded(number: float) -> int:
    return int(-(-number // STEP)) * STEP


def of_pod(pod: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Of its container: the id, when it started, and whether it was ended for want of memory the last time. Empty before it runs."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        started = container.get("state", {}).get("running", {}).get("startedAt", "")
        killed = container.get("lastState", {}).get("terminated", {}).get("reason") == "OOMKilled"
        return str(container.get("containerID", "")).rpartition("/")[2], str(started), killed
    return "", "", False
