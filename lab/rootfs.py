"""The bare server's file system: Debian with systemd, sshd and Python, as a cloud image would come, and no more."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from lab import paths
from lab.progress import Progress

# The releases that the role host supports and that this machine's Debian mirror has; Ubuntu has mirrors of its own.
RELEASES = ("bookworm", "trixie")
# What a server rented with Debian has, and not what the collection or K3s itself must bring: no packet filter's programs, no container runtime.
SERVER_PACKAGES = "systemd systemd-sysv dbus openssh-server python3 python3-apt sudo iproute2 kmod procps ca-certificates curl".split()
# The lab's services answer DNS for the server, which a server does not do itself.
SERVICES_PACKAGES = ["dnsmasq-base"]


def image(progress: Progress, release: str = RELEASES[0]) -> str:
    """The name of the podman image of the bare server, built on first use."""
    key = hashlib.sha256(" ".join([release, *SERVER_PACKAGES, *SERVICES_PACKAGES]).encode()).hexdigest()[:12]
    name = f"localhost/shaka-lab-server:{key}"
    if subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0:
        return name
    archive = paths.cache() / "server" / f"{key}.tar"
    if not archive.exists():
        with progress.step(f"bare server {release} (debootstrap)", seconds=80):
            _bootstrap(archive, release)
    with progress.step(f"bare server {release} (import)", seconds=8):
        subprocess.run(["podman", "import", "-q", "--change", 'CMD ["/sbin/init"]', str(archive), name], check=True, stdout=subprocess.DEVNULL)
    return name


def use_mirrors(tree: Path, release: str = RELEASES[0]) -> None:
    """Give a Debian tree this machine's own package sources, so that apt works there where it does here, security updates included."""
    own = [path for path in (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources")) if path.exists()]
    if own:
        (tree / "etc/apt/sources.list").unlink(missing_ok=True)
    for path in own:
        text = path.read_text()
        for other in RELEASES:
            text = re.sub(rf"\b{other}\b", release, text)
        (tree / path.relative_to("/")).write_text(text)


def _bootstrap(archive: Path, release: str) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    tree = archive.with_suffix(".tree")
    partial = archive.with_suffix(".partial")
    log = archive.with_suffix(".log")
    subprocess.run(["rm", "-rf", str(tree)], check=True)
    include = ",".join([*SERVER_PACKAGES, *SERVICES_PACKAGES])
    with log.open("w") as output:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={include}", release, str(tree)],
            stdout=output, stderr=subprocess.STDOUT, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"debootstrap failed; the end of {log}:\n" + "\n".join(log.read_text().splitlines()[-10:]))
    for leftover in ("etc/ssh/ssh_host_*", "var/cache/apt/archives/*.deb", "var/log/*.log", "etc/machine-id"):
        for path in tree.glob(leftover):
            path.unlink()
    (tree / "etc/machine-id").touch()
    use_mirrors(tree, release)
    subprocess.run(["tar", "-C", str(tree), "-cf", str(partial), "."], check=True)
    partial.rename(archive)
    subprocess.run(["rm", "-rf", str(tree)], check=True)
