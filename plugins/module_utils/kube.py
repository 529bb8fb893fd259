# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The API server as raw JSON requests over the official client's connection pool (its typed models are not needed and slow)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

THREADS = 8
APPLY = "application/apply-patch+yaml"  # JSON is YAML; a YAML 1.1 writer would turn a key `y` into a boolean
RETRIED = (429, 502, 503, 504)


class Unreachable(Exception):
    """No API server answers where the kubeconfig points."""


class ApiError(Exception):
    """An answer of the API server that is not success; `causes` are (field, message)."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.message = str(body.get("message") or f"HTTP {status}")
        details = body.get("details") or {}
        self.causes = [(str(cause.get("field") or ""), str(cause.get("message") or "")) for cause in details.get("causes") or []]
        super().__init__(self.message)


class Api:
    """One server; safe to use from several threads."""

    def __init__(self, kubeconfig: str, retry_for: float = 30) -> None:
        """Raises Unreachable for a kubeconfig that cannot be used; `retry_for` bounds the retries of one request, in seconds."""
        from kubernetes import client, config

        configuration = client.Configuration()
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call,unused-ignore]
                config_file=kubeconfig, client_configuration=configuration, persist_config=False
            )
        except (config.ConfigException, OSError) as error:
            raise Unreachable(f"the kubeconfig {kubeconfig} cannot be used: {error}") from None
        configuration.connection_pool_maxsize = THREADS
        self.host = str(configuration.host)
        self.retry_for = retry_for
        self._client = client.ApiClient(configuration)
        self._headers = {"Accept": "application/json", "User-Agent": "shaka.platform"}
        token = configuration.auth_settings().get("BearerToken", {}).get("value")
        if token:
            self._headers["Authorization"] = token

    def request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The decoded answer (text where it is not JSON). Raises ApiError, or Unreachable once the retries are used up."""
        from urllib3.exceptions import HTTPError

        url = self.host + path + ("?" + urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        deadline, delay = time.monotonic() + self.retry_for, 0.2
        while True:
            try:
                answer = self._client.rest_client.pool_manager.request(
                    method, url, body=data, headers={**self._headers, **(headers or {})}, timeout=60, retries=False
                )
                if answer.status < 400:
                    text = answer.data.decode(errors="replace")
                    return json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text
                try:
                    error: Exception = ApiError(answer.status, json.loads(answer.data))
                except (ValueError, AttributeError):
                    error = ApiError(answer.status, {"message": answer.data.decode(errors="replace")[:500]})
                if answer.status not in RETRIED:
                    raise error
            except HTTPError as problem:
                error = Unreachable(f"the API server at {self.host} does not answer: {problem}")
            if time.monotonic() + delay > deadline:
                raise error
            time.sleep(delay)
            delay = min(2.0, delay * 1.6)

    def get(self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """None where nothing is found."""
        try:
            return self.request("GET", path, query, headers=headers)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, path: str, obj: Mapping[str, Any], manager: str, dry_run: bool) -> dict[str, Any]:
        """Server-side apply; unknown fields are errors, conflicts with other managers are ours to win."""
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        answer: dict[str, Any] = self.request("PATCH", path, query, obj, {"Content-Type": APPLY})
        return answer


def segment(text: str) -> str:
    """One segment of a path (names of RBAC objects hold colons, which stay)."""
    return quote(text, safe=":")
