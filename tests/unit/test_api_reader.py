"""Reads of the API server: one connection for all reads of a thread, also when the server ends it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.api_reader import ApiReader


class Api(BaseHTTPRequestHandler):
    """Counts its connections; ends one after `answers` answers without a word, as a server does that restarts."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.answered = 0
        self.server.connections += 1  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        if self.answered == self.server.answers:  # type: ignore[attr-defined]
            self.close_connection = True
            return
        self.answered += 1
        status = 404 if self.path == "/missing" else 200
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: Any) -> None:  # pylint: disable=arguments-differ
        pass


@pytest.fixture
def api() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.connections, server.answers, server.daemon_threads = 0, -1, True  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def reader(api: Any) -> ApiReader:
    return ApiReader({"clusters": [{"cluster": {"server": f"http://127.0.0.1:{api.server_address[1]}"}}], "users": [{"user": {}}]}, 5)


def test_a_thread_reads_by_one_connection(api: Any) -> None:
    asked = reader(api)
    assert [asked.read(path)[0] for path in ("/one", "/missing", "/two")] == [True, False, True]
    assert api.connections == 1
    thread = threading.Thread(target=asked.read, args=("/three",))
    thread.start()
    thread.join()
    assert api.connections == 2


def test_a_connection_that_the_server_ended_is_made_anew(api: Any) -> None:
    api.answers = 1
    asked = reader(api)
    assert [asked.read("/one")[0] for _round in range(3)] == [True] * 3
    assert api.connections == 3


def test_a_server_that_does_not_answer_is_told_with_its_address(api: Any) -> None:
    api.answers = 0
    ok, why = reader(api).read("/one")
    assert not ok and why.startswith(f"127.0.0.1:{api.server_address[1]} does not answer: ")
