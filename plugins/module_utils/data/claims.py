# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The volumes that a server has of a platform, and which data is in each, by the record that the claim itself carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.api_reader import ApiReader
from ansible_collections.shaka.platform.plugins.module_utils.conventions import pod_template
from ansible_collections.shaka.platform.plugins.module_utils.kubeconfig import KUBECONFIG, k3s_administrator

from ..engine.identity import MANAGED_BY, MANAGER, PART_OF, SET

# Annotation of a claim: JSON. Of Postgres `databases` (the application's first) and `user`; of Redis namespace -> `name`, `database`, `prefix`.
DATA = "shaka.platform/data"
TIMEOUT = 5  # seconds for an answer of the API server


def claims(kubeconfig: Path = KUBECONFIG) -> list[dict[str, Any]] | None:
    """Each bound claim; none without a cluster, and None where there is a cluster that does not answer."""
    selector = f"labelSelector={MANAGED_BY}%3D{MANAGER}"
    kinds = ("apps/v1/statefulsets", "apps/v1/deployments", "batch/v1/cronjobs")
    lists = read(kubeconfig, f"/api/v1/persistentvolumeclaims?{selector}", *(f"/apis/{kind}?{selector}" for kind in kinds))
    if not lists:
        return None if lists is None else []
    return bound_claims(lists[0], [workload for workloads in lists[1:] for workload in workloads])


def namespaces(kubeconfig: Path = KUBECONFIG) -> list[str] | None:
    """Names of the namespaces of a platform that are there to stay; none without a cluster, and None where it does not answer."""
    lists = read(kubeconfig, f"/api/v1/namespaces?labelSelector={MANAGED_BY}%3D{MANAGER}")
    if not lists:
        return None if lists is None else []
    return sorted(item["metadata"]["name"] for item in lists[0] if not item["metadata"].get("deletionTimestamp"))


def read(kubeconfig: Path, *paths: str) -> list[list[dict[str, Any]]] | None:
    """The items of lists of the cluster; nothing without a cluster, and None where there is one that does not answer them all."""
    try:
        text = kubeconfig.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        reader = ApiReader(k3s_administrator(text), TIMEOUT)
        answers = [reader.read(path) for path in paths]
        return [json.loads(answer)["items"] for _ok, answer in answers] if all(ok for ok, _text in answers) else None
    except (LookupError, OSError, ValueError):
        return None


def bound_claims(bound: list[dict[str, Any]], workloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is known of each claim that has a volume. `used`: whether a workload of ours runs on it."""
    used = {
        (workload["metadata"]["namespace"], volume["persistentVolumeClaim"]["claimName"])
        for workload in workloads
        for volume in (pod_template(workload).get("spec") or {}).get("volumes") or []
        if volume.get("persistentVolumeClaim")
    }
    result = []
    for claim in bound:
        meta, spec = claim["metadata"], claim["spec"]
        if spec.get("volumeName") and not meta.get("deletionTimestamp"):
            labels, where = meta.get("labels") or {}, (meta["namespace"], meta["name"])
            owner = {"platform": labels.get(PART_OF, ""), "set": labels.get(SET, ""), "size": spec["resources"]["requests"]["storage"]}
            result.append({"namespace": where[0], "name": where[1], **owner, "used": where in used, "data": _record(meta)})
    return sorted(result, key=lambda entry: (entry["namespace"], entry["name"]))


def _record(meta: Mapping[str, Any]) -> dict[str, Any]:
    try:
        record = json.loads((meta.get("annotations") or {}).get(DATA) or "{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
