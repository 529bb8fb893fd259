"""What stands before an application, and who issues its certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.module_utils.data import issuance
from ansible_collections.shaka.platform.plugins.module_utils.engine.diagnosis import Diagnosis
from ansible_collections.shaka.platform.plugins.module_utils.engine.references import Scrubber
from ansible_collections.shaka.platform.plugins.plugin_utils.model import acme, edge
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems
from test_apps import rendered
from test_model import inventory

SERVER = ["10.0.0.10", "93.184.215.14", "203.0.113.7", "2600:1f16::7"]


def authority(**values: Any) -> Any:
    empty = {"provider": "", "region": "", "hosted_zone": "", "nameserver": "", "key_name": "", "key_algorithm": "HMACSHA512"}
    usual = {
        "kind": "acme",
        "email": "ops@shaka-api.net",
        "server": "letsencrypt",
        "ca_bundle": "",
        "eab_key_id": "",
        "challenge": "http01",
        "dns": empty,
    }
    return {**usual, "certificate": "", "addresses": [], "check_hosts": True, "check_limits": True, **values}


def settled(**values: Any) -> Any:
    given, problems = authority(**values), Problems()
    acme.settle(given, problems)
    assert not problems
    return given


def test_another_authority_has_another_issuer_and_the_same_one_the_same() -> None:
    staging, production = settled(server="letsencrypt-staging"), settled()
    assert production["server"] == "https://acme-v02.api.letsencrypt.org/directory" == settled(server=production["server"])["server"]
    names = {settled(**values)["issuer"] for values in ({}, {"server": "letsencrypt-staging"}, {"kind": "self_signed"})}
    assert len(names) == 3 and staging["issuer"] != production["issuer"] == settled(email="other@shaka-api.net", challenge="http01")["issuer"]


@pytest.mark.parametrize("email", ["*ops@acme.test", "#ops@acme.test", "{a}@acme.test", "'a@acme.test", "!a@acme.test", "|a@acme.test"])
def test_an_address_with_yaml_s_own_characters_is_the_issuer_s_contact(email: str) -> None:
    issuers = [
        item for item in rendered(inventory() | {"platform_acme": {"email": email}}, "cert_manager")[0].objects if item["kind"] == "ClusterIssuer"
    ]
    assert [issuer["spec"]["acme"]["email"] for issuer in issuers] == [email]


@pytest.mark.parametrize(
    ("values", "secrets"),
    [
        ({}, []),
        ({"kind": "ca"}, ["CA_KEY"]),
        ({"challenge": "dns01", "dns": {"provider": "route53"}}, ["ROUTE53_ACCESS_KEY", "ROUTE53_SECRET_KEY"]),
        ({"challenge": "dns01", "dns": {"provider": "cloudflare"}}, ["CLOUDFLARE_TOKEN"]),
        ({"eab_key_id": "kid-1", "challenge": "dns01", "dns": {"provider": "cloudflare"}}, ["EAB_HMAC_KEY", "CLOUDFLARE_TOKEN"]),
        ({"kind": "self_signed", "challenge": "dns01", "dns": {"provider": "cloudflare"}}, []),
    ],
)
def test_an_authority_has_the_secrets_that_it_needs(values: dict[str, Any], secrets: list[str]) -> None:
    assert acme.own_secrets(authority(**values)) == secrets


@pytest.mark.parametrize(
    ("addresses", "values", "says"),
    [
        (["203.0.113.7"], {}, ""),
        (["10.0.0.10", "203.0.113.7"], {}, ""),
        ([], {}, "has no address, so that the authority cannot look at it; make its record in DNS (A: 93.184.215.14);"),
        (["2600:1f16::7"], {}, "leads to 2600:1f16::7 alone, and the platform answers at IPv4 only; make its record in DNS (A: 93.184.215.14);"),
        (["203.0.113.7", "2600:1f16::7"], {}, ""),
        (["2600:1f16::7"], {"addresses": ["2600:1f16::/64"]}, ""),
        (["2600:1f16::7"], {"services": ["fd00:43::/112"]}, ""),
        (
            ["203.0.113.7"],
            {"services": ["fd00:43::/112"]},
            "leads to 203.0.113.7 alone, and the platform answers at IPv6 only; make its record in DNS (AAAA: 2600:1f16::7);",
        ),
        (["198.51.100.1"], {}, "leads to 198.51.100.1, which is not this server"),
        (["203.0.113.7", "198.51.100.1"], {}, "leads to 198.51.100.1,"),
        (["198.51.100.1"], {"addresses": ["198.51.100.1"]}, ""),
        (["198.51.100.1"], {"proxies": ["198.51.100.0/24"]}, ""),
        (["2001:db8::1"], {"proxies": ["198.51.100.0/24"]}, "leads to 2001:db8::1"),
        ([], {"challenge": "dns01"}, ""),
        ([], {"kind": "self_signed"}, ""),
        ([], {"check_hosts": False}, ""),
    ],
)
def test_a_host_that_the_authority_would_not_find_is_named(addresses: list[str], values: dict[str, Any], says: str) -> None:
    proxies, services = values.pop("proxies", []), values.pop("services", ["10.43.0.0/16"])
    networks = {"networks": {"service-cidr": services}}
    model = cast(Any, {"acme": authority(**values), "trusted_proxies": proxies, "server": networks})
    found = acme.unreached({"api.shaka-api.net": addresses}, model, SERVER)
    assert len(found) == bool(says)
    assert all(text.startswith(f"api.shaka-api.net {says}") and "dns01" in text for text in found)


@pytest.mark.parametrize(
    ("nameserver", "cidr", "port"),
    [
        ("10.0.0.53", "10.0.0.53/32", 53),
        ("10.0.0.53:5353", "10.0.0.53/32", 5353),
        ("fd00::53", "fd00::53/128", 53),
        ("[fd00::53]:54", "fd00::53/128", 54),
        ("ns1.corp.lan:5353", "10.0.0.9/32", 5353),
    ],
)
def test_cert_manager_reaches_the_nameserver_that_it_updates(nameserver: str, cidr: str, port: int) -> None:
    """Also one that is given by its name, which the server looks up."""
    model = {"all_environments": {}, "namespaces": {}, "server": {"networks": {"cluster-cidr": ["10.42.0.0/16"]}}}
    asked = authority(server="https://acme.shaka-api.net", challenge="dns01", dns={**authority()["dns"], "nameserver": nameserver})
    resolved = {name: ["10.0.0.9"] for name in acme.names_to_resolve(asked) if name != "acme.shaka-api.net"}
    rule = acme.egress(asked["server"], cast(Any, {**model, "acme": asked}), resolved)[-1]
    assert rule == {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"protocol": protocol, "port": port} for protocol in ("TCP", "UDP")]}


@pytest.mark.parametrize(
    ("given", "nameserver", "right"),
    [
        ("10.0.0.53", "10.0.0.53", True),
        ("ns1.shaka-api.net:53", "ns1.shaka-api.net:53", True),
        ("fd00::53", "[fd00::53]", True),  # refused by cert-manager 1.21 without brackets: "too many colons in address"
        ("[fd00::53]:54", "[fd00::53]:54", True),
        ("http://10.0.0.53", "http://10.0.0.53", False),
        ("10.0.0.53:99999", "10.0.0.53:99999", False),
        ("fd00:53:zz", "fd00:53:zz", False),
        (":53", ":53", False),
    ],
)
def test_a_nameserver_is_given_as_cert_manager_takes_it(given: str, nameserver: str, right: bool) -> None:
    dns = {**authority()["dns"], "provider": "rfc2136", "nameserver": given, "key_name": "edge"}
    asked, problems = authority(challenge="dns01", dns=dns), Problems()
    acme.settle(asked, problems)
    assert asked["dns"]["nameserver"] == nameserver
    assert [problem.path for problem in problems] == ([] if right else ["platform_acme.dns.nameserver"])


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("ana:$2y$05$" + "a" * 53, True),
        ("ana:$2b$12$" + "a" * 53 + "\nbob:$2y$05$" + "b" * 53 + "\n", True),
        ("ana:secret", False),
        ("ana:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", False),
        ("ana:$apr1$a$b", False),
        ("ana:$2y$05$" + "a" * 53 + "\nbob:secret", False),
        ("", False),
    ],
)
def test_users_have_hashes_that_take_time_to_try(value: str, right: bool) -> None:
    flaw = edge.users(value)
    assert (flaw is None) is right and (flaw is None or "secret" not in flaw)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("Waiting for HTTP-01 challenge propagation: failed to perform self check GET request: dial tcp 203.0.113.7:80: i/o timeout", True),
        ("Waiting for HTTP-01 challenge propagation: wrong status code '404', expected '200'", False),
        ("", False),
    ],
)
def test_a_certificate_that_does_not_come_says_what_its_authority_waits_for(reason: str, hint: bool) -> None:
    class Api:
        def get(self, path: str, _query: Any = None) -> dict[str, Any]:
            other = {"spec": {"dnsName": "other.net"}, "status": {"reason": "something else"}}
            return {"items": [{"spec": {"dnsName": "api.net"}, "status": {"reason": reason}}, other]} if path.endswith("/challenges") else {}

    meta = {"name": "api-tls", "namespace": "prod", "uid": "1"}
    certificate = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": meta, "spec": {"dnsNames": ["api.net"]}}
    text = Diagnosis(cast(Any, Api()), Scrubber([])).paragraph(certificate, "it is not ready")
    assert (f"challenge of api.net: {reason}" in text) is bool(reason) and "something else" not in text
    assert ("hairpin NAT" in text) is hint


def test_hosts_with_a_certificate_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def certificate(host: str, ready: str | None) -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": ready}] if ready else []
        meta = {"namespace": "prod", "name": host, "creationTimestamp": "2026-03-09T12:00:00Z"}
        return {"metadata": meta, "spec": {"dnsNames": [host], "issuerRef": {"name": "acme"}}, "status": {"conditions": conditions}}

    lists: list[Any] = [[], [certificate("a.net", "True"), certificate("b.net", "False"), certificate("c.net", None)], [], [], []]
    monkeypatch.setattr(issuance, "read", lambda *_arguments: lists)
    assert issuance.certified(issuance.gather()) == issuance.covered(issuance.gather(), "acme") == {"a.net"}
    assert issuance.covered(issuance.gather(), "acme-other") == set(), "another authority issues it again, and looks at the host"
    unanswered: list[Any] = [[], None]
    for nothing in unanswered:
        monkeypatch.setattr(issuance, "read", lambda *_arguments, answer=nothing: answer)
        assert issuance.gather() is None and issuance.certified(None) == set()


@pytest.mark.parametrize("playbook", ["site", "preview", "preview_end"])
def test_the_server_is_asked_for_hosts_without_a_certificate_of_the_authority(playbook: str) -> None:
    plays = yaml.safe_load((Path(__file__).parents[2] / f"playbooks/{playbook}.yml").read_text())
    given = [play["module_defaults"]["shaka.platform.server_facts"] for play in plays if "module_defaults" in play]
    assert [each["issuer"] for each in given if "hosts" in each] == ["{{ platform_model.acme.issuer }}"]


def trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    return trust_as_template(value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("facts", "chosen", "watched"),
    [
        ({"platform_claims": []}, ["dev", "prod"], ["acme-dev", "acme-prod"]),
        ({"platform_claims": []}, ["prod"], ["acme-prod"]),  # dev is not there, and Traefik would wait for it without end
        ({"platform_claims": [{"namespace": "acme-dev"}]}, ["prod"], ["acme-dev", "acme-prod"]),
        ({"platform_claims": [{"namespace": "gone"}]}, ["prod"], ["acme-prod"]),
        ({"platform_claims": None}, ["prod"], ["acme-dev", "acme-prod"]),  # nothing is known: nothing that is served may be left out
        ({}, ["prod"], ["acme-dev", "acme-prod"]),
        ({"platform_claims": []}, ["dev"], ["acme-dev", "acme-of-dev"]),  # a preview is there with its parent
        ({"platform_claims": [{"namespace": "acme-dev"}]}, ["prod"], ["acme-dev", "acme-of-dev", "acme-prod"]),
        ({"platform_claims": [{"namespace": "acme-prod"}]}, ["of-dev"], ["acme-of-dev", "acme-prod"]),
        # one that another controller has ended is in this one's previews.yml, and its namespace is gone
        ({"platform_claims": [{"namespace": "acme-dev"}], "platform_spaces": ["acme-of-dev"]}, ["prod"], ["acme-dev", "acme-of-dev", "acme-prod"]),
        ({"platform_claims": [{"namespace": "acme-dev"}], "platform_spaces": ["acme-dev"]}, ["prod"], ["acme-dev", "acme-prod"]),
        ({"platform_claims": [], "platform_spaces": []}, ["of-dev"], ["acme-of-dev"]),
    ],
)
def test_traefik_watches_the_namespaces_that_are_there_and_let_it_in(facts: dict[str, Any], chosen: list[str], watched: list[str]) -> None:
    every = {name: {"namespace": f"acme-{name}"} for name in ("dev", "prod")}
    inviting = {"namespace": "tools", "ingress": [{"namespace": "traefik"}, {"namespace": "traefik"}]}
    spaces = {
        "tools": inviting,
        "shared": {"namespace": "acme-shared", "ingress": [{"namespace": "acme-prod"}]},
        "bare": {"namespace": "b", "ingress": []},
    }
    previews = (
        {"of-dev": {"namespace": "acme-of-dev", "preview": {"namespace": "acme-dev"}}}
        if "of-dev" in str(watched) or "platform_spaces" in facts
        else {}
    )
    model = {
        "environments": {name: every[name] for name in chosen if name in every}, "all_environments": every, "namespaces": spaces,
        "previews": {name: env for name, env in previews.items() if name in chosen}, "all_previews": previews,
    }  # fmt: skip
    variables = trusted(yaml.safe_load((Path(__file__).parents[2] / "roles/traefik/vars/main.yml").read_text()))
    given = {"platform_model": model, "traefik_namespaces": ["own"], "ansible_facts": facts}
    found = Templar(loader=DataLoader(), variables={**variables, **given}).template(trust_as_template("{{ __traefik_watched }}"))
    assert found == sorted([*watched, "own", "tools", "traefik"])
