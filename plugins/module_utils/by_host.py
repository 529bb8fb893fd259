# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A request over HTTPS by host name at a known address, as verify and a release's gate ask the server's own edge."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """`issuer`: who signed the certificate, where that was looked at."""

    status: int
    headers: http.client.HTTPMessage
    text: str
    issuer: str


def get(
    address: str, port: int, host: str, path: str, context: ssl.SSLContext, timeout: float, headers: Mapping[str, str], whole: bool = False
) -> Answer:
    """On a connection of its own. Raises OSError or http.client.HTTPException.

    :arg whole: whether the body is waited for, which may be a stream without end.
    """
    with socket.create_connection((address, port), timeout=timeout) as plain, context.wrap_socket(plain, server_hostname=host) as secured:
        issuer: Any = (secured.getpeercert() or {}).get("issuer", ())
        names = {key: value for part in issuer for key, value in part}
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items()), "Connection: close", "", ""]
        secured.sendall("\r\n".join(lines).encode())
        response = http.client.HTTPResponse(secured)
        response.begin()
        text = response.read().decode(errors="replace") if whole else ""
        return Answer(response.status, response.headers, text, names.get("commonName") or names.get("organizationName") or "")


def untrusting() -> ssl.SSLContext:
    """A context that looks at no certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def node_address(nodes: Iterable[Mapping[str, Any]]) -> str:
    """The first node's internal address, at which the edge answers."""
    addresses = [entry for node in nodes for entry in (node.get("status") or {}).get("addresses") or ()]
    return next((str(entry["address"]) for entry in addresses if entry["type"] == "InternalIP"), "127.0.0.1")
