"""What a backup's pods may reach, for every kind of endpoint."""

from __future__ import annotations

from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.modules.server_facts import addresses
from ansible_collections.shaka.platform.plugins.plugin_utils.model import acme, backup, network

S3: Any = {"endpoint": "", "bucket": "b", "path_style": True, "cidrs": []}
PUBLIC = {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]}
PUBLIC_6 = {"cidr": "::/0", "except": ["fc00::/7", "fe80::/10"]}
LAN = ["10.0.0.5/32", "10.0.0.6/32", "fd00::5/128"]
WEB = [{"protocol": "TCP", "port": port} for port in (80, 443)]
RESOLVED = {
    "s3.lan": ["fd00::5", "10.0.0.6", "10.0.0.5"],
    "s3.io": ["192.0.66.1"],
    "b.s3.lan": ["10.0.0.9"],
    "both.io": ["192.0.66.1", "192.168.1.2"],
}


def model(**networks: list[str]) -> Any:
    spaces = {"all_environments": {"prod": {"namespace": "acme-prod"}}, "namespaces": {"shared": {"namespace": "acme-shared"}}}
    return {
        **spaces,
        "server": {"networks": {"cluster-cidr": ["10.42.0.0/16"], **networks}},
        "acme": {"kind": "acme", "challenge": "http01", "addresses": []},
        "trusted_proxies": [],
    }


@pytest.mark.parametrize(
    ("given", "blocks", "port"),
    [
        ({"endpoint": "https://10.1.2.3"}, [{"cidr": "10.1.2.3/32"}], 443),
        ({"endpoint": "http://10.1.2.3:9000/s3"}, [{"cidr": "10.1.2.3/32"}], 9000),
        ({"endpoint": "http://[fd00::7]:9000"}, [{"cidr": "fd00::7/128"}], 9000),
        ({"endpoint": "http://[fd00::7]"}, [{"cidr": "fd00::7/128"}], 80),
        ({"endpoint": "https://s3.lan"}, [{"cidr": "10.0.0.5/32"}, {"cidr": "10.0.0.6/32"}, {"cidr": "fd00::5/128"}], 443),
        ({"endpoint": "https://s3.lan", "path_style": False}, [{"cidr": "10.0.0.9/32"}], 443),
        ({"endpoint": "https://both.io"}, [{"cidr": "192.168.1.2/32"}], 443),
        ({"endpoint": "https://s3.io"}, [PUBLIC], 443),
        ({"endpoint": "https://nobody.knows"}, [PUBLIC], 443),
        ({"endpoint": "https://s3.lan", "cidrs": ["10.9.0.0/24", "fd00::/64"]}, [{"cidr": "10.9.0.0/24"}, {"cidr": "fd00::/64"}], 443),
    ],
)
def test_an_endpoint_opens_what_it_is_at(given: dict[str, Any], blocks: list[dict[str, Any]], port: int) -> None:
    rule = backup.egress(cast(Any, {**S3, **given}), model(), RESOLVED)
    assert rule == {"to": [{"ipBlock": block} for block in blocks], "ports": [{"protocol": "TCP", "port": port}]}


@pytest.mark.parametrize(("endpoint", "namespace"), [("http://minio.storage.svc:9000", "storage"), ("http://minio.acme-shared:9000", "acme-shared")])
def test_a_service_opens_its_namespace(endpoint: str, namespace: str) -> None:
    rule = backup.egress(cast(Any, {**S3, "endpoint": endpoint}), model(), {})
    assert rule == {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]}


def test_a_cluster_of_both_ip_versions_reaches_both() -> None:
    rule = backup.egress(cast(Any, {**S3, "endpoint": "https://s3.io"}), model(**{"cluster-cidr": ["10.42.0.0/16", "2001:db8:42::/56"]}), RESOLVED)
    assert [peer["ipBlock"] for peer in rule["to"]] == [PUBLIC, PUBLIC_6]


def test_the_server_is_asked_for_names_alone() -> None:
    def env(**given: Any) -> Any:
        return {"backup": {"s3": {**S3, **given}}}

    environments = {
        "a": env(endpoint="https://s3.lan"),
        "b": env(endpoint="https://s3.lan", path_style=False),
        "c": env(endpoint="https://10.0.0.1"),
        "d": env(endpoint="https://s3.io", cidrs=["10.0.0.0/8"]),
        "e": env(endpoint="http://minio.storage.svc"),
        "f": env(),
    }
    assert backup.names_to_resolve([each["backup"] for each in environments.values()], []) == ["b.s3.lan", "s3.lan"]


def test_addresses_are_those_that_the_server_knows() -> None:
    assert "127.0.0.1" in addresses("localhost")
    assert addresses("no-such-name.invalid") == []


@pytest.mark.parametrize(
    ("server", "directory"),
    [
        ("https://10.1.2.3:14000/dir", {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 14000}]}),
        ("https://s3.lan/acme/directory", {"to": [{"ipBlock": {"cidr": net}} for net in LAN], "ports": WEB[1:]}),
        ("https://acme-v02.example.org/directory", {"to": [{"ipBlock": PUBLIC}], "ports": WEB[1:]}),
    ],
)
def test_cert_manager_reaches_its_directory_and_the_public_web(server: str, directory: dict[str, Any]) -> None:
    assert acme.egress(server, model(), RESOLVED) == [directory, {"to": [{"ipBlock": PUBLIC}], "ports": WEB}]
    asked = cast(Any, {"kind": "acme", "challenge": "http01", "server": server})
    assert acme.names_to_resolve(asked) == ([] if "10.1" in server else [server.split("/")[2]])


def test_cert_manager_reaches_the_private_addresses_that_hosts_lead_to() -> None:
    """A load balancer's and a proxy's: it looks there itself before the authority does."""
    given = model() | {"trusted_proxies": ["10.0.0.0/28", "173.245.48.0/20"]}
    given["acme"]["addresses"] = ["192.168.1.9", "93.184.215.14", "10.0.0.0/28"]
    web = acme.egress("https://acme-v02.example.org/directory", given, {})[1]
    assert web == {"to": [{"ipBlock": PUBLIC}, {"ipBlock": {"cidr": "192.168.1.9/32"}}, {"ipBlock": {"cidr": "10.0.0.0/28"}}], "ports": WEB}
    given["acme"]["challenge"], given["acme"]["dns"] = "dns01", {"nameserver": ""}
    assert acme.egress("https://acme-v02.example.org/directory", given, {})[1] == {"to": [{"ipBlock": PUBLIC}], "ports": WEB}


@pytest.mark.parametrize(
    ("rule", "closed"),
    [
        ({"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}, ["10.0.0.0/8", "203.0.113.7/32"]),
        ({"cidr": "203.0.113.7/32", "except": []}, []),
        ({"cidr": "198.51.100.0/24", "except": []}, []),
        ({"cidr": "::/0", "except": []}, ["2001:db8::7/128"]),
    ],
)
def test_an_egress_to_everywhere_leaves_out_the_server_itself(rule: dict[str, Any], closed: list[str]) -> None:
    own = ["127.0.0.1", "203.0.113.7", "10.0.0.5", "2001:db8::7"]
    assert network.egress_block(cast(Any, rule), own) == {"cidr": rule["cidr"], "except": closed}
