"""Isolation without a server: the policies that the roles render let through what molecule/connections.py says, which is written without them.

That real connections open alike is tested in molecule/default/tests/test_isolation.py.
"""

from __future__ import annotations

import copy
import ipaddress
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import ROLES, interface, role_variables
from ansible_collections.shaka.platform.plugins.plugin_utils.model.resolve import resolve
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.rendering import render_site

sys.path.insert(0, str(Path(__file__).parents[2] / "molecule"))
from connections import METADATA, NODE, SSHD, Client, Target, expected

SERVER = "192.0.2.1"
S3, ACME = ("198.51.100.5", 9000), ("198.51.100.6", 14000)
OUTSIDE = [
    *(Target("", "outside", port, "203.0.113.10") for port in (443, 25)),
    Target("", "outside", 443, "10.77.0.10"),
    Target("", "outside", 123, "203.0.113.20", protocol="UDP"),
    Target("", "s3", S3[1], S3[0]),
    Target("", "acme", ACME[1], ACME[0]),
]
# Rules of prod besides those of the sandbox's inventory, so that each key of a rule is there. Each must decide a connection of the table.
RULES: dict[str, list[dict[str, Any]]] = {
    "egress": [{"cidr": "203.0.113.0/24", "except": ["203.0.113.0/28"], "ports": [123], "protocol": "UDP"}],
    "ingress": [{"namespace": "default", "pods": ["postgres"], "ports": [5432]}],
}
# The table has no clients outside, and of UDP inside only DNS, which is open to all.
NOT_IN_THE_TABLE = {"ingress.cidr", "ingress.except", "ingress.protocol"}
WORKLOADS = ("Deployment", "StatefulSet")


def inventory() -> dict[str, Any]:
    given: dict[str, Any] = yaml.safe_load((ROLES.parent / "inventories/sandbox/group_vars/all/platform.yml").read_text())
    given["platform_s3"] = {"endpoint": f"http://{S3[0]}:{S3[1]}", "bucket": "backups"}
    given["platform_acme"] = {"email": "ops@acme.test", "server": f"https://{ACME[0]}:{ACME[1]}/dir"}
    prod = given["platform_environments"]["prod"]
    for kind, rules in RULES.items():
        prod[kind] = prod[kind] + rules  # a list of its own: YAML's anchors make it staging's as well
    return given


@lru_cache(maxsize=1)
def resolved() -> Any:
    """The model; the artifacts are none of it."""
    return resolve(inventory(), interface(), {}).model


def table(model: Mapping[str, Any], apps: Mapping[str, str]) -> dict[tuple[Client, Target], bool]:
    """What the inventory says, without what the server's packet filter decides."""
    found = expected({**model, "redis_namespace": "shared", "s3": S3, "acme_directory": ACME}, OUTSIDE, apps)
    return {pair: is_open for pair, is_open in found.items() if pair[1] != SSHD and pair[1].address != METADATA}


def strangers() -> dict[str, str]:
    return dict.fromkeys([*resolved()["all_environments"], *resolved()["namespaces"], "default"], "stranger")


def workers() -> dict[str, str]:
    """What strangers may be, in place of them."""
    return {**strangers(), **dict.fromkeys(resolved()["all_environments"], "postgres-backup"), "monitoring": "prometheus"}


# --- the policies ---------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """One end of a connection, as a policy sees it. `namespace`: '' is outside; `ports`: a pod's ports by their names."""

    namespace: str
    labels: Mapping[str, str]
    address: str
    ports: Mapping[str, int]


@lru_cache(maxsize=1)
def rendered() -> list[dict[str, Any]]:
    loader, defaults = DataLoader(), role_variables(DataLoader(), ROLES / "platform", "defaults")
    facts = {"default_ipv4": {"address": SERVER}, "all_ipv4_addresses": [SERVER], "all_ipv6_addresses": []}
    images = {name: f"lock/{name}:1" for name in interface().images}
    variables = {**defaults, **inventory(), "inventory_hostname": "server", "platform_images": images, "ansible_facts": facts}
    sets = [each for role in render_site(loader, Templar(loader=loader, variables=variables), variables, resolved()) for each in role.sets]
    return [item for each in sets for item in each.objects]


def policies(namespace: str, direction: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The policies that hold for a pod."""
    found = [item for item in rendered() if item["kind"] == "NetworkPolicy" and item["metadata"]["namespace"] == namespace]
    return [item["spec"] for item in found if direction in item["spec"]["policyTypes"] and chosen(item["spec"]["podSelector"], labels)]


def chosen(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    among = all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", []))
    return among and selector.get("matchLabels", {}).items() <= labels.items()


def within(block: Mapping[str, Any], address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed in ipaddress.ip_network(block["cidr"]) and not any(parsed in ipaddress.ip_network(net) for net in block.get("except", []))


def is_peer(peer: Mapping[str, Any], end: End, home: str) -> bool:
    """:arg home: the policy's namespace."""
    if "ipBlock" in peer:
        return within(peer["ipBlock"], end.address)
    space = {"kubernetes.io/metadata.name": end.namespace}
    near = chosen(peer["namespaceSelector"], space) if "namespaceSelector" in peer else end.namespace == home
    return bool(end.namespace) and near and chosen(peer.get("podSelector", {}), end.labels)


def passes(home: End, far: End, target: Target, reached: End, direction: str, side: str) -> bool:
    """Whether the policies of one end let a connection through."""
    held = policies(home.namespace, direction, home.labels) if home.namespace else []
    rules = [rule for spec in held for rule in spec.get(direction.lower()) or []]
    return not held or any(
        (not rule.get(side) or any(is_peer(peer, far, home.namespace) for peer in rule[side]))
        and (not rule.get("ports") or any(is_port(port, target, reached) for port in rule["ports"]))
        for rule in rules
    )


def is_port(port: Mapping[str, Any], target: Target, reached: End) -> bool:
    number = reached.ports.get(port["port"]) if isinstance(port["port"], str) else port["port"]
    return port["protocol"] == target.protocol and number == target.port


def ports_of(namespace: str, app: str) -> dict[str, int]:
    """The named ports of a workload's pods."""
    found = [
        item for item in rendered() if item["kind"] in WORKLOADS and (item["metadata"]["namespace"], item["metadata"]["name"]) == (namespace, app)
    ]
    containers = [container for item in found for container in item["spec"]["template"]["spec"]["containers"]]
    return {port["name"]: port["containerPort"] for container in containers for port in container.get("ports", [])}


def end(space: str, app: str, address: str = "") -> End:
    """A pod, or what lies outside at an address."""
    if not space:
        return End("", {}, address or SERVER, {})
    spaces = {**resolved()["all_environments"], **resolved()["namespaces"]}
    namespace = spaces[space]["namespace"] if space in spaces else space
    labels = {"app": app, "app.kubernetes.io/component": app, "k8s-app": f"kube-{app}"}
    if app in ("stranger", *workers().values()):
        labels["acme.cert-manager.io/http01-solver"] = "true"  # it listens where a solver does
    return End(namespace, labels, "10.42.0.9", ports_of(namespace, app))


def opens(client: Client, target: Target, apps: Mapping[str, str]) -> bool:
    app = apps.get(target.space, "stranger") if target.app == "stranger" else target.app
    source, reached = end(client.space, client.app), end(target.space, app, target.address)
    return client == NODE or (
        passes(source, reached, target, reached, "Egress", "to") and passes(reached, source, target, reached, "Ingress", "from")
    )


@pytest.mark.parametrize("kind", [strangers, workers], ids=lambda kind: kind.__name__)
def test_the_policies_let_through_what_the_inventory_says(kind: Any) -> None:
    apps = kind()
    wanted = table(resolved(), apps)
    differing = [f"{client} -> {target} should be {'open' if is_open else 'closed'}"
                 for (client, target), is_open in wanted.items() if opens(client, target, apps) != is_open]  # fmt: skip
    assert differing == []


# --- the rules ------------------------------------------------------------------------------------------------------------------------------


def without(path: Sequence[Any]) -> dict[str, Any]:
    """The model without one rule."""
    model = copy.deepcopy(resolved())
    place = model
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return dict(model)


def rules_of(model: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for group in ("all_environments", "namespaces"):
        for name, space in model[group].items():
            yield from ((group, name, kind, index) for kind in ("egress", "ingress") for index in range(len(space[kind])))


def test_each_rule_of_the_inventory_decides_a_connection() -> None:
    """Else molecule/connections.py does not know it, and nobody sees whether it works."""
    tables = [table(resolved(), kind()) for kind in (strangers, workers)]
    idle = [path for path in rules_of(resolved()) if [table(without(path), kind()) for kind in (strangers, workers)] == tables]
    assert idle == []


def test_each_kind_of_rule_is_looked_at() -> None:
    """A new key of a rule belongs into RULES, or into the sandbox's inventory."""
    spaces = [*inventory()["platform_environments"].values(), *inventory()["platform_namespaces"].values()]
    for kind in ("egress", "ingress"):
        used = {f"{kind}.{key}" for space in spaces for rule in space.get(kind, []) for key in rule} | NOT_IN_THE_TABLE
        assert {f"{kind}.{key}" for key in interface().dictionaries["namespace"][kind]["options"]} <= used
