"""The console script, each command once, on the lab's server."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator

import pytest
from conftest import ROOT, Server

PROGRAM = ROOT / "bin/shaka"
POD = "kubectl get pods -n shaka-dev -l app=shaka-api --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}'"


def command(server: Server, *words: str) -> list[str]:
    return [str(PROGRAM), "-i", "inventories/sandbox", "-e", f"lab_name={server.name}", *words]


def shaka(server: Server, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run it as a person does, away from a terminal."""
    return subprocess.run(command(server, *words), cwd=ROOT, input=given, capture_output=True, text=True, timeout=120, check=False)


@contextlib.contextmanager
def tunnel(server: Server, what: str) -> Iterator[str]:
    """The line that a tunnel prints, while it is open."""
    started = subprocess.Popen(command(server, "tunnel", "prod", what, "--port", "0"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout
        yield started.stdout.readline().strip()
    finally:
        started.terminate()
        started.wait(timeout=30)


def answer(line: str, question: bytes) -> bytes:
    """What the server behind a tunnel says first."""
    port = int(line.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(question)
        return connection.recv(1024)


def test_status_shows_what_runs_where(server: Server) -> None:
    done = shaka(server, "status")
    assert done.returncode == 0, done.stderr
    rows = {tuple(line.split()[:2]): line.split() for line in done.stdout.splitlines()}
    assert rows["prod", "api"][2] == "2/2" and f"prod.{server.lab['domain']}" in rows["prod", "api"]
    assert {("dev", "postgres"), ("staging", "api")} <= set(rows)
    assert done.stderr.startswith("+ ssh -l root ")


def without_times(text: str) -> list[str]:
    """Its lines, in which when something ran last is not said."""
    return [" ".join(re.sub(r"\b(now|never|[0-9]+ (min|h|d) ago)\b", "", line).split()) for line in text.splitlines()]


def test_the_playbook_shows_the_same_table(server: Server) -> None:
    done = server.playbook("playbooks/status.yml")
    assert done.returncode == 0, done.stdout
    lines = without_times(done.stdout)
    assert [line for line in without_times(shaka(server, "status").stdout) if line not in lines] == []


def test_logs_of_the_script_and_of_the_playbook(server: Server) -> None:
    done = shaka(server, "logs", "-n", "500", "dev", "postgres")
    assert done.returncode == 0 and "ready to accept connections" in done.stdout, done.stderr
    played = server.playbook("playbooks/logs.yml", "-e", "logs_environment=dev", "-e", "logs_app=postgres", "-e", "logs_lines=500")
    assert played.returncode == 0 and "ready to accept connections" in played.stdout, played.stdout
    wrong = server.playbook("playbooks/logs.yml", "-e", "logs_environment=prdo")
    assert wrong.returncode == 2 and "'prdo' is not an environment; known: dev, staging, prod" in wrong.stdout


def test_psql_is_the_owner_of_the_environments_database(server: Server) -> None:
    done = shaka(server, "psql", "prod", "--", "-XAt", "-c", "select current_user || ' in ' || current_database() || ' \"a  b\"'")
    assert done.stdout == 'shaka_production in shaka_production "a  b"\n', done.stderr
    assert shaka(server, "psql", "prod", "--", "-XAt", given="select 40 + 2;\n").stdout == "42\n"


def test_redis_is_the_environments_database(server: Server) -> None:
    done = shaka(server, "redis", "prod", "--", "client", "info")
    assert " db=2 " in done.stdout, done.stderr


def test_exec_and_shell_in_a_pod(server: Server) -> None:
    words = ["sh", "-c", 'printf "%s|" "$0" "$@"; exit 3', "a  b", "it's", "$HOME", ""]
    done = shaka(server, "exec", "dev", "postgres", "--", *words)
    assert (done.returncode, done.stdout) == (3, "a  b|it's|$HOME||"), done.stderr
    assert shaka(server, "shell", "dev", "redis", given="echo $((6 * 7)) in $0\n").stdout.startswith("42 in ")


def test_a_terminal_reaches_the_pod(server: Server) -> None:
    """`script` gives it one, as a person's is."""
    typed = ["script", "-qec", " ".join(command(server, "-q", "exec", "dev", "postgres", "--", "tty")), os.devnull]
    done = subprocess.run(typed, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert "/dev/pts/" in done.stdout, done.stdout


def test_the_operators_account_reads_with_its_own_rights(server: Server) -> None:
    assert shaka(server, "--user", "ana", "status", "dev").returncode == 0
    refused = shaka(server, "--user", "ana", "psql", "dev")
    assert refused.returncode != 0 and "sudo" in refused.stderr


@pytest.mark.parametrize(
    ("what", "start", "question", "said"),
    [
        ("postgres", "postgresql://shaka_production@127.0.0.1:", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", (b"S", b"N")),  # SSLRequest: yes or no
        ("redis", "redis://prod@127.0.0.1:", b"PING\r\n", (b"-NOAUTH",)),
    ],
)
def test_a_tunnel_leads_to_the_data(server: Server, what: str, start: str, question: bytes, said: tuple[bytes, ...]) -> None:
    listening = "ss -Hltn | awk '{print $4}'"
    before = set(server.run(listening).split())
    with tunnel(server, what) as line:
        assert line.startswith(start)
        assert answer(line, question).startswith(said) and answer(line, question).startswith(said)
        assert set(server.run(listening).split()) <= before, "nothing listens on the server for it"


def test_what_pods_wrote_outlives_them(server: Server) -> None:
    """As deploy keeps it: the module, and then the pod's end."""
    pod = server.run(POD)
    assert server.curl("dev", "--fail").returncode == 0
    wrote = server.run(f"kubectl logs -n shaka-dev {pod}").splitlines()
    assert wrote
    module = ["ansible", "k3s_servers", "-i", "inventories/sandbox", "-e", f"lab_name={server.name}", "-m", "shaka.platform.kept_logs"]
    kept = subprocess.run(
        [*module, "-a", "namespace=shaka-dev app=api deployments=shaka-api"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert kept.returncode == 0, kept.stdout
    server.run(f"kubectl delete pod -n shaka-dev {pod} --wait && kubectl rollout status -n shaka-dev deployment/shaka-api --timeout=120s")
    server.run(f"timeout 120 sh -c 'while ls /var/log/pods | grep {pod}; do sleep 1; done'")  # the kubelet tidies once in a while
    done = shaka(server, "logs", "--before-deploy", "dev", "api")
    assert done.returncode == 0 and all(line in done.stdout for line in wrote[:5]), done.stderr
    nothing = shaka(server, "logs", "-bb", "dev", "api")
    assert nothing.returncode == 1 and "no logs are kept of dev/api from 2 deploys ago" in nothing.stderr


def test_the_program_needs_no_vault_password_and_says_what_is_wrong(server: Server) -> None:
    done = shaka(server, "psql", "prdo")
    assert done.returncode == 2 and done.stderr == "shaka: 'prdo' is not an environment; did you mean prod? known: dev, prod, staging\n"


def test_backups_and_releases_are_the_playbooks(server: Server) -> None:
    for name in ("backups", "releases"):
        done = shaka(server, name, "prod")
        assert done.returncode == 0, done.stdout
        assert done.stderr.startswith(f"+ ansible-playbook shaka.platform.{name} -i inventories/sandbox ")
