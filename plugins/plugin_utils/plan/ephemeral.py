# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bounds what every container may write to the node's disk outside of volumes, so that one log or cache cannot fill the only disk."""

from __future__ import annotations

from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Object
from ansible_collections.shaka.platform.plugins.module_utils.quantities import format_memory, parse_memory
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.fit import pod_spec

STORAGE = "ephemeral-storage"
# A container's logs, of which the kubelet keeps three files of 10 MiB (containerLogMaxSize) and a little more while one is rotated. Root file
# systems are read-only, so that nothing else is written but to the pod's emptyDirs.
REQUEST, LIMIT = 32 << 20, 128 << 20


def empty_dirs(pod: Object) -> tuple[int, bool]:
    """Bytes of a pod's emptyDirs on the disk, and whether each has a size."""
    volumes = [volume["emptyDir"] or {} for volume in pod.get("volumes") or [] if "emptyDir" in volume]
    sizes = [volume.get("sizeLimit") for volume in volumes if volume.get("medium") != "Memory"]
    return sum(parse_memory(str(size)) for size in sizes if size), all(sizes)


def bound(item: dict[str, Any]) -> dict[str, Any]:
    """The object, each of its containers with a request and a limit of ephemeral storage unless it has them.

    The kubelet compares all that a pod writes with the sum of its containers' limits, so the first one's has room for the emptyDirs. A pod with an
    emptyDir without size, as a recovery needs, gets no limits.
    """
    pod = item["template"]["spec"] if item.get("kind") == "PodTemplate" else pod_spec(item)
    if pod is None or not pod.get("containers"):
        return item
    size, is_bounded = empty_dirs(pod)
    for container in [*pod["containers"], *(pod.get("initContainers") or [])]:
        resources = container.setdefault("resources", {})
        resources.setdefault("requests", {}).setdefault(STORAGE, format_memory(REQUEST))
        if is_bounded:
            room = size if container is pod["containers"][0] else 0
            resources.setdefault("limits", {}).setdefault(STORAGE, format_memory(LIMIT + room))
    return item
