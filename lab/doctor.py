"""What this machine lacks for the lab, said before anything is installed, and installed on request."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab import paths
from lab.progress import Progress

GIB = 1 << 30

# command -> the Debian package that brings it
PACKAGES = {
    "podman": "podman",
    "runc": "runc",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "nft": "nftables",
    "netavark": "netavark",
    "aardvark-dns": "aardvark-dns",
    "conmon": "conmon",
    "newuidmap": "uidmap",
    "zstd": "zstd",
    "busybox": "busybox-static",
    "age-keygen": "age",
    "openssl": "openssl",
    "ssh": "openssh-client",
    "gcc": "gcc",
    "git": "git",
    "make": "make",
    "curl": "curl",
    # the registry that tests of the bundle fetch from
    "skopeo": "skopeo",
    "docker-registry": "docker-registry",
}
# where Debian puts helpers that are not on a user's PATH
LIBEXEC = ("/usr/sbin", "/usr/lib/podman", "/usr/libexec/podman")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table: a thing, whether it is there, and what follows when it is not."""

    name: str
    ok: bool
    detail: str
    package: str = ""


def _command(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(LIBEXEC))


def _go() -> Finding:
    go = shutil.which("go")
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip() if go else ""
    found = re.match(r"go(\d+)\.(\d+)", version)
    ok = found is not None and (int(found[1]), int(found[2])) >= (1, 26)
    return Finding("go", ok, version if ok else "Go 1.26 or newer is needed and is not a Debian 12 package: install it and put it on PATH")


def examine() -> list[Finding]:
    """All findings; takes well under a second."""
    found = [
        Finding(name, _command(name) is not None, _command(name) or f"will be installed: Debian package {package}", "" if _command(name) else package)
        for name, package in PACKAGES.items()
    ]
    found.append(_go())
    disk = shutil.disk_usage(paths.cache())
    found.append(Finding("disk", disk.free > 20 * GIB, f"{disk.free / GIB:.0f} GiB free, an empty cache needs about 20"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found.append(Finding("memory", memory > 5 * GIB, f"{memory / GIB:.0f} GiB, the server takes 2 and the builds 4"))
    found.append(Finding("root", os.geteuid() == 0, "run as root: the lab's server is a privileged container"))
    return found


def report(findings: list[Finding]) -> str:
    """The findings as a table: what is missing first, what is there in one line."""
    missing = [f for f in findings if not f.ok]
    present = [f.name for f in findings if f.ok]
    lines = [f"  {'missing' if f.package else 'FAILED':8} {f.name:14} {f.detail}" for f in missing]
    return "\n".join(["doctor", *lines, f"  ok       {' '.join(present)}"])


def prepare(findings: list[Finding]) -> None:
    """Install the missing Debian packages and make .venv, side by side; raises SystemExit for what neither of them brings."""
    hopeless = [f for f in findings if not f.ok and not f.package]
    if hopeless:
        raise SystemExit("doctor: " + "; ".join(f"{f.name}: {f.detail}" for f in hopeless))
    packages = sorted({f.package for f in findings if f.package})
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", *packages]
    # else its package starts a registry that listens on all addresses; the tests start their own
    mask = [["ln", "-sfn", "/dev/null", "/etc/systemd/system/docker-registry.service"]] if "docker-registry" in packages else []
    jobs = [("Debian packages", 45, [["apt-get", "update", "-qq"], *mask, install])] if packages else []
    if subprocess.run(["make", "-q", "venv"], cwd=paths.ROOT, capture_output=True, check=False).returncode != 0:
        jobs.append((".venv", 35, [["make", "-s", "venv"]]))
    with Progress() as progress, ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(_work, progress, *job) for job in jobs]:
            future.result()


def _work(progress: Progress, name: str, seconds: float, commands: list[list[str]]) -> None:
    with progress.step(name, seconds):
        for command in commands:
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"{' '.join(command[:3])} failed:\n{done.stderr or done.stdout}")
