"""A server on loopback with the upstreams' URL layout: files by path, and a registry with its blobs, its token or its login."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Paths to bodies; `fault` says what goes wrong with a path, `login` who may read the registry (a token for everyone when empty)."""

    bodies: dict[str, bytes]
    fault: dict[str, str]
    asked: list[str]
    seen: list[str | None]  # the Authorization of each request
    login: str

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.asked.append(self.path)
        self.seen.append(self.headers.get("Authorization"))
        fault = self.fault.get(path, "")
        if fault.startswith("redirect"):
            self.send_response(302)
            self.send_header("Location", fault.partition(" ")[2] or "/elsewhere")
            self.end_headers()
            return
        if ("/manifests/" in path or "/blobs/" in path) and not self._let_in():
            return
        body = self.bodies.get(path)
        if body is None:
            self.send_error(404)
            return
        if fault == "wrong":
            body = b"forged" + body[6:]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if "/manifests/" in path:
            self.send_header("Docker-Content-Digest", f"sha256:{sha256(self.bodies[path])}")
        self.end_headers()
        if fault == "slow":
            time.sleep(3)
        self.wfile.write(body[: len(body) // 2] if fault == "truncated" else body)

    def _let_in(self) -> bool:
        wanted = "Basic " + base64.b64encode(self.login.encode()).decode() if self.login else "Bearer let-me-read"
        if self.headers.get("Authorization") == wanted:
            return True
        realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="registry",scope="repository:library/postgres:pull"'
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="private"' if self.login else realm)
        self.end_headers()
        return False

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(bodies: dict[str, bytes]) -> Iterator[Any]:
    own = type("Own", (Handler,), {"bodies": {"/token": b'{"token": "let-me-read"}', **bodies}, "fault": {}, "asked": [], "seen": [], "login": ""})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), own)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield listening
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def image(repository: str, tag: str, *layers: bytes, architectures: tuple[str, ...] = ("arm64", "amd64")) -> tuple[dict[str, bytes], str]:
    """A registry's paths for an image of some architectures, and its index's digest."""
    found: dict[str, bytes] = {}
    entries = []
    for architecture in architectures:
        config = json.dumps({"architecture": architecture, "os": "linux"}).encode()
        own = [config, *(layer + architecture.encode() for layer in layers)]
        parts = [{"mediaType": "application/octet-stream", "digest": f"sha256:{sha256(blob)}", "size": len(blob)} for blob in own]
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": parts[0], "layers": parts[1:]}).encode()
        found |= {f"/v2/{repository}/blobs/sha256:{sha256(blob)}": blob for blob in own}
        found[f"/v2/{repository}/manifests/sha256:{sha256(manifest)}"] = manifest
        platform = {"os": "linux", "architecture": architecture}
        entries.append({"mediaType": MANIFEST_TYPE, "digest": f"sha256:{sha256(manifest)}", "size": len(manifest), "platform": platform})
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).encode()
    digest = f"sha256:{sha256(index)}"
    found |= {f"/v2/{repository}/manifests/{name}": index for name in (tag, digest)}
    return found, digest
