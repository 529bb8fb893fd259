# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads digests, manifests and blobs from an image registry, by its API (OCI distribution spec 1.1)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import WAY_OUT, Upstream, UpstreamError

# Sources: OCI image spec 1.1; Docker Image Manifest V2.2.
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
ACCEPT = ", ".join((*INDEXES, *MANIFESTS))  # indexes first, so that one digest serves every architecture


@dataclass(frozen=True)
class Reference:
    """An image's name in full (docker.io where it names no registry); of `tag` and `digest` at least one is not empty."""

    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"


def parse(reference: str) -> Reference:
    """The parts of `name`, `name:tag`, `name@digest` or `name:tag@digest`; the tag is latest where there is neither."""
    whole, _at, digest = reference.partition("@")
    name, _colon, tag = whole.rpartition(":")
    if not name or "/" in tag:
        name, tag = whole, "" if digest else "latest"
    registry, _slash, repository = name.partition("/")
    if not repository or (not set(".:") & set(registry) and registry != "localhost"):
        registry, repository = "docker.io", name
    if registry == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    return Reference(registry, repository, tag, digest)


def challenge(header: str) -> dict[str, str]:
    """The parameters of a `WWW-Authenticate: Bearer` header (RFC 6750)."""
    scheme, _space, rest = header.partition(" ")
    return dict(re.findall(r'(\w+)="([^"]*)"', rest)) if scheme.lower() == "bearer" else {}


def media_type(manifest: Mapping[str, Any]) -> str:
    """A manifest's own media type; OCI's may leave it out."""
    return str(manifest.get("mediaType") or (INDEXES[0] if "manifests" in manifest else MANIFESTS[0]))


class Registry:
    """Reads through an Upstream; `logins` is registry -> (username, password) for those that require a login."""

    def __init__(self, upstream: Upstream, logins: Mapping[str, tuple[str, str]] | None = None) -> None:
        self.upstream = upstream
        self.logins = dict(logins or {})
        self._granted: dict[str, str] = {}

    def manifest(self, what: str, reference: Reference) -> tuple[bytes, str]:
        """The index or manifest that the reference points to, and its digest: computed, and compared with the reference's or the registry's."""
        url = self._url(reference, f"manifests/{reference.digest or reference.tag}")
        response = self._open(what, reference, url, Accept=ACCEPT)
        body: bytes = response.read(1 << 24)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        said = reference.digest or response.headers.get("Docker-Content-Digest")
        if said and said != digest:
            text = f"{reference.name} is {said}, but what came is {digest}; something between changes it"
            raise UpstreamError(f"{what}: {'the inventory or the lock' if reference.digest else 'the registry'} says that {text}")
        return body, digest

    def image_digest(self, what: str, reference: str) -> str:
        """The digest of what a tag points to now."""
        return self.manifest(what, parse(reference))[1]

    def save_blob(self, what: str, reference: Reference, digest: str, target: Path) -> None:
        """Stream a blob to a file, verified."""
        url = self._url(reference, f"blobs/{digest}")
        self.upstream.save(what, url, self._open(what, reference, url), target, digest.removeprefix("sha256:"))

    def _url(self, reference: Reference, path: str) -> str:
        host = reference.registry
        if host == "docker.io" and host not in self.upstream.mirrors:
            host = "registry-1.docker.io"
        return f"https://{host}/v2/{reference.repository}/{path}"

    def _open(self, what: str, reference: Reference, url: str, **headers: str) -> Any:
        """A response, asked for with the authorization that the registry granted before, else with the one that it asks for."""
        granted = self._granted.get(reference.name)
        try:
            return self.upstream.open(what, url, **headers, **({"Authorization": granted} if granted else {}))
        except HTTPError as error:
            granted = self._grant(what, url, reference.registry, error.headers["WWW-Authenticate"])
        try:
            response = self.upstream.open(what, url, **headers, Authorization=granted)
        except HTTPError as denied:
            raise UpstreamError(f"{what}: {self._refused(reference.registry, denied.url)}") from denied
        self._granted[reference.name] = granted
        return response

    def _grant(self, what: str, url: str, registry: str, header: str) -> str:
        """The Authorization for reading: a token from where the registry says (distribution spec, token authentication), or the login itself."""
        login = self.logins.get(registry)
        basic = "Basic " + base64.b64encode(":".join(login).encode()).decode() if login else ""
        asked = challenge(header)
        if "realm" not in asked:
            if not basic:
                raise UpstreamError(f"{what}: {self._refused(registry, url)}")
            return basic
        if login and not self._may_have_the_login(asked["realm"], registry):
            text = f"wants the login of platform_registries.{registry} sent to {asked['realm']}, which is not an https:// address of its own domain"
            raise UpstreamError(
                f"{what}: {registry} {text}; nothing was sent. Take the login out, or name the image by digest in a mirror that you trust"
            )
        query = urlencode({key: value for key, value in asked.items() if key in ("service", "scope")})
        try:
            answer = json.loads(self.upstream.read(what, f"{asked['realm']}?{query}", **({"Authorization": basic} if basic else {}))[0])
            return f"Bearer {answer.get('token') or answer['access_token']}"
        except (ValueError, KeyError, AttributeError, HTTPError) as error:
            raise UpstreamError(f"{what}: {asked['realm']} gives no token for {url} ({error}); {WAY_OUT}") from error

    def _may_have_the_login(self, realm: str, registry: str) -> bool:
        """Whether a login goes to where the registry wants it: encrypted and in the registry's domain, or to the mirror that stands for it."""
        parts, mirror = urlsplit(realm), urlsplit(self.upstream.mirrors.get(registry, ""))
        if mirror.netloc:
            return (parts.scheme, parts.netloc) == (mirror.scheme, mirror.netloc)
        domains = [host.rpartition(":")[0] or host for host in (parts.netloc, registry)]
        return parts.scheme == "https" and domains[0].split(".")[-2:] == domains[1].split(".")[-2:]

    def _refused(self, registry: str, url: str) -> str:
        if registry in self.logins:
            return f"{url} refuses the login of platform_registries.{registry}; correct its username or the password it names"
        return f"{url} refuses to be read without a login; give one in platform_registries.{registry}, or name the image by digest"
