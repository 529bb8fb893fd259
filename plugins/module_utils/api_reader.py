# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads of the API server with Python's own library. A kubectl for each would take a tenth of a second of CPU, and a run reads dozens of times."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.shaka.platform.plugins.module_utils.kubeconfig import tls_context


class ApiReader:
    """The server and user of a kubeconfig's current context; safe to use from several threads, as each keeps a connection of its own."""

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
        self.context = tls_context(cluster, user) if address.scheme == "https" else None
        self._of_thread = threading.local()

    def read(self, path: str) -> tuple[bool, str]:
        """(True, the answer) or (False, why not, as kubectl says it)."""
        try:
            status, text = self._get(path)
        except (OSError, http.client.HTTPException) as error:
            return False, f"{self.host}:{self.port} does not answer: {error or type(error).__name__}"
        return (True, text) if status < 300 else (False, _refusal(status, text))

    def _get(self, path: str) -> tuple[int, str]:
        kept: http.client.HTTPConnection | None = getattr(self._of_thread, "connection", None)
        if kept is None:
            return self._ask(self._connection(), path)
        try:
            return self._ask(kept, path)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, (socket.timeout, TimeoutError)):
                raise
            return self._ask(self._connection(), path)  # the server has ended the one that was kept

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
        self._of_thread.connection = None
        try:
            connection.request("GET", path, headers=self.headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        self._of_thread.connection = connection
        return answer.status, text

    def _connection(self) -> http.client.HTTPConnection:
        if self.context:
            return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=self.context)
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)


def _refusal(status: int, text: str) -> str:
    try:
        body = json.loads(text)
        return f"Error from server ({body['reason']}): {body['message']}"
    except (ValueError, LookupError, TypeError):
        return f"Error from server: HTTP {status} {text[:200]}".rstrip()
