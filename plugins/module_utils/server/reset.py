# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removes the platform from a server. Each step looks for what is left, so that the next reset completes an interrupted one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.conventions import STATE, Execute
from ansible_collections.shaka.platform.plugins.module_utils.server import ledger, traces
from ansible_collections.shaka.platform.plugins.module_utils.server.access import effective
from ansible_collections.shaka.platform.plugins.module_utils.server.home import with_rights_of_its_home
from ansible_collections.shaka.platform.plugins.module_utils.server.whole import text_of

Before = dict[str, Any]  # path -> what was there before
GRACE = 15.0  # seconds that databases have to end by themselves
MOUNTED = Path("/proc/self/mounts")
FIREWALL = "shaka-firewall.service"
UNITS = ("k3s.service", FIREWALL)
TREES = (
    "/etc/rancher", "/etc/shaka", "/var/lib/rancher/k3s", "/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers",
    "/run/k3s", "/run/flannel", "/run/k3s-started-with", "/root/.kube/cache/discovery/127.0.0.1_6443",
    "/var/lib/shaka-notify", "/var/lib/private/shaka-notify",
)  # fmt: skip
# Links that are not the owner's: systemd makes one to the state of a unit with DynamicUser.
OWN_LINKS = {"/var/lib/shaka-notify": "private/shaka-notify"}
# A directory of K3s that the owner replaced by a link to a larger disk -> the names in it that are K3s's; others there stay.
LINKED = {traces.K3S: re.compile("agent|data|server|storage"), traces.STORAGE: re.compile("pvc-[^_]+_[^_]+_.+")}
# File systems of other machines, whose content may not be this server's alone.
FOREIGN = re.compile(r"nfs4?|cifs|smb3?|smbfs|9p|ceph|glusterfs|lustre|afs|fuse\..+")
# Removed unless another containerd is installed.
RUNTIME = ("/run/containerd", "/run/nri", "/opt/containerd")
CACHE = "/root/.kube/cache/http"  # its files are named by content, so their owner cannot be told
# Removed when empty: K3s and kubectl make them, and others may use them.
PLUGINS = "/usr/libexec/kubernetes"
HOLLOW = (
    f"{PLUGINS}/kubelet-plugins/volume/exec", f"{PLUGINS}/kubelet-plugins/volume", f"{PLUGINS}/kubelet-plugins", PLUGINS,
    "/run/netns", "/var/lib/rancher", "/root/.kube/cache/discovery", "/root/.kube/cache", "/root/.kube",
)  # fmt: skip
TABLES = ("inet shaka", "ip netpol", "ip kube-proxy", "ip6 kube-proxy")
EMPTY_TABLES = re.compile(r"^ip6? (filter|nat|mangle|raw|security)$")
# Beginning of a path -> command that makes the removal of such a file effective.
IN_FORCE = {
    "/etc/systemd/journald.conf.d/": "systemctl restart systemd-journald.service",
    "/etc/systemd/system/apt-daily": "systemctl try-restart apt-daily.timer apt-daily-upgrade.timer",
    "/etc/systemd/timesyncd.conf.d/": "systemctl try-restart systemd-timesyncd.service",
    "/etc/chrony/": "systemctl try-restart chrony.service",
    "/etc/localtime": "systemctl try-restart cron.service",
    "/etc/systemd/logind.conf.d/": "systemctl try-reload-or-restart systemd-logind.service",
    "/etc/ssh/": "systemctl reload ssh.service",
}


class NotOurs(Exception):
    """The server has something that a reset could not remove without harm; the text says what to do."""


class Kept(NamedTuple):
    """What the user wants to keep."""

    data: bool
    ssh: bool


def differs(path: str, before: dict[str, Any] | None) -> bool:
    return not ledger.is_back(Path(path), before)


class Installation:
    """Finds the platform's parts and removes them, in an order in which none comes back."""

    def __init__(self, execute: Execute, kept: Kept, users: list[str], account: str) -> None:
        self.execute, self.kept, self.users, self.account = execute, kept, users, account

    def listing(self) -> dict[str, list[str]]:
        """Kind -> names of everything that would be removed now. Empty lists on a bare server."""
        entries = self.entries()
        going = [path for path, before in entries.items() if differs(path, before)]
        return {
            "units": [unit for unit in self.units(entries) if self.is_known(unit)],
            "processes": sorted(traces.processes().values()),
            "mounts": mounts(),
            "interfaces": traces.interfaces(),
            "network namespaces": [path.name for path in Path("/run/netns").glob("cni-*")],
            "packet filter": [*self.tables(), *self.rule_sets(), *self.address_sets()],
            "control groups": [str(path) for path in traces.groups()],
            "users": [user for user in self.users if self.execute(["getent", "passwd", user])[0] == 0],
            "files": [*going, *map(str, traces.links()), *map(str, traces.leftovers(entries))],
            "directories": [*self.trees(), *([STATE] if self.has_state(entries) else [])],
            "volumes": [] if self.kept.data else [f"{volume.claim} ({volume.size / (1 << 20):.0f} MiB)" for volume in traces.volumes()],
        }

    def entries(self) -> Before:
        """What the ledger recorded, except for files that are kept."""
        listed = ledger.load()
        return {path: before for path, before in listed.items() if not (self.kept.ssh and path.startswith("/etc/ssh/"))}

    def stays(self) -> Before:
        return {path: before for path, before in ledger.load().items() if self.kept.ssh and path.startswith("/etc/ssh/")}

    def has_state(self, entries: Before) -> bool:
        """Whether the platform's own directory contains more than the list of kept files."""
        state = Path(STATE)
        if not state.is_dir():
            return False
        return bool(entries) or not self.stays() or any(path != ledger.LEDGER for path in state.iterdir())

    def units(self, entries: Iterable[str]) -> list[str]:
        written = [path for path in entries if re.match(r"^/etc/systemd/system/[^/]+\.(service|timer|socket)$", path)]
        own = [Path(path).name for path in written if os.path.realpath(path) != os.devnull]  # a unit that was masked is another's
        return list(dict.fromkeys([*own, *UNITS]))

    def is_known(self, unit: str) -> bool:
        return Path("/etc/systemd/system", unit).exists() or self.execute(["systemctl", "is-active", "--quiet", unit])[0] == 0

    def refuse_what_is_not_ours(self, confirmed: Collection[str]) -> None:
        """Raises NotOurs where a directory of the platform leads to another place, or has another machine's files mounted below it."""
        links = {tree: os.readlink(tree) for tree in TREES if Path(tree).is_symlink() and tree not in LINKED}  # noqa: PTH115  as it is written
        found = {tree: target for tree, target in links.items() if OWN_LINKS.get(tree) != target}
        problems = [f"{tree} is a link to {target}: look at what is there and remove the link" for tree, target in found.items()]
        points = foreign_mounts(self.trees(), traces.STORAGE if self.kept.data else None)
        text = "is mounted from another machine, and a reset would empty it: unmount it, or name it in reset_mounts"
        problems += [f"{point} {text}" for point in points if point not in confirmed]
        if problems:
            raise NotOurs(f"nothing was removed: {'; '.join(problems)}")

    def trees(self) -> list[str]:
        """The platform's own directories that exist; kept volumes stay where they are."""
        found = [tree for tree in TREES if os.path.lexists(tree)]
        if self.kept.data and "/var/lib/rancher/k3s" in found and [path.name for path in Path("/var/lib/rancher/k3s").iterdir()] == ["storage"]:
            found.remove("/var/lib/rancher/k3s")
        return found

    def tables(self) -> list[str]:
        code, out, _err = self.execute(["nft", "list", "tables"])
        present = [line.removeprefix("table ") for line in out.splitlines()] if code == 0 else []
        own = [table for table in present if table in TABLES]
        if not Path(STATE).is_dir():
            return own  # without the platform, such tables belong to somebody else
        hollow = [table for table in present if EMPTY_TABLES.match(table) and self.is_hollow(table)]
        return own + hollow

    def is_hollow(self, table: str) -> bool:
        code, out, _err = self.execute(["nft", "--stateless", "list", "table", *table.split()])
        return code == 0 and traces.is_hollow_table(out)

    def rule_sets(self) -> list[str]:
        """The iptables variants that have rules of Kubernetes."""
        found = []
        for name in ("iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy"):
            names = Path("/proc/net/ip6_tables_names" if name.startswith("ip6") else "/proc/net/ip_tables_names")
            if name.endswith("legacy") and not (names.exists() and names.read_text(encoding="ascii")):
                continue  # asking would load the old modules
            if (save := tool(f"{name}-save")) and traces.has_rules(self.execute([save])[1]):
                found.append(name)
        return found

    def address_sets(self) -> list[str]:
        ipset = tool("ipset")
        return [name for name in self.execute([ipset, "list", "-n"])[1].split() if traces.ADDRESS_SET.match(name)] if ipset else []

    # --- removal

    def remove(self) -> None:
        entries = self.entries()
        units = [unit for unit in self.units(entries) if self.is_known(unit)]
        self.stop(unit for unit in units if unit != FIREWALL)
        self.end_processes()
        self.unmount()
        self.remove_network()
        self.stop(unit for unit in units if unit == FIREWALL)  # last: until then it protects programs that still listen
        self.execute(["systemctl", "stop", "kubepods.slice", "cri-containerd-*.scope"])  # with the systemd driver, control groups are units
        for path in traces.groups():
            remove_group(path)
        for user in self.users:
            if self.execute(["getent", "passwd", user])[0] == 0:
                self.must(["userdel", "--remove", user])
        with self.checked_ssh_access(entries):
            self.bring_back(entries)
        for tree in self.trees():
            remove_tree(Path(tree), spare=traces.STORAGE if self.kept.data else None)
        self.execute(["systemctl", "daemon-reload"])
        self.execute(["systemctl", "reset-failed", *units])
        for beginning, command in IN_FORCE.items():
            if any(path.startswith(beginning) for path in entries):
                self.execute(command.split())
        self.forget()

    def stop(self, units: Iterable[str]) -> None:
        for unit in units:
            self.execute(["systemctl", "disable", "--now", unit])  # the last listing finds what is left

    @contextlib.contextmanager
    def checked_ssh_access(self, entries: Before) -> Iterator[None]:
        """Remove the platform's settings of sshd only if this connection's user can still log in with a key without them; else restore them."""
        ours = {path: ledger.state(Path(path)) for path in entries if path.startswith("/etc/ssh/")}
        yield
        if not ours:
            return
        code, out, err = effective(self.account, self.execute)
        settings = dict(line.split(" ", 1) for line in out.splitlines() if " " in line)
        root = self.account != "root" or settings.get("permitrootlogin") != "no"
        if code != 0 or settings.get("pubkeyauthentication") != "yes" or not root:
            for path, state in ours.items():
                ledger.bring_back(Path(path), state)
            why = err.strip() or f"{self.account} could not log in with a key"
            raise OSError(f"the platform's settings of sshd stay, because without them: {why}; correct /etc/ssh/sshd_config and run it again")

    def end_processes(self) -> None:
        """SIGTERM first, since databases may have volumes that are kept; then SIGKILL, until no process is left."""
        deadline = time.monotonic() + GRACE
        for pid in traces.processes():
            send(pid, signal.SIGTERM)
        while traces.processes() and time.monotonic() < deadline:
            time.sleep(0.3)
        for _attempt in range(50):
            left = traces.processes()
            if not left:
                return
            for pid in left:
                send(pid, signal.SIGKILL)
            time.sleep(0.1)
        raise OSError(f"these processes do not end: {', '.join(f'{name} ({pid})' for pid, name in traces.processes().items())}")

    def unmount(self) -> None:
        for point in mounts():
            if self.execute(["umount", point])[0] != 0:
                self.must(["umount", "--lazy", point])

    def remove_network(self) -> None:
        for path in Path("/run/netns").glob("cni-*"):
            path.unlink()
        for name in traces.interfaces():
            if Path("/sys/class/net", name).exists():  # it disappears together with its other end
                self.must(["ip", "link", "delete", name], allowed=(0, 1))
        for name in self.rule_sets():
            rest = traces.foreign_rules(self.execute([tool(f"{name}-save") or name])[1])
            self.must([tool(f"{name}-restore") or name], data=rest)
        for table in self.tables():
            self.must(["nft", "delete", "table", *table.split()])
        for name in self.address_sets():
            self.must([tool("ipset") or "ipset", "destroy", name])

    def bring_back(self, entries: Before) -> None:
        """Restore every file to its state before the platform, and remove directories that are empty then and belong to no package."""
        for path in traces.leftovers(entries):
            with_rights_of_its_home(path, path.unlink)
        for path in traces.links():
            path.unlink()
        for name, before in entries.items():
            ledger.bring_back(Path(name), before)
            if before is None:
                self.remove_parents(Path(name))

    def remove_parents(self, path: Path) -> None:
        """Remove a file's directories, upwards, as long as they are empty and belong to no package."""
        for folder in path.parents:
            ours = str(folder).startswith("/etc/") and folder.is_dir() and not any(folder.iterdir())
            if not ours or self.execute(["dpkg-query", "--search", str(folder)])[0] == 0:
                return
            folder.rmdir()

    def forget(self) -> None:
        """Remove the platform's own directory, last of all: it has the list that the next reset needs. Kept files stay listed."""
        if not shutil.which("containerd"):
            for name in RUNTIME:
                remove_tree(Path(name))
        remove_tree(Path(CACHE))
        for name in HOLLOW:
            folder = Path(name)
            if folder.is_dir() and not holds_mount(folder) and not any(folder.iterdir()):
                folder.rmdir()
        stays = self.stays()
        for path in Path(STATE).iterdir() if Path(STATE).is_dir() else ():
            if path != ledger.LEDGER:
                remove_tree(path)
        if stays:
            ledger.keep_only(stays)
        else:
            remove_tree(Path(STATE))

    def must(self, command: list[str], allowed: tuple[int, ...] = (0,), data: str | None = None) -> None:
        code, out, err = self.execute(command, data=data) if data is not None else self.execute(command)
        if code not in allowed:
            raise OSError(f"'{' '.join(command)}' failed: {(err or out).strip()}")


def send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def tool(name: str) -> str | None:
    """A program of the server's, else the one that K3s brought, which it uses where the server has none."""
    bundled = [str(path) for pattern in ("*/bin", "*/bin/aux") for path in sorted(Path(traces.K3S, "data").glob(pattern))]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(bundled) or os.devnull)


def remove_group(path: Path) -> None:
    """Remove a control group and those below it, after their processes have ended. systemd may remove the same ones, or hold one for a moment."""
    deadline = time.monotonic() + GRACE
    for folder, _folders, _files in os.walk(path, topdown=False):
        while True:
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
                continue
            break


def remove_tree(path: Path, spare: str | None = None) -> None:
    """Remove a directory with its content, except for `spare` below it. A mount point is emptied and stays, since it belongs to the server.

    A directory of K3s that is a link loses what is K3s's in it, and then the link goes.
    """
    if str(path) in LINKED and path.is_symlink() and path.is_dir() and str(path) != spare:
        for entry in list(path.iterdir()):
            if LINKED[str(path)].fullmatch(entry.name):
                remove_tree(entry, spare)
        if not (spare and spare.startswith(f"{path}/")):
            path.unlink()
        return
    if spare and f"{spare}/".startswith(f"{path}/") and str(path) != spare:
        for entry in path.iterdir():
            remove_tree(entry, spare)
        return
    if str(path) == spare or not os.path.lexists(path):
        return
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()
        return
    for entry in list(path.iterdir()):
        if str(entry) in LINKED or (not entry.is_symlink() and entry.is_dir() and holds_mount(entry)):
            remove_tree(entry)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not holds_mount(path, below=False) and not any(path.iterdir()):
        path.rmdir()


def mounts() -> list[str]:
    """The platform's mount points now."""
    fstab = Path("/etc/fstab")
    return traces.mounts(text_of(MOUNTED), text_of(fstab) if fstab.exists() else "")


def foreign_mounts(trees: Iterable[str], spare: str | None) -> list[str]:
    """Mount points of other machines' files in these directories, but for what is spared and for what the platform itself mounted for pods."""
    own, real = set(mounts()), [os.path.realpath(tree) for tree in trees]
    kept = f"{os.path.realpath(spare)}/" if spare else None
    points = [point for point, kind, _options in traces.mounted(text_of(MOUNTED)) if FOREIGN.fullmatch(kind) and point not in own]
    inside = [point for point in points if any(f"{point}/".startswith(f"{tree}/") for tree in real)]
    return [point for point in inside if not (kept and f"{point}/".startswith(kept))]


def holds_mount(path: Path, *, below: bool = True) -> bool:
    """Whether a directory is a mount point, or has one below it. Path.is_mount does not know of directories mounted over themselves."""
    points, real = traces.mount_points(text_of(MOUNTED)), os.path.realpath(path)
    return real in points or (below and any(point.startswith(f"{real}/") for point in points))
