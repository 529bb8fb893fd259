"""What the tests of backups share: SQL in prod's databases, the bucket as its owner sees it, the receiver of messages."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from conftest import Server

DATA = ("-e", "@molecule/backup/vars/data.yml")
PSQL = "kubectl exec -i -n shaka-{environment} postgres-0 -- psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d {database}"


def sql(server: Server, statements: str, database: str = "shaka_production", environment: str = "prod") -> str:
    """What the superuser gets for an answer in the pod."""
    return server.run(f"{PSQL.format(environment=environment, database=database)} <<'SQL'\n{statements}\nSQL").strip()


def playbook(server: Server, name: str, *arguments: str, code: int = 0) -> str:
    """What a playbook prints, which must end with that code."""
    done = server.playbook(f"playbooks/{name}.yml", *DATA, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def verified(server: Server) -> str:
    """What the check of prod says; it finds faults here, where nothing serves HTTPS."""
    return " ".join(playbook(server, "verify", "-e", "platform_only=prod", code=3).split())


def state_of(server: Server) -> Path:
    """The lab's directory, with the S3 server's files in it."""
    return Path(server.lab["key"]).parent


def objects(server: Server) -> list[str]:
    """The bucket's objects, as its disk has them."""
    bucket = state_of(server) / "s3/shaka-backups"
    return sorted(str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file() and ".sgwtmp" not in path.parts)


def still(server: Server) -> list[str]:
    """The objects that nothing writes meanwhile: without the WAL, which is archived as it comes."""
    return [path for path in objects(server) if "/wal/" not in path]


def stamps(server: Server, environment: str = "prod") -> list[str]:
    """The environment's finished dumps, oldest first."""
    found = [path.split("/") for path in objects(server) if path.endswith("/manifest") and f"/{environment}/" in path]
    return sorted(parts[-2] for parts in found if parts[-3] == "dumps")


def manifest(server: Server, stamp: str, environment: str = "prod") -> Mapping[str, Any]:
    path = next(path for path in objects(server) if path.endswith(f"/dumps/{stamp}/manifest") and f"/{environment}/" in path)
    read: Mapping[str, Any] = json.loads((state_of(server) / "s3/shaka-backups" / path).read_text().splitlines()[0])
    return read


@contextmanager
def s3_stopped(server: Server) -> Iterator[None]:
    """The S3 server is gone for a while."""
    container = f"shaka-{server.name}-s3"
    subprocess.run(["podman", "stop", "--time", "1", container], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["podman", "start", container], check=True, capture_output=True)


@contextmanager
def receiver(server: Server) -> Iterator[list[dict[str, Any]]]:
    """Somebody who is told: the messages that arrive at the lab's gateway."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    gateway = server.lab["address"].rpartition(".")[0] + ".1"
    web = ThreadingHTTPServer((gateway, 18080), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield got
    finally:
        web.shutdown()
        web.server_close()
