"""Another machine on the lab's network: the container that answers DNS there, which shares nothing else with the server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable

# Connects to every port at once, in portions; a port that neither answers nor refuses counts as closed. A lost packet is sent
# again after 1 and 3 s: both tries are within the time.
SCAN = """
import errno, json, select, socket, sys, time
address, ports, found = sys.argv[1], json.load(sys.stdin), []
for start in range(0, len(ports), 6000):
    poll, waiting = select.epoll(), {}
    for port in ports[start:start + 6000]:
        connection = socket.socket()
        connection.setblocking(False)
        if connection.connect_ex((address, port)) == errno.EINPROGRESS:
            waiting[connection.fileno()] = (connection, port)
            poll.register(connection.fileno(), select.EPOLLOUT)
    until = time.monotonic() + 3.5
    while waiting and time.monotonic() < until:
        for number, _ in poll.poll(0.1):
            poll.unregister(number)
            connection, port = waiting.pop(number)
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append(port)
            connection.close()
    for connection, _ in waiting.values():
        connection.close()
print(json.dumps(sorted(found)))
"""


def open_ports(lab: str, address: str, ports: Iterable[int]) -> list[int]:
    """The TCP ports of an address that take a connection from outside."""
    scan = ["podman", "exec", "-i", f"shaka-{lab}-dns", "python3", "-c", SCAN, address]
    done = subprocess.run(scan, input=json.dumps(list(ports)), capture_output=True, text=True, timeout=120, check=True)
    found: list[int] = json.loads(done.stdout)
    return found
