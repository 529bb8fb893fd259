"""The engine's integration tests, on this server. In a process of their own: they have another conftest."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import ROOT, Server


def test_the_engine_on_a_real_api_server(server: Server) -> None:
    reach = {"K3S_CONTRACT_HOST": server.lab["address"], "K3S_CONTRACT_KEY": server.lab["key"], "PYTHONPATH": str(ROOT / ".ansible/collections")}
    command = [sys.executable, "-m", "pytest", "-q", "tests/integration"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **reach}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:]
