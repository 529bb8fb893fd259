"""A hardened server, seen from another host of its network and by an operator who makes mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

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


@pytest.mark.parametrize("flush", ["start", "reload", "restart", "stop"])
def test_debians_own_unit_does_not_take_the_rules_away(server: Server, flush: str) -> None:
    """It flushes the tables of all."""
    rules = "nft --stateless --terse list table inet shaka"
    before = server.run(rules)
    server.run("nft add table ip stranger")
    server.run(f"systemctl {flush} nftables")
    assert server.run(rules) == before
    assert "stranger" not in server.run("nft list tables")


PODS = """
ip netns add pod
ip link add cni0 type bridge
ip address add 10.42.0.1/24 dev cni0
ip link set cni0 up
ip link add to-pod type veth peer name eth0 netns pod
ip link set to-pod master cni0 up
ip netns exec pod sh -c 'ip address add 10.42.0.9/24 dev eth0; ip link set lo up; ip link set eth0 up; ip route add default via 10.42.0.1'
ip address add 169.254.169.254/32 dev lo
systemd-run --quiet --collect --unit=in-pod ip netns exec pod python3 -c 'import socket, time
held = socket.create_server(("10.42.0.9", 5432)); time.sleep(600)'
nft 'add table ip service; add chain ip service p { type nat hook prerouting priority dstnat; }
add rule ip service p ip daddr 10.43.0.7 tcp dport 5432 dnat to 10.42.0.9'
"""
CONNECTS = """import socket, sys
for port in map(int, sys.argv[2:]):
    try: socket.create_connection((sys.argv[1], port), 1); print(port)
    except OSError: pass
"""


ECHO = """import socket
heard = socket.socket(type=socket.SOCK_DGRAM)
heard.bind(("", 5555))
while True: heard.sendto(*heard.recvfrom(9))
"""
ASK = """import socket, sys
flow = socket.socket(type=socket.SOCK_DGRAM)
flow.connect((sys.argv[1], 5555))
flow.settimeout(2)
for _line in sys.stdin:
    flow.send(b"?")
    try: print("yes" if flow.recv(9) else "")
    except OSError: print("no")
"""
# A VPN as far as the kernel can tell: it holds the tunnel's device, and listens.
VPN = """import fcntl, socket, struct, time
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", b"vpn0", 0x1001))
heard = socket.socket(type=socket.SOCK_DGRAM)
heard.bind(("", 7000))
time.sleep(600)
"""


@pytest.fixture
def pod(listeners: Server) -> Iterator[Server]:
    """Something like a pod: it listens behind a bridge as K3s makes it, and behind an address as a Service has it."""
    listeners.run(PODS)
    until(lambda: listeners.run("ip netns exec pod ss -Hltn 'sport = :5432'") != "", 10)
    yield listeners
    listeners.run(
        "systemctl stop in-pod; nft delete table ip service; ip netns delete pod; ip link delete cni0; ip address delete 169.254.169.254/32 dev lo"
    )


def connects(server: Server, address: str, *ports: int) -> list[int]:
    """The ports of an address that a pod reaches."""
    return [int(port) for port in server.run(f"ip netns exec pod python3 -c '{CONNECTS}' {address} {' '.join(map(str, ports))}").split()]


def test_a_neighbour_with_a_route_reaches_no_pod_and_no_service(pod: Server) -> None:
    inspect = ["podman", "inspect", "--format", "{{.State.Pid}}", f"shaka-{pod.name}-dns"]
    process = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
    neighbour = ["nsenter", "--net", "--target", process, "ip", "route"]
    for network in ("10.42.0.0/16", "10.43.0.0/16"):
        subprocess.run([*neighbour, "replace", network, "via", pod.lab["address"]], check=True)
    try:
        pod.run("nft flush chain inet shaka outside; sysctl -qw net.ipv4.ip_forward=1")
        assert [open_ports(pod.name, address, [5432]) for address in ("10.42.0.9", "10.43.0.7")] == [[5432], [5432]]  # the way is there
        assert pod.playbook(CONVERGE).returncode == 0
        assert [open_ports(pod.name, address, [5432]) for address in ("10.42.0.9", "10.43.0.7")] == [[], []]
    finally:
        for network in ("10.42.0.0/16", "10.43.0.0/16"):
            subprocess.run([*neighbour, "delete", network], check=True)


def test_a_pod_reaches_of_the_server_what_the_cluster_needs(pod: Server) -> None:
    assert connects(pod, "10.42.0.1", 22, *LISTENING) == [6443, 10250]
    assert connects(pod, pod.lab["address"], 22, *LISTENING) == [6443, 10250]
    assert connects(pod, "169.254.169.254", 22, *LISTENING) == []
    pod.run("python3 -c 'import socket; socket.create_connection((\"169.254.169.254\", 80), 1)'")  # the server itself may


def test_a_flow_from_before_the_rules_does_not_outlive_them(bookworm: Server) -> None:
    """Else the connection that confirms them could arrive in a tunnel that no one opens again."""
    bookworm.run(f"systemd-run --quiet --collect --unit=echo python3 -c '{ECHO}'")
    opened = ["-e", '{"host_firewall_udp_ports": [5555]}']
    try:
        assert bookworm.playbook(CONVERGE, *opened).returncode == 0
        client = ["podman", "exec", "-i", f"shaka-{bookworm.name}-dns", "python3", "-uc", ASK, bookworm.lab["address"]]
        with subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as flow:
            assert flow.stdin
            assert flow.stdout
            asks, answers = flow.stdin, flow.stdout

            def answered() -> str:
                asks.write("\n")
                asks.flush()
                return answers.readline().strip()

            assert answered() == "yes"
            assert bookworm.playbook(CONVERGE).returncode == 0
            assert answered() == "no"
            asks.close()
    finally:
        bookworm.run("systemctl stop echo")


def test_the_port_of_the_tunnel_by_which_the_run_connects_is_not_closed_unasked(bookworm: Server) -> None:
    bookworm.run("[ -e /dev/net/tun ] || { mkdir -p /dev/net; mknod /dev/net/tun c 10 200; }; ip tuntap add mode tun name vpn0")
    bookworm.run(f"ip address add 10.200.0.1/32 dev vpn0; ip link set vpn0 up; systemd-run --quiet --collect --unit=vpn python3 -c '{VPN}'")
    route = ["10.200.0.1/32", "via", bookworm.lab["address"]]
    subprocess.run(["ip", "route", "replace", *route], check=True)
    way = ["-e", "ansible_host=10.200.0.1", "-e", f"ansible_ssh_extra_args='-o HostKeyAlias={bookworm.lab['address']}'", "--check"]
    try:
        until(lambda: bookworm.run("ss -Hlun 'sport = :7000'") != "", 10)
        refused = bookworm.playbook(CONVERGE, *way)
        said = " ".join(refused.stdout.split())
        assert refused.returncode == 2 and "arrives by the tunnel vpn0 (tun), which may run on UDP 7000 (python3)" in said, refused.stdout
        for meant in ('{"host_firewall_udp_ports": [7000]}', '{"host_firewall_may_close_tunnel": true}'):
            done = bookworm.playbook(CONVERGE, *way, "-e", meant)
            assert done.returncode == 0, done.stdout
        assert bookworm.playbook(CONVERGE, "--check").returncode == 0  # by another way, it is none of the run's business
    finally:
        subprocess.run(["ip", "route", "delete", *route], check=True)
        bookworm.run("systemctl stop vpn; ip link delete vpn0")


def reload_sshd(server: Server, change: str) -> None:
    """Make a change, and have sshd read it. While it starts anew it refuses connections, for a moment that a busy machine makes longer."""
    server.run(f"{change}; systemctl reload ssh")
    until(lambda: server.ssh("true").returncode == 0, 20)


def test_passwords_are_refused_whatever_another_file_says(server: Server) -> None:
    other = "/etc/ssh/sshd_config.d/60-cloud.conf"
    reload_sshd(server, f"printf 'PasswordAuthentication yes\\nMatch User ana\\n PasswordAuthentication yes\\n' > {other}; usermod -p x ana")
    try:
        for user in ("root", "ana"):
            refused = server.ssh("true", "-o", "PubkeyAuthentication=no", "-o", "BatchMode=yes", user=user)
            assert refused.returncode == 255 and "Permission denied (publickey)" in refused.stderr
    finally:
        reload_sshd(server, f"rm {other}; usermod -p '*' ana")


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
    drop_in = "/etc/systemd/system/nftables.service.d/50-shaka.conf"
    places |= {"drop_in": server.run(f"cat {drop_in}"), "drop_in_file": drop_in}
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


def is_excluded(server: Server) -> bool:
    """Whether the rules that let nobody in are in force, as seen from inside."""
    look = ["sh", "-c", "nft list chain inet shaka allowed | grep -q 192.0.2.0"]
    return subprocess.run(["podman", "exec", f"shaka-{server.name}", *look], check=False).returncode == 0


def exclude_and_be_killed(server: Server, confirm_seconds: int) -> None:
    """A run whose rules exclude the controller, killed before it notices."""
    given = json.dumps({"host_firewall_ssh_sources": ["192.0.2.0/24"], "host_access_confirm_seconds": confirm_seconds})
    command = ["ansible-playbook", CONVERGE, "-i", "inventories/sandbox", "-e", f"lab_name={server.name}", "-e", given]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        until(lambda: is_excluded(server), 60)
        os.killpg(run.pid, signal.SIGKILL)
    assert not reaches(server)


def test_the_server_takes_back_what_a_killed_run_left_unconfirmed(trixie: Server) -> None:
    exclude_and_be_killed(trixie, 8)
    until(lambda: reaches(trixie), 20)
    assert not is_excluded(trixie)
    again = trixie.playbook(CONVERGE)
    assert again.returncode == 0 and " changed=0 " in again.stdout, again.stdout


def test_a_restart_takes_back_what_nobody_confirmed(trixie: Server) -> None:
    """Whoever is locked out asks the provider for a reset."""
    exclude_and_be_killed(trixie, 600)
    subprocess.run(["podman", "restart", "--time", "0", f"shaka-{trixie.name}"], check=True, capture_output=True)
    until(lambda: reaches(trixie), 60)
    again = trixie.playbook(CONVERGE)
    assert again.returncode == 0 and " changed=0 " in again.stdout, again.stdout


def test_ssh_audit_finds_nothing_to_fail(server: Server) -> None:
    audit = [str(Path(sys.executable).with_name("ssh-audit")), "--json", "--skip-rate-test", server.lab["address"]]
    told = json.loads(subprocess.run(audit, capture_output=True, text=True, check=False).stdout)
    found = {f"{kind}: {entry['algorithm']}" for kind in ("kex", "key", "enc", "mac") for entry in told[kind] if entry.get("notes", {}).get("fail")}
    assert found == set() and len(told["kex"]) > 3 and told["enc"] and told["mac"] and told["key"]


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
