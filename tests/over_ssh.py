"""One kept SSH connection to the server under test, for the suites that need a real one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def connection(place: Path) -> Iterator[tuple[str, ...]]:
    """`ssh OPTIONS root@HOST`, to which a command is added; its socket lies in `place`. Skips where no server is named."""
    host, key = os.environ.get("K3S_CONTRACT_HOST"), os.environ.get("K3S_CONTRACT_KEY")
    if not host or not key:
        pytest.skip("needs a server that the role k3s made: set K3S_CONTRACT_HOST and K3S_CONTRACT_KEY (and K3S_CONTRACT_PORT when it is not 22)")
    options = {
        "Port": os.environ.get("K3S_CONTRACT_PORT", "22"), "IdentityFile": key, "ConnectTimeout": "10", "BatchMode": "yes", "LogLevel": "ERROR",
        "ControlMaster": "auto", "ControlPath": str(place / "control"), "ControlPersist": "60",
        "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null",
    }  # fmt: skip
    ssh = ("ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}")), f"root@{host}")
    yield ssh
    subprocess.run([*ssh[:-1], "-O", "exit", ssh[-1]], capture_output=True, check=False)
