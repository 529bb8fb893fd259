# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cluster knows of its certificates: those that there are, and of the last orders which were issued, refused, or not proven."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.model_types import FailedProof, HeldCertificate, Issuance, IssuedOrder, RefusedOrder

from ..kubeconfig import KUBECONFIG
from .claims import read

# cert-manager deletes a failed order at the next try; its events stay for an hour, which is the time that failures count for
# (`--event-ttl` of the API server; `handleAuthorizationError` in cert-manager's pkg/controller/acmechallenges/sync.go).
PATHS = (
    "/apis/cert-manager.io/v1/clusterissuers",
    "/apis/cert-manager.io/v1/certificates",
    "/apis/cert-manager.io/v1/certificaterequests",
    "/apis/acme.cert-manager.io/v1/orders",
    "/api/v1/events?fieldSelector=involvedObject.kind%3DChallenge,type%3DWarning",
)
# Those that a move brings (module_utils/move/certificates.py); the names are annotations of cert-manager's, which takes such a Secret as it is.
CARRIED = "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls"
NAMES = ("cert-manager.io/alt-names", "cert-manager.io/common-name")
_FAILED = re.compile(r"authorization error for (\S+): ")
# As Let's Encrypt ends such an answer (https://letsencrypt.org/docs/rate-limits/#retrying-after-hitting-rate-limits)
_RETRY = re.compile(r"rateLimited.* retry after (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", re.DOTALL)


def gather(kubeconfig: Path = KUBECONFIG) -> Issuance | None:
    """None without a cluster, before cert-manager, and where the API server does not answer."""
    lists = read(kubeconfig, *PATHS)
    return issuance_of(int(time.time()), *lists) if lists else None


def covered(issuance: Issuance | None, issuer: str = "") -> set[str]:
    """The hosts for which nothing is ordered now."""
    return carried() if issuance is None else certified(issuance, issuer)


def certified(issuance: Issuance | None, issuer: str = "") -> set[str]:
    """The hosts that have a certificate, of this issuer where one is given: their authority need not look at them now."""
    held = [each for each in (issuance["certificates"] if issuance else ()) if each["ready"] and issuer in ("", each["issuer"])]
    return {host for certificate in held for host in certificate["hosts"]}


def carried(kubeconfig: Path = KUBECONFIG) -> set[str]:
    """The hosts whose certificates were brought from another server, before there is a cert-manager to count them."""
    lists = read(kubeconfig, CARRIED) or [[]]
    annotations = [secret["metadata"].get("annotations") or {} for secret in lists[0]]
    return {name.strip().lower() for each in annotations for key in NAMES for name in each.get(key, "").split(",")} - {""}


def issuance_of(
    now: int,
    issuers: list[dict[str, Any]],
    certificates: list[dict[str, Any]],
    requests: list[dict[str, Any]],
    orders: list[dict[str, Any]],
    events: list[dict[str, Any]],
) -> Issuance:
    """From the lists of `PATHS`, in that order."""
    done = {_place(request, request["metadata"]["name"]): at for request in requests if (at := _ready_since(request))}
    return {
        "now": now,
        "issuers": {issuer["metadata"]["name"]: _moment(issuer["metadata"]["creationTimestamp"]) for issuer in issuers},
        "certificates": [_held(certificate) for certificate in certificates],
        "issued": [_issued(order, done) for order in orders if _status(order).get("state") == "valid"],
        "refused": [refused for order in orders if (refused := _refused(order))],
        "failed": [failed for event in events if (failed := _failed(event))],
    }


def _held(certificate: Mapping[str, Any]) -> HeldCertificate:
    meta = certificate["metadata"]
    ready = _ready_since(certificate) is not None
    return {"namespace": meta["namespace"], "name": meta["name"], "hosts": _hosts(certificate), "issuer": _issuer(certificate), "ready": ready}


def _issued(order: Mapping[str, Any], done: Mapping[tuple[str, str], int]) -> IssuedOrder:
    """An order does not say when it was done; the request that it belongs to does. It may have waited for days."""
    meta = order["metadata"]
    owners = [done.get(_place(order, owner["name"])) for owner in meta.get("ownerReferences") or ()]
    at = next((moment for moment in owners if moment), None) or _moment(meta["creationTimestamp"])
    return {"hosts": _hosts(order), "issuer": _issuer(order), "at": at}


def _refused(order: Mapping[str, Any]) -> RefusedOrder | None:
    reason = str(_status(order).get("reason") or "")
    retry = _RETRY.search(reason)
    if not retry:
        return None
    until = calendar.timegm(time.strptime(retry[1], "%Y-%m-%d %H:%M:%S"))
    return {"hosts": _hosts(order), "issuer": _issuer(order), "until": until, "reason": " ".join(reason.split())}


def _failed(event: Mapping[str, Any]) -> FailedProof | None:
    match, at = _FAILED.search(str(event.get("message"))), event.get("lastTimestamp") or event.get("eventTime")
    return {"host": match[1].lower(), "at": _moment(at)} if match and at else None


def _hosts(item: Mapping[str, Any]) -> list[str]:
    """The set of names, by which authorities count; order and capitals make no difference to them."""
    spec = item["spec"]
    names = [*(spec.get("dnsNames") or ()), *([spec["commonName"]] if spec.get("commonName") else ())]
    return sorted({str(name).lower() for name in names})


def _issuer(item: Mapping[str, Any]) -> str:
    return str(item["spec"]["issuerRef"]["name"])


def _status(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item.get("status") or {}


def _place(item: Mapping[str, Any], name: str) -> tuple[str, str]:
    return item["metadata"]["namespace"], name


def _ready_since(item: Mapping[str, Any]) -> int | None:
    ready = [each for each in _status(item).get("conditions") or () if each["type"] == "Ready" and each["status"] == "True"]
    return _moment(ready[0].get("lastTransitionTime") or item["metadata"]["creationTimestamp"]) if ready else None


def _moment(text: str) -> int:
    """Of a time as Kubernetes writes it; an event's may have fractions of a second."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
