"""Committed rows are there after every way in which a database can be stopped. Last of all: it restarts what the other tests look at."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest
from conftest import LAB, Server

ROWS = 1000
BOUND = 30  # seconds until the database answers again
QUERY = "kubectl exec -n shaka-prod postgres-0 -- psql -XAt -U shaka_production -d shaka_production -c '{}'"
# The process that is 1 inside the pod, found by the pod's cgroup.
KILL = """
uid=$(kubectl get pod -n shaka-prod postgres-0 -o jsonpath='{.metadata.uid}'); other=$(echo $uid | tr - _)
for process in /proc/[0-9]*; do
  if grep -qs -e $uid -e $other $process/cgroup && grep -qs '^NSpid:.*[[:space:]]1$' $process/status && grep -qs '^postgres' $process/comm; then
    kill -9 ${process#/proc/} && echo killed
  fi
done"""


def kill_the_process(server: Server) -> None:
    assert server.run(KILL).strip() == "killed"


def delete_the_pod(server: Server) -> None:
    server.run("kubectl delete pod -n shaka-prod postgres-0")


def restart_k3s(server: Server) -> None:
    server.run("systemctl restart k3s")


def cut_the_power(server: Server) -> None:
    """All processes of the server at once; then it boots."""
    for step in ("kill", "start"):
        subprocess.run(["podman", "--runtime", "runc", step, f"shaka-{LAB}"], check=True, capture_output=True)
    booted = time.monotonic() + 60
    while time.monotonic() < booted and server.run("systemctl is-active k3s", check=False).strip() != "active":
        time.sleep(0.5)


@pytest.mark.parametrize("stop", [kill_the_process, delete_the_pod, restart_k3s, cut_the_power], ids=lambda stop: str(stop.__name__))
def test_committed_rows_survive(server: Server, stop: Callable[[Server], None]) -> None:
    server.run(QUERY.format("create table if not exists survival (number int primary key)"))
    server.run(QUERY.format("truncate survival"))
    # each row a transaction of its own
    server.run(QUERY.format(f"do $$ begin for i in 1..{ROWS} loop insert into survival values (i); commit; end loop; end $$"))
    stop(server)
    started = time.monotonic()
    while (said := server.run(QUERY.format("select count(*), sum(number) from survival"), check=False).strip()) == "":
        assert time.monotonic() - started < BOUND, "it does not answer"
        time.sleep(0.5)
    assert said == f"{ROWS}|{ROWS * (ROWS + 1) // 2}"
    print(f"{stop.__name__}: {time.monotonic() - started:.1f} s")


def test_a_deleted_pod_has_shut_down_cleanly(server: Server) -> None:
    delete_the_pod(server)
    server.run("kubectl wait --for=condition=ready pod -l app=postgres -n shaka-prod --timeout=60s")
    log = server.run("kubectl logs -n shaka-prod postgres-0")
    assert "database system was shut down at" in log and "not properly shut down" not in log


def test_everything_is_ready_again(server: Server) -> None:
    done = server.playbook("playbooks/verify.yml", "-e", "verify_wait_seconds=120")
    assert done.returncode == 0, done.stdout
