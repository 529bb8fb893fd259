# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A namespace's grants beyond its network profile: which connections its pods may make and accept, and which users may read it.

Each connection is allowed on both ends, so an ingress grant is also recorded with the namespace that connects.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

Raw = dict[str, Any]
Spaces = Mapping[str, Raw]

# Names that people use -> names that a ResourceQuota knows
QUOTA_NAMES = {"cpu": "requests.cpu", "memory": "requests.memory", "storage": "requests.storage", "volumes": "persistentvolumeclaims"}
RESERVED = "system:"  # users and groups of Kubernetes itself


def canonical_quota(quota: Mapping[str, Any], path: str, problems: Problems) -> Raw:
    """The quota by Kubernetes' own names."""
    result: Raw = {}
    for name, value in quota.items():
        known = QUOTA_NAMES.get(str(name), str(name))
        if known in quota and known != name:
            problems.add(f"{path}.quota.{name}", f"is another name of {known}, which is there too; leave one out", value)
            continue
        result[known] = value
    return result


def _check_ports(item: Mapping[str, Any], path: str, problems: Problems) -> None:
    for port in item["ports"]:
        problems.check(f"{path}.ports", None if 0 < port < 65536 else "is not a port number; use 1 to 65535", port)


def _check_labels(names: list[str], path: str, problems: Problems) -> None:
    for name in names:
        problems.check(path, rules.label(name), name)


def _check_cidr(item: Mapping[str, Any], path: str, problems: Problems) -> None:
    try:
        cidr = ipaddress.ip_network(item["cidr"])
        inside = [ipaddress.ip_network(text) for text in item["except"]]
    except ValueError as error:
        problems.add(f"{path}.cidr", f"or its except is not a network in CIDR notation ({error}); write it like 203.0.113.0/24", item["cidr"])
        return
    for net in inside:
        if net.version != cidr.version or net == cidr or not net.subnet_of(cidr):  # type: ignore[arg-type]  # of one version
            problems.add(f"{path}.except", f"is not inside the cidr {cidr}; leave it out", net)


def _check_space(space: Raw, path: str, problems: Problems) -> None:
    for index, item in enumerate(space["egress"]):
        _check_labels(item["pods"], f"{path}.egress[{index}].pods", problems)
    for index, item in enumerate(space["ingress"]):
        here = f"{path}.ingress[{index}]"
        _check_ports(item, here, problems)
        _check_labels(item["pods"], f"{here}.pods", problems)
        _check_labels(item["clients"], f"{here}.clients", problems)
        if bool(item["namespace"]) == bool(item["cidr"]):
            problems.add(here, "names a namespace or a cidr, and one of them only; split it in two")
        elif item["cidr"]:
            _check_cidr(item, here, problems)
            if item["clients"]:
                problems.add(f"{here}.clients", "are pods of a namespace, and this client is a cidr; leave them out", item["clients"])
        else:
            problems.check(f"{here}.namespace", rules.label(item["namespace"]), item["namespace"])
    _check_labels(space["api_server"], f"{path}.api_server", problems)
    for kind, names in space["access"].items():
        for name in names:
            flaw = "belongs to Kubernetes itself; name a user of your own" if name.startswith(RESERVED) else None
            problems.check(f"{path}.access.{kind}", flaw if name.strip() else "is empty; name a user, or leave it out", name)


def _other_side(item: Mapping[str, Any], server: Mapping[str, Any]) -> Raw:
    """A server's ingress grant, as the egress of the namespace that connects."""
    return {"namespace": server["namespace"], "clients": item["clients"], "pods": item["pods"], "ports": item["ports"], "protocol": item["protocol"]}


def settle(spaces: Spaces, problems: Problems) -> None:
    """Check each namespace (by its path in the inventory) and fill in what follows.

    - `ingress[].namespace`: the name that Kubernetes knows.
    - `reaches`: the egress that belongs to each ingress naming a namespace of the platform.
    """
    by_name = {str(space["name"]): space for space in spaces.values()}
    for path, space in spaces.items():
        _check_space(space, path, problems)
        space["reaches"] = []
    for space in spaces.values():
        for item in space["ingress"]:
            client = by_name.get(item["namespace"])
            if client is not None:
                item["namespace"] = client["namespace"]
                client["reaches"].append(_other_side(item, space))
