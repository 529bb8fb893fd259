"""Certificates that their authority would refuse are named before they are ordered."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.filter.authority_limits import authority_limits
from ansible_collections.shaka.platform.plugins.module_utils.data import issuance
from ansible_collections.shaka.platform.plugins.plugin_utils.model.acme import DIRECTORIES
from ansible_collections.shaka.platform.plugins.plugin_utils.model.authority_limits import DAY, HOUR, Rate

ROOT = Path(__file__).parents[2]
NOW = calendar.timegm((2026, 3, 9, 12, 0, 0))
WEEK = Rate(5, 7 * DAY)
HOSTS = ("acme.net", "api.acme.net")
ISSUER = "acme-production"


def stamp(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


# --- the cluster's objects, as far as they are read --------------------------------------------------------------------------------------------


def item(name: str, at: int, spec: dict[str, Any], status: dict[str, Any], owner: str = "") -> dict[str, Any]:
    owners = {"ownerReferences": [{"kind": "CertificateRequest", "name": owner}]} if owner else {}
    issued_by = {"issuerRef": {"kind": "ClusterIssuer", "name": spec.pop("issuer", ISSUER)}}
    return {
        "metadata": {"namespace": "prod", "name": name, "creationTimestamp": stamp(at), **owners},
        "spec": {**issued_by, **spec},
        "status": status,
    }


def ready(at: int, state: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Ready", "status": state, "lastTransitionTime": stamp(at)}]}


def order(at: int, **spec: Any) -> dict[str, Any]:
    status = spec.pop("status", {"state": "valid"})
    return item(f"order-{at}", at, {"dnsNames": [*HOSTS], **spec}, status, owner=f"request-{at}")


def event(at: int, host: str = "acme.net", text: str = "Accepting challenge authorization failed: acme: authorization error for {}: 403 no") -> Any:
    return {"message": text.format(host), "lastTimestamp": stamp(at)}


def cluster(
    orders: Any = (),
    events: Any = (),
    hosts: Any = HOSTS,
    state: str = "False",
    since: int = NOW - 30 * DAY,
    requests: Any = (),
    issuer: str = ISSUER,
) -> Any:
    certificates = [item("acme-api-tls", NOW, {"dnsNames": [*hosts], "issuer": issuer}, ready(NOW, state))] if hosts else []
    issuers = [{"metadata": {"name": ISSUER, "creationTimestamp": stamp(since)}}]
    return issuance.issuance_of(NOW, issuers, certificates, list(requests), list(orders), list(events))


def model(hosts: Sequence[str] = HOSTS, redirects: Any = (), **acme: Any) -> Any:
    authority = {"kind": "acme", "server": DIRECTORIES["letsencrypt"], "issuer": ISSUER, "check_limits": True, **acme}
    app = {"name": "acme-api", "path": "platform_environments.prod.api", "served": True, "hosts": [*hosts], "certified": [*hosts]}
    app["edge"] = {"redirects": list(redirects)}
    return {"acme": authority, "previews": {}, "environments": {"prod": {"namespace": "prod", "apps": {"api": app}}}}


def said(found: Any, wanted: Any) -> tuple[list[str], list[str]]:
    findings = authority_limits(found, wanted)
    return findings["problems"], findings["warnings"]


FIVE = [order(NOW - hours * HOUR) for hours in (1, 2, 3, 4, 5)]


# --- the bucket --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "left", "free"),
    [
        ([], 5, None),
        ([1], 4, None),
        ([1, 2, 3, 4], 1, None),
        ([1, 2, 3, 4, 5], 0, 33.6 - 5),  # the first one comes back after a fifth of a week
        ([33, 34, 35, 36, 37], 1, None),
        ([1, 30, 31, 32, 33], 0, 33.6 - 33),
        ([1, 34, 35, 36, 37], 1, None),
        (range(0, 200, 5), 0, 33.6),
        ([167, 169, 170, 171, 172], 5, None),
        ([1000, 1001, 1002], 5, None),
    ],
)
def test_what_was_used_comes_back_evenly(ago: Iterable[float], left: int, free: float | None) -> None:
    times = [NOW - int(hours * HOUR) for hours in ago]
    assert WEEK.left(times, NOW) == left
    assert (WEEK.free_at(times) > NOW) is (left == 0)
    if free is not None:
        assert WEEK.free_at(times) == NOW + round(free * HOUR)
        assert WEEK.left(times, WEEK.free_at(times)) == 1 and WEEK.left(times, WEEK.free_at(times) - 1) == 0


# --- certificates for the same names -----------------------------------------------------------------------------------------------------------


def test_the_sixth_certificate_of_a_week_is_refused_with_its_way_out() -> None:
    (problem,), warnings = said(cluster(FIVE), model())
    assert warnings == []
    assert problem.startswith("acme.net, api.acme.net: Let's Encrypt issued 5 certificates for exactly these names, and its limit is 5 in 7 days;")
    for words in ("free at 2026-03-10 16:36 UTC", "letsencrypt-staging", "(platform_environments.prod.api.hosts)", "check_limits: false"):
        assert words in problem


def test_the_last_one_is_a_warning() -> None:
    problems, (warning,) = said(cluster(FIVE[:4]), model())
    assert problems == [] and "this run orders the last certificate" in warning and "before 2026-03-10 17:36 UTC" in warning
    assert said(cluster(FIVE[:3]), model()) == ([], [])


@pytest.mark.parametrize(("facts", "refused"), [({"issuance": cluster(FIVE)}, 1), ({"issuance": None}, 0), ({}, 0)])
def test_the_preflight_asks_before_anything_changes(facts: dict[str, Any], refused: int) -> None:
    """A bare server has no certificates, and a run without a server has no facts."""
    tasks = yaml.safe_load((ROOT / "roles/preflight/tasks/server.yml").read_text())
    (given,) = [task["vars"] for task in tasks if "__preflight_limits" in task.get("vars", {})]
    variables = {"ansible_facts": facts, "platform_model": model()}
    findings = Templar(loader=DataLoader(), variables=variables).template(trust_as_template(given["__preflight_limits"]))
    assert len(findings["problems"]) == refused and findings["warnings"] == []


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (None, model()),
        (cluster(FIVE, state="True"), model()),  # nothing is ordered
        (cluster(FIVE, state="True"), model(["API.acme.net", "acme.net"])),  # the same set
        (cluster(FIVE), model([*HOSTS, "blog.acme.net"])),
        (cluster(FIVE), model(["acme.net"])),
        (cluster(FIVE), model(kind="ca")),
        (cluster(FIVE), model(check_limits=False)),
        (cluster(FIVE), model(server=DIRECTORIES["letsencrypt-staging"])),
        (cluster(FIVE), model(server="https://acme.corp.test/directory")),
        (cluster([*FIVE[:2], *(order(NOW - hours * HOUR, issuer="acme-staging") for hours in range(9))]), model()),
        (cluster([order(NOW - hours * HOUR, status={"state": "invalid"}) for hours in range(9)]), model()),
        (cluster([order(NOW - days * DAY) for days in range(8, 60)]), model()),  # long ago
    ],
)
def test_what_is_not_ordered_or_does_not_count(found: Any, wanted: Any) -> None:
    problems, warnings = said(found, wanted)
    assert (problems, warnings) == ([], [])


@pytest.mark.parametrize(
    "found", [cluster(FIVE, hosts=None), cluster(FIVE, hosts=["acme.net"], state="True"), cluster(FIVE, issuer="x", state="True")]
)
def test_a_certificate_that_is_new_or_changed_is_ordered(found: Any) -> None:
    assert len(said(found, model())[0]) == 1


def test_each_redirect_has_a_certificate_of_its_own() -> None:
    orders = [order(NOW - hours * HOUR, dnsNames=["www.acme.net"]) for hours in range(5)]
    ((problem,), _warnings) = said(cluster(orders, state="True"), model(redirects=["old.acme.net", "www.acme.net"]))
    assert problem.startswith("www.acme.net: ") and "(platform_environments.prod.api.edge.redirects)" in problem


@pytest.mark.parametrize(
    ("issued", "sharing", "problems", "warnings"), [(0, 4, 0, 0), (0, 5, 0, 1), (0, 6, 1, 1), (3, 2, 0, 1), (3, 3, 1, 1), (5, 2, 2, 0)]
)
def test_applications_that_share_a_host_use_up_its_certificates_together(issued: int, sharing: int, problems: int, warnings: int) -> None:
    wanted = model()
    app = wanted["environments"]["prod"]["apps"]["api"]
    wanted["environments"]["prod"]["apps"] = {key: {**app, "name": f"acme-{key}"} for key in "abcdef"[:sharing]}
    assert [len(texts) for texts in said(None, wanted)] == [0, int(sharing > 5)], "a bare server, or one that does not answer"
    found = said(cluster(FIVE[:issued]), wanted)
    assert (len(found[0]), len(found[1])) == (problems, warnings)
    if (issued, sharing) == (3, 3):
        assert (
            "issued 3 certificates for exactly these names, this run orders 2 more for other applications, and its limit is 5 in 7 days"
            in found[0][0]
        )


def test_a_certificate_counts_from_when_it_was_issued() -> None:
    """Its order may have waited for the DNS for days."""
    late = order(NOW - 6 * DAY)
    requests = [item(f"request-{NOW - 6 * DAY}", NOW, {}, ready(NOW - HOUR))]
    assert cluster([late], requests=requests)["issued"][0]["at"] == NOW - HOUR
    assert cluster([late])["issued"][0]["at"] == NOW - 6 * DAY


# --- names that could not be proven ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "problems", "warnings"),
    [([1, 2, 3], 0, 0), ([1, 2, 3, 4], 0, 1), ([1, 2, 3, 4, 5], 1, 0), ([13, 14, 15, 16, 17], 0, 1), ([70, 71, 72, 73, 74], 0, 0)],
)
def test_a_name_that_fails_five_times_in_an_hour(minutes: list[int], problems: int, warnings: int) -> None:
    found = cluster(events=[event(NOW - 60 * each) for each in minutes])
    refused, warned = said(found, model())
    assert (len(refused), len(warned)) == (problems, warnings)
    assert all(text.startswith("acme.net: Let's Encrypt could not prove this name ") for text in [*refused, *warned])
    assert not problems or "takes the next order at 2026-03-09 12:07 UTC" in refused[0]


def test_failures_of_other_hosts_issuers_and_kinds_do_not_count() -> None:
    many = [event(NOW - 60 * each) for each in range(9)]
    assert said(cluster(events=[event(NOW, "other.net") for _each in range(9)]), model()) == ([], [])
    assert said(cluster(events=[event(NOW, text="Error presenting challenge: {}") for _each in range(9)]), model()) == ([], [])
    assert said(cluster(events=many, since=NOW), model())[0] == []  # from when the inventory had another authority
    assert len(said(cluster(events=many), model(["acme.net", "*.acme.net"]))[0]) == 1


# --- the authority's own answer ----------------------------------------------------------------------------------------------------------------


REFUSAL = (
    'Failed to create Order: 429 urn:ietf:params:acme:error:rateLimited: too many certificates (50) already issued for "acme.net" in the last'
    " 168h0m0s, retry after {} UTC: see https://letsencrypt.org/docs/rate-limits/"
)


@pytest.mark.parametrize(("until", "refused"), [("2026-03-09 12:30:05", True), ("2026-03-09 11:59:00", False)])
def test_an_order_that_the_authority_refused_is_not_tried_before_it_says(until: str, refused: bool) -> None:
    """Of any authority, also for limits that are not counted here."""
    found = cluster([order(NOW - HOUR, status={"state": "errored", "reason": REFUSAL.format(until)})])
    problems, warnings = said(found, model(server="https://acme.corp.test/directory"))
    assert warnings == [] and len(problems) == refused
    assert not refused or ("takes no order before 2026-03-09 12:31 UTC" in problems[0] and 'for "acme.net" in the last' in problems[0])
    assert said(found, model(["acme.net"])) == ([], [])


def test_certificates_that_a_move_has_brought_are_seen_before_there_is_a_cert_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hosts still lead to the old server, and nothing is ordered for them."""
    secrets = [
        {"metadata": {"name": "shaka-api-tls", "annotations": {"cert-manager.io/alt-names": "prod.example.com, WWW.example.com"}}},
        {"metadata": {"name": "own", "annotations": {"cert-manager.io/common-name": "one.example.com"}}},
        {"metadata": {"name": "by-hand"}},
    ]
    monkeypatch.setattr(issuance, "read", lambda _kubeconfig, *paths: [secrets] if "type%3Dkubernetes.io%2Ftls" in paths[0] else None)
    assert issuance.gather() is None
    assert issuance.carried() == {"prod.example.com", "www.example.com", "one.example.com"}
    silences: tuple[Any, ...] = (None, [])
    for silent in silences:
        monkeypatch.setattr(issuance, "read", lambda *_arguments, answer=silent: answer)
        assert issuance.carried() == set()
