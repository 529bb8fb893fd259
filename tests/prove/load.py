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
from typing import Any

RATE = 8.0  # requests per second, far below the flood guard of the edge
LONGEST = 600.0  # seconds after which it stops by itself
TIMEOUT = 20.0
WORKERS = 8


@dataclass
class Kept:
    """A worker's open connection, and how many requests it has had."""

    connection: http.client.HTTPSConnection | None = None
    used: int = 0


@dataclass
class Load:
    """Requests over HTTPS, so many of them on one connection; those of `/` write a row to Postgres and a key to Redis."""

    address: str
    host: str
    authority: str
    path: str = "/"
    rate: float = RATE
    workers: int = WORKERS
    longest: float = LONGEST
    per_connection: int = 1
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    pods: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._context = ssl.create_default_context(cafile=self.authority)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._next = 0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _number in range(self.workers)]

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
        kept = Kept()
        while not self._ended.is_set():
            with self._lock:
                due, self._next = self._next / self.rate, self._next + 1
            if due > self.longest or self._ended.wait(max(0.0, self._began + due - time.monotonic())):
                return
            self._ask(kept)

    def _ask(self, kept: Kept) -> None:
        began = time.monotonic() - self._began
        try:
            status, body = self._get(kept)
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

    def _get(self, kept: Kept) -> tuple[int, bytes]:
        last = kept.used + 1 >= self.per_connection
        connection = kept.connection or self._connect()
        kept.connection = None
        try:
            connection.request("GET", self.path, headers={"Connection": "close"} if last else {})
            answer = connection.getresponse()
            result = answer.status, answer.read()
            if not last and not answer.will_close:
                kept.connection, kept.used = connection, kept.used + 1
            else:
                kept.used = 0
            return result
        finally:
            if kept.connection is None:
                connection.close()
                kept.used = 0

    def _connect(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self.host, timeout=TIMEOUT, context=self._context)
        plain = socket.create_connection((self.address, 443), TIMEOUT)
        connection.sock = self._context.wrap_socket(plain, server_hostname=self.host)
        return connection


@contextmanager
def load(lab: dict[str, str], environment: str, **options: Any) -> Iterator[Load]:
    """Ask an environment of a lab while the block runs; options are fields of Load."""
    with Load(lab["address"], f"{environment}.{lab['domain']}", lab["acme_root"], **options) as client:
        yield client
