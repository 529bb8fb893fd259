"""Another authority issues everything anew, by one run of the site."""

from __future__ import annotations

import json
import ssl
import subprocess

import pytest
from conftest import Server
from visitor import Visitor

PORT, MANAGEMENT = 14001, 15001


@pytest.fixture(scope="module")
def second(server: Server) -> dict[str, str]:
    """A second ACME server beside the lab's own: its directory and its root."""
    container = f"shaka-{server.name}-acme"
    config = json.loads(
        subprocess.run(["podman", "exec", container, "cat", "/state/acme/pebble.json"], capture_output=True, text=True, check=True).stdout
    )
    config["pebble"] |= {"listenAddress": f"0.0.0.0:{PORT}", "managementListenAddress": f"0.0.0.0:{MANAGEMENT}"}
    write = ["podman", "exec", "-i", container, "sh", "-c", "cat > /tmp/second.json"]
    subprocess.run(write, input=json.dumps(config), text=True, check=True)
    start = ["podman", "exec", "-d", container, "/bundle/services/pebble", "-config", "/tmp/second.json"]
    subprocess.run(start, check=True)
    address = server.lab["acme"]["server"].split("/")[2].split(":")[0]
    fetch = ["curl", "-sfk", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", f"https://{address}:{MANAGEMENT}/roots/0"]
    root = subprocess.run(fetch, capture_output=True, text=True, check=True).stdout
    return {"server": f"https://{address}:{PORT}/dir", "root": root}


def test_another_directory_issues_anew_in_one_run(server: Server, second: dict[str, str]) -> None:
    authority = {**server.lab["acme"], "server": second["server"]}
    variables = json.dumps({"platform_acme": authority, "verify_ca_bundle": second["root"]})
    done = server.playbook("site.yml", "-e", variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    trusting = ssl.create_default_context(cadata=second["root"])
    for environment in ("prod", "staging", "dev", "www"):
        Visitor(server, environment).connect(trusting).close()
    again = server.playbook("site.yml", "-e", variables)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout[-4000:]
    issuers = {item["metadata"]["name"] for item in server.json("clusterissuers")["items"]}
    assert len(issuers) == 1
