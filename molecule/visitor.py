"""A client of the edge that is not as polite as curl: it says what TLS it speaks, and sends what bytes it likes."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from conftest import Server

# On the lab's other machine: one request for each X-Forwarded-For, all of them on one connection; prints the answers' codes.
RELAY = """
import http.client, ssl, sys
address, host, path, *forwarded = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
import socket
connection = http.client.HTTPSConnection(host, context=context)
connection.sock = context.wrap_socket(socket.create_connection((address, 443), timeout=20), server_hostname=host)
for client in forwarded:
    connection.request("GET", path, headers={"X-Forwarded-For": client})
    answer = connection.getresponse()
    body = answer.read().decode()
    print(answer.status, answer.getheader("Retry-After") or "-", body.replace("\\n", " ") if answer.status == 200 else "")
"""


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 is a connection that was closed without an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Visitor:
    """Somebody on the lab's network who asks one environment of a server."""

    server: Server
    environment: str = "prod"

    @property
    def host(self) -> str:
        return f"{self.environment}.{self.server.lab['domain']}"

    def connect(self, context: ssl.SSLContext | None = None, name: str | None = "") -> ssl.SSLSocket:
        """A TLS connection. :arg name: what it asks for; None for nothing, '' for the environment's host."""
        if context is None:
            context = ssl.create_default_context(cafile=self.server.lab["acme_root"])
        plain = socket.create_connection((self.server.lab["address"], 443), timeout=45)
        return context.wrap_socket(plain, server_hostname=self.host if name == "" else name)

    def send(self, request: bytes) -> Answer:
        """The answer to these very bytes."""
        with self.connect() as connection:
            try:
                connection.sendall(request)
                response = http.client.HTTPResponse(connection)
                response.begin()
                return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
            except (ConnectionError, http.client.HTTPException, ssl.SSLError):
                return Answer(0)

    def ask(self, path: str = "/", method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a request."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        return self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def relayed(self, path: str, *clients: str) -> list[list[str]]:
        """Status, Retry-After and body of a request for each client, by way of the lab's other machine as a proxy."""
        command = [
            "podman",
            "exec",
            "-i",
            f"shaka-{self.server.name}-dns",
            "python3",
            "-c",
            RELAY,
            self.server.lab["address"],
            self.host,
            path,
            *clients,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return [line.split(" ", 2) for line in done.stdout.splitlines()]


def untrusting(**options: object) -> ssl.SSLContext:
    """A context that speaks whatever OpenSSL can, and takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    for name, value in options.items():
        setattr(context, name, value)
    return context


# What Traefik's account must not read: other namespaces' Secrets, and what it has no use for.
CLOSED = (
    "/api/v1/secrets",
    "/api/v1/configmaps",
    "/api/v1/pods",
    *(f"/api/v1/namespaces/{name}/secrets" for name in ("shaka-shared", "shaka-monitoring", "cert-manager", "kube-system", "default")),
    "/api/v1/namespaces/shaka-shared/secrets/redis",
    "/api/v1/namespaces/shaka-prod/pods",
)
SERVED = ("/api/v1/namespaces/shaka-prod/secrets/shaka-api-tls",)
ASK = (
    "token=$(kubectl create token -n traefik traefik-ingress-controller); for path in {}; do"
    ' curl -sk -o /dev/null -w "%{{http_code}} $path\\n" -H "Authorization: Bearer $token" https://127.0.0.1:6443$path; done'
)


def reads(server: Server, *paths: str) -> dict[str, str]:
    """Path of the API -> the code that Traefik's own token gets, as somebody in its pod would."""
    lines = server.run(ASK.format(" ".join(paths))).splitlines()
    return {path: code for code, path in (line.split(" ", 1) for line in lines)}
