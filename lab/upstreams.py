"""The bundle with real K3s, its images and the manifests, which the collection's own playbook takes from their upstreams: `make sandbox K3S=real`.

What is the lab's own is built in this mode, too: the services' programs, and the application, which comes out of a registry on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import bundle, paths, registry, steps
from lab.progress import Progress

VARIABLE = "K3S"
REAL, STAND_IN = "real", "stand-in"
OWN_HOST = "lab.local"
APPLICATION = bundle.REFERENCES["api"][0]
PROGRAMS = ("images' programs", "versitygw", "platform images")  # steps of the other bundle


def chosen() -> bool:
    """Whether the environment asks for real K3s."""
    value = os.environ.get(VARIABLE, "") or STAND_IN
    if value not in (REAL, STAND_IN):
        raise SystemExit(
            f"{VARIABLE}: '{value}' is not a K3s of the lab; leave it out for the stand-in, or set {VARIABLE}={REAL} for K3s from its upstream"
        )
    return value == REAL


def version() -> str:
    """What runs, in words; the versions are equal, as a test sees to."""
    return f"K3s {bundle.K3S_VERSION} from its upstream" if chosen() else "the lab's stand-in for K3s (not K3s itself)"


def path() -> Path:
    """Where the bundle lies, or will lie. The playbook itself keeps it up to date with the lock."""
    return paths.cache() / "upstreams" / "bundle" if chosen() else bundle.path()


def build(progress: Progress) -> Path:
    """Make the chosen bundle; SystemExit with the address that did not answer."""
    if not chosen():
        return bundle.build(progress)
    with steps.alone():
        lanes = bundle.plan()
        needed = [
            [step for step in lane if step.name in PROGRAMS or any(step in later.needs for later in lane if later.name in PROGRAMS)] for lane in lanes
        ]
        steps.build(needed, progress)
        made = {step.name: step.place for lane in needed for step in lane}
        title = f"K3s {bundle.K3S_VERSION}, images and manifests, from their upstreams"
        with progress.step(title, 240), tempfile.TemporaryDirectory() as work, registry.serving("127.0.0.1", Path(work, "registry")) as address:
            _offer_application(made["platform images"] / "images.tar.zst", Path(work), address)
            pack(path(), {"platform_image_overrides": {"api": APPLICATION}, "platform_artifact_mirrors": {OWN_HOST: f"http://{address}"}})
        for name, step in (("pebble", "images' programs"), ("versitygw", "versitygw")):
            (path() / "services").mkdir(exist_ok=True)
            shutil.copy2(made[step] / name, path() / "services" / name)
    return path()


def pack(target: Path, variables: Mapping[str, Any]) -> None:
    """Run playbooks/bundle.yml for the sandbox. What it resolves is kept beside the bundle, not in the checkout."""
    inventory = target.parent / "inventory"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(paths.ROOT / "inventories/sandbox", inventory, dirs_exist_ok=True)
    command = [str(paths.ROOT / ".venv/bin/ansible-playbook"), "playbooks/bundle.yml", "-i", str(inventory), "-e", f"bundle_path={target}"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "true"}
    done = subprocess.run(
        [*command, "-e", json.dumps(variables)],
        cwd=paths.ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(line for line in done.stdout.splitlines() if line.strip())[-3000:]
        raise SystemExit(
            f"{said}\n{VARIABLE}={REAL}: K3s did not come from its upstreams, as said above; without {VARIABLE} the lab takes its stand-in"
        )


def _offer_application(archive: Path, work: Path, address: str) -> None:
    """Put the application's image into the registry."""
    subprocess.run(["zstd", "--quiet", "--decompress", str(archive), "-o", str(work / "images.tar")], check=True)
    registry.push(f"docker-archive:{work / 'images.tar'}:{APPLICATION}", APPLICATION.replace(OWN_HOST, address))
