# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kinds that the server knows, from its aggregated discovery: two requests (KEP-3352), and no cache file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .client import Api, segment
from .identity import group_of

ACCEPT = {"Accept": ",".join(f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1"))}
# Only controllers make these, some of them with their owner's labels.
NEVER_OURS = {"events", "endpoints", "endpointslices", "leases", "controllerrevisions", "replicasets", "nodes", "csinodes", "componentstatuses"}


@dataclass(frozen=True)
class Resource:
    """One kind in one version, and where its objects are."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path of one object, or of all objects (of a namespace)."""
        path = f"/{'apis' if '/' in self.api_version else 'api'}/{self.api_version}"
        if self.namespaced and namespace:
            path += f"/namespaces/{segment(namespace)}"
        return f"{path}/{self.plural}" + (f"/{segment(name)}" if name else "")


class Discovery:
    """The kinds of a server by (apiVersion, kind)."""

    def __init__(self, documents: Iterable[dict[str, Any]]) -> None:
        self.known: dict[tuple[str, str], Resource] = {}
        self.preferred: dict[tuple[str, str], Resource] = {}  # by group and plural: the first version listed is the preferred one
        for document in documents:
            for group in document.get("items") or []:
                name = (group.get("metadata") or {}).get("name") or ""
                for version in group.get("versions") or []:
                    api_version = f"{name}/{version['version']}" if name else version["version"]
                    for item in version.get("resources") or []:
                        kind = (item.get("responseKind") or {}).get("kind")
                        if not kind:
                            continue
                        resource = Resource(
                            api_version, kind, item["resource"], item.get("scope") == "Namespaced", frozenset(item.get("verbs") or [])
                        )
                        self.known[(api_version, kind)] = resource
                        self.preferred.setdefault((name, item["resource"]), resource)

    def find(self, obj: dict[str, Any]) -> Resource | None:
        """The resource an object belongs to, if the server knows its kind."""
        return self.known.get((obj["apiVersion"], obj["kind"]))

    def listable(self, wanted: Iterable[Resource]) -> list[Resource]:
        """One resource per kind that can be ours. Its version is that of `wanted` where possible, so that equal objects compare as equal."""
        chosen = {(group_of(r.api_version), r.plural): r for r in wanted}
        return [
            chosen.get(place, resource)
            for place, resource in self.preferred.items()
            if resource.plural not in NEVER_OURS and {"list", "delete", "patch"} <= resource.verbs
        ]


def discover(api: Api) -> Discovery:
    """Raises Unreachable or ApiError."""
    return Discovery([api.request("GET", path, headers=ACCEPT) for path in ("/api", "/apis")])


def defined_by(crds: Iterable[dict[str, Any]]) -> dict[tuple[str, str], Resource]:
    """The resources that CustomResourceDefinitions will bring, before any server serves them."""
    found = {}
    for crd in crds:
        spec = crd.get("spec") or {}
        for version in spec.get("versions") or []:
            names = spec.get("names") or {}
            resource = Resource(
                f"{spec.get('group')}/{version.get('name')}", names.get("kind", ""), names.get("plural", ""), spec.get("scope") == "Namespaced"
            )
            found[(resource.api_version, resource.kind)] = resource
    return found
