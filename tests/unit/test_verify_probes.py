"""The questions verify asks, against a kubectl that answers from files, real HTTPS servers, and a server that speaks Postgres's protocol."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.data import scram
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.verify.probes import (
    ask_https,
    ask_policies,
    ask_postgres,
    ask_redis,
    gather,
    look_at_host,
    service_memory,
)
from ansible_collections.shaka.platform.plugins.module_utils.verify.stored_backups import StoredDumps
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "canary-redis-77"
HOST = "api.example.org"
ENV: Any = {
    "name": "prod",
    "namespace": "shaka-prod",
    "network": "zero_trust",
    "ingress": [],
    "postgres": {
        "user": "shaka_production",
        "app_user": "",
        "database": "shaka_production",
        "service": "postgres-prod",
        "namespace": "shaka-prod",
        "pgbouncer": {"enabled": False, "service": "pgbouncer-prod"},
    },
    "redis": {"user": "prod", "namespace": "shaka-shared", "dedicated": False, "service": "redis-prod"},
    "apps": {"api": {"path": "platform_environments.prod.api", "hosts": [HOST], "served": True, "asked": "/readyz"}},
    "backup": {"point_in_time": {"enabled": False}},
}
# shows its kubeconfig, and answers `exec` as the pods would; what it was asked goes to a log
KUBECTL = """#!/bin/sh
echo "$@" >> {root}/asked
if [ "$1" = config ]; then
  cat {root}/kubeconfig.json
else
  case "$*" in
    *REDISCLI_AUTH*5432*) echo "prod Could not connect to Redis at x: Connection refused" ;;
  esac
fi
"""


@pytest.fixture
def kubectl(tmp_path: Path, api_server: tuple[HTTPServer, dict[str, Any]]) -> Kubectl:
    """One whose API server has the files of tmp_path."""
    server, kubeconfig = api_server
    server.root = tmp_path  # type: ignore[attr-defined]
    (tmp_path / "kubeconfig.json").write_text(json.dumps(kubeconfig))
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL.format(root=tmp_path, password=PASSWORD))
    program.chmod(0o755)
    return Kubectl([str(program)], 5)


def serve(root: Path, path: str, content: Any) -> None:
    (root / path.replace("/", "_").replace("?", "_")).write_text(content if isinstance(content, str) else json.dumps(content))


def serve_secret(root: Path, password: str) -> None:
    data = {name: base64.b64encode(password.encode()).decode() for name in ("REDIS_PASSWORD", "DB_PASSWORD")}
    serve(root, "/api/v1/namespaces/shaka-prod/secrets/shaka-api-secrets", {"data": data})


class Postgres(socketserver.StreamRequestHandler):
    """One login and its questions, as Postgres has them; `server.verifier` is what pg_authid has, '' trusts everybody."""

    def handle(self) -> None:
        (size,) = struct.unpack("!I", self.rfile.read(4))
        self.server.seen = self.rfile.read(size - 4)[4:].split(b"\0")  # type: ignore[attr-defined]
        verifier = self.server.verifier  # type: ignore[attr-defined]
        if verifier and not self.scram(*verifier.replace("$", ":").split(":")[1:]):
            return
        self.tell(b"R", struct.pack("!I", 0))
        self.tell(b"S", b"server_version\x0015.8\0")
        self.tell(b"Z", b"I")
        while question := self.next():
            if b"pg_control_system" in question and self.server.closed:  # type: ignore[attr-defined]
                self.tell(b"E", b"SERROR\0Mpermission denied for function pg_control_system\0\0")
                return
            value = b"1" if question == b"SELECT 1\0" else b"7412345"
            self.tell(b"D", struct.pack("!Hi", 1, len(value)) + value)
            self.tell(b"C", b"SELECT 1\0")
            self.tell(b"Z", b"I")

    def scram(self, iterations: str, salt: str, stored: str, key: str) -> bool:
        self.tell(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0")
        bare = self.next().split(b"n,,", 1)[1].decode()
        given = f"{bare[5:]}server,s={salt},i={iterations}"
        self.tell(b"R", struct.pack("!I", 11) + f"r={given}".encode())
        without, _comma, proof = self.next().decode().rpartition(",p=")
        signed = f"{bare},r={given},{without}".encode()
        signature = hmac.digest(base64.b64decode(stored), signed, "sha256")
        client = bytes(one ^ other for one, other in zip(base64.b64decode(proof), signature, strict=True))
        if hashlib.sha256(client).digest() != base64.b64decode(stored):
            self.tell(b"E", b'SFATAL\0C28P01\0Mpassword authentication failed for user "shaka_production"\0\0')
            return False
        final = base64.b64encode(hmac.digest(base64.b64decode(key), signed, "sha256"))
        self.tell(b"R", struct.pack("!I", 12) + b"v=" + final)
        return True

    def next(self) -> bytes:
        head = self.rfile.read(5)
        return self.rfile.read(struct.unpack("!I", head[1:])[0] - 4) if len(head) == 5 else b""

    def tell(self, name: bytes, content: bytes) -> None:
        self.wfile.write(name + struct.pack("!I", len(content) + 4) + content)


@pytest.fixture
def postgres(tmp_path: Path, kubectl: Kubectl) -> Iterator[Any]:
    """A Postgres behind the Service postgres-prod, whose role has PASSWORD; the Secret has it too."""
    serve_secret(tmp_path, PASSWORD)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Postgres) as server:
        server.verifier, server.closed, server.daemon_threads = scram.verifier(PASSWORD), False, True  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        service = {"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": server.server_address[1]}]}}
        serve(tmp_path, "/api/v1/namespaces/shaka-prod/services/postgres-prod", service)
        yield server
        server.shutdown()


def test_postgres_lets_the_application_in_with_its_password(kubectl: Kubectl, postgres: Any) -> None:
    found = ask_postgres(kubectl, ENV, "shaka-api-secrets")
    assert found.answer.ok and found.answer.detail.startswith("login by postgres-prod in "), found
    assert found.identifier == "7412345"
    assert postgres.seen[:4] == [b"user", b"shaka_production", b"database", b"shaka_production"]
    postgres.closed = True
    found = ask_postgres(kubectl, ENV, "shaka-api-secrets")
    assert found.answer.ok and found.identifier == ""


def test_a_login_that_would_not_work_for_the_application_is_a_finding(kubectl: Kubectl, postgres: Any, tmp_path: Path) -> None:
    def why() -> str:
        found = ask_postgres(kubectl, ENV, "shaka-api-secrets")
        assert not found.answer.ok and PASSWORD not in found.answer.detail
        return found.answer.detail

    postgres.verifier = scram.verifier("another")
    assert why() == 'login by postgres-prod: password authentication failed for user "shaka_production"'
    parts = scram.verifier(PASSWORD).rpartition(":")
    postgres.verifier = f"{parts[0]}:{base64.b64encode(b'x' * 32).decode()}"
    assert "this is another server" in why()
    postgres.verifier = ""
    assert "asks for no password" in why()
    pooled: Any = {**ENV, "postgres": {**ENV["postgres"], "pgbouncer": {"enabled": True, "service": "pgbouncer-prod"}}}
    assert "NotFound" in ask_postgres(kubectl, pooled, "shaka-api-secrets").answer.detail
    serve(tmp_path, "/api/v1/namespaces/shaka-prod/services/postgres-prod", {"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": 1}]}})
    assert why() == "login by postgres-prod: Connection refused"
    serve_secret(tmp_path, "")
    assert why() == "Secret shaka-api-secrets has no DB_PASSWORD"


class Redis(socketserver.StreamRequestHandler):
    """A Redis whose user `prod` has PASSWORD; `answer` is said in place of PONG."""

    def handle(self) -> None:
        words = self.words()
        if words[1:] != [b"prod", PASSWORD.encode()]:
            self.wfile.write(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n")
            return
        self.wfile.write(b"+OK\r\n")
        if self.words() == [b"PING"]:
            self.wfile.write(self.server.answer)  # type: ignore[attr-defined]

    def words(self) -> list[bytes]:
        count = int(self.rfile.readline()[1:])
        return [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _position in range(count)]


@pytest.fixture
def redis(tmp_path: Path, kubectl: Kubectl) -> Iterator[Any]:
    """A Redis behind the shared one's Service, and the Secret with its password."""
    serve_secret(tmp_path, PASSWORD)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Redis) as server:
        server.answer, server.daemon_threads = b"+PONG\r\n", True  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        service = {"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": server.server_address[1]}]}}
        serve(tmp_path, "/api/v1/namespaces/shaka-shared/services/redis", service)
        serve(tmp_path, "/api/v1/namespaces/shaka-prod/services/redis-prod", service)
        yield server
        server.shutdown()


@pytest.mark.usefixtures("redis")
def test_redis_lets_the_application_in_with_its_password(kubectl: Kubectl, tmp_path: Path) -> None:
    own: Any = {**ENV, "redis": {**ENV["redis"], "namespace": "shaka-prod", "dedicated": True}}
    for env in (ENV, own):
        found = ask_redis(kubectl, env, "shaka-api-secrets")
        assert found.ok and found.detail.startswith("PING in "), found
    asked = (tmp_path / "asked").read_text()
    assert "exec" not in asked and PASSWORD not in asked


def test_redis_that_would_not_answer_the_application_is_a_finding(kubectl: Kubectl, redis: Any, tmp_path: Path) -> None:
    def why() -> str:
        found = ask_redis(kubectl, ENV, "shaka-api-secrets")
        assert not found.ok and PASSWORD not in found.detail
        return found.detail

    redis.answer = b"-LOADING Redis is loading the dataset in memory\r\n"
    assert why() == "PING: LOADING Redis is loading the dataset in memory"
    redis.answer = b"HTTP/1.1 400 Bad Request\r\n"
    assert why() == "PING: it does not speak Redis's protocol (ValueError)"
    redis.answer = b""
    assert why() == "PING: it does not speak Redis's protocol (ValueError)"
    serve_secret(tmp_path, "another")
    assert why() == "PING: WRONGPASS invalid username-password pair or user is disabled."
    serve(tmp_path, "/api/v1/namespaces/shaka-shared/services/redis", {"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": 1}]}})
    assert why() == "PING: Connection refused"
    serve_secret(tmp_path, "")
    assert why() == "Secret shaka-api-secrets has no REDIS_PASSWORD"


def test_a_stranger_is_sent_only_to_environments_that_deny(kubectl: Kubectl, tmp_path: Path) -> None:
    granted: Any = {**ENV, "name": "granted", "ingress": [{"namespace": "shaka-shared", "cidr": ""}]}
    permissive: Any = {**ENV, "name": "dev", "network": "permissive"}
    assert ask_policies(kubectl, [ENV, granted, permissive]) == {"prod": "Could not connect to Redis at x: Connection refused"}
    asked = (tmp_path / "asked").read_text()
    assert asked.endswith("sh prod=postgres-prod.shaka-prod.svc\n") and "--namespace=shaka-shared redis-0" in asked
    (tmp_path / "asked").unlink()
    assert ask_policies(kubectl, [permissive]) == {} and not (tmp_path / "asked").exists()


def test_no_kubectl_and_a_slow_one(tmp_path: Path) -> None:
    assert Kubectl(["/nonesuch/k3s"], 5).get("/api/v1/nodes") == (None, "/nonesuch/k3s: No such file or directory")
    assert Kubectl(["sleep"], 0.1).run("9") == (False, "no answer within 0 s")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"users": [{"user": {}}]}, "does not answer"),  # without a certificate it is not let in
        ({"clusters": [{"cluster": {"server": "https://127.0.0.1:1"}}]}, "127.0.0.1:1 does not answer"),
        ({"clusters": [{"cluster": {"server": "no address"}}]}, "cannot be used: ValueError"),
        ({"clusters": []}, "cannot be used: IndexError"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere_says_why(kubectl: Kubectl, tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    kubeconfig = tmp_path / "kubeconfig.json"
    kubeconfig.write_text(json.dumps({**json.loads(kubeconfig.read_text()), **changed}))
    answer, problem = kubectl.get("/api/v1/nodes")
    assert answer is None and why in problem


def issue(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate authority, or a server's certificate signed by one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    signer = issuer[1] if issuer else key
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(authority, critical=False).add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    else:
        usage = dict.fromkeys(
            ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"],
            False,
        )
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    return builder.sign(signer, hashes.SHA256()), key


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def private(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


class Files(BaseHTTPRequestHandler):
    """The API server: what `serve` wrote, or that there is no such thing."""

    def do_GET(self) -> None:
        file = self.server.root / self.path.replace("/", "_").replace("?", "_")  # type: ignore[attr-defined]
        self.send_response(200 if file.is_file() else 404)
        self.end_headers()
        missing = json.dumps({"reason": "NotFound", "message": f"no {self.path}"})
        self.wfile.write((file.read_text() if file.is_file() else missing).encode())

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HTTPServer, dict[str, Any]]]:
    """An HTTPS server that lets in who has a certificate of its authority, and the kubeconfig of one who has."""
    root = issue("Cluster")
    certificate, key = issue("localhost", root)
    place = tmp_path_factory.mktemp("api")
    (place / "chain.pem").write_text(pem(certificate) + private(key))
    (place / "root.pem").write_text(pem(root[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "chain.pem")
    context.load_verify_locations(place / "root.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", 0), Files)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    user = {"client-certificate-data": encoded(pem(certificate)), "client-key-data": encoded(private(key))}
    cluster = {"server": f"https://localhost:{server.server_port}", "certificate-authority-data": encoded(pem(root[0]))}
    yield server, {"clusters": [{"cluster": cluster}], "users": [{"user": user}]}
    server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """(port, PEM of its authority) of a server that answers 200 for api.example.org's readiness path only."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if (self.path, self.headers["Host"]) == ("/readyz", "api.example.org") else 404)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    root = issue("Test Root")
    certificate, key = issue("api.example.org", root)
    chain = tmp_path_factory.mktemp("tls") / "chain.pem"
    chain.write_text(pem(certificate) + private(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port, pem(root[0])
    server.shutdown()


def test_https_by_host_name_at_the_address(site: tuple[int, str]) -> None:
    answer = ask_https(ENV["apps"]["api"], HOST, "127.0.0.1", site[0], site[1], 5)
    assert (answer.status, answer.trusted, answer.issuer) == (200, True, "Test Root")


def test_https_from_an_unknown_authority_still_tells_the_status(site: tuple[int, str]) -> None:
    answer = ask_https(ENV["apps"]["api"], HOST, "127.0.0.1", site[0], "", 5)
    assert (answer.status, answer.trusted) == (200, False)
    assert "certificate" in answer.detail


def test_https_with_another_name_is_not_trusted(site: tuple[int, str]) -> None:
    answer = ask_https(ENV["apps"]["api"], "other.example.org", "127.0.0.1", site[0], site[1], 5)
    assert (answer.status, answer.trusted) == (404, False)


def test_https_where_nobody_listens() -> None:
    assert ask_https(ENV["apps"]["api"], HOST, "127.0.0.1", 1, "", 5).detail == "Connection refused"


@pytest.mark.usefixtures("postgres", "redis")
def test_gather_everything_at_once(kubectl: Kubectl, tmp_path: Path, site: tuple[int, str]) -> None:
    serve(
        tmp_path,
        "/api/v1/nodes",
        {"items": [{"metadata": {"name": "server"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}]},
    )
    serve(tmp_path, "/api/v1/pods", {"items": []})
    stored = StoredDumps({"a": 1})
    model = cast(Any, {"name": "shaka", "environments": {"prod": ENV}, "acme": {"kind": "acme"}})
    facts, problem = gather(kubectl, model, "", site[0], site[1], {"prod": stored}.__getitem__)
    assert problem == "" and facts is not None
    assert facts.postgres["prod"].answer.ok and facts.redis["prod"].ok and facts.https["platform_environments.prod.api api.example.org"].status == 200
    assert facts.stored["prod"] is stored
    assert facts.lists["certificates"] is None


def test_gather_without_an_api_server(kubectl: Kubectl) -> None:
    model = cast(Any, {"name": "shaka", "environments": {"prod": ENV}, "acme": {"kind": "acme"}})
    facts, problem = gather(kubectl, model, "", 443, "", lambda _name: StoredDumps())
    assert facts is None and "NotFound" in problem


def test_the_server_says_when_its_certificates_end_and_who_wants_a_reboot(tmp_path: Path) -> None:
    authority, _key = issue("an authority", None)
    (tmp_path / "client-admin.crt").write_text(pem(authority))
    asked = tmp_path / "reboot-required"
    found = look_at_host((f"{tmp_path}/*.crt",), str(asked))
    assert found.ends == {str(tmp_path / "client-admin.crt"): int(authority.not_valid_after_utc.timestamp())}
    assert found.reboot_since == 0
    asked.touch()
    os.utime(asked, (1000, 1000))
    (tmp_path / "reboot-required.pkgs").write_text("linux-base\nlinux-image\nlinux-base\n")
    found = look_at_host((f"{tmp_path}/*.crt",), str(asked))
    assert (found.reboot_since, found.reboot_for) == (1000, "linux-base, linux-image")
    (tmp_path / "broken.crt").write_text("no certificate")
    assert "cannot be read" in look_at_host((f"{tmp_path}/*.crt",), str(asked)).problem


def test_memory_of_the_service_without_its_pods(tmp_path: Path) -> None:
    for process, cgroup in (
        ("1", "/system.slice/k3s.service"),
        ("2", "/system.slice/k3s.service/server"),
        ("3", "/kubepods/k3s.service-not"),
        ("self", ""),
    ):
        (tmp_path / process).mkdir()
        (tmp_path / process / "cgroup").write_text(f"0::{cgroup}\n")
        (tmp_path / process / "smaps_rollup").write_text("Rss: 9 kB\nPss:     100 kB\n")
    assert service_memory(proc=str(tmp_path)) == 200 * 1024
    assert service_memory("other.service", str(tmp_path)) is None
