# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries certificates from one cert-manager to another, so that the second one asks the authority for none: its limits are per week.

cert-manager takes a Secret as it is when its key, its names and its issuer's annotations are what the Certificate wants (cert-manager, Trigger
controller). The account's key goes along, as an authority counts what an account has been issued.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered

OWN = "cert-manager.io/"
CERTIFICATE = f"{OWN}certificate-name"  # annotation of a Secret: whose it is
TLS = "kubernetes.io/tls"
OWNER = ("app.kubernetes.io/managed-by", "app.kubernetes.io/part-of")
ACCOUNTS = "cert-manager"  # namespace of the keys of cluster-wide accounts

Secret = dict[str, Any]


def read(kubectl: Kubectl) -> list[Secret]:
    """Those that are there, without what belongs to their cluster. Raises Unanswered."""
    secrets = kubectl.find("/api/v1/secrets")["items"]
    issuers = (kubectl.find("/apis/cert-manager.io/v1/clusterissuers") or {}).get("items") or []
    accounts = {((issuer["spec"].get("acme") or {}).get("privateKeySecretRef") or {}).get("name") for issuer in issuers}
    return [_bare(secret) for secret in secrets if _certificate(secret) or _account(secret, accounts)]


def namespaces(kubectl: Kubectl, secrets: Iterable[Secret]) -> list[dict[str, Any]]:
    """Those that they are in, with the labels that say whose it is: the platform refuses a namespace that is not its own. Raises Unanswered."""
    found = []
    for name in sorted({secret["metadata"]["namespace"] for secret in secrets}):
        labels = (kubectl.find(f"/api/v1/namespaces/{name}") or {"metadata": {}})["metadata"].get("labels") or {}
        owner = {key: value for key, value in labels.items() if key in OWNER}
        found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": owner}})
    return found


def _certificate(secret: Mapping[str, Any]) -> bool:
    """Also one that is complete: cert-manager keeps a new key under another name until it has the certificate."""
    data = secret.get("data") or {}
    return (
        secret.get("type") == TLS
        and CERTIFICATE in (secret["metadata"].get("annotations") or {})
        and all(data.get(f"tls.{end}") for end in ("crt", "key"))
    )


def _account(secret: Mapping[str, Any], names: Iterable[str | None]) -> bool:
    metadata = secret["metadata"]
    return metadata["namespace"] == ACCOUNTS and metadata["name"] in names


def _bare(secret: Mapping[str, Any]) -> Secret:
    metadata = {key: secret["metadata"][key] for key in ("name", "namespace")}
    for kept in ("labels", "annotations"):
        own = {key: value for key, value in (secret["metadata"].get(kept) or {}).items() if OWN in key}
        metadata |= {kept: own} if own else {}
    return {"apiVersion": "v1", "kind": "Secret", "type": secret.get("type", "Opaque"), "metadata": metadata, "data": dict(secret.get("data") or {})}


def write(kubectl: Kubectl, secrets: Iterable[Secret], spaces: Iterable[Mapping[str, Any]], check: bool) -> list[str]:
    """NAMESPACE/NAME of those that were not there like this; namespaces that are missing are made. Raises Unanswered."""
    changed = []
    for space in spaces:
        if not check and kubectl.find(f"/api/v1/namespaces/{space['metadata']['name']}") is None:
            _create(kubectl, space)
    for secret in secrets:
        namespace, name = secret["metadata"]["namespace"], secret["metadata"]["name"]
        there = kubectl.find(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if there and there.get("data") == secret["data"]:
            continue
        changed.append(f"{namespace}/{name}")
        if check:
            continue
        if there:  # cert-manager owns its fields, and a Secret's type cannot be changed
            kubectl.run("delete", "secret", name, f"--namespace={namespace}", "--ignore-not-found")
        _create(kubectl, secret)
    return changed


def _create(kubectl: Kubectl, obj: Mapping[str, Any]) -> None:
    ok, output = kubectl.run("create", "--filename=-", text=json.dumps(obj))
    if not ok:
        raise Unanswered(f"{obj['metadata']['name']}: {output}")
