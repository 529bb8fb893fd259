# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where certificates come from, as network policies have to know it. Pure."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import S3, Acme, Model
from ansible_collections.shaka.platform.plugins.plugin_utils.model import backup, rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

GROUP = "acme"  # in platform_secrets
CA_KEY, ACCOUNT_KEY, UPDATE_KEY = "CA_KEY", "EAB_HMAC_KEY", "RFC2136_KEY"
MOST_NAMES = 100  # of a certificate (https://letsencrypt.org/docs/rate-limits/#new-orders-per-account)
# Names for directories (https://letsencrypt.org/docs/acme-protocol-updates/, https://letsencrypt.org/docs/staging-environment/)
DIRECTORIES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
# Provider of DNS -> its secrets, and what it needs besides (https://cert-manager.io/docs/configuration/acme/dns01/)
PROVIDERS: dict[str, tuple[list[str], list[str]]] = {
    "cloudflare": (["CLOUDFLARE_TOKEN"], []),
    "route53": (["ROUTE53_ACCESS_KEY", "ROUTE53_SECRET_KEY"], ["region"]),
    "rfc2136": ([UPDATE_KEY], ["nameserver", "key_name"]),
}


def settle(acme: Acme, problems: Problems) -> None:
    """Check the authority, and name its issuer so that another authority has another name: by that cert-manager knows what to issue again."""
    acme["server"] = DIRECTORIES.get(acme["server"], acme["server"])
    if acme["kind"] == "acme":
        problems.check("platform_acme.email", rules.email(acme["email"]), acme["email"])
        problems.check("platform_acme.server", rules.secure_url(acme["server"]), acme["server"])
        problems.check("platform_acme.ca_bundle", rules.certificates(acme["ca_bundle"]))
        problems.check("platform_acme.eab_key_id", rules.as_written(acme["eab_key_id"]), acme["eab_key_id"])
        if acme["challenge"] == "dns01":
            _check_dns(acme, problems)
    elif acme["kind"] == "ca":
        missing = (
            None
            if acme["certificate"]
            else "is not filled in; give the certificate (PEM) of your authority, and its key as platform_secrets.acme.CA_KEY"
        )
        problems.check("platform_acme.certificate", missing or rules.certificates(acme["certificate"]))
    if acme["certificate"] and acme["kind"] != "ca":
        problems.add("platform_acme.certificate", f"is set, and platform_acme.kind is {acme['kind']}, which takes none; set kind: ca, or take it out")
    if acme["eab_key_id"] and acme["kind"] != "acme":
        problems.add(
            "platform_acme.eab_key_id", f"is set, and platform_acme.kind is {acme['kind']}, which has no accounts; take it out", acme["eab_key_id"]
        )
    if acme["dns"]["provider"] and not (acme["kind"] == "acme" and acme["challenge"] == "dns01"):
        problems.add(
            "platform_acme.dns.provider", "is set, and nobody asks it; set platform_acme.challenge: dns01, or take it out", acme["dns"]["provider"]
        )
    for address in acme["addresses"]:
        problems.check("platform_acme.addresses", rules.network(address), address)
    identity = {"acme": acme["server"], "ca": acme["certificate"].strip()}.get(acme["kind"])
    digest = "" if identity is None else f"-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    acme["secrets"] = own_secrets(acme)
    acme["issuer"] = f"{acme['kind'].replace('_', '-')}{digest}"


def check_hosts(acme: Acme, hosts: Iterable[str], problems: Problems) -> None:
    """A wildcard is proven by DNS alone (https://letsencrypt.org/docs/challenge-types/)."""
    for host in hosts if asks_by_http(acme) else ():
        if host.startswith("*."):
            problems.add("platform_acme.challenge", f"is http01, which proves no wildcard such as {host}; use dns01, or write its names", "http01")


def check_names(acme: Acme, certificates: Iterable[tuple[str, Collection[str]]], problems: Problems) -> None:
    """A certificate has at most so many names.

    :arg certificates: where the inventory has the hosts of each, and its names.
    """
    for path, names in certificates if acme["kind"] == "acme" else ():
        if len(names) > MOST_NAMES:
            text = f"makes a certificate of {len(names)} names, and an authority issues at most {MOST_NAMES} in one"
            problems.add(path, f"{text}; give some of them to another application of the same image (image_of), or use a wildcard")


def _check_dns(acme: Acme, problems: Problems) -> None:
    dns = acme["dns"]
    if not dns["provider"]:
        problems.add("platform_acme.dns.provider", f"is not filled in, and platform_acme.challenge is dns01; known: {', '.join(PROVIDERS)}")
        return
    for key in PROVIDERS[dns["provider"]][1]:
        if not cast(Mapping[str, str], dns)[key]:
            problems.add(f"platform_acme.dns.{key}", f"is not filled in, and {dns['provider']} needs it")
    if dns["provider"] == "rfc2136" and dns["nameserver"]:
        dns["nameserver"] = _in_brackets(dns["nameserver"])
        problems.check("platform_acme.dns.nameserver", rules.nameserver(dns["nameserver"]), dns["nameserver"])


def own_secrets(acme: Acme) -> list[str]:
    """The secrets of the authority, and of the DNS that answers its challenges."""
    if acme["kind"] != "acme":
        return [CA_KEY] if acme["kind"] == "ca" else []
    by_dns = acme["challenge"] == "dns01" and acme["dns"]["provider"]
    return [*([ACCOUNT_KEY] if acme["eab_key_id"] else []), *(PROVIDERS[acme["dns"]["provider"]][0] if by_dns else [])]


def secret_flaw(name: str, value: str) -> str | None:
    """What cert-manager would not take as such a secret, and would say only when it orders a certificate. Never contains a part of the value."""
    if name == CA_KEY and not re.search(r"^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----$", value, re.MULTILINE):
        return "is not a private key in PEM, whose first line is of dashes and BEGIN PRIVATE KEY; give the file's content, not its name"
    if name == ACCOUNT_KEY and not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        return "is not base64url, of letters, digits, '-' and '_'; write it as the authority shows it, with - for +, _ for / and no = at its end"
    if name == UPDATE_KEY:
        try:
            base64.b64decode(value, validate=True)
        except ValueError:
            return "is not base64; copy the secret of the key's file, as tsig-keygen writes it"
    return None


def asks_by_http(acme: Acme) -> bool:
    """Whether the authority looks for its answers at the hosts, on port 80."""
    return acme["kind"] == "acme" and acme["challenge"] == "http01"


def _endpoint(url: str) -> S3:
    return cast(S3, {"endpoint": url, "bucket": "", "path_style": True, "cidrs": []})


def unreached(hosts: Mapping[str, Iterable[str]], model: Model, own: Iterable[str]) -> list[str]:
    """The hosts at which the authority would not find its answer, each with its way out: a try that fails counts against the authority's limits.

    :arg hosts: those that wait for a certificate, with their addresses as the server knows them.
    :arg own: the server's addresses.
    """
    acme, mine = model["acme"], {ipaddress.ip_address(text) for text in own}
    if not (asks_by_http(acme) and acme["check_hosts"]):
        return []
    version = ipaddress.ip_network(model["server"]["networks"]["service-cidr"][0]).version  # Services have that of the first network alone
    expected = [ipaddress.ip_network(text) for text in [*acme["addresses"], *model["trusted_proxies"]]]
    public = (
        ", ".join(acme["addresses"]) or ", ".join(sorted(str(each) for each in mine if each.is_global and each.version == version)) or "the server's"
    )
    record = f"make its record in DNS ({'A' if version == 4 else 'AAAA'}: {public})"
    problems = []
    for host, addresses in hosts.items():
        found = {ipaddress.ip_address(text) for text in addresses}
        other = {each for each in found if not any(each in network for network in expected)}
        strange = sorted(map(str, other - mine))
        if not found:
            text = f"has no address, so that the authority cannot look at it; {record}"
        elif strange:
            text = (
                f"leads to {', '.join(strange)}, which is not this server; {record}."
                " If a proxy stands there, such as a CDN, name its networks in traefik_trusted_proxies, and let it pass"
                " /.well-known/acme-challenge/ on port 80; if the server is behind NAT or a load balancer, name that address in"
                " platform_acme.addresses"
            )
        elif found == other and version not in {each.version for each in found}:
            text = f"leads to {', '.join(map(str, found))} alone, and the platform answers at IPv{version} only; {record}"
        else:
            continue
        problems.append(
            f"{host} {text}; or have it proven by DNS (platform_acme.challenge: dns01), or leave this check out (platform_acme.check_hosts: false)"
        )
    return problems


def names_to_resolve(acme: Acme) -> list[str]:
    """The names of the directory and of the nameserver, whose addresses decide what cert-manager may reach; none for an address."""
    if acme["kind"] != "acme":
        return []
    return [name for endpoint in (acme["server"], *_updated(acme)) for name in backup.names_of(_endpoint(endpoint), ())]


def egress(server: str, model: Model, resolved: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """What a NetworkPolicy has to let cert-manager reach: the directory, and what stands before the server, such as a CDN or a load balancer.

    :arg resolved: what the server says of `model["names"]`.
    """
    internet = backup.egress(_endpoint(""), model, {})["to"]
    web = [{"protocol": "TCP", "port": port} for port in (80, 443)]
    egress_rules = [backup.egress(_endpoint(server), model, resolved), {"to": [*internet, *_private_blocks(model)], "ports": web}]
    for url in _updated(model["acme"]):
        updates, port = backup.egress(_endpoint(url), model, resolved), backup.port_of(url)
        egress_rules.append({**updates, "ports": [{"protocol": protocol, "port": port} for protocol in ("TCP", "UDP")]})
    return egress_rules


def _private_blocks(model: Model) -> list[dict[str, Any]]:
    """The private addresses to which hosts may lead, where cert-manager looks for its own answer first."""
    texts = [*model["acme"]["addresses"], *model["trusted_proxies"]] if asks_by_http(model["acme"]) else []
    networks = map(ipaddress.ip_network, rules.networks(texts))
    return [{"ipBlock": {"cidr": str(network)}} for network in dict.fromkeys(networks) if not network.is_global]


def _in_brackets(nameserver: str) -> str:
    """An address of IPv6 as cert-manager and URLs have it."""
    return f"[{nameserver}]" if ":" in nameserver and rules.is_ip(nameserver) else nameserver


def _updated(acme: Acme) -> list[str]:
    """The nameserver that takes updates, if there is one, as an endpoint; its port is 53 unless it says another."""
    if acme["challenge"] != "dns01" or not acme["dns"]["nameserver"]:
        return []
    host = _in_brackets(acme["dns"]["nameserver"])
    has_port = re.search(r":[0-9]+$", host.rpartition("]")[2])
    return [f"dns://{host}" if has_port else f"dns://{host}:53"]
