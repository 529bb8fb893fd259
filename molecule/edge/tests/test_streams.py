"""What is no question with an answer passes the edge too: an upload of 1 GB, events, a WebSocket, gRPC."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import subprocess
from pathlib import Path

import grpc
import pytest
from conftest import Server
from visitor import Visitor

GIGABYTE = 1 << 30
WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


@pytest.fixture(scope="module")
def prod(server: Server) -> Visitor:
    return Visitor(server)


def post(server: Server, path: str, body: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """What the application that speaks HTTP/2 answers to a body from a command's output."""
    host = f"live.{server.lab['domain']}"
    reach = f"--resolve {host}:443:{server.lab['address']} --cacert {server.lab['acme_root']}"
    words = " ".join(f"'{option}'" for option in options)
    command = f"{body} | curl --silent --show-error --fail --max-time 60 {reach} {words} https://{host}{path}"
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=90, check=False)


def restarts(server: Server) -> str:
    return server.run("kubectl get pods -n traefik -o jsonpath='{.items[*].status.containerStatuses[*].restartCount} {.items[*].metadata.name}'")


def test_a_gigabyte_is_uploaded_without_being_kept(server: Server) -> None:
    """As one body, and in chunks of unknown number."""
    before = restarts(server)
    known = post(server, "/upload", f"head -c {GIGABYTE} /dev/zero", "--request", "POST", "--upload-file", "-", "--http1.1")
    assert known.stdout.decode().strip() == str(GIGABYTE), known.stderr
    two = post(server, "/upload", f"head -c {GIGABYTE} /dev/zero", "--request", "POST", "--upload-file", "-", "--http2")
    assert two.stdout.decode().strip() == str(GIGABYTE), two.stderr
    assert restarts(server) == before


def test_events_arrive_when_they_are_sent(prod: Visitor) -> None:
    """Although the application's answers are compressed, and held until they are whole where its bodies have a limit."""
    with prod.connect() as connection:
        connection.sendall(f"GET /events HTTP/1.1\r\nHost: {prod.host}\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        connection.settimeout(5)
        seen = b""
        while seen.count(b"data: ") < 3:
            seen += connection.recv(4096)
    assert b" 200 " in seen and b"text/event-stream" in seen and seen.count(b"data: ") < 6


def frame(text: bytes, kind: int) -> bytes:
    """A client's frame, with its mask (RFC 6455, section 5.2)."""
    mask = os.urandom(4)
    return bytes([0x80 | kind, 0x80 | len(text)]) + mask + bytes(byte ^ mask[number % 4] for number, byte in enumerate(text))


def exactly(connection: ssl.SSLSocket, count: int) -> bytes:
    text = b""
    while len(text) < count:
        part = connection.recv(count - len(text))
        assert part, "closed"
        text += part
    return text


def test_a_websocket_is_spoken(prod: Visitor) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    head = [f"GET /echo HTTP/1.1\r\nHost: {prod.host}", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    with prod.connect() as connection:
        connection.sendall("\r\n".join([*head, f"Sec-WebSocket-Key: {key}", "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += exactly(connection, 1)
        accepted = base64.b64encode(hashlib.sha1((key + WEBSOCKET).encode()).digest())
        assert b" 101 " in answer and accepted in answer, answer
        for text in (b"ol\xc3\xa1", b"", b"x" * 125):
            connection.sendall(frame(text, 1))
            assert exactly(connection, 2 + len(text)) == bytes([0x81, len(text)]) + text
        connection.sendall(frame(b"\x03\xe8", 8))
        assert exactly(connection, 4) == b"\x88\x02\x03\xe8"


def test_grpc_is_answered_with_its_trailers(server: Server) -> None:
    """By a client of gRPC, which takes no answer without the status in its trailers: SERVING of grpc.health.v1."""
    name = f"live.{server.lab['domain']}"
    trusted = grpc.ssl_channel_credentials(Path(server.lab["acme_root"]).read_bytes())
    with grpc.secure_channel(
        f"{server.lab['address']}:443", trusted, [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
    ) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        answer, call = ask.with_call(b"", timeout=20)
    assert answer == b"\x08\x01" and call.code() is grpc.StatusCode.OK


def test_http3_is_offered_and_spoken(prod: Visitor, server: Server) -> None:
    """A QUIC server answers a version that nobody has with those that it has (RFC 9000, sections 6 and 17.2.1)."""
    assert 'h3=":443"' in prod.ask("/hello").headers["alt-svc"]
    packet = b"\xc0\x1a\x2a\x3a\x4a" + b"\x08" + b"d" * 8 + b"\x08" + b"s" * 8
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(packet.ljust(1200, b"\0"), (server.lab["address"], 443))
        answer = client.recv(2048)
    assert answer[1:5] == b"\0\0\0\0" and answer[6:14] == b"s" * 8, answer
    versions = answer[23:]
    assert b"\0\0\0\1" in [versions[at : at + 4] for at in range(0, len(versions), 4)]
