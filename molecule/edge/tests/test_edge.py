"""What a visitor gets, and what a bad one does not."""

from __future__ import annotations

import base64
import json
import ssl
import time

import pytest
from conftest import Server
from visitor import CLOSED, SERVED, Answer, Visitor, reads, untrusting

TRAEFIK = "system:serviceaccount:traefik:traefik-ingress-controller"


@pytest.fixture(scope="module")
def prod(server: Server) -> Visitor:
    return Visitor(server)


# --- TLS --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_refused(prod: Visitor, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol version"):
        prod.connect(untrusting(maximum_version=version))


@pytest.mark.parametrize(
    "suites", ["AES128-SHA:AES256-SHA256:AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384", "AECDH-AES128-SHA:NULL"]
)
def test_suites_without_forward_secrecy_or_authenticated_encryption_are_refused(prod: Visitor, suites: str) -> None:
    context = untrusting(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake failure"):
        prod.connect(context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_good_tls_is_spoken(prod: Visitor, version: ssl.TLSVersion) -> None:
    with prod.connect(untrusting(minimum_version=version, maximum_version=version)) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("name", ["other.test", None])
def test_a_name_that_is_not_served_gets_no_certificate(prod: Visitor, name: str | None) -> None:
    with pytest.raises(ssl.SSLError):
        prod.connect(untrusting(), name=name)


# --- shapes of requests -----------------------------------------------------------------------------------------------------------------------


def test_huge_headers_are_refused(prod: Visitor) -> None:
    assert prod.ask(headers={"X-Filler": "a" * 30_000}).status == 200
    assert prod.ask(headers={"X-Filler": "a" * 100_000}).status == 431


def test_a_body_beyond_the_limit_is_refused(prod: Visitor) -> None:
    assert prod.ask("/", "POST", b"a" * 500_000).status == 405  # the application's own answer
    assert prod.ask("/", "POST", b"a" * 1_200_000).status in (413, 0)  # closed while it still sends
    chunk = b"40000\r\n" + b"a" * 0x40000 + b"\r\n"
    head = f"POST / HTTP/1.1\r\nHost: {prod.host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert prod.send(head + chunk * 5 + b"0\r\n\r\n").status in (413, 0)


@pytest.mark.parametrize(
    "start", [b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: 1000\r\n\r\nabc"]
)
def test_a_request_that_does_not_come_to_its_end_is_ended(prod: Visitor, start: bytes) -> None:
    began = time.monotonic()
    with prod.connect() as connection:
        connection.sendall(start.replace(b"%b", prod.host.encode()))
        while connection.recv(4096):
            pass
    assert time.monotonic() - began < 40


SHAPES = {
    "two lengths": "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "a length with a sign": "Content-Length: +5\r\n\r\nabcde",
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two headers of coding": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a blank before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": "Transfer-Encoding:\r\n chunked\r\n\tx\r\n\r\n0\r\n\r\n",
    "a chunk without a length": "Transfer-Encoding: chunked\r\n\r\nz\r\nabc\r\n0\r\n\r\n",
    "a control character": "X-A: a\0b\r\n\r\n",
    "no host": None,
    "two hosts": "Host: other.test\r\n\r\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_request_that_two_servers_would_read_differently_is_refused(prod: Visitor, shape: str) -> None:
    rest = SHAPES[shape]
    head = "POST / HTTP/1.1\r\n" + ("\r\n" if rest is None else f"Host: {prod.host}\r\n{rest}")
    assert prod.send(head.encode()).status in (400, 500, 501)  # 500: its body cannot be read


def test_what_follows_a_request_with_length_and_coding_reaches_no_other_visitor(prod: Visitor) -> None:
    smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nX-A: "
    head = f"POST / HTTP/1.1\r\nHost: {prod.host}\r\nContent-Length: {len(smuggled)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _turn in range(10):
        assert prod.send((head + smuggled).encode()).status in (400, 405)
        assert prod.ask().status == 200


@pytest.mark.parametrize("path", ["/a%2fb", "/%2e%2e%2fetc", "/a%5cb", "/a%00b", "/..%2f..%2freadyz"])
def test_paths_that_hide_a_separator_are_refused(prod: Visitor, path: str) -> None:
    assert prod.ask(path).status == 400


def test_requests_for_another_host_than_the_certificates_are_not_served(prod: Visitor) -> None:
    assert prod.send(b"GET / HTTP/1.1\r\nHost: dev.other.test\r\nConnection: close\r\n\r\n").status in (404, 421)


# --- who it is --------------------------------------------------------------------------------------------------------------------------------


def client(answer: bytes | str) -> str:
    return str(json.loads(answer)["client"])


def test_nobody_says_who_he_is_but_a_trusted_proxy(prod: Visitor) -> None:
    true = client(prod.ask().body)
    for header in ("X-Forwarded-For", "X-Real-Ip", "Forwarded", "X_Forwarded_For"):
        assert client(prod.ask(headers={header: "198.51.100.66"}).body) == true
    ((status, _retry, body),) = prod.relayed("/", "198.51.100.66")
    assert status == "200" and client(body).startswith("198.51.100.66")


def test_the_flood_guard_of_a_path_lets_a_burst_pass_and_then_says_when_to_come_again(prod: Visitor, server: Server) -> None:
    """Each client has a burst of its own, behind a trusted proxy too; whoever makes up clients does not."""
    answers = prod.relayed("/healthz", *["198.51.100.1"] * 22)
    assert [status for status, *_rest in answers] == ["200"] * 20 + ["429"] * 2
    assert int(answers[-1][1]) > 0
    assert [status for status, *_rest in prod.relayed("/healthz", "198.51.100.2", "198.51.100.1")] == ["200", "429"]
    assert [status for status, *_rest in prod.relayed("/healthz", "203.0.113.200, 198.51.100.1")] == ["429"]
    alone = [prod.ask("/healthz", headers={"X-Forwarded-For": f"198.51.100.{number}"}).status for number in range(100, 122)]
    assert alone == [200] * 20 + [429] * 2
    for path in ("//healthz", "/./healthz", "/a/../healthz", "/%68ealthz", "/healthz/", "/healthz?a=1"):
        assert prod.ask(path).status != 200, path
    assert prod.ask().status == 200  # the rest of the application has another guard
    log = server.run("kubectl logs -n traefik deployment/traefik --since=120s")
    assert "198.51.100.1" in log and "a=1" not in log


# --- what the inventory adds ------------------------------------------------------------------------------------------------------------------


def test_headers_are_as_the_inventory_has_them(prod: Visitor) -> None:
    headers = prod.ask(headers={"Accept-Encoding": "identity"}).headers
    assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert headers["content-security-policy"] == "default-src 'none'"
    assert (headers["x-content-type-options"], headers["x-frame-options"], headers["referrer-policy"]) == ("nosniff", "DENY", "no-referrer")


def test_pages_of_a_named_origin_may_ask_and_others_may_not(prod: Visitor) -> None:
    asked = prod.ask("/", "OPTIONS", headers={"Origin": "https://app.other.test", "Access-Control-Request-Method": "PUT"})
    assert asked.status == 200 and asked.headers["access-control-allow-origin"] == "https://app.other.test"
    assert "PUT" in asked.headers["access-control-allow-methods"] and asked.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in prod.ask("/", headers={"Origin": "https://evil.other.test"}).headers


def test_another_name_leads_to_the_first_one(server: Server, prod: Visitor) -> None:
    answer = server.curl("www", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}")
    assert answer.stdout == f"301 https://{prod.host}/", answer.stderr
    plain = server.curl("prod", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", scheme="http")
    assert plain.stdout == f"301 https://{prod.host}/", plain.stderr


def test_staging_asks_who_it_is(server: Server) -> None:
    staging = Visitor(server, "staging")

    def as_user(text: str) -> Answer:
        return staging.ask(headers={"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"})

    assert staging.ask().status == 401 and as_user("ana:wrong").status == 401
    assert as_user("ana:lab-only-visitor").status == 200


def test_a_closed_application_says_when_to_come_again_and_goes_on_running(server: Server) -> None:
    answer = Visitor(server, "dev").ask()
    assert answer.status == 503 and answer.headers["retry-after"] == "300"
    assert server.json("deployment shaka-api -n shaka-dev")["status"]["readyReplicas"] == 1


# --- what Traefik itself may ----------------------------------------------------------------------------------------------------------------


def test_traefik_reads_no_secret_beyond_the_namespaces_that_it_serves(server: Server) -> None:
    assert reads(server, *CLOSED, *SERVED) == {**dict.fromkeys(CLOSED, "403"), **dict.fromkeys(SERVED, "200")}
    for verb in ("create", "update", "patch", "delete"):
        refused = server.ssh(f"kubectl auth can-i {verb} secrets -n shaka-prod --as={TRAEFIK}")
        assert refused.stdout.strip() == "no"


def test_traefik_shows_nothing_of_its_own(prod: Visitor) -> None:
    for path in ("/dashboard/", "/api/rawdata", "/ping", "/ready", "/metrics", "/debug/pprof/"):
        assert prod.ask(path).status == 404, path
