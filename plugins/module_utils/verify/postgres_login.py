# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A login at Postgres or PgBouncer over the network, as an application makes it: with a password, by SCRAM-SHA-256.

psql in the database's own pod goes through the local socket, which asks for no password. The server has no client of Postgres, so this speaks as much
of the protocol as a login and a question need (https://www.postgresql.org/docs/current/protocol-flow.html, RFC 5802).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import struct

PROTOCOL = 3 << 16  # version 3.0
LARGEST = 2**20  # bytes of a message that is read
OK, SASL, CONTINUE, FINAL = 0, 10, 11, 12  # kinds of the message Authentication
MECHANISM = b"SCRAM-SHA-256"


class LoginRefused(Exception):
    """There is no session; the text says why, and has no password."""


class PostgresSession:
    """A session with one server; made by `open_session`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = connection.makefile("rb")

    def close(self) -> None:
        self._buffer.close()
        self._connection.close()

    def login(self, user: str, database: str, password: str) -> None:
        """Raises LoginRefused, also where no password was asked for: then anybody is let in."""
        words = {"user": user, "database": database, "application_name": "verify"}
        start = b"".join(f"{name}\0{value}\0".encode() for name, value in words.items()) + b"\0"
        self._connection.sendall(struct.pack("!II", len(start) + 8, PROTOCOL) + start)
        kind, rest = self._authentication()
        if kind == OK:
            raise LoginRefused("it asks for no password: its pg_hba.conf trusts everybody on the network")
        if kind != SASL or MECHANISM not in rest.split(b"\0"):
            raise LoginRefused(f"it does not ask for SCRAM-SHA-256 but for authentication {kind}: correct its pg_hba.conf")
        self._prove(password)
        if self._authentication()[0] != OK:
            raise LoginRefused("it did not end the login")
        self._until_ready()

    def ask(self, statement: str) -> str:
        """The first value of the answer; raises LoginRefused."""
        self._send(b"Q", statement.encode() + b"\0")
        rows = self._until_ready()
        if not rows:
            raise LoginRefused(f"{statement}: no answer")
        (size,) = struct.unpack_from("!i", rows[0], 2)
        return rows[0][6 : 6 + max(size, 0)].decode(errors="replace")

    def _prove(self, password: str) -> None:
        """SCRAM-SHA-256, without channel binding."""
        first = f"n=,r={base64.b64encode(os.urandom(18)).decode()}"
        self._send(b"p", MECHANISM + b"\0" + struct.pack("!I", len(first) + 3) + f"n,,{first}".encode())
        answer = self._sasl(CONTINUE)
        given = dict(part.split("=", 1) for part in answer.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(given["s"]), int(given["i"]))
        client = hmac.digest(salted, b"Client Key", "sha256")
        bare = f"c=biws,r={given['r']}"
        signed = f"{first},{answer},{bare}".encode()
        proof = bytes(one ^ other for one, other in zip(client, hmac.digest(hashlib.sha256(client).digest(), signed, "sha256"), strict=True))
        self._send(b"p", f"{bare},p={base64.b64encode(proof).decode()}".encode())
        theirs = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        if self._sasl(FINAL) != f"v={base64.b64encode(theirs).decode()}":
            raise LoginRefused("it does not know the password's verifier: this is another server")

    def _sasl(self, expected: int) -> str:
        kind, rest = self._authentication()
        if kind != expected:
            raise LoginRefused(f"it answers SCRAM with authentication {kind}")
        return rest.decode()

    def _authentication(self) -> tuple[int, bytes]:
        """(kind, the rest) of the next message, which must be one of the login."""
        name, content = self._message()
        if name != b"R":
            raise LoginRefused(f"it answers a login with {name!r}")
        return struct.unpack_from("!I", content)[0], content[4:]

    def _until_ready(self) -> list[bytes]:
        """The rows before it is ready for the next question."""
        rows: list[bytes] = []
        while True:
            name, content = self._message()
            if name == b"Z":
                return rows
            if name == b"D":
                rows.append(content)

    def _message(self) -> tuple[bytes, bytes]:
        head = self._buffer.read(5)
        if len(head) < 5:
            raise LoginRefused("it closed the connection")
        size = struct.unpack("!I", head[1:])[0] - 4
        if not 0 <= size <= LARGEST:
            raise LoginRefused("it does not speak Postgres's protocol")
        content = self._buffer.read(size)
        if head[:1] == b"E":
            told = {field[:1]: field[1:].decode(errors="replace") for field in content.split(b"\0") if field}
            raise LoginRefused(told.get(b"M", "an error without a message"))
        return head[:1], content

    def _send(self, name: bytes, content: bytes) -> None:
        self._connection.sendall(name + struct.pack("!I", len(content) + 4) + content)


def open_session(address: tuple[str, int], user: str, database: str, password: str, timeout: float) -> PostgresSession:
    """A session; raises LoginRefused or OSError."""
    session = PostgresSession(socket.create_connection(address, timeout=timeout))
    try:
        session.login(user, database, password)
    except BaseException:
        session.close()
        raise
    return session
