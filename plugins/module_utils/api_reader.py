# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads of the API server with Python's own library. A kubectl for each would take a tenth of a second of CPU, and a run reads dozens of times."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class ApiReader:
    """The server and user of a kubeconfig's current context; safe to use from several threads, as each read has a connection of its own."""

    def __init__(self, config: Mapping[str, Any], timeout: float) -> None:
        """:arg config: what `kubectl config view --raw --minify --output=json` says. :raises LookupError, OSError, ValueError: it cannot be used."""
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        address = urlsplit(cluster["server"])
        if not address.hostname:
            raise ValueError(f"'{cluster['server']}' is not a server's address")
        self.host, self.port, self.timeout = address.hostname, address.port, timeout
        self.headers = {"Accept": "application/json"}
        if user.get("token"):
            self.headers["Authorization"] = f"Bearer {user['token']}"
        self.context = _context(cluster, user) if address.scheme == "https" else None

    def read(self, path: str) -> tuple[bool, str]:
        """(True, the answer) or (False, why not, as kubectl says it)."""
        connection = self._connection()
        try:
            connection.request("GET", path, headers=self.headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return False, f"{self.host}:{self.port} does not answer: {error or type(error).__name__}"
        finally:
            connection.close()
        return (True, text) if answer.status < 300 else (False, _refusal(answer.status, text))

    def _connection(self) -> http.client.HTTPConnection:
        if self.context:
            return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=self.context)
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)


def _context(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    """Trusts only the cluster's authority, and presents the user's certificate."""
    context = ssl.create_default_context(cadata=_pem(cluster, "certificate-authority") or None)
    if certificate := _pem(user, "client-certificate"):
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # Python reads a key from a file only; this one is 0600 and gone at once
            file.write(certificate + "\n" + _pem(user, "client-key"))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _pem(entry: Mapping[str, Any], name: str) -> str:
    """The entry's PEM text, which is inline in base64, or in a file."""
    if entry.get(f"{name}-data"):
        return base64.b64decode(entry[f"{name}-data"]).decode()
    return Path(entry[name]).read_text(encoding="ascii") if entry.get(name) else ""


def _refusal(status: int, text: str) -> str:
    try:
        body = json.loads(text)
        return f"Error from server ({body['reason']}): {body['message']}"
    except (ValueError, LookupError, TypeError):
        return f"Error from server: HTTP {status} {text[:200]}".rstrip()
