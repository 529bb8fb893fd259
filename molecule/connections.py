"""Who may connect to what, computed from the inventory's model alone: the table that docs/isolation.md describes in words.

Pure, and written from the profiles' meaning, not from the policies that the roles render; the matrix test compares it with real connections.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Model = Mapping[str, Any]
SOLVER = 8089
PERMITTED_TO_ALL = ("kube-system",)  # DNS and the metrics are for everyone, as far as a client may get out


@dataclass(frozen=True)
class Client:
    """A kind of pod, or the server itself (`space` is empty)."""

    space: str
    app: str

    def __str__(self) -> str:
        return f"{self.space}/{self.app}" if self.space else self.app


@dataclass(frozen=True)
class Target:
    """A port of a kind of pod, of the server (`space` is empty) or of an outside host (which has an address)."""

    space: str
    app: str
    port: int
    address: str = ""
    protocol: str = "TCP"

    def __str__(self) -> str:
        return f"{self.space}/{self.app}:{self.port}" if self.space else f"{self.address or self.app}:{self.port}"


NODE = Client("", "server")
API_SERVER = Target("", "api-server", 6443)
KUBELET = Target("", "kubelet", 10250)
SSHD = Target("", "sshd", 22)
METADATA = "169.254.169.254"  # of clouds
PRIVATE = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")]
CERT_MANAGER = [Client("cert-manager", "controller"), Client("cert-manager", "webhook")]
DNS = [Target("kube-system", "dns", 53, protocol="UDP"), Target("kube-system", "dns", 53)]
EDGE = [Target("traefik", "traefik", 8000), Target("traefik", "traefik", 8443), Target("traefik", "traefik", 9000)]
WEBHOOK = Target("cert-manager", "webhook", 10250)


def targets(model: Model, outside: list[Target]) -> Iterator[Target]:
    """Every service of the platform, and what lies around it."""
    for name, env in model["all_environments"].items():
        yield from (Target(name, app["name"], app["port"]) for app in env["apps"].values() if app["protocol"] != "none")
        yield Target(name, "postgres", 5432)
        yield from (Target(name, "stranger", SOLVER), Target(name, "stranger", 8080))
    yield Target(model["redis_namespace"], "redis", 6379)
    yield from (*DNS, *EDGE, WEBHOOK, API_SERVER, KUBELET, SSHD, *outside)


def clients(model: Model, apps: Mapping[str, str]) -> Iterator[Client]:
    """Every kind of pod. `apps`: which label the pods have that belong to no workload, by space; a stranger's where it says nothing."""
    for name, env in model["all_environments"].items():
        yield from (Client(name, app["name"]) for app in env["apps"].values())
        yield from (Client(name, "postgres"), Client(name, apps.get(name, "stranger")))
    for name in model["namespaces"]:
        yield Client(name, apps.get(name, "stranger"))
    yield from (Client(model["redis_namespace"], "redis"), Client("default", "stranger"), Client("traefik", "traefik"), *CERT_MANAGER, NODE)


def _covers(rule: Mapping[str, Any], target: Target) -> bool:
    return not rule["ports"] or (target.port in rule["ports"] and target.protocol == rule["protocol"])


def _in_network(rule: Mapping[str, Any], address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed in ipaddress.ip_network(rule["cidr"]) and not any(parsed in ipaddress.ip_network(net) for net in rule["except"])


class Rules:
    """The inventory's answer to one connection."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.spaces: dict[str, Any] = {**model["all_environments"], **model["namespaces"]}
        self.apps = {(name, app["name"]): app for name, env in model["all_environments"].items() for app in env["apps"].values()}
        self.real_names = {space["namespace"]: name for name, space in self.spaces.items()}

    def open(self, client: Client, target: Target) -> bool:
        if client == NODE:
            return True
        # the server's packet filter, in every profile
        stays_closed = target == SSHD or target.address == METADATA
        return not stays_closed and self._lets_out(client, target) and self._lets_in(client, target)

    def _profile(self, space: str) -> str:
        return str(self.spaces[space]["network"]) if space in self.spaces else "permissive"

    def _granted(self, client: Client, target: Target) -> bool:
        """An `ingress` of the target's namespace names the client."""
        for rule in self.spaces.get(target.space, {}).get("ingress", []):
            named = self.real_names.get(rule["namespace"], rule["namespace"]) == client.space
            wanted = (not rule["clients"] or client.app in rule["clients"]) and (not rule["pods"] or target.app in rule["pods"])
            if named and wanted and _covers(rule, target):
                return True
        return False

    def _works(self, client: Client, target: Target) -> bool:
        """What the workloads are for."""
        caller, app = self.apps.get((client.space, client.app)), self.apps.get((target.space, target.app))
        if client.space == target.space and target.app == "postgres":
            return (self._sees(caller, "DB_PASSWORD") or client.app == "postgres-backup") and target.port == 5432
        if client.space == target.space:
            return caller is not None and app is not None and app["key"] in caller["reaches"] and target.port == app["port"]
        if target.app == "redis":
            return self._sees(caller, "REDIS_PASSWORD")
        return client.app == "traefik" and (bool(app and app["hosts"]) or target.port == SOLVER)

    @staticmethod
    def _sees(app: Mapping[str, Any] | None, secret: str) -> bool:
        return app is not None and (app["secrets"] is None or secret in app["secrets"])

    def _lets_out(self, client: Client, target: Target) -> bool:
        if client.space in ("traefik", "cert-manager"):
            return self._edge_lets_out(client, target)
        space = self.spaces.get(client.space, {})
        profile = self._profile(client.space)
        if profile == "permissive" or target in DNS or self._granted(client, target) or self._works(client, target):
            return True
        if target == API_SERVER:
            return client.app in space["api_server"]
        if client.app == "postgres-backup" and target.address == self.model["s3"][0]:
            return bool(target.port == self.model["s3"][1])
        if target.address:
            rules = [rule for rule in space["egress"] if not rule["pods"] or client.app in rule["pods"]]
            return any(_covers(rule, target) and _in_network(rule, target.address) for rule in rules)
        return profile == "allowlist" and client.space == target.space

    def _edge_lets_out(self, client: Client, target: Target) -> bool:
        """Traefik reaches applications, solvers and whoever is open to all; cert-manager's controller ACME, Traefik and the public web."""
        if target == API_SERVER:
            return True
        if client.app == "webhook":
            return False
        if target in DNS:
            return True
        if client.app == "traefik":
            everyone = target.space in self.spaces and self._profile(target.space) == "permissive"
            return everyone or self._granted(client, target) or self._works(client, target)
        if target.address:
            public = not any(ipaddress.ip_address(target.address) in net for net in PRIVATE)
            return (public and target.port in (80, 443)) or (target.address, target.port) == self.model["acme_directory"]
        return target in EDGE[:2]

    def _lets_in(self, client: Client, target: Target) -> bool:
        if target.space == "traefik":
            return target.port in (8000, 8443)
        if target.space == "cert-manager":
            return False
        if not target.space or target.space in PERMITTED_TO_ALL or self._profile(target.space) == "permissive":
            return True
        inside = self._profile(target.space) == "allowlist" and client.space == target.space
        return inside or self._granted(client, target) or self._works(client, target)


def expected(model: Model, outside: list[Target], apps: Mapping[str, str]) -> dict[tuple[Client, Target], bool]:
    """Whether each connection opens. A pod and its own ports are left out: no policy is between them."""
    rules = Rules(model)

    def itself(client: Client, target: Target) -> bool:
        return client.space == target.space and client.app == (apps.get(target.space, "stranger") if target.app == "stranger" else target.app)

    pairs = ((client, target) for client in clients(model, apps) for target in targets(model, outside))
    return {(client, target): rules.open(client, target) for client, target in pairs if not itself(client, target)}
