"""A hardened server, seen from another host of its network and by an operator who makes mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from conftest import ROOT, Server, lab_server
from outside import open_ports

LABS = {"molecule-host": "12", "molecule-host-trixie": "13"}
CONVERGE = "molecule/host/converge.yml"
# Something really answers on each of these on the server.
LISTENING = (80, 443, 6443, 8080, 10250, 31000)
LISTEN = f"""
import socket, time
held = [socket.create_server(("", port), backlog=100) for port in {LISTENING}]
while True: time.sleep(60)
"""
# What kube-proxy does for a NodePort and the portmap plugin for a hostPort: the destination becomes a port that is open.
REWRITE = (
    "add table ip probe; add chain ip probe p { type nat hook prerouting priority dstnat; }; "
    "add rule ip probe p tcp dport { 30080, 8443 } redirect to :80"
)
SCANNED = sorted({*range(1, 1025), *LISTENING, 8443, *range(30000, 30100)})


@pytest.fixture(scope="session", params=LABS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return lab_server(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def bookworm(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return lab_server("molecule-host", tmp_path_factory)


@pytest.fixture(scope="session")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return lab_server("molecule-host-trixie", tmp_path_factory)


@pytest.fixture
def listeners(server: Server) -> Iterator[Server]:
    server.run(f"systemd-run --quiet --collect --unit=probe python3 -c '{LISTEN}'; nft '{REWRITE}'")
    until(lambda: server.run(f"ss -Hltn 'sport = :{LISTENING[-1]}'") != "", 10)
    yield server
    server.run("systemctl stop probe; nft delete table ip probe")


def until(true: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.2)


def reaches(server: Server, seconds: int = 2) -> bool:
    """Whether SSH by key gets in now, sshd's answer included. Where it must not, a long wait would last until the server takes the rules back."""
    return server.ssh("true", "-o", f"ConnectTimeout={seconds}").returncode == 0


def remote_access(server: Server, **arguments: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Call the module as a playbook of somebody else could, past the role's own checks."""
    target = ["-i", "inventories/sandbox", "-e", f"lab_name={server.name}", "k3s_servers"]
    command = ["ansible", *target, "-m", "shaka.platform.remote_access", "-a", json.dumps(arguments)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_release_is_what_the_scenario_says(server: Server) -> None:
    assert server.run(". /etc/os-release; echo $VERSION_ID").strip() == LABS[server.name]


def test_only_22_80_443_answer_from_another_host(listeners: Server) -> None:
    inside = 'import socket\nfor port in {}: socket.create_connection(("127.0.0.1", port), 2)'
    listeners.run(f"python3 -c '{inside.format(LISTENING)}'")
    assert open_ports(listeners.name, listeners.lab["address"], SCANNED) == [22, 80, 443]


def test_rules_changed_by_hand_are_put_back(listeners: Server) -> None:
    listeners.run("nft flush chain inet shaka outside")
    # now the rewritten ones are open, as the input chain sees port 80
    assert open_ports(listeners.name, listeners.lab["address"], SCANNED) == [22, 80, 443, 8443, 30080]
    done = listeners.playbook(CONVERGE)
    assert done.returncode == 0 and " changed=1 " in done.stdout, done.stdout
    assert open_ports(listeners.name, listeners.lab["address"], SCANNED) == [22, 80, 443]


def test_a_restart_of_the_unit_keeps_the_rules(server: Server) -> None:
    rules = "nft --stateless --terse list table inet shaka"
    before = server.run(rules)
    server.run("systemctl restart shaka-firewall")
    assert server.run(rules) == before
    assert server.run("systemctl is-enabled shaka-firewall").strip() == "enabled"


def test_passwords_are_refused_whatever_another_file_says(server: Server) -> None:
    other = "/etc/ssh/sshd_config.d/60-cloud.conf"
    server.run(
        f"printf 'PasswordAuthentication yes\\nMatch User ana\\n PasswordAuthentication yes\\n' > {other}; systemctl reload ssh; usermod -p x ana"
    )
    try:
        for user in ("root", "ana"):
            refused = server.ssh("true", "-o", "PubkeyAuthentication=no", "-o", "BatchMode=yes", user=user)
            assert refused.returncode == 255 and "Permission denied (publickey)" in refused.stderr
    finally:
        server.run(f"rm {other}; systemctl reload ssh; usermod -p '*' ana")


def test_the_operator_logs_in_by_key_and_is_no_administrator(server: Server) -> None:
    assert server.ssh("id --user --name", user="ana").stdout.strip() == "ana"
    assert server.ssh("sudo --non-interactive true", user="ana").returncode != 0
    assert server.ssh("cat /etc/shaka/firewall.nft /etc/crontab", user="ana").returncode != 0
    assert server.run("getent shadow ana").split(":")[1] == "*"


def test_a_broken_file_is_never_activated(server: Server) -> None:
    files = "/etc/shaka/firewall.nft /etc/ssh/sshd_config.d/00-shaka.conf"
    state = f"nft --stateless --terse list table inet shaka; cat {files}; systemctl show ssh -p MainPID,StateChangeTimestamp"
    before = server.run(state)
    settings = {"settings": "PasswordAuthentication perhaps\n", "settings_file": "/etc/ssh/sshd_config.d/00-shaka.conf"}
    broken = remote_access(server, sshd=settings)
    assert broken.returncode == 2 and "the old one stays active" in broken.stdout and "perhaps" in broken.stdout
    unit = server.run("cat /etc/systemd/system/shaka-firewall.service")
    places = {"rules_file": "/etc/shaka/firewall.nft", "unit": unit, "unit_file": "/etc/systemd/system/shaka-firewall.service"}
    broken = remote_access(server, firewall={**places, "rules": "table inet shaka { chain input { tcp dport ssh-ish accept; } }\n"})
    assert broken.returncode == 2 and "the old one stays active" in broken.stdout and "ssh-ish" in broken.stdout
    assert server.run(state) == before


def test_a_setting_that_wins_over_ours_is_named(bookworm: Server) -> None:
    """A line before the Include of sshd_config is nothing that our file can overrule."""
    bookworm.run("cp -p /etc/ssh/sshd_config /root/kept; sed -i '1i LoginGraceTime 600' /etc/ssh/sshd_config")
    try:
        done = bookworm.playbook(CONVERGE)
        assert done.returncode == 2 and "'logingracetime 600' instead of 'logingracetime 30'" in " ".join(done.stdout.split()), done.stdout
    finally:
        bookworm.run("cp -p /root/kept /etc/ssh/sshd_config")


def test_rules_that_exclude_the_controller_are_taken_back_at_once(bookworm: Server) -> None:
    rules = "nft --stateless --terse list table inet shaka"
    before = bookworm.run(rules)
    done = bookworm.playbook(CONVERGE, "-e", '{"host_firewall_ssh_sources": ["192.0.2.0/24"]}')
    said = " ".join(done.stdout.split())
    assert done.returncode == 2 and "did not get in" in said and "host_firewall_ssh_sources" in said, done.stdout
    assert reaches(bookworm, 5) and bookworm.run(rules) == before
    assert bookworm.playbook(CONVERGE, "--check").stdout.count(" changed=0 ") == 1


def test_the_server_takes_back_what_a_killed_run_left_unconfirmed(trixie: Server) -> None:
    inside = ["podman", "exec", f"shaka-{trixie.name}"]
    waits = ["-e", '{"host_firewall_ssh_sources": ["192.0.2.0/24"], "host_access_confirm_seconds": 8}']
    command = ["ansible-playbook", CONVERGE, "-i", "inventories/sandbox", "-e", f"lab_name={trixie.name}", *waits]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        excluded = [*inside, "sh", "-c", "nft list chain inet shaka allowed | grep -q 192.0.2.0"]
        until(lambda: subprocess.run(excluded, check=False).returncode == 0, 60)
        os.killpg(run.pid, signal.SIGKILL)
    assert not reaches(trixie)
    until(lambda: reaches(trixie), 20)
    assert subprocess.run(excluded, check=False).returncode == 1
    again = trixie.playbook(CONVERGE)
    assert again.returncode == 0 and " changed=0 " in again.stdout, again.stdout


def test_security_updates_come_in_their_window_and_from_security_origins_only(server: Server) -> None:
    origins = next(line for line in server.run("unattended-upgrade --dry-run --verbose").splitlines() if line.startswith("Allowed origins are:"))
    codename = {"12": "bookworm", "13": "trixie"}[LABS[server.name]]
    assert origins.split(": ", 1)[1].strip() == f"origin=Debian,codename={codename}-security,label=Debian-Security"
    upcoming = server.run("systemctl show apt-daily-upgrade.timer --timestamp=utc --property=NextElapseUSecRealtime --value").strip()
    moment = datetime.strptime(upcoming, "%a %Y-%m-%d %H:%M:%S UTC")
    assert (3, 30) <= (moment.hour, moment.minute) <= (4, 0)


def test_the_journal_outlives_a_restart_within_its_limit(server: Server) -> None:
    server.run("logger kept-by-the-journal; journalctl --sync; systemctl restart systemd-journald")
    assert "kept-by-the-journal" in server.run("journalctl --directory=/var/log/journal --grep kept-by-the-journal --output=cat --quiet")
    said = server.run("journalctl --unit=systemd-journald --output=cat --quiet | grep 'System Journal' | tail -1")
    assert re.search(r"max 500(\.0)?M", said), said
