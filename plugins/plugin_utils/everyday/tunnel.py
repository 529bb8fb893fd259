# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A port of this machine that leads to a Service of the server.

Not by ssh -L: the platform's sshd forwards nothing (host_sshd_forwarding), and a port on the server would be open to all accounts there.
Each connection is one command over SSH, whose input and output are the connection; all share one login.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .connection import ssh
from .inventory import KnownEnvironment, KnownServer
from .mistakes import Mistake

PORTS = {"postgres": (5432, 15432), "redis": (6379, 16379)}  # there, here
# Runs on the server, with the Python that Ansible needs there, too: arguments are address and port.
RELAY = """
import os, select, socket, sys
there = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
there.settimeout(None)
sources = [0, there]
while there in sources:
    for source in select.select(sources, [], [])[0]:
        data = os.read(0, 65536) if source == 0 else there.recv(65536)
        if source == 0 and data:
            there.sendall(data)
        elif source == 0:
            there.shutdown(socket.SHUT_WR)
            sources.remove(0)
        elif data:
            while data:
                data = data[os.write(1, data):]
        else:
            sources.remove(there)
"""


def address(listed: Mapping[str, Any], name: str) -> str:
    """The cluster address of a Service of a namespace."""
    for item in listed["items"]:
        if item["metadata"]["name"] == name and item["spec"].get("clusterIP", "None") != "None":
            return str(item["spec"]["clusterIP"])
    raise Mistake(f"the server has no Service {name}; has the site been run with this environment?")


def service(env: KnownEnvironment, what: str) -> tuple[str, str]:
    """Namespace and name of the Service that a tunnel leads to."""
    if what == "postgres":
        return env.postgres_namespace, f"postgres-{env.of or env.name}"
    return env.redis_namespace, "redis" if env.redis_namespace != env.namespace else f"redis-{env.name}"


def line(env: KnownEnvironment, what: str, port: int) -> str:
    """What a client is given to connect; the password is not in it."""
    if what == "postgres":
        return f"postgresql://{env.owner}@127.0.0.1:{port}/{env.database}"
    return f"redis://{env.redis_user}@127.0.0.1:{port}/{env.redis_database}"


def listener(wanted: int | None, usual: int) -> socket.socket:
    """A socket on this machine's loopback: the wanted port, or the usual one, or else any that is free."""
    for port in [wanted] if wanted is not None else [usual, 0]:
        try:
            return socket.create_server(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            if port == wanted:
                raise Mistake(f"port {wanted} of this machine cannot be used: {error}; choose another with --port, or none") from error
    raise Mistake("no port of this machine is free")


def serve(server: KnownServer, here: socket.socket, target: Sequence[str], options: Sequence[str]) -> NoReturn:
    """Lead each connection to the server, until interrupted."""
    command = ssh(server, ["python3", "-c", RELAY, *target], options=options)
    while True:
        client = here.accept()[0]
        with client:
            subprocess.Popen(command, stdin=client.fileno(), stdout=client.fileno())


def run(
    server: KnownServer, env: KnownEnvironment, what: str, port: int | None, capture: Callable[[Sequence[str]], str], services: Sequence[str]
) -> int:
    """Open the tunnel and keep it open until Ctrl-C.

    :arg capture: runs a command and returns what it prints.
    :arg services: the command on the server that lists the Services of the namespace.
    """
    there, usual = PORTS[what]
    with listener(port, usual) as here, tempfile.TemporaryDirectory(prefix="shaka-") as private:
        control = ["-o", f"ControlPath={Path(private) / 'ssh'}"]
        shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", "ServerAliveInterval=15", *control]
        try:
            found = address(json.loads(capture(ssh(server, services, options=shared))), service(env, what)[1])
            print(line(env, what, here.getsockname()[1]), flush=True)
            secret = "DB_PASSWORD" if what == "postgres" else "REDIS_PASSWORD"
            print(f"The password is {secret} of {env.name} in the inventory's secrets. Ctrl-C closes the tunnel.", file=sys.stderr, flush=True)
            serve(server, here, [found, str(there)], shared)
        except KeyboardInterrupt:
            return 0
        finally:
            subprocess.run(ssh(server, [], options=[*control, "-O", "exit"])[:-1], capture_output=True, check=False)
