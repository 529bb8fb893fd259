# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One question to Redis, as an application asks it: over the network, with a user and a password."""

from __future__ import annotations

import socket


def ping(address: tuple[str, int], user: str, password: str, timeout: float) -> str:
    """Its answer to PING: PONG, or why it does not let this user in. Raises OSError; ValueError for what does not speak Redis's protocol."""
    with socket.create_connection(address, timeout) as connection, connection.makefile("rb") as answers:
        for words in (("AUTH", user, password), ("PING",)):
            connection.sendall(request(*words))
            line = answers.readline(4096).decode(errors="replace")
            if line[:1] not in ("+", "-") or not line.endswith("\r\n"):
                raise ValueError(line)
            if line.startswith("-"):
                break
    return line[1:].strip()


def request(*words: str) -> bytes:
    """A command in Redis's protocol."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
