# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small client of the API server: JSON requests over urllib3.

The official client is on the server too, but its import reads 800 files and takes half a second of each call, for models that are not needed here.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from ansible_collections.shaka.platform.plugins.module_utils.conventions import WORKERS
from ansible_collections.shaka.platform.plugins.module_utils.kubeconfig import tls_context

APPLY = "application/apply-patch+yaml"  # JSON is YAML; a YAML 1.1 writer would turn a key `y` into a boolean
RETRIED = (429, 502, 503, 504)
# What a reader of YAML refuses or takes for a line's end, though JSON allows it (https://yaml.org/spec/1.2.2/, 5.1 and 5.4).
ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def as_yaml(body: Any) -> bytes:
    """JSON that a reader of YAML reads as the same. The two halves by which JSON escapes an emoji are a mistake there, so it is written as it is."""
    return ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(body, ensure_ascii=False)).encode()


class Unreachable(Exception):
    """No API server answers where the kubeconfig points."""


class ApiError(Exception):
    """The API server refused a request; `causes` are (field, message)."""

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
        try:
            import urllib3

            cluster, user = read_kubeconfig(Path(kubeconfig))
            context = tls_context(cluster, user)
        except ImportError as error:
            raise Unreachable(f"{sys.executable} has no {error.name}, and the interpreter that has it is not there yet: run role k3s first") from None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise Unreachable(f"the kubeconfig {kubeconfig} cannot be used: {type(error).__name__}: {error}") from None
        self.host = str(cluster["server"]).rstrip("/")
        self.retry_for = retry_for
        self._pool = urllib3.PoolManager(maxsize=WORKERS, ssl_context=context)
        self._headers = {"Accept": "application/json", "User-Agent": "shaka.platform"}
        if user.get("token"):
            self._headers["Authorization"] = f"Bearer {user['token']}"

    def request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The decoded answer (text where it is not JSON). Raises ApiError, or Unreachable once the retries are used up."""
        from urllib3.exceptions import HTTPError

        url = self.host + path + ("?" + urlencode(query) if query else "")
        data = None if body is None else as_yaml(body)
        deadline, delay = time.monotonic() + self.retry_for, 0.2
        while True:
            try:
                answer = self._pool.request(method, url, body=data, headers={**self._headers, **(headers or {})}, timeout=60, retries=False)
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
        """The object or list, or None when there is none (404)."""
        try:
            return self.request("GET", path, query, headers=headers)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, path: str, obj: Mapping[str, Any], manager: str, dry_run: bool) -> dict[str, Any]:
        """Server-side apply. Unknown fields are errors; we win conflicts with other field managers."""
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        answer: dict[str, Any] = self.request("PATCH", path, query, obj, {"Content-Type": APPLY})
        return answer


def segment(text: str) -> str:
    """Text as one segment of a path. Colons stay as they are, since names of RBAC objects have them."""
    return quote(text, safe=":")


def read_kubeconfig(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cluster and user of the current context. Raises OSError, LookupError, TypeError or ValueError; plugins that log in are not supported."""
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        raise ValueError("it is not YAML") from None

    def named(kind: str, name: str) -> dict[str, Any]:
        return next(dict(entry[kind]) for entry in config[f"{kind}s"] if entry["name"] == name)

    try:
        context = named("context", config["current-context"])
        return named("cluster", context["cluster"]), named("user", context["user"])
    except StopIteration:
        raise LookupError("its current context, or the context's cluster or user, is not in it") from None
