# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads published sums and contents of files from their upstreams. Images are in registry.py."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ansible.module_utils.urls import open_url

Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE = 4  # requests
LARGEST = 1 << 30  # bytes; far more than any file that has to be read for its sum
WAY_OUT = "check the controller's way to it (https_proxy), name a mirror in platform_artifact_mirrors, or use a bundle (platform_bundle)"
# What an answer of an upstream means, and what to do; any other is as one that says that nothing is there.
MEANINGS = {
    403: "it wants a login, or has nothing for yours: see to platform_registries",
    404: f"does this version exist there? Else {WAY_OUT}",
    429: "its limit for requests is reached: wait, log in with platform_registries, or name a mirror in platform_artifact_mirrors",
}


class UpstreamError(Exception):
    """An upstream that does not answer as it should; the text names it and what to do."""


def each(work: Callable[[Item], Result], items: Iterable[Item], otherwise: str) -> list[Result]:
    """The results of the work on all items, a few at once; raises one UpstreamError with every problem, beginning with `otherwise`."""

    def attempt(item: Item) -> Result | UpstreamError:
        try:
            return work(item)
        except UpstreamError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(attempt, items))
    problems = [str(answer) for answer in answers if isinstance(answer, UpstreamError)]
    if problems:
        raise UpstreamError(f"{otherwise}:\n  " + "\n  ".join(dict.fromkeys(problems)))
    return [answer for answer in answers if not isinstance(answer, UpstreamError)]


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """The URL with its host replaced by the address of the host's mirror, where there is one."""
    parts = urlsplit(url)
    mirror = mirrors.get(parts.netloc)
    return url if mirror is None else mirror.rstrip("/") + url.split(parts.netloc, 1)[1]


class Upstream:
    """Reads over HTTP, through the mirrors; `timeout` is the seconds without an answer after which it gives up."""

    def __init__(self, mirrors: Mapping[str, str], timeout: int, opener: Callable[..., Any] = open_url) -> None:
        self.mirrors = mirrors
        self.timeout = timeout
        self.opener = opener

    def open(self, what: str, url: str, **headers: str) -> Any:
        """The response. Raises UpstreamError when there is none, HTTPError where the upstream asks for a login. A redirect gets no Authorization."""
        address = mirrored(url, self.mirrors)
        options = {"follow_redirects": "safe", "unredirected_headers": ["Authorization"], "use_netrc": False}
        try:
            return self.opener(address, headers=headers, timeout=self.timeout, http_agent="shaka.platform", **options)
        except HTTPError as error:
            if error.code == 401 and error.headers.get("WWW-Authenticate"):
                raise
            raise UpstreamError(f"{what}: {address} answers {error.code} {error.reason}; {MEANINGS.get(error.code, MEANINGS[404])}") from error
        except Exception as error:
            raise self._lost(what, address, error) from error

    def read(self, what: str, url: str, **headers: str) -> tuple[bytes, Mapping[str, str]]:
        """A whole body with its headers; raises UpstreamError when it does not arrive, or only in part."""
        response = self.open(what, url, **headers)
        try:
            body: bytes = response.read(LARGEST)
        except Exception as error:
            raise self._lost(what, mirrored(url, self.mirrors), error) from error
        self._refuse_short(what, url, response, len(body))
        return body, response.headers

    def save(self, what: str, url: str, response: Any, target: Path, sha256: str) -> None:
        """Stream a body to a file, which gets its name once its sum is the expected one."""
        address = mirrored(url, self.mirrors)
        partial, digest = target.with_name(f"{target.name}.part"), hashlib.sha256()
        with partial.open("wb") as file:
            try:
                while block := response.read(1 << 20):
                    digest.update(block)
                    file.write(block)
            except OSError as error:
                if error.filename or error.errno == errno.ENOSPC:
                    raise
                raise self._lost(what, address, error) from error
            except HTTPException as error:
                raise self._lost(what, address, error) from error
        self._refuse_short(what, url, response, partial.stat().st_size)
        if digest.hexdigest() != sha256:
            partial.unlink()
            sums = f"expected sha256 {sha256}, got {digest.hexdigest()}"
            raise UpstreamError(f"{what}: wrong content from {address}: {sums}; find out why before you go on")
        partial.rename(target)

    def _lost(self, what: str, address: str, error: Exception) -> UpstreamError:
        if isinstance(error, TimeoutError):
            return UpstreamError(f"{what}: {address} did not answer for {self.timeout} s; {WAY_OUT}")
        return UpstreamError(f"{what}: {address} cannot be read: {error}; {WAY_OUT}")

    def _refuse_short(self, what: str, url: str, response: Any, got: int) -> None:
        length = response.headers.get("Content-Length")
        if length is not None and got != int(length):
            raise UpstreamError(f"{what}: {mirrored(url, self.mirrors)} broke off after {got} of {length} bytes; run it again, or {WAY_OUT}")

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
