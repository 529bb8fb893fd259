"""The last thing that happens to the server: the platform is taken off it, and nothing of it is left."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator

import pytest
from conftest import ROOT, Server

STATE = ROOT / "tests/prove/server_state.py"
RESET = "playbooks/reset.yml"
TRACE = re.compile(r"kube|k3s|shaka|\bcni|rancher|containerd|flannel|netpol", re.IGNORECASE)
# The volume that the lab's server has there, as another server may have a disk there.
OWN = {"/var/lib/rancher", "/var/lib/rancher ext4"}


def traces(server: Server) -> Iterator[str]:
    """Everything on the server that sounds like the platform, found without its own code."""
    state = json.loads(server.run(f"python3 -c {shlex.quote(STATE.read_text())}"))
    for kind in ("files", "run", "processes", "mounts", "interfaces", "namespaces", "ipsets", "units", "active", "cgroups"):
        yield from (f"{kind}: {name}" for name in state[kind] if TRACE.search(name) and name not in OWN)
    yield from (f"packet filter: {line.strip()}" for line in (state["nft"] + state["iptables"]).splitlines() if TRACE.search(line))


def test_a_reset_without_the_servers_name_removes_nothing(server: Server) -> None:
    refused = server.playbook(RESET)
    assert refused.returncode != 0
    assert "nothing was removed" in refused.stdout
    assert "shaka-prod/postgres-pvc" in refused.stdout, "what would be lost is not said"
    wrong = server.playbook(RESET, "-e", "reset_confirm=another-server")
    assert wrong.returncode != 0
    assert server.run("kubectl get --raw /readyz") == "ok"


def test_a_reset_in_check_mode_lists_and_removes_nothing(server: Server) -> None:
    listed = server.playbook(RESET, "--check", "--diff")
    assert listed.returncode == 0, listed.stdout
    assert " changed=1 " in listed.stdout
    assert "-volumes: shaka-prod/postgres-pvc" in listed.stdout
    assert server.run("kubectl get --raw /readyz") == "ok"


@pytest.mark.parametrize("changed", [1, 0])
def test_after_a_reset_nothing_of_the_platform_is_left(server: Server, changed: int) -> None:
    """The second time there is nothing to do."""
    done = server.playbook(RESET, "-e", "reset_confirm=sandbox", "-e", "reset_ssh=true")
    assert done.returncode == 0, done.stdout
    assert f" changed={changed} " in done.stdout
    deadline = time.monotonic() + 10  # the lock on the server goes with the run's last connection
    while (left := list(traces(server))) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []
