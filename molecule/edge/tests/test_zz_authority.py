"""Another authority issues everything anew, by one run of the site."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Server
from visitor import Visitor

PORT, MANAGEMENT = 14001, 15001
ACCOUNT, ACCOUNT_KEY = "kid-1", "Fe9uDKZAgP8Na2bpQmGErZF-kogr1VLn8j2BybJ-T4CZPdWRUNrPExagveUmItyr"
LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
STATE = json.dumps({"status": {"state": "valid"}})


def serial(visitor: Visitor) -> str:
    """Of the certificate that is served now."""
    with visitor.connect() as connection:
        return str((connection.getpeercert() or {})["serialNumber"])


def test_a_forced_renewal_drops_no_request(server: Server) -> None:
    """Neither on a connection that was there before, nor on new ones."""
    prod, name = Visitor(server), "certificate shaka-api-tls -n shaka-prod"
    before = serial(prod)
    status = server.json(name)["status"]
    asked = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "a test"}
    patch = json.dumps({"status": {"conditions": [*status["conditions"], {**asked, "lastTransitionTime": status["notBefore"]}]}})
    kept = http.client.HTTPSConnection(prod.host)
    kept.sock = prod.connect()
    server.run(f"kubectl patch {name} --subresource=status --type=merge -p '{patch}'")
    deadline, after = time.monotonic() + 120, before
    while after == before and time.monotonic() < deadline:
        kept.request("GET", "/readyz")
        answer = kept.getresponse()
        assert (answer.status, answer.read()) == (200, b"ready\n")
        assert prod.ask("/readyz").status == 200
        after = serial(prod)
    assert after != before
    kept.close()


@pytest.fixture
def kept(server: Server) -> dict[str, Any]:
    """An order of prod's certificate; the renewal above has left the one before it."""
    orders = [each for each in server.json("orders -n shaka-prod")["items"] if each["metadata"]["name"].startswith("shaka-api-tls-")]
    assert sum(each["status"]["state"] == "valid" for each in orders) >= 2
    return dict(orders[0])


@pytest.fixture
def five(server: Server, kept: dict[str, Any]) -> Iterator[None]:
    """Orders that say Let's Encrypt had done them. Its issuer is not there, so that cert-manager asks nobody."""
    issuer = f"acme-{hashlib.sha256(LETSENCRYPT.encode()).hexdigest()[:8]}"
    spec = {**kept["spec"], "issuerRef": {**kept["spec"]["issuerRef"], "name": issuer}}
    for number in range(5):
        place = {"name": f"counted-{number}", "namespace": "shaka-prod"}
        made = json.dumps({"apiVersion": "acme.cert-manager.io/v1", "kind": "Order", "metadata": place, "spec": spec})
        server.run(f"kubectl apply -f - <<'END'\n{made}\nEND")
        server.run(f"kubectl patch order {place['name']} -n shaka-prod --subresource=status --type=merge -p '{STATE}'")
    yield
    server.run("kubectl delete -n shaka-prod order " + " ".join(f"counted-{number}" for number in range(5)) + " --ignore-not-found")


@pytest.mark.usefixtures("five")
def test_a_certificate_beyond_the_limit_is_refused_before_it_is_ordered(server: Server) -> None:
    """The preflight alone, which changes nothing: first beyond the limit, then with the last one left."""
    to_letsencrypt = json.dumps({"platform_acme": {**server.lab["acme"], "server": "letsencrypt"}})
    done = server.playbook("site.yml", "--tags", "preflight", "-e", to_letsencrypt)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and "Let's Encrypt issued 5 certificates for exactly these names" in said, said[-4000:]
    server.run("kubectl delete -n shaka-prod order counted-0")
    done = server.playbook("site.yml", "--tags", "preflight", "-e", to_letsencrypt)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 0 and "this run orders the last certificate that Let's Encrypt issues" in said, said[-4000:]


@pytest.fixture(scope="module")
def second(server: Server) -> dict[str, str]:
    """A second ACME server beside the lab's own, which asks for an account that it knows: its directory and its root."""
    container = f"shaka-{server.name}-acme"
    config = json.loads(
        subprocess.run(["podman", "exec", container, "cat", "/state/acme/pebble.json"], capture_output=True, text=True, check=True).stdout
    )
    config["pebble"] |= {"listenAddress": f"0.0.0.0:{PORT}", "managementListenAddress": f"0.0.0.0:{MANAGEMENT}"}
    config["pebble"] |= {"externalAccountBindingRequired": True, "externalAccountMACKeys": {ACCOUNT: ACCOUNT_KEY}}
    write = ["podman", "exec", "-i", container, "sh", "-c", "cat > /tmp/second.json"]
    subprocess.run(write, input=json.dumps(config), text=True, check=True)
    start = ["podman", "exec", "-d", container, "/bundle/services/pebble", "-config", "/tmp/second.json"]
    subprocess.run(start, check=True)
    address = server.lab["acme"]["server"].split("/")[2].split(":")[0]
    fetch = ["curl", "-sfk", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", f"https://{address}:{MANAGEMENT}/roots/0"]
    root = subprocess.run(fetch, capture_output=True, text=True, check=True).stdout
    return {"server": f"https://{address}:{PORT}/dir", "root": root}


def test_another_directory_issues_anew_in_one_run(server: Server, second: dict[str, str]) -> None:
    authority = {**server.lab["acme"], "server": second["server"], "eab_key_id": ACCOUNT}
    settings = yaml.safe_load((Path(__file__).parents[1] / "vars/settings.yml").read_text(encoding="utf-8"))
    secrets = settings["platform_secrets"].replace(" }}", f" | combine({{'acme': {{'EAB_HMAC_KEY': '{ACCOUNT_KEY}'}}}}) }}}}")
    variables = json.dumps({"platform_acme": authority, "platform_secrets": secrets, "verify_ca_bundle": second["root"]})
    done = server.playbook("site.yml", "-e", variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    trusting = ssl.create_default_context(cadata=second["root"])
    for environment in ("prod", "staging", "dev", "www"):
        Visitor(server, environment).connect(trusting).close()
    again = server.playbook("site.yml", "-e", variables)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout[-4000:]
    issuers = {item["metadata"]["name"] for item in server.json("clusterissuers")["items"]}
    assert len(issuers) == 1
