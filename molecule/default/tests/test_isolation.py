"""Isolation, by connections: what opens is what the inventory says, and each policy is there for a connection.

The clients are the platform's own pods and one pod in each namespace that is labelled as a stranger, then as a backup or a scraper. The server
probes from inside their networks, all at once.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import interface
from ansible_collections.shaka.platform.plugins.plugin_utils.model.resolve import resolve
from conftest import ROOT, Server
from connections import NODE, Client, Target, expected

PROBE = (Path(__file__).parents[2] / "probe.py").read_text()
# An outside world on the server: a public and a private address, and the metadata address of clouds, with something that answers.
OUTSIDE = {"203.0.113.10": (443, 25), "10.77.0.10": (443,), "169.254.169.254": (80,)}
LISTEN = (
    "use IO::Socket::INET; use IO::Select; my $all = IO::Select->new(map { IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $_, "
    "Listen => 64, ReuseAddr => 1) or die $! } @ARGV); while (my @ready = $all->can_read) { close $_->accept for @ready }"
)
Matrix = dict[tuple[Client, Target], bool]


def stranger(namespace: str) -> dict[str, Any]:
    """A pod with something that listens where an ACME solver does, and elsewhere."""
    sizes = {"cpu": "25m", "memory": "32Mi"}
    container = {
        "name": "stranger", "image": "lab.local/redis:7", "imagePullPolicy": "IfNotPresent", "command": ["perl", "-e", LISTEN, "8089", "8080"],
        "resources": {"requests": sizes, "limits": sizes},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    spec = {
        "terminationGracePeriodSeconds": 0, "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
    }  # fmt: skip
    labels = {"app": "stranger", "acme.cert-manager.io/http01-solver": "true"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger", "namespace": namespace, "labels": labels}, "spec": spec}


@dataclass(frozen=True)
class Network:
    """The platform's network as it is, and as the inventory says."""

    server: Server
    model: Mapping[str, Any]
    namespaces: Mapping[str, str]
    processes: Mapping[Client, int]
    addresses: Mapping[str, str]
    outside: list[Target]

    def expected(self, apps: Mapping[str, str]) -> Matrix:
        return expected(self.model, self.outside, apps)

    def probe(self, wanted: Matrix) -> Matrix:
        """Try every connection of a table."""
        clients = {client for client, _target in wanted}
        targets = {str(target) + target.protocol: target for _client, target in wanted}
        asked = {
            "clients": {str(client): self.process(client) for client in clients},
            "targets": {name: [self.address(target), target.port, target.protocol] for name, target in targets.items()},
            "seconds": 1,
        }
        found = json.loads(self.server.run(f"python3 -c {shlex.quote(PROBE)} {shlex.quote(json.dumps(asked))}"))
        return {(client, target): found[str(client)][str(target) + target.protocol] for client, target in wanted}

    def process(self, client: Client) -> int:
        """A process in the client's network; a stranger's pod is known by its namespace, whatever it is labelled as."""
        return 0 if client == NODE else self.processes.get(client) or self.processes[Client(client.space, "stranger")]

    def address(self, target: Target) -> str:
        return target.address or self.addresses[f"{target.space}/{target.app}"]

    def label(self, apps: Mapping[str, str]) -> None:
        """Make the strangers pods of these kinds."""
        commands = [f"kubectl label pod stranger -n {self.namespaces[space]} --overwrite app={app}" for space, app in apps.items()]
        self.server.run(" && ".join(commands))

    def settles(self, apps: Mapping[str, str], until: Callable[[Matrix, Matrix], bool], seconds: float = 20) -> list[str]:
        """Probe until it is so; returns the connections that differ from the table."""
        wanted, deadline = self.expected(apps), time.monotonic() + seconds
        while True:
            found = self.probe(wanted)
            if until(wanted, found) or time.monotonic() > deadline:
                return sorted(f"{client} -> {target} is {'open' if found[client, target] else 'closed'}"
                              for client, target in wanted if wanted[client, target] != found[client, target])  # fmt: skip
            time.sleep(0.3)


def model_of(server: Server) -> dict[str, Any]:
    """The model of the sandbox's inventory, with the addresses of backups and certificates."""
    inventory = yaml.safe_load((ROOT / "inventories/sandbox/group_vars/all/platform.yml").read_text())
    redis = inventory["platform_redis"].get("namespace", "shared")
    urls = {"s3": urlsplit(server.lab["s3"]["endpoint"]), "acme_directory": urlsplit(server.lab["acme"]["server"])}
    services = {name: (url.hostname, url.port) for name, url in urls.items()}
    return {**resolve(inventory, interface(), {}).model, "redis_namespace": redis, **services}


def processes(server: Server, pods: Mapping[str, Any], spaces: Mapping[str, str]) -> dict[Client, int]:
    """One process of each kind of pod."""
    by_container = dict(line.split()[:2] for line in server.run("k3s ctr task ls").splitlines()[1:])
    found = {}
    for pod in pods["items"]:
        container = (pod["status"].get("containerStatuses") or [{}])[0].get("containerID", "").removeprefix("containerd://")
        space = spaces.get(pod["metadata"]["namespace"])
        app = pod["metadata"]["labels"].get("app.kubernetes.io/component" if space == "cert-manager" else "app", "")
        if space is not None and container in by_container:
            found[Client(space, app)] = int(by_container[container])
    return found


def addresses(server: Server, pods: Mapping[str, Any], spaces: Mapping[str, str]) -> dict[str, str]:
    """What a client would use: a Service's address where one forwards the port unchanged, else the pod's."""
    node = server.json("node microsaas-server")["status"]["addresses"][0]["address"]
    dns = server.json("service kube-dns -n kube-system")["spec"]["clusterIP"]
    found = {"/api-server": node, "/kubelet": node, "/sshd": node, "kube-system/dns": dns}
    for pod in pods["items"]:
        labels, space = pod["metadata"]["labels"], spaces.get(pod["metadata"]["namespace"])
        app = labels.get("app.kubernetes.io/component") if space == "cert-manager" else labels.get("app", "")
        if space is not None and pod["status"]["phase"] == "Running":
            found[f"{space}/{app}"] = pod["status"]["podIP"]
    for service in server.json("services --all-namespaces")["items"]:
        name, space = service["metadata"]["name"], spaces.get(service["metadata"]["namespace"])
        if space is not None and name in ("redis", f"postgres-{space}"):
            found[f"{space}/{name.split('-')[0]}"] = service["spec"]["clusterIP"]
    return found


@pytest.fixture(scope="module")
def outside(server: Server) -> Iterator[list[Target]]:
    """Addresses beyond the server, in a network of their own, and the lab's S3."""
    ports = " ".join(sorted({str(port) for each in OUTSIDE.values() for port in each}))
    # not `ip netns`: its mounts would keep the kubelet from removing the networks of pods
    server.run(f"systemd-run --quiet --unit outside unshare --net perl -e {shlex.quote(LISTEN)} {ports}")
    pid = server.run("systemctl show outside --property MainPID --value").strip()
    inside = [f"address add {address}/32 dev lo" for address in OUTSIDE] + ["link set lo up", "address add 10.99.0.2/30 dev to-server"]
    inside += ["link set to-server up", "route add default via 10.99.0.1"]
    here = [f"timeout 10 sh -c 'while [ /proc/{pid}/ns/net -ef /proc/self/ns/net ]; do sleep 0.1; done'"]
    here += [f"ip link add to-outside type veth peer name to-server netns {pid}", "ip address add 10.99.0.1/30 dev to-outside"]
    here += ["ip link set to-outside up", *(f"nsenter --net --target {pid} ip {command}" for command in inside)]
    server.run(" && ".join([*here, *(f"ip route add {address} via 10.99.0.2" for address in OUTSIDE)]))
    model = model_of(server)
    services = [Target("", app, port, address) for app, (address, port) in (("s3", model["s3"]), ("acme", model["acme_directory"]))]
    yield [Target("", "outside", port, address) for address, ports in OUTSIDE.items() for port in ports] + services
    server.run("systemctl stop outside")  # the link and the routes go with its network


@pytest.fixture(scope="module")
def network(server: Server, outside: list[Target]) -> Iterator[Network]:
    model = model_of(server)
    namespaces = {name: space["namespace"] for name, space in {**model["all_environments"], **model["namespaces"]}.items()} | {"default": "default"}
    spaces = {namespace: space for space, namespace in namespaces.items()} | {"traefik": "traefik", "cert-manager": "cert-manager"}
    manifest = {"apiVersion": "v1", "kind": "List", "items": [stranger(namespace) for namespace in namespaces.values()]}
    server.run(f"kubectl apply -f - <<'EOF'\n{json.dumps(manifest)}\nEOF")
    wait = " && ".join(f"kubectl wait --for=condition=Ready pod/stranger -n {namespace} --timeout=120s" for namespace in namespaces.values())
    server.run(wait)
    pods = {"items": [pod for pod in server.json("pods --all-namespaces")["items"] if "deletionTimestamp" not in pod["metadata"]]}
    yield Network(server, model, namespaces, processes(server, pods, spaces), addresses(server, pods, spaces), outside)
    server.run(" ; ".join(f"kubectl delete pod stranger -n {namespace} --wait=false" for namespace in namespaces.values()))


@pytest.fixture
def strangers(network: Network) -> Mapping[str, str]:
    apps = dict.fromkeys(network.namespaces, "stranger")
    network.label(apps)
    return apps


@pytest.fixture(scope="module")
def workers(network: Network) -> Mapping[str, str]:
    """What the strangers are while policies are taken away: backups in the environments, and a scraper."""
    return dict.fromkeys(network.model["all_environments"], "postgres-backup") | {"monitoring": "prometheus"}


def alike(wanted: Matrix, found: Matrix) -> bool:
    return wanted == found


def differ(wanted: Matrix, found: Matrix) -> bool:
    return wanted != found


def test_every_target_answers_somebody(network: Network, strangers: Mapping[str, str]) -> None:
    """Else closed would mean that nobody listens."""
    found = network.probe(network.expected(strangers))
    assert {str(target) for _client, target in found} == {str(target) for (_client, target), is_open in found.items() if is_open}


def test_strangers_connect_as_the_inventory_says(network: Network, strangers: Mapping[str, str]) -> None:
    assert network.settles(strangers, alike) == []


def test_backups_and_scrapers_connect_as_the_inventory_says(network: Network, workers: Mapping[str, str]) -> None:
    network.label(workers)
    assert network.settles(workers, alike) == []


# Policies for pods that are none of the table's clients: restores, and the archive of WAL. Whether these get through is tried in the scenario backup.
OTHERS = ("postgres-restore", "postgres-wal", "postgres-for-wal")


def policies(network: Network) -> list[dict[str, Any]]:
    """One policy of each name, or all of them (a minute more) when SHAKA_ALL_POLICIES is set."""
    listed = network.server.json("networkpolicies --all-namespaces")["items"]
    found = [policy for policy in listed if policy["metadata"]["name"] not in OTHERS]
    return list(found if os.environ.get("SHAKA_ALL_POLICIES") else {policy["metadata"]["name"]: policy for policy in found}.values())


def test_each_policy_is_there_for_a_connection(network: Network, workers: Mapping[str, str]) -> None:
    """Without it, the table is no longer true; with it again, it is."""
    network.label(workers)
    assert network.settles(workers, alike) == []
    idle = []
    for policy in policies(network):
        name, namespace = policy["metadata"]["name"], policy["metadata"]["namespace"]
        kept = {key: policy["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in policy["metadata"]}
        again = json.dumps({"apiVersion": policy["apiVersion"], "kind": policy["kind"], "metadata": kept, "spec": policy["spec"]})
        network.server.run(f"kubectl delete networkpolicy {name} -n {namespace}")
        try:
            if not network.settles(workers, differ, seconds=5):
                idle.append(f"{namespace}/{name}")
        finally:  # as the platform applies it, so that nothing has drifted
            network.server.run(f"kubectl apply --server-side --field-manager shaka.platform -f - <<'EOF'\n{again}\nEOF")
        assert network.settles(workers, alike) == []
    assert idle == [], "no connection depends on them"
