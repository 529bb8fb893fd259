"""pgbench (scale 10) against an environment's Postgres through its Service, and against the same Postgres directly on the server, side by side.

    python3 benchmarks/pgbench.py              on a lab server of its own, removed afterwards (about 10 minutes on 2 cores)
    python3 benchmarks/pgbench.py --lab NAME   on a lab where the role k3s has run

Writes results/pgbench.md and .svg, which say what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import statistics
import time
from dataclasses import dataclass, field

import common

NAMESPACE, USER, DATABASE = "shaka-staging", "shaka_staging", "shaka_staging"
SIZES = {"requests": {"cpu": "400m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
PLACE, PORT = "/var/lib/rancher/k3s/storage/bench-postgres", 15432  # on the disk of the pods' volumes
TREE, DATA = f"{PLACE}/tree", f"{PLACE}/data"
SCALE, CLIENTS, SECONDS, ROUNDS = 10, 8, 20, 5
REQUIRED = 0.9
HOW = (
    "\"Directly\" is the same postgres and pgbench, from the image's files, run on the server without a container: the pod's settings, data "
    "beside the pod's volume, TCP to 127.0.0.1. The other way is a client pod, the Service's address, the network policies and the pod. "
    "Neither is throttled: the pods may use all CPUs. Rounds alternate in who goes first."
)
WAYS = {"service": "through the Service", "direct": "directly on the server"}
COLOURS = {"service": "#1f77b4", "direct": "#9aa5b1"}
PATH = "PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin"
LOADS = {"TPC-B-like": [], "SELECT only": ["--select-only"]}


@dataclass
class Measured:
    """Transactions per second of each round, by load and way."""

    rates: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {load: {way: [] for way in WAYS} for load in LOADS})

    def median(self, load: str, way: str) -> float:
        return statistics.median(self.rates[load][way])

    def ratio(self, load: str) -> float:
        return self.median(load, "service") / self.median(load, "direct")


class Both:
    """The two Postgres on a lab's server."""

    def __init__(self, server: common.Server) -> None:
        self.server = server

    def run(self, command: str, stdin: str = "") -> str:
        return self.server.run(command, stdin).strip()

    def start_direct(self) -> None:
        """The image's files as a tree, a new cluster in it, and postgres with the pod's settings."""
        pod = json.loads(self.run(f"k3s kubectl get pod postgres-0 -n {NAMESPACE} -o json"))
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        process = dict(line.split()[:2] for line in self.run("k3s ctr task ls").splitlines()[1:])[container]
        mounts = f"mount --bind {DATA} {TREE}/var/lib/postgresql/data; mount -t tmpfs -o mode=1777 none {TREE}/tmp; mount --rbind /dev {TREE}/dev"
        inside = f"exec chroot --userspec=999:999 {TREE} /usr/bin/env {PATH}"
        self.run(f"mkdir -p {TREE} && cp -ax /proc/{process}/root/. {TREE} && install -d -o 999 -g 999 -m 0700 {DATA}")
        initdb = f"{mounts}; {inside} initdb --username={USER} --auth=trust --data-checksums --pgdata=/var/lib/postgresql/data"
        self.run(f"unshare --mount sh -c {shlex.quote(initdb)}")
        settings = " ".join(shlex.quote(word) for word in pod["spec"]["containers"][0]["args"])
        own = f"-c listen_addresses=127.0.0.1 -c port={PORT} -c unix_socket_directories=/tmp"
        postgres = f"{mounts}; {inside} postgres -D /var/lib/postgresql/data {own} {settings}"
        self.run(f"systemd-run --quiet --unit=bench-postgres unshare --mount sh -c {shlex.quote(postgres)}")
        self.run(f"for i in $(seq 60); do chroot {TREE} {self.program('pg_isready')} -q -h 127.0.0.1 -p {PORT} && exit; sleep 0.5; done; exit 1")

    def program(self, name: str) -> str:
        return f"/usr/bin/env {PATH} {name}"

    def start_client(self) -> None:
        """A pod with pgbench, which no limit slows down."""
        image = self.run(f"k3s kubectl get pod postgres-0 -n {NAMESPACE} -o jsonpath='{{.spec.containers[0].image}}'")
        secret = {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "shaka-api-secrets", "key": "DB_PASSWORD"}}}
        container = {
            "name": "pgbench", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"], "env": [secret],
            "resources": SIZES,
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }  # fmt: skip
        spec = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, "containers": [container]}
        spec["securityContext"] = {"runAsNonRoot": True, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bench", "labels": {"app": "bench"}}, "spec": spec}
        self.run(f"k3s kubectl apply -n {NAMESPACE} -f -", json.dumps(pod))
        self.run(f"k3s kubectl wait -n {NAMESPACE} --for=condition=ready pod/bench --timeout=90s && sleep 2")

    def pgbench(self, way: str, *options: str) -> str:
        words = " ".join(["pgbench", "--username", USER, *options])
        if way == "direct":
            return self.run(f"chroot --userspec=999:999 {TREE} {self.program(words)} -h 127.0.0.1 -p {PORT} postgres 2>&1")
        return self.run(f"k3s kubectl exec -n {NAMESPACE} bench -- {words} -h postgres-staging {DATABASE} 2>&1")

    def checkpoint(self) -> None:
        """Both begin a round with clean buffers."""
        self.run(f"k3s kubectl exec -n {NAMESPACE} postgres-0 -- psql -XAtq -U postgres -c checkpoint")
        self.run(f"chroot {TREE} {self.program('psql')} -XAtq -h 127.0.0.1 -p {PORT} -U {USER} -d postgres -c checkpoint")

    def clean(self) -> None:
        self.run(f"systemctl stop bench-postgres 2>/dev/null; k3s kubectl delete pod bench -n {NAMESPACE} --ignore-not-found --wait=false")
        self.run(f"rm -rf {PLACE}")


def measure(both: Both, seconds: int, rounds: int) -> Measured:
    """Alternating rounds of each load."""
    found = Measured()
    for way in WAYS:
        print(f"filling {WAYS[way]} (scale {SCALE})", flush=True)
        both.pgbench(way, "--initialize", "--quiet", f"--scale={SCALE}")
    for turn in range(rounds):
        for load, options in LOADS.items():
            for way in list(WAYS) if turn % 2 == 0 else reversed(list(WAYS)):
                both.checkpoint()
                said = both.pgbench(way, *options, "--no-vacuum", f"--client={CLIENTS}", "--jobs=2", f"--time={seconds}")
                match = re.search(r"tps = ([\d.]+) \(without initial connection time\)", said)
                if match is None or "number of failed transactions: 0 " not in said:
                    raise SystemExit(f"pgbench said no rate, or transactions failed:\n{said}")
                found.rates[load][way].append(float(match[1]))
                print(f"round {turn + 1} of {rounds}, {load}, {WAYS[way]}: {float(match[1]):.0f} transactions/s", flush=True)
    return found


def table(found: Measured, about: list[str]) -> str:
    """The results as Markdown."""
    lines = [f"# pgbench, scale {SCALE}", "", "![transactions per second](pgbench.svg)", "", *about, ""]
    lines += ["| transactions/s (median; least to most) | " + " | ".join(WAYS.values()) + " | ratio |", "|---|---:|---:|---:|"]
    for load in LOADS:
        cells = [f"{found.median(load, way):.0f} ({min(found.rates[load][way]):.0f} to {max(found.rates[load][way]):.0f})" for way in WAYS]
        lines.append(f"| {load} | " + " | ".join(cells) + f" | {found.ratio(load):.2f} |")
    kept = found.ratio("TPC-B-like") >= REQUIRED
    lines += ["", f"Required of TPC-B-like: {REQUIRED:.2f} or more; {'kept' if kept else 'MISSED'}.", "", HOW, ""]
    return "\n".join(lines)


def chart(found: Measured, about: str) -> str:
    """Bars by load, each on its own scale: what counts is one beside the other."""
    bars = [
        common.Bar(f"{load}: {found.ratio(load):.2f}x", title, found.median(load, way), f"{found.median(load, way):.0f}/s", COLOURS[way])
        for load in LOADS
        for way, title in WAYS.items()
    ]
    return common.chart(f"pgbench, scale {SCALE}: transactions per second", bars, about, one_scale=False)


def bench(server: common.Server, tags: str, seconds: int, rounds: int) -> None:
    profile = {"platform_profile": "bench", "platform_profiles": {"bench": {"environments": {"staging": {"postgres": SIZES}}}}}
    server.site(tags, "-e", json.dumps(profile), "-e", "platform_only=staging", playbook="molecule/environments/converge.yml")
    both, load = Both(server), os.getloadavg()[0]
    both.clean()
    try:
        both.start_direct()
        both.start_client()
        found = measure(both, seconds, rounds)
    finally:
        both.clean()
    where = server.about(load)
    about = [f"{where}.", f"{CLIENTS} clients, 2 threads, {rounds} rounds of {seconds} s each; limits of Postgres and client: {SIZES['limits']}."]
    text = table(found, about)
    print("\n" + text)
    if (seconds, rounds) == (SECONDS, ROUNDS):
        common.keep("pgbench", text, chart(found, where))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="", help="a lab where the role k3s has run (default: one of its own)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each run; results are written for the default only")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="results are written for the default only")
    arguments = parser.parse_args()
    started, first = time.monotonic(), "" if arguments.lab else "host,k3s,"
    with common.server(arguments.lab) as server:
        bench(server, f"{first}tenancy,config,postgres", arguments.seconds, arguments.rounds)
    print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
