# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where an environment's backups go, who can open them and when they are made: what the inventory says, completed and checked. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import S3, Backup, Environment, Model, S3Credentials
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

KEY = "BACKUP_KEY"  # an environment's secret that proves who wrote a manifest
S3_PAIR = ("ACCESS_KEY", "SECRET_KEY")  # of the platform's groups of credentials
OWN_S3 = ("S3_ACCESS_KEY", "S3_SECRET_KEY")  # an environment's own credentials, where it does not share those of the platform
PLATFORM_RECIPIENT = "platform_backup_recipient"
_SERVICE_ENDS = (".svc", ".svc.cluster.local")
# The internet: all addresses but those of private networks, links and carriers (RFC 1918, 3927, 6598, 4193, 4291), by IP version.
_PUBLIC = {
    4: ("0.0.0.0/0", ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]),
    6: ("::/0", ["fc00::/7", "fe80::/10"]),
}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def settle(backup: Backup, path: str, platform_s3: S3, recipients: Any, namespaces: Iterable[str], problems: Problems) -> None:
    """Fill in the bucket and the recipients of backups, their own over the platform's, key by key; check them, and the schedule.

    :arg path: of `backup` in the inventory.
    :arg recipients: the platform's.
    :arg namespaces: the platform's, as Kubernetes knows them.
    """
    own = {name: value for name, value in cast(Mapping[str, Any], backup["s3"]).items() if value is not None}
    paths = {name: f"{path}.s3.{name}" if name in own else f"platform_s3.{name}" for name in platform_s3}
    where = f"{path}.recipient" if texts(backup["recipient"]) else PLATFORM_RECIPIENT
    backup["s3"] = cast(S3, {**platform_s3, **own})
    backup["recipients"] = texts(backup["recipient"]) or texts(recipients)

    if backup["schedule"]:
        problems.check(f"{path}.schedule", rules.cron(backup["schedule"]), backup["schedule"])
    problems.check(f"{path}.time_zone", rules.time_zone(backup["time_zone"]), backup["time_zone"])
    _check_keep(backup, f"{path}.keep", problems)
    if backup["s3"]["endpoint"]:
        _check_s3(backup["s3"], paths, namespaces, problems)
        for recipient in backup["recipients"] or [""]:
            problems.check(where, rules.age_recipient(recipient), None if rules.is_age_identity(recipient) else recipient)
    elif backup["schedule"]:
        problems.add(paths["endpoint"], f"is not filled in, and {path}.schedule asks for backups; set its URL, or take the schedule out")


def _check_s3(s3: S3, paths: Mapping[str, str], namespaces: Iterable[str], problems: Problems) -> None:
    """:arg paths: where the inventory has each value."""
    in_cluster = service_namespace(host_of(s3["endpoint"]), namespaces)
    problems.check(paths["endpoint"], rules.url(s3["endpoint"]) if in_cluster else rules.storage_url(s3["endpoint"]), s3["endpoint"])
    problems.check(paths["bucket"], rules.bucket(s3["bucket"]), s3["bucket"])
    problems.check(paths["prefix"], rules.folder(s3["prefix"]), s3["prefix"])
    problems.check(paths["provider"], rules.s3_provider(s3["provider"]), s3["provider"])
    problems.check(paths["ca_bundle"], rules.certificates(s3["ca_bundle"]))
    for cidr in s3["cidrs"]:
        problems.check(paths["cidrs"], rules.network(cidr), cidr)
    s3["cidrs"] = rules.networks(s3["cidrs"])


def _check_keep(backup: Backup, path: str, problems: Problems) -> None:
    keep = backup["keep"]
    for span, count in (("daily", keep["daily"]), ("weekly", keep["weekly"]), ("monthly", keep["monthly"])):
        problems.check(f"{path}.{span}", None if count >= 0 else "must be 0 or more; 0 keeps none of that span", count)
    if not any(keep.values()):
        problems.add(path, "keeps nothing; at least one of daily, weekly and monthly is more than 0")


def texts(value: Any) -> list[str]:
    """One text or a list of them, without empty ones."""
    return [str(item).strip() for item in (value if isinstance(value, list) else [value]) if str(item or "").strip()]


def name_credentials(backup: Backup, environment: str, secrets: Mapping[str, Mapping[str, str]]) -> None:
    """Fill in which credentials the environment's backups are made and read with."""

    def named(group: str, names: tuple[str, str]) -> S3Credentials:
        return {"access_key": f"{group}/{names[0]}", "secret_key": f"{group}/{names[1]}"}

    own = any(secrets.get(environment, {}).get(name) for name in OWN_S3)
    backup["writer"] = named(environment, OWN_S3) if own else named("s3", S3_PAIR)
    backup["reader"] = named("s3_reader", S3_PAIR) if any(secrets.get("s3_reader", {}).values()) else backup["writer"]


def warnings(environments: Mapping[str, Environment]) -> list[str]:
    """That there are environments without backups, said at each run."""
    bare = [name for name, env in environments.items() if not env["backup"]["s3"]["endpoint"]]
    text = f"NO BACKUPS of {', '.join(bare)}: platform_s3.endpoint is not filled in, so what is lost there is lost for good (docs/backups.md)"
    return [text] if bare else []


# --- the endpoint -----------------------------------------------------------------------------------------------------------------------------


def host_of(endpoint: str) -> str:
    """The host of a URL, as DNS compares names; an IPv6 address without its brackets."""
    endpoint = endpoint.lower()
    authority = endpoint.partition("://")[2].partition("/")[0]
    return authority[1:].partition("]")[0] if authority.startswith("[") else authority.partition(":")[0].rstrip(".")


def port_of(endpoint: str) -> int:
    scheme, _colon, rest = endpoint.partition("://")
    port = rest.partition("/")[0].rpartition("]")[2].rpartition(":")[2]
    return int(port) if ":" in rest.partition("/")[0].rpartition("]")[2] else 443 if scheme == "https" else 80


def service_namespace(host: str, namespaces: Iterable[str] = ()) -> str:
    """The namespace of the Service that a name is of; '' for a name outside the cluster.

    Pods find Services as NAME.NAMESPACE.svc, and as NAME.NAMESPACE, which could be a name of the internet: it counts for a namespace of the platform.
    """
    for end in _SERVICE_ENDS:
        if host.endswith(end) and host.removesuffix(end).count(".") == 1:
            return host.split(".")[1]
    name, _dot, namespace = host.partition(".")
    return namespace if name and namespace in namespaces else ""


def _address(host: str) -> Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped) or found  # Kubernetes refuses an IPv4 address in the notation of IPv6


def _single(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"


def names_of(s3: S3, namespaces: Iterable[str]) -> list[str]:
    """The names that pods look up to reach the endpoint, where nothing else says its addresses."""
    host = host_of(s3["endpoint"])
    if not host or s3["cidrs"] or _address(host) or service_namespace(host, namespaces):
        return []
    return [host if s3["path_style"] else f"{s3['bucket']}.{host}"]


def names_to_resolve(backups: Iterable[Backup], namespaces: Iterable[str]) -> list[str]:
    """The names of endpoints whose addresses decide what the backups' pods may reach."""
    known = list(namespaces)
    return sorted({name for backup in backups for name in names_of(backup["s3"], known)})


def private_addresses(addresses: Iterable[str]) -> list[str]:
    """Those that are not of the internet, as networks of one address each."""
    parsed = {ipaddress.ip_address(text) for text in addresses}
    return [_single(address) for address in sorted(parsed, key=lambda each: (each.version, each.packed)) if not address.is_global]


def egress(s3: S3, model: Model, resolved: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """What a NetworkPolicy has to let the backup's pods reach (https://kubernetes.io/docs/concepts/services-networking/network-policies/).

    It knows no names: a name with private addresses opens these, any other one the public addresses. The port of a Service is not that of its pods,
    which the policy is about, so that its namespace is open on all.

    :arg resolved: what the server says of `model["names"]`.
    """
    spaces = [*model["all_environments"].values(), *model["namespaces"].values()]
    namespaces = [space["namespace"] for space in spaces]
    host = host_of(s3["endpoint"])
    if namespace := service_namespace(host, namespaces):
        return {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]}
    address = _address(host)
    cidrs = s3["cidrs"] or (
        [_single(address)] if address else private_addresses(found for name in names_of(s3, namespaces) for found in resolved.get(name, ()))
    )
    peers: list[dict[str, Any]] = [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]
    if not peers:
        versions = {ipaddress.ip_network(cidr).version for cidr in model["server"]["networks"]["cluster-cidr"]}
        peers = [{"ipBlock": {"cidr": everywhere, "except": closed}} for version, (everywhere, closed) in _PUBLIC.items() if version in versions]
    return {"to": peers, "ports": [{"protocol": "TCP", "port": port_of(s3["endpoint"])}]}
