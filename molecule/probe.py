"""Runs on the server: connects from inside the networks of several processes at once, and says which connections opened.

Takes one argument, JSON: clients (name -> process whose network it uses; 0 is the server's), targets (name -> [address, port, protocol]) and the
seconds to wait for an answer. Only Python's standard library, as an operator's server has it.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import socket
import sys
import time
from typing import Any

CLONE_NEWNET = 0x40000000
# a DNS query for the name `kubernetes.default.svc.cluster.local`
QUERY = b"\0\7\1\0\0\1\0\0\0\0\0\0\12kubernetes\7default\3svc\7cluster\5local\0\0\1\0\1"


def probe(targets: dict[str, list[Any]], seconds: float) -> dict[str, bool]:
    """Open all connections at once; one that is neither open nor refused in time is closed."""
    waiting, found = selectors.DefaultSelector(), dict.fromkeys(targets, False)
    for name, (address, port, protocol) in targets.items():
        udp = protocol == "UDP"
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect_ex((address, port))
            if udp:
                sock.send(QUERY)
        except OSError:
            continue
        waiting.register(sock, selectors.EVENT_READ if udp else selectors.EVENT_WRITE, (name, udp, sock))
    deadline = time.monotonic() + seconds
    while waiting.get_map() and time.monotonic() < deadline:
        for key, _events in waiting.select(max(0.0, deadline - time.monotonic())):
            name, udp, sock = key.data
            try:
                found[name] = bool(sock.recv(512)) if udp else sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            except OSError:
                found[name] = False
            waiting.unregister(sock)
            sock.close()
    return found


def main() -> None:
    """Prints JSON: client -> target -> whether it opened."""
    asked = json.loads(sys.argv[1])
    children = []
    for client, pid in asked["clients"].items():
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                if pid and ctypes.CDLL(None, use_errno=True).setns(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"the network of {client} cannot be entered")
                os.write(writer, json.dumps(probe(asked["targets"], asked["seconds"])).encode())
            finally:
                os._exit(0)  # without an answer, which the parent cannot read, and so ends with an error
        os.close(writer)
        children.append((client, reader))
    print(json.dumps({client: json.loads(os.fdopen(reader).read()) for client, reader in children}))


if __name__ == "__main__":
    main()
