# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds the traces of a platform on a server, kind by kind, and tells them from those of others. Reads only.

The traces of K3s are those that its own k3s-killall.sh and k3s-uninstall.sh remove (https://docs.k3s.io/upgrades/killall,
/installation/uninstall): processes of containers, mounts, network namespaces, interfaces, packet filter rules, ipsets and directories.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.conventions import POSTGRES_BACKUP, REDIS_BACKUP
from ansible_collections.shaka.platform.plugins.module_utils.server import whole

K3S = "/var/lib/rancher/k3s"
STORAGE = f"{K3S}/storage"
KUBELET = "/var/lib/kubelet"
MOUNTS = ("/run/k3s/", "/var/lib/kubelet/", "/run/netns/cni-", "/var/lib/rancher/k3s/agent/", "/run/containerd/io.containerd.runtime.v2.task/k8s.io/")
INTERFACES = ("cni0", "flannel.1", "flannel-v6.1", "flannel-wg", "flannel-wg-v6", "kube-ipvs0")
CONTAINER = re.compile(r"/kubepods|/k3s\.service", re.MULTILINE)
PROGRAM = re.compile(r"^(/usr/local/bin/k3s|/var/lib/rancher/k3s/data/)")
# kube-router's sets, those of IPv6 and of later versions among them
ADDRESS_SET = re.compile(r"(inet6:)?(KUBE-|kube-router-)")
RULE = re.compile(r"KUBE-|CNI-|flannel", re.IGNORECASE)
# The beginning of the names of CronJob and Jobs -> the claim of the volume whose data they back up
BACKED_UP = {POSTGRES_BACKUP: "postgres-pvc", REDIS_BACKUP: "redis-pvc"}


class VolumeTrace(NamedTuple):
    """A volume of a pod: its directory, its claim and its size."""

    path: Path
    claim: str
    size: int


def is_platforms(program: str, groups: str) -> bool:
    """Whether a process belongs to K3s or to a container of it, by its executable and its control groups."""
    return bool(PROGRAM.match(program) or CONTAINER.search(groups))


def processes(proc: Path = Path("/proc")) -> dict[int, str]:
    """Process id -> command name."""
    result: dict[int, str] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            program = os.readlink(entry / "exe")  # noqa: PTH115 (Path.readlink makes '/x (deleted)' no better)
            if is_platforms(program, (entry / "cgroup").read_text(encoding="utf-8")):
                result[int(entry.name)] = (entry / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            continue  # it has ended, or belongs to the kernel
    return result


def unescaped(text: str) -> str:
    """The path that /proc/self/mounts and /proc/swaps write with octal codes for blanks and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def mounted(text: str) -> list[tuple[str, str, list[str]]]:
    """All mount points with their kind of file system and their options, as /proc/self/mounts and /etc/fstab list them."""
    lines = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [(unescaped(words[1]), words[2], ",".join(words[3:4]).split(",")) for words in lines if len(words) > 2]


def mount_points(text: str) -> list[str]:
    """All mount points."""
    return [point for point, _kind, _options in mounted(text)]


def mounts(text: str, fstab: str) -> list[str]:
    """The platform's mount points, the deepest and latest first, including the kubelet's directory where the kubelet has mounted it over itself."""
    lasting, kubelet = mount_points(fstab), os.path.realpath(KUBELET)
    # the kernel lists a mount below a link where the link leads to
    real = (f"{os.path.realpath(folder)}/{beginning}" for folder, _slash, beginning in (place.rpartition("/") for place in MOUNTS))
    below = (*MOUNTS, *real)
    return [point for point in reversed(mount_points(text)) if point.startswith(below) or (point in (KUBELET, kubelet) and point not in lasting)]


def interfaces(net: Path = Path("/sys/class/net")) -> list[str]:
    """The interfaces of the pods' network: first the ends that lead to pods, then bridges and tunnels."""
    found = []
    for device in sorted(net.iterdir()) if net.is_dir() else ():
        master = device / "master"
        if master.is_symlink() and master.resolve().name == "cni0":
            found.append(device.name)
    return found + [name for name in INTERFACES if (net / name).exists()]


def foreign_rules(saved: str) -> str:
    """The output of iptables-save without the rules of kube-proxy, the CNI plugins and the network policies."""
    return "".join(line for line in saved.splitlines(keepends=True) if not RULE.search(line))


def has_rules(saved: str) -> bool:
    return RULE.search(saved) is not None


def is_hollow_table(listing: str) -> bool:
    """Whether a table does nothing: base chains that accept, without rules."""
    body = [line.strip() for line in listing.splitlines()[1:]]
    return all(re.match(r"^(chain \w+ \{|type .* policy accept;|\}|)$", line) for line in body)


def size_of(path: Path) -> int:
    """Bytes on the disk."""
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            try:
                total += Path(folder, name).lstat().st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def volumes(storage: Path = Path(STORAGE)) -> list[VolumeTrace]:
    """Local volumes; K3s's provisioner names their directories pvc-<uid>_<namespace>_<claim>."""
    found = []
    for path in sorted(storage.iterdir()) if storage.is_dir() else ():
        parts = path.name.split("_", 2)
        found.append(VolumeTrace(path, "/".join(parts[1:]) if len(parts) == 3 else path.name, size_of(path)))
    return found


def groups(root: Path = Path("/sys/fs/cgroup")) -> list[Path]:
    """Control groups of pods, of every controller where there are several."""
    found = {path for base in (root, *root.iterdir()) for path in base.glob("kubepods*")} if root.is_dir() else set()
    return sorted(path for path in found if path.is_dir())


def links(folder: Path = Path("/usr/local/bin")) -> list[Path]:
    """Other names of the k3s binary."""
    return [path for path in sorted(folder.iterdir()) if path.is_symlink() and str(path.readlink()) == "k3s"] if folder.is_dir() else []


def leftovers(paths: Iterable[str]) -> list[Path]:
    """Unfinished files that an interrupted run left beside the finished ones."""
    files = [Path(path) for path in paths]
    beside = [each for path in files for each in (*whole.unfinished(path), path.with_name(f"{path.name}.shaka-candidate"))]
    folders = {path.parent for path in files}
    partial = [path for folder in folders if folder.is_dir() for pattern in (".part-*", ".link-*") for path in folder.glob(pattern)]
    return [path for path in [*beside, *sorted(partial)] if path.is_symlink() or path.exists()]


def last_backups(objects: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """NAMESPACE/CLAIM -> time of its last backup, from the CronJobs and Jobs of backups; an empty time where there was none."""
    latest: dict[str, str] = {}
    for item in objects:
        for start, claim in BACKED_UP.items():
            if item["metadata"]["name"].startswith(start):
                status, volume = item.get("status") or {}, f"{item['metadata']['namespace']}/{claim}"
                moment = status.get("lastSuccessfulTime") or status.get("completionTime") or ""
                latest[volume] = max(latest.get(volume, ""), moment)
    return latest
