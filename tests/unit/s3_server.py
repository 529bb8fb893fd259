"""A small S3 service for unit tests: one bucket in memory, accounts with what each may do, versions and a lock. It checks no signature."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "backups"
PAGE = 3  # keys that one answer lists


class S3Server(ThreadingHTTPServer):
    """`accounts`: access key -> what it may (write, read, list, delete, look). `locked`: nothing is replaced or deleted without a bypass."""

    daemon_threads = True

    def __init__(self, accounts: dict[str, set[str]], locked: bool = False, versions: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.accounts, self.locked, self.versions = accounts, locked, versions
        self.objects: dict[str, list[tuple[str, bytes]]] = {}  # key -> versions, the newest last
        self.uploads: set[str] = set()
        self.requests: list[str] = []
        self.code = ""  # with which everything is refused
        self.made = 0

    @property
    def s3(self) -> dict[str, Any]:
        """As an environment's `backup.s3`."""
        endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        return {"endpoint": endpoint, "bucket": BUCKET, "prefix": "shaka", "region": "eu", "path_style": True, "ca_bundle": ""}


class Handler(BaseHTTPRequestHandler):
    server: S3Server

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.may("write"):
            return self.refuse(403, "AccessDenied")
        if self.server.locked and not self.server.versions and self.key in self.server.objects:
            return self.refuse(403, "AccessDenied")
        self.server.made += 1
        kept = self.server.objects.setdefault(self.key, []) if self.server.versions else []
        self.server.objects[self.key] = [*kept, (f"v{self.server.made}", body)]
        return self.answer(b"")

    def do_POST(self) -> None:
        if not self.may("write"):
            return self.refuse(403, "AccessDenied")
        self.server.uploads.add("u1")
        return self.answer(b"<R><UploadId>u1</UploadId></R>")

    def do_GET(self) -> None:
        asked = self.asked
        if "versioning" in asked or "object-lock" in asked:
            if not self.may("look"):
                return self.refuse(403, "AccessDenied")
            if "versioning" in asked:
                return self.answer(b"<V><Status>Enabled</Status></V>" if self.server.versions else b"<V/>")
            if not self.server.locked:
                return self.refuse(404, "ObjectLockConfigurationNotFoundError")
            return self.answer(b"<L><ObjectLockEnabled>Enabled</ObjectLockEnabled><Mode>GOVERNANCE</Mode><Years>10</Years></L>")
        if "list-type" in asked:
            return self.listing(asked)
        if not self.may("read"):
            return self.refuse(403, "AccessDenied")
        if self.key not in self.server.objects:
            return self.refuse(404, "NoSuchKey")
        return self.answer(self.server.objects[self.key][-1][1])

    def do_DELETE(self) -> None:
        if "uploadId" in self.asked:
            self.server.uploads.discard(self.asked["uploadId"][0])
            return self.answer(b"")
        bypass = self.headers.get("x-amz-bypass-governance-retention") == "true" and self.may("bypass")
        if not self.may("delete") or (self.server.locked and not bypass):
            return self.refuse(403, "AccessDenied")
        version = self.asked.get("versionId", [""])[0]
        kept = [each for each in self.server.objects.get(self.key, []) if version and each[0] != version]
        self.server.objects[self.key] = kept
        if not kept:
            del self.server.objects[self.key]
        return self.answer(b"")

    def listing(self, asked: dict[str, list[str]]) -> None:
        if not self.may("list"):
            return self.refuse(403, "AccessDenied")
        prefix, after = asked["prefix"][0], asked.get("continuation-token", [""])[0]
        keys = sorted(key for key in self.server.objects if key.startswith(prefix) and key > after)
        if "delimiter" in asked:
            folders = sorted({prefix + key[len(prefix) :].partition("/")[0] + "/" for key in keys if "/" in key[len(prefix) :]})
            return self.answer(self.page("".join(f"<CommonPrefixes><Prefix>{each}</Prefix></CommonPrefixes>" for each in folders), ""))
        more = keys[PAGE - 1] if len(keys) > PAGE else ""
        items = "".join(f"<Contents><Key>{key}</Key><Size>{len(self.server.objects[key][-1][1])}</Size></Contents>" for key in keys[:PAGE])
        return self.answer(self.page(items, more))

    @staticmethod
    def page(items: str, more: str) -> bytes:
        end = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated><NextContinuationToken>{more}</NextContinuationToken>"
        return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{items}{end}</ListBucketResult>'.encode()

    @property
    def asked(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").lstrip("/")

    def may(self, what: str) -> bool:
        found = re.search(r"Credential=([^/]+)/", self.headers["Authorization"])
        return found is not None and what in self.server.accounts.get(found[1], set())

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            self.server.requests.append(f"{self.command} {self.path}")
        if parsed and self.server.code:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.refuse(403, self.server.code)
            return False
        return parsed

    def answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        if self.server.versions and self.key in self.server.objects:
            self.send_header("x-amz-version-id", self.server.objects[self.key][-1][0])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(f"<Error><Code>{code}</Code></Error>".encode(), status)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def serving(accounts: dict[str, set[str]], **more: bool) -> Iterator[S3Server]:
    with S3Server(accounts, **more) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
