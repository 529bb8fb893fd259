"""`make sandbox`: from nothing to the platform on a practice server, with a backup that was restored."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from lab import paths, rootfs, upstreams
from lab.hosts import HOSTNAME, Lab
from lab.progress import Progress

MEMORY, CPUS = "2g", "2"
BIN = paths.ROOT / ".venv/bin"


def _playbook(title: str, name: str, *arguments: str) -> int:
    print(f"\n==> {title}\n    ansible-playbook {name} -i inventories/sandbox {' '.join(arguments)}".rstrip(), flush=True)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    if sys.stdout.isatty():
        environment["ANSIBLE_FORCE_COLOR"] = "1"
    return subprocess.run(
        [str(BIN / "ansible-playbook"), name, "-i", "inventories/sandbox", *arguments], cwd=paths.ROOT, env=environment, check=False
    ).returncode


def start(lab: Lab, *, memory: str, cpus: str, release: str = rootfs.RELEASES[0], hostname: str = HOSTNAME) -> None:
    """Start a prepared lab's server while the bundle is built, then the services that the bundle brings."""
    with Progress() as progress, ThreadPoolExecutor(1) as pool:
        server = pool.submit(lab.up, progress, memory=memory, cpus=cpus, release=release, hostname=hostname)
        built = upstreams.build(progress)
        server.result()
        lab.start_services(built, progress)


def run() -> int:
    """Returns the exit code of the first step that failed, or 0."""
    started = time.monotonic()
    lab = Lab("sandbox")
    lab.prepare(upstreams.path(), memory=MEMORY, cpus=CPUS)
    failed = _playbook("What is going to run, and whether it fits", "playbooks/preflight.yml")
    if failed:
        return failed
    print(f"\n==> The lab: a bare server, and an offline bundle with {upstreams.version()}", flush=True)
    start(lab, memory=MEMORY, cpus=CPUS)
    steps: tuple[tuple[str, str, list[str]], ...] = (
        ("The platform on the bare server", "site.yml", []),
        ("A backup of prod, to S3", "playbooks/backup.yml", ["-e", "platform_only=prod"]),
        ("That backup restored", "playbooks/restore.yml", ["-e", "restore_environment=prod", "-e", "restore_confirm=prod"]),
    )
    for title, name, arguments in steps:
        failed = _playbook(title, name, *arguments)
        if failed:
            print(f"\n{name} failed. Run `make sandbox` again to go on from here, `make sandbox-down` to start anew.")
            return failed
    print(farewell(lab, time.monotonic() - started))
    return 0


def farewell(lab: Lab, seconds: float) -> str:
    """What to copy next."""
    root = lab.state / "acme/root.pem"
    curls = [
        f"  curl --cacert {root} --resolve {environment}.{lab.domain}:443:{lab.server_address} https://{environment}.{lab.domain}/"
        for environment in ("dev", "staging", "prod")
    ]
    lines = [
        f"\nReady after {seconds / 60:.1f} minutes, on {upstreams.version()}. To copy:",
        *curls,
        f"  {' '.join(lab.ssh())}",
        f"  {BIN.relative_to(paths.ROOT)}/ansible-playbook playbooks/verify.yml -i inventories/sandbox",
        f"  {BIN.relative_to(paths.ROOT)}/ansible-playbook playbooks/drift.yml -i inventories/sandbox",
        "  make sandbox-down",
    ]
    return "\n".join(lines)
