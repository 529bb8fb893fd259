"""A client that asks one environment's API at a steady, bounded rate, and remembers every request that was not answered well."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

RATE = 8.0  # requests per second, far below the flood guard of the edge
LONGEST = 600.0  # seconds after which it stops by itself
TIMEOUT = 20.0
WORKERS = 8


@dataclass
class Load:
    """Requests over HTTPS, each on a connection of its own; each writes a row to Postgres and a key to Redis."""

    address: str
    host: str
    authority: str
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    pods: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._context = ssl.create_default_context(cafile=self.authority)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._next = 0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _number in range(WORKERS)]

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(TIMEOUT + 5)

    def _work(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                due, self._next = self._next / RATE, self._next + 1
            if due > LONGEST or self._ended.wait(max(0.0, self._began + due - time.monotonic())):
                return
            self._ask()

    def _ask(self) -> None:
        began = time.monotonic() - self._began
        try:
            status, body = self._get()
            said = "" if status == 200 else f"{status} {body[:200]!r}"
            pod = json.loads(body)["pod"] if status == 200 else ""
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            said, pod = f"{type(error).__name__}: {error}", ""
        with self._lock:
            if said:
                self.failed.append(f"after {began:.1f} s: {said}")
            else:
                self.answered += 1
                self.pods.add(pod)

    def _get(self) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self.host, timeout=TIMEOUT, context=self._context)
        try:
            plain = socket.create_connection((self.address, 443), TIMEOUT)
            connection.sock = self._context.wrap_socket(plain, server_hostname=self.host)
            connection.request("GET", "/", headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def load(lab: dict[str, str], environment: str) -> Iterator[Load]:
    """Ask an environment of a lab while the block runs."""
    with Load(lab["address"], f"{environment}.{lab['domain']}", lab["acme_root"]) as client:
        yield client
