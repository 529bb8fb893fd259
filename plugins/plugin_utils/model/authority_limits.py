# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which certificates of a run its authority would refuse, counted from what it issued before. Pure.

Only the cluster's own orders count: cert-manager keeps those of a Certificate's last ten (`revisionHistoryLimit` in roles/apps), so that five of one
authority are still there when as many of another one came between them. Let's Encrypt counts a certificate when it is issued, not when it is ordered
(`countCertificateIssued` in ra/ra.go of its server, Boulder). Its limit for a registered domain (50 in 7 days) is left out: a set of names that had a
certificate before is free of it, and which part of a name was registered is known from the Public Suffix List alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Issuance, Model
from ansible_collections.shaka.platform.plugins.plugin_utils.model.acme import DIRECTORIES
from ansible_collections.shaka.platform.plugins.plugin_utils.model.edge import AskedCertificate, asked_certificates

HOUR = 3600
DAY = 24 * HOUR


class Rate(NamedTuple):
    """At most `most` in `seconds`, by a bucket: each one that was used comes back after an equal part of that time."""

    most: int
    seconds: int

    @property
    def interval(self) -> int:
        return self.seconds // self.most

    def recent(self, times: Sequence[int], now: int) -> int:
        """How many of the times are so near that the rate counts them."""
        return sum(at > now - self.seconds for at in times)

    def left(self, times: Sequence[int], now: int) -> int:
        """How many may be used now."""
        return max(0, self.most - -(-max(0, self._full_at(times) - now) // self.interval))

    def free_at(self, times: Sequence[int]) -> int:
        """The moment from which one may be used."""
        return self._full_at(times) - (self.most - 1) * self.interval

    def _full_at(self, times: Sequence[int]) -> int:
        """The moment at which all have come back. What an authority gave beyond its rate cost nothing."""
        full = 0
        for at in sorted(times):
            full = min(max(full, at) + self.interval, at + self.most * self.interval)
        return full


class AuthorityLimits(NamedTuple):
    """Of an authority: certificates for exactly the same names, and proofs of one name that fail, by one account."""

    authority: str
    same_names: Rate
    failures: Rate


# Directory -> its limits (https://letsencrypt.org/docs/rate-limits/, as of 2026-08-05). Staging has limits, too, which nobody reaches by hand:
# 30,000 for the same names (https://letsencrypt.org/docs/staging-environment/). Of other authorities none are known here.
LIMITS = {DIRECTORIES["letsencrypt"]: AuthorityLimits("Let's Encrypt", Rate(5, 7 * DAY), Rate(5, HOUR))}


class LimitFindings(NamedTuple):
    """What the authority would refuse, and what this run would use up."""

    problems: list[str]
    warnings: list[str]


def limit_findings(issuance: Issuance | None, model: Model) -> LimitFindings:
    """What there is to say before an order.

    :arg issuance: what module_utils/data/issuance.py found on the server; None where nothing is known.
    """
    findings, acme = LimitFindings([], []), model["acme"]
    limits = LIMITS.get(acme["server"])
    if acme["kind"] != "acme" or not acme["check_limits"]:
        return findings
    if issuance is None:
        return LimitFindings([], list(_of_this_run(model, limits)) if limits else [])
    for certificate, before in _counted(_ordered(issuance, model)):
        told = _told(certificate, issuance, acme["issuer"])
        if told:  # the authority's own words are better than what is counted here
            findings.problems.append(told)
        elif limits:
            _count_issued(certificate, issuance, acme["issuer"], limits, before, findings)
            _count_failures(certificate, issuance, acme["issuer"], limits, findings)
    return findings


def _ordered(issuance: Issuance, model: Model) -> Iterator[AskedCertificate]:
    """The certificates that cert-manager would order: they are not there, not ready, or for other names or of another issuer."""
    fine = [(each["namespace"], each["name"], each["hosts"], each["issuer"]) for each in issuance["certificates"] if each["ready"]]
    for certificate in asked_certificates({**model["environments"], **model["previews"]}):
        if (certificate.namespace, certificate.name, _names(certificate), model["acme"]["issuer"]) not in fine:
            yield certificate


def _of_this_run(model: Model, limits: AuthorityLimits) -> Iterator[str]:
    """Where nothing is known of the server, as of a bare one: what is beyond the limit if no certificate is there yet."""
    rate = limits.same_names
    for certificate, before in _counted(asked_certificates({**model["environments"], **model["previews"]})):
        if before == rate.most:
            yield (
                f"{', '.join(certificate.hosts)}: more than {rate.most} applications have exactly these hosts, each with its own certificate, and"
                f" {limits.authority} issues {rate.most} of them in {rate.seconds // DAY} days; {_way_out(certificate)}"
            )


def _counted(asked: Iterable[AskedCertificate]) -> Iterator[tuple[AskedCertificate, int]]:
    """Each with how many of the same names this run orders before it, as applications that share a host do."""
    names: list[list[str]] = []
    for certificate in asked:
        yield certificate, names.count(_names(certificate))
        names.append(_names(certificate))


def _told(certificate: AskedCertificate, issuance: Issuance, issuer: str) -> str:
    """Until when the authority takes no order, by its answer to the last one; '' where it did not say so."""
    answers = [each for each in issuance["refused"] if each["hosts"] == _names(certificate) and each["issuer"] == issuer]
    last = max(answers, key=lambda each: each["until"], default=None)
    if last is None or last["until"] <= issuance["now"]:
        return ""
    return f"{', '.join(certificate.hosts)}: the authority takes no order before {_clock(last['until'])} ({last['reason']}); {_way_out(certificate)}"


def _count_issued(
    certificate: AskedCertificate, issuance: Issuance, issuer: str, limits: AuthorityLimits, before: int, findings: LimitFindings
) -> None:
    """Count what was issued, and the `before` that this run orders first."""
    rate, now, hosts = limits.same_names, issuance["now"], ", ".join(certificate.hosts)
    issued = [each["at"] for each in issuance["issued"] if each["hosts"] == _names(certificate) and each["issuer"] == issuer]
    times = issued + before * [now]
    limit, left = f"its limit is {rate.most} in {rate.seconds // DAY} days", rate.left(times, now)
    if left == 0:
        ordered = f", this run orders {before} more for other applications" if before else ""
        findings.problems.append(
            f"{hosts}: {limits.authority} issued {rate.recent(issued, now)} certificates for exactly these names{ordered}, and {limit};"
            f" the next one is free at {_clock(rate.free_at(times))}; {_way_out(certificate)}"
        )
    elif left == 1:
        findings.warnings.append(
            f"{hosts}: this run orders the last certificate that {limits.authority} issues for exactly these names before"
            f" {_clock(rate.free_at([*times, now]))}; {limit}"
        )


def _count_failures(certificate: AskedCertificate, issuance: Issuance, issuer: str, limits: AuthorityLimits, findings: LimitFindings) -> None:
    """An event does not say whose failure it is. Those from before the issuer was there are another one's, which the inventory no longer has."""
    rate, now, since = limits.failures, issuance["now"], issuance["issuers"].get(issuer, issuance["now"])
    failed = [each for each in issuance["failed"] if each["at"] >= since]
    for host in sorted({name.removeprefix("*.") for name in _names(certificate)}):  # a wildcard is proven as the name below it
        times = [each["at"] for each in failed if each["host"] == host]
        text = f"{host}: {limits.authority} could not prove this name {rate.recent(times, now)} times, and its limit is {rate.most} in an hour"
        left = rate.left(times, now)
        if left == 0:
            findings.problems.append(
                f"{text}; it takes the next order at {_clock(rate.free_at(times))}. See first why it failed"
                f" (kubectl get events -n {certificate.namespace}), then {_way_out(certificate)}"
            )
        elif left == 1:
            findings.warnings.append(f"{text}; after one more it takes no order before {_clock(rate.free_at([*times, now]))}")


def _way_out(certificate: AskedCertificate) -> str:
    return (
        "run the site again after that, or ask another authority until then (platform_acme.server, such as letsencrypt-staging, whose certificates no"
        f" browser trusts), or change the set of names ({certificate.path}); platform_acme.check_limits: false leaves this check out"
    )


def _names(certificate: AskedCertificate) -> list[str]:
    return sorted({host.lower() for host in certificate.hosts})


def _clock(moment: int) -> str:
    """The next full minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(-(-moment // 60) * 60))
