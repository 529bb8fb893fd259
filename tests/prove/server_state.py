"""Runs on the server with its own Python and prints its state as JSON: everything that a user could notice after a run or a reset."""

import hashlib
import json
import os
import re
import stat
import subprocess
from pathlib import Path

# Not looked into: what the kernel shows, what lives only as long as the boot, what packages bring (they are listed), logs, caches, data.
LEFT_OUT = frozenset(
    "/proc /sys /dev /run /tmp /var/tmp /var/log /var/cache /var/lib/apt /var/lib/dpkg /var/lib/systemd"
    " /usr/bin /usr/sbin /usr/lib /usr/lib32 /usr/lib64 /usr/libx32 /usr/share /usr/include"
    " /var/lib/rancher/k3s/agent/containerd /var/lib/rancher/k3s/storage /var/lib/kubelet".split()
)
SERVICES = ["--type=service,timer,socket", "--plain", "--no-legend"]


def output(*command: str) -> str:
    """What a command prints; its error text where it is not there or fails, which is a state, too."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"no {command[0]}"
    return done.stdout if done.returncode == 0 else f"{done.stdout}{done.stderr}"


def described(path: Path) -> str:
    found = path.lstat()
    rights = f"{stat.S_IMODE(found.st_mode):04o} {found.st_uid}:{found.st_gid}"
    if stat.S_ISLNK(found.st_mode):
        return f"link {path.readlink()}"
    if stat.S_ISDIR(found.st_mode):
        return f"directory {rights}"
    if stat.S_ISREG(found.st_mode):
        return f"file {rights} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return f"special {rights}"


def files() -> dict[str, str]:
    result: dict[str, str] = {}
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in LEFT_OUT and name != "__pycache__"]  # noqa: PTH118 (many)
        for name in [*folders, *names]:
            path = Path(folder, name)
            try:
                result[str(path)] = described(path)
            except FileNotFoundError:
                continue  # it went while we looked
    return result


def processes() -> list[str]:
    mine, found = {os.getpid(), os.getppid()}, []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() and int(entry.name) not in mine else []
        except OSError:
            continue
        line = b" ".join(words).decode(errors="replace").strip()
        if line and not line.startswith(("sshd: root", "bash -c", "sh -c", "python3 -")):
            found.append(line)
    return sorted(found)


def enabled_units() -> list[str]:
    lines = [line.split()[:2] for line in output("systemctl", "list-unit-files", *SERVICES).splitlines()]
    return sorted(" ".join(line) for line in lines if line)


def active_units() -> list[str]:
    lines = output("systemctl", "list-units", "--state=active,failed", *SERVICES).splitlines()
    return sorted(" ".join(line.split()[index] for index in (0, 2, 3)) for line in lines if not line.startswith(("user@", "user-runtime")))


def sysctls() -> dict[str, str]:
    """The running values of what the platform's files set."""
    names = [name for path in Path("/etc/sysctl.d").glob("*shaka*") for name in re.findall(r"^-?([a-z][^\s=]+)\s*=", path.read_text(), re.MULTILINE)]
    paths = {name: Path("/proc/sys", name.replace(".", "/")) for name in names}
    return {name: path.read_text().strip() for name, path in paths.items() if path.exists()}


def cgroups() -> list[str]:
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]
    found = {str(path) for root in roots for pattern in ("kubepods*", "system.slice/k3s*", "system.slice/shaka*") for path in root.glob(pattern)}
    return sorted(path for path in found if Path(path).is_dir())


print(
    json.dumps(
        {
            "files": files(),
            "run": sorted(str(path) for path in Path("/run").iterdir()),
            "processes": processes(),
            "mounts": sorted(" ".join(line.split()[1:3]) for line in Path("/proc/self/mounts").read_text().splitlines()),
            "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
            "namespaces": sorted(path.name for path in Path("/run/netns").glob("*")),
            "nft": output("nft", "--stateless", "list", "ruleset"),
            "iptables": "".join(re.sub(r"^(# .*|:.*)\n", "", output(f"{name}-save"), flags=re.M) for name in ("iptables", "ip6tables")),
            "shaka table": output("nft", "--stateless", "list", "table", "inet", "shaka"),
            "ipsets": sorted(output("ipset", "list", "-n").split()),
            "units": enabled_units(),
            "active": active_units(),
            "sysctls": sysctls(),
            "cgroups": cgroups(),
            "packages": sorted(output("dpkg-query", "--show", "--showformat=${Package}=${Version}\n").split()),
        }
    )
)
