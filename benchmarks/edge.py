"""Requests per second through the edge, beside Debian's nginx as a proxy with TLS and beside the application directly, on the same cores.

    python3 benchmarks/edge.py              on a lab server of its own, removed afterwards (about 15 minutes on 2 cores)
    python3 benchmarks/edge.py --lab NAME   on a lab where the whole site has run

Needs apt-get, whose packages nginx, wrk and libluajit are unpacked, not installed. Writes results/edge.md and .svg, which say what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import common
import yaml

PLACE = "/var/lib/bench-edge"  # on the server
PACKAGES = ("nginx", "wrk", "libluajit-5.1-2", "libluajit-5.1-common")
USERS, SECONDS, ROUNDS, PORT = 100, 8, 3, 8444
REQUIRED = 0.9
SPECS = yaml.safe_load((common.ROOT / "roles/traefik/meta/argument_specs.yml").read_text())["argument_specs"]["inventory"]["options"]
NO_GUARD = {"environments": {"prod": {"api": {"edge_rate": {"average": 0}}}}}


@dataclass(frozen=True)
class Tried:
    """One thing that is tried of the edge, beside nginx in the same minutes: the variables laid over the inventory, and the page asked for."""

    name: str
    variables: Mapping[str, object] = field(default_factory=dict)
    page: str = "/healthz"


SHIPPED = Tried("as shipped")
WITH_DATA = Tried("as shipped, a row in Postgres and a key in Redis each", page="/")
TRIED = (
    SHIPPED,
    WITH_DATA,
    Tried("all fields in the access log", {"traefik_access_log_fields": SPECS["traefik_access_log_fields"]["choices"]}),
    Tried("access log: errors", {"traefik_access_log": "errors"}),
    Tried("access log: none", {"traefik_access_log": "none"}),
    Tried("with a CPU limit of 1", {"traefik_limits": {"cpu": "1", "memory": "256Mi"}}),
)
COLOURS = {"edge": "#1f77b4", "nginx": "#9aa5b1", "direct": "#cbd3da"}
HOW = (
    f"wrk with {USERS} connections asks the demo application for a page, of three bytes where nothing else is said, on the server itself, so that "
    "load, proxy and application share its CPUs. The flood guard is off. nginx: Debian's, TLS 1.3 with the same certificate, connections to the "
    "application kept, access log on, a worker for each CPU, no limit. Rounds alternate in who goes first; medians."
)
NGINX = """
worker_processes auto; pid {place}/nginx.pid; error_log {place}/error.log; events {{ worker_connections 2048; }}
http {{
  access_log {place}/access.log; client_body_temp_path {place}/t1; proxy_temp_path {place}/t2; fastcgi_temp_path {place}/t3;
  uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5; keepalive_requests 1000000;
  upstream application {{ {servers} keepalive 128; keepalive_requests 1000000; }}
  server {{
    listen {port} ssl; ssl_certificate {place}/tls.crt; ssl_certificate_key {place}/tls.key; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }}
  }}
}}
"""


@dataclass(frozen=True)
class Load:
    """What wrk says of one run."""

    rate: float
    p95: float  # milliseconds
    failed: int

    @classmethod
    def of(cls, said: str) -> Load:
        found = re.search(r"^load ([\d.]+) ([\d.]+) (\d+)$", said, re.MULTILINE)
        if not found:
            raise SystemExit(f"wrk says nothing: {said}")
        return cls(float(found[1]), float(found[2]), int(found[3]))


REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  print(string.format("load %.1f %.2f %d", summary.requests * 1e6 / summary.duration, latency:percentile(95) / 1000, failed))
end
"""


class Tools:
    """nginx and wrk on a lab's server."""

    def __init__(self, server: common.Server) -> None:
        self.server = server
        self.host = f"prod.{server.lab['domain']}"

    def unpack(self) -> None:
        """Fetched and unpacked here, and copied: the server has no such packages."""
        with tempfile.TemporaryDirectory() as place:
            subprocess.run(["apt-get", "download", "--quiet", *PACKAGES], cwd=place, check=True, stdout=subprocess.DEVNULL)
            for package in Path(place).glob("*.deb"):
                subprocess.run(["dpkg", "-x", str(package), f"{place}/tree"], check=True)
            packed = subprocess.run(["tar", "-cz", "-C", f"{place}/tree", "usr"], capture_output=True, check=True).stdout
        self.server.run(f"mkdir -p {PLACE}")
        subprocess.run([*self.server.ssh, f"tar -xz -C {PLACE}"], input=packed, check=True)
        self.server.run(f"cat > {PLACE}/report.lua", REPORT)

    def start_nginx(self) -> None:
        for key in ("crt", "key"):
            value = f"k3s kubectl get secret -n shaka-prod shaka-api-tls -o jsonpath='{{.data.tls\\.{key}}}'"
            self.server.run(f"umask 077; {value} | base64 -d > {PLACE}/tls.{key}")
        servers = " ".join(f"server {address}:3000;" for address in self.pods())
        self.server.run(f"cat > {PLACE}/nginx.conf", NGINX.format(place=PLACE, port=PORT, servers=servers))
        self.server.run(f"systemctl reset-failed bench-nginx 2>/dev/null; systemctl stop bench-nginx 2>/dev/null; : > {PLACE}/access.log")
        self.server.run(f"systemd-run --quiet --unit=bench-nginx {PLACE}/usr/sbin/nginx -c {PLACE}/nginx.conf -g 'daemon off; user root;'")

    def pods(self) -> list[str]:
        pods = json.loads(self.server.run("k3s kubectl get pods -n shaka-prod -l app=shaka-api -o json"))["items"]
        return [pod["status"]["podIP"] for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def load(self, way: str, page: str, seconds: int) -> Load:
        url = {"edge": f"https://{self.host}:443", "nginx": f"https://{self.host}:{PORT}", "direct": f"http://{self.pods()[0]}:3000"}[way]
        libraries = f"LD_LIBRARY_PATH={PLACE}/usr/lib/{os.uname().machine}-linux-gnu"
        wrk = f"{libraries} {PLACE}/usr/bin/wrk -t2 -c{USERS} -d{seconds}s --timeout 10s -s {PLACE}/report.lua {url}{page}"
        return Load.of(self.server.run(wrk))

    def clean(self) -> None:
        self.server.run(f"systemctl stop bench-nginx 2>/dev/null; rm -rf {PLACE}")


def measure(tools: Tools, ways: Sequence[str], page: str, seconds: int, rounds: int) -> dict[str, list[Load]]:
    """Alternating rounds; the first seconds of each way are not counted."""
    found: dict[str, list[Load]] = {way: [] for way in ways}
    for way in ways:
        tools.load(way, page, 2)
    for turn in range(rounds):
        for way in ways if turn % 2 == 0 else reversed(ways):
            found[way].append(tools.load(way, page, seconds))
            print(f"  {way:<8} {found[way][-1].rate:>8.0f} requests/s, p95 {found[way][-1].p95:.1f} ms, {found[way][-1].failed} failed", flush=True)
    return found


def median(loads: Sequence[Load]) -> Load:
    middle = statistics.median(load.rate for load in loads), statistics.median(load.p95 for load in loads)
    return Load(*middle, sum(load.failed for load in loads))


def write(found: dict[str, dict[str, Load]], about: str, seconds: int, rounds: int) -> None:
    """The tables and the chart."""
    lines = [
        "# Through the edge",
        "",
        f"{about}. {HOW} {rounds} rounds of {seconds} s.",
        "",
        "| the edge | way | requests/s | p95 ms | failed | of nginx |",
        "|---|---|---:|---:|---:|---:|",
    ]
    bars = []
    for tried, loads in found.items():
        for way, load in loads.items():
            share = load.rate / loads["nginx"].rate
            lines.append(f"| {tried} | {way} | {load.rate:.0f} | {load.p95:.1f} | {load.failed} | {share:.2f} |")
            bars.append(common.Bar(tried, way, load.rate, f"{load.rate:.0f}/s ({share:.2f})", COLOURS[way]))
    shipped = found[SHIPPED.name]
    share = shipped["edge"].rate / shipped["nginx"].rate
    lines += ["", f"As shipped {share:.2f} of nginx; aimed at {REQUIRED}.", ""]
    common.keep("edge", "\n".join(lines), common.chart("Requests per second with TLS, 100 users", bars, about, one_scale=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--lab", default="", metavar="NAME", help="a lab where the whole site has run")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with common.server(options.lab) as server:
        if not options.lab:
            server.site("all")
        tools = Tools(server)
        found: dict[str, dict[str, Load]] = {}
        try:
            tools.unpack()
            for tried in TRIED:
                profile = {"platform_profile": "bench", "platform_profiles": {"bench": NO_GUARD}}
                server.site("traefik,apps", "-e", json.dumps({**profile, **tried.variables}))
                tools.start_nginx()
                ways = ["edge", "nginx", "direct"] if tried in (SHIPPED, WITH_DATA) else ["edge", "nginx"]
                print(tried.name, flush=True)
                loads = measure(tools, ways, tried.page, options.seconds, options.rounds)
                found[tried.name] = {way: median(several) for way, several in loads.items()}
            write(found, server.about(load), options.seconds, options.rounds)
        finally:
            tools.clean()
            server.site("traefik,apps")


if __name__ == "__main__":
    main()
