# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the upstreams say of their files and images: published sums, contents, and digests by the registry API."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

from ansible.module_utils.urls import open_url

# Image indexes first, so that one digest serves every architecture. Source: OCI distribution spec 1.1, image spec 1.1; Docker Image Manifest V2.2.
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
LARGEST = 1 << 30  # bytes; no file that has to be read for its sum comes near it
WAY_OUT = "check the controller's way to it (https_proxy), name a mirror in platform_artifact_mirrors, or use a bundle (platform_bundle)"


class UpstreamError(Exception):
    """An upstream that does not answer as it should; the text names it and what to do."""


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """The URL at the mirror of its host, where there is one: the host is replaced by the mirror's address, the rest stays."""
    parts = urlsplit(url)
    mirror = mirrors.get(parts.netloc)
    return url if mirror is None else mirror.rstrip("/") + url.split(parts.netloc, 1)[1]


def split_reference(reference: str) -> tuple[str, str, str]:
    """Registry, repository and tag of an image reference (docker.io and latest where it names none)."""
    name, _colon, tag = reference.rpartition(":")
    if not name or "/" in tag:
        name, tag = reference, "latest"
    registry, _slash, repository = name.partition("/")
    if not repository or (not set(".:") & set(registry) and registry != "localhost"):
        registry, repository = "docker.io", name
    if registry == "docker.io" and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository, tag


def challenge(header: str) -> dict[str, str]:
    """The parameters of a `WWW-Authenticate: Bearer` header (RFC 6750)."""
    scheme, _space, rest = header.partition(" ")
    return dict(re.findall(r'(\w+)="([^"]*)"', rest)) if scheme.lower() == "bearer" else {}


class Upstream:
    """Reads over HTTP, through the mirrors; `timeout` is the seconds without an answer after which it gives up."""

    def __init__(self, mirrors: Mapping[str, str], timeout: int, opener: Callable[..., Any] = open_url) -> None:
        self.mirrors = mirrors
        self.timeout = timeout
        self.opener = opener

    def read(self, what: str, url: str, **headers: str) -> tuple[bytes, Mapping[str, str]]:
        """A whole body with its headers; UpstreamError when it does not come, or not whole."""
        address = mirrored(url, self.mirrors)
        try:
            response = self.opener(address, headers=headers, timeout=self.timeout, http_agent="shaka.platform", follow_redirects="safe")
            length = response.headers.get("Content-Length")
            body: bytes = response.read(LARGEST)
        except HTTPError as error:
            if error.code == 401 and error.headers.get("WWW-Authenticate"):
                raise
            raise UpstreamError(f"{what}: {address} answers {error.code} {error.reason}; does this version exist there? Else {WAY_OUT}") from error
        except TimeoutError as error:
            raise UpstreamError(f"{what}: {address} did not answer for {self.timeout} s; {WAY_OUT}") from error
        except Exception as error:
            raise UpstreamError(f"{what}: {address} cannot be read: {error}; {WAY_OUT}") from error
        if length is not None and len(body) != int(length):
            raise UpstreamError(f"{what}: {address} broke off after {len(body)} of {length} bytes; run it again, or {WAY_OUT}")
        return body, response.headers

    def content_sum(self, what: str, url: str) -> str:
        """The sha256 of a file that has no published one."""
        return hashlib.sha256(self.read(what, url)[0]).hexdigest()

    def published_sum(self, what: str, url: str, name: str) -> str:
        """A file's sha256 from a list as sha256sum writes it."""
        text = self.read(what, url)[0].decode("utf-8", "replace")
        for line in text.splitlines():
            fields = line.split()
            if len(fields) == 2 and fields[1].lstrip("*") == name and re.fullmatch(r"[0-9a-fA-F]{64}", fields[0]):
                return fields[0].lower()
        raise UpstreamError(f"{what}: {mirrored(url, self.mirrors)} has no sha256 of {name}; is it the upstream's list? Else {WAY_OUT}")

    def image_digest(self, what: str, reference: str) -> str:
        """The digest of what a tag points to now: computed from the manifest, compared with what the registry says."""
        registry, repository, tag = split_reference(reference)
        url = f"https://{registry}/v2/{repository}/manifests/{tag}"
        if registry == "docker.io" and registry not in self.mirrors:
            url = url.replace("docker.io", "registry-1.docker.io", 1)
        try:
            body, headers = self.read(what, url, Accept=MANIFESTS)
        except HTTPError as error:
            token = self._token(what, url, challenge(error.headers["WWW-Authenticate"]))
            try:
                body, headers = self.read(what, url, Accept=MANIFESTS, Authorization=f"Bearer {token}")
            except HTTPError as denied:
                raise UpstreamError(
                    f"{what}: {denied.url} refuses {reference} without a login; give it by digest in platform_image_overrides"
                ) from denied
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        said = headers.get("Docker-Content-Digest")
        if said and said != digest:
            raise UpstreamError(f"{what}: the registry says that {reference} is {said}, but what it sent is {digest}; something between changes it")
        return digest

    def _token(self, what: str, url: str, wanted: Mapping[str, str]) -> str:
        """A token for reading, from where the registry says (distribution spec, token authentication)."""
        if "realm" not in wanted:
            raise UpstreamError(f"{what}: {url} wants a login; give the image by digest in platform_image_overrides, or {WAY_OUT}")
        query = urlencode({key: value for key, value in wanted.items() if key in ("service", "scope")})
        try:
            answer = json.loads(self.read(what, f"{wanted['realm']}?{query}")[0])
            return str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, AttributeError, HTTPError) as error:
            raise UpstreamError(f"{what}: {wanted['realm']} gives no token for {url} ({error}); {WAY_OUT}") from error
