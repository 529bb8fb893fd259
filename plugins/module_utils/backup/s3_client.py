# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bucket by single requests, for what rclone does not tell: what exactly is refused, what the bucket keeps, and a few objects of many at once.

Signed with AWS Signature Version 4 (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html), which S3 services have in common.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import UTC, stamp
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import REASONS, Credentials, StoreError

PAGE_BYTES = 16 * 2**20  # of an answer that is a list, at most


class StoreUnreached(StoreError):
    """The service did not answer."""


class StoreRefused(StoreError):
    """The service answered, and did not do it. `code` is S3's own, such as AccessDenied."""

    def __init__(self, place: str, status: int, code: str) -> None:
        self.status, self.code = status, code
        words = REASONS.get(code) or ("the bucket is in another region" if status in (301, 307) else "refused")
        super().__init__(f"{place}: {words} ({code})")


class S3Answer(NamedTuple):
    """Of one request; names of headers in lower case."""

    headers: Mapping[str, str]
    body: bytes


class _Stay(urllib.request.HTTPRedirectHandler):
    """A signature holds for one address only."""

    def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
        return None


class S3Client:
    """One bucket with one pair of credentials. Each method raises StoreUnreached or StoreRefused."""

    def __init__(self, s3: Mapping[str, Any], credentials: Credentials, authority: str = "", timeout: float = 10, within: float = 20) -> None:
        """:arg s3: an environment's `backup.s3` of the model. :arg authority: PEM certificates to trust in place of the system's.

        :arg timeout: seconds for one answer. :arg within: seconds for all requests of this client together.
        """
        self.credentials, self.timeout, self.deadline = credentials, timeout, time.monotonic() + within
        self.region, self.bucket = str(s3.get("region") or "us-east-1"), str(s3["bucket"])
        parts = urlsplit(str(s3["endpoint"]))
        self.host, base = parts.netloc, parts.path.rstrip("/")
        if s3.get("path_style", True):
            self.base = f"{base}/{self.bucket}"
        else:
            self.host, self.base = f"{self.bucket}.{self.host}", base
        self.origin = f"{parts.scheme}://{self.host}"
        self.place = f"{s3['endpoint']}/{self.bucket}"
        context = ssl.create_default_context(cadata=authority or None)
        proxies = {scheme: proxy for scheme, proxy in urllib.request.getproxies().items() if scheme == "https"}  # as rclone is given them
        handlers = urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context), _Stay
        self._opener = urllib.request.build_opener(*handlers)

    def request(
        self, method: str, key: str = "", query: Mapping[str, str] | None = None, body: bytes = b"", largest: int = PAGE_BYTES, bypass: bool = False
    ) -> S3Answer:
        """One request. :arg bypass: a delete is meant although Object Lock holds the object in governance mode."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise StoreUnreached(f"{self.place}: no answer in time")
        path = quote(f"{self.base}/{key}" if key else self.base or "/", safe="/-_.~")
        asked = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted((query or {}).items()))
        own = {"host": self.host, **({"x-amz-bypass-governance-retention": "true"} if bypass else {})}
        sent = signed(method, path, asked, body, own, self.credentials, self.region, datetime.datetime.now(UTC))
        sent["content-type"] = "application/octet-stream"
        data = body if method in ("PUT", "POST") else None
        request = urllib.request.Request(f"{self.origin}{path}" + (f"?{asked}" if asked else ""), data=data, method=method, headers=sent)
        try:
            with self._opener.open(request, timeout=min(self.timeout, left)) as answer:
                return S3Answer({name.lower(): value for name, value in answer.headers.items()}, answer.read(largest))
        except urllib.error.HTTPError as error:
            told = re.search(rb"<Code>([A-Za-z0-9.]{1,80})</Code>", error.read(64 * 1024))
            if told is None:
                raise StoreUnreached(
                    f"{self.place}: the answer is {error.code} and not S3's; is a proxy between, or another service there?"
                ) from None
            raise StoreRefused(self.place, error.code, told[1].decode()) from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            slow = isinstance(cause, TimeoutError)
            raise StoreUnreached(f"{self.place}: {'no answer in time' if slow else getattr(cause, 'strerror', None) or cause}") from None

    def sizes(self, prefix: str) -> dict[str, int]:
        """Path -> bytes of every object below a prefix."""
        return self._pages(prefix, "")[0]

    def folders(self, prefix: str) -> list[str]:
        """What lies directly below a prefix, and has objects below it; each with its slash."""
        return self._pages(prefix, "/")[1]

    def read(self, key: str, largest: int) -> bytes:
        """An object's content, or its first bytes where it has more."""
        return self.request("GET", key, largest=largest).body

    def _pages(self, prefix: str, delimiter: str) -> tuple[dict[str, int], list[str]]:
        objects: dict[str, int] = {}
        folders: list[str] = []
        query = {"list-type": "2", "prefix": prefix, **({"delimiter": delimiter} if delimiter else {})}
        while True:
            try:
                page = ElementTree.fromstring(self.request("GET", query=query).body)
            except ElementTree.ParseError:
                raise StoreUnreached(f"{self.place}: what it lists is not XML; is this an S3 service?") from None
            objects |= {_text(item, "Key"): int(_text(item, "Size") or 0) for item in page.iterfind("{*}Contents")}
            folders += [_text(item, "Prefix") for item in page.iterfind("{*}CommonPrefixes")]
            following = _text(page, "NextContinuationToken")
            if _text(page, "IsTruncated") != "true" or not following:
                return objects, folders
            query["continuation-token"] = following


def signed(
    method: str, path: str, query: str, body: bytes, headers: Mapping[str, str], credentials: Credentials, region: str, moment: datetime.datetime
) -> dict[str, str]:
    """All headers of a request.

    :arg path: as it is sent, escaped. :arg query: the same, sorted by name. :arg headers: in lower case, `host` among them.
    """
    at = stamp(moment)
    digest = hashlib.sha256(body).hexdigest()
    sent = {"x-amz-date": at, "x-amz-content-sha256": digest, **headers}
    names = ";".join(sorted(sent))
    lines = [method, path, query, *(f"{name}:{sent[name]}" for name in sorted(sent)), "", names, digest]
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    who = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}"
    return {**sent, "authorization": f"{who}, SignedHeaders={names}, Signature={signature}"}


def _text(element: ElementTree.Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or ""
