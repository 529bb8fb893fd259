"""A server as owners have them: what it has stays or is named with the way out, and nobody is locked out."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import Server

OURS = ("-i", "molecule/awkward/inventory/hosts.yml", "-e", "@molecule/awkward/vars/platform.yml")


class Owner:
    """The owner at the terminal: through the bastion, with a password for sudo and a Brazilian locale."""

    def __init__(self, server: Server) -> None:
        self.server, self.own = server, server.lab["awkward"]

    def ssh(self, command: str, *options: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        whole = ["ssh", "-F", self.own["ssh_config"], *options, self.server.lab["address"], command]
        return subprocess.run(whole, input=stdin, capture_output=True, text=True, timeout=180, check=False)

    def root(self, script: str, *, check: bool = True) -> str:
        """What a script prints that root runs, by sudo."""
        done = self.ssh("sudo -S -p '' sh -s", stdin=f"{self.own['password']}\n{script}\n")
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def playbook(self, name: str, *arguments: str) -> tuple[int, str]:
        done = self.server.playbook(name, *OURS, *arguments)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def owner(server: Server) -> Owner:
    return Owner(server)


def test_drift_is_clean(owner: Owner) -> None:
    code, said = owner.playbook("playbooks/drift.yml")
    assert code == 0, said
    assert re.search(r"drift: 0 of \d+ objects and 0 of \d+ host items differ", said), said


def test_verify_is_green(owner: Owner) -> None:
    code, said = owner.playbook("playbooks/verify.yml")
    assert code == 0, said


def test_the_way_in_is_the_bastion_alone(owner: Owner) -> None:
    assert owner.ssh("echo $SSH_CONNECTION").stdout.split()[0::3] == [owner.own["bastion"], str(owner.own["port"])]
    direct = owner.ssh("true", "-o", "ProxyJump=none", "-o", "ConnectTimeout=5")
    assert direct.returncode == 255 and "timed out" in direct.stderr
    assert "Permission denied" in owner.ssh("true", "-l", "root").stderr


def test_the_sources_of_ssh_that_would_lock_the_owner_out_are_taken_back(owner: Owner) -> None:
    """Both connections are through the bastion, and the user is not root."""
    wrong = '{"host_firewall_ssh_sources": ["192.0.2.9"], "host_access_confirm_seconds": 40, "ansible_timeout": 15}'
    code, said = owner.playbook("site.yml", "--tags", "host", "-e", wrong)
    assert code != 0 and "did not get in with the new packet filter" in said, said
    until = time.monotonic() + 60
    while owner.ssh("true", "-o", "ConnectTimeout=5").returncode and time.monotonic() < until:
        time.sleep(1)
    assert owner.own["bastion"] in owner.root("nft list chain inet shaka allowed")
    assert "rollback" not in owner.root("systemctl list-timers --all; ls /var/lib/shaka")


@contextmanager
def table(owner: Owner, rules: str) -> Iterator[None]:
    """A provider's table of the packet filter."""
    owner.root(f"nft -f - <<'RULES'\ntable ip provider {{\n{rules}\n}}\nRULES")
    try:
        yield
    finally:
        owner.root("nft delete table ip provider")


def test_a_last_rule_of_the_providers_that_rejects_the_rest_is_refused_by_name(owner: Owner) -> None:
    chain = "chain INPUT { type filter hook input priority 0; policy accept; "
    ways = "ct state established,related accept; iif lo accept; iifname cni0 accept; tcp dport { 2222, 80, 443 } accept; counter "
    before = owner.root("nft --stateless --terse list table inet shaka; systemctl show k3s -p MainPID")
    with table(owner, f"{chain}{ways}reject; }}"):
        code, said = owner.playbook("site.yml")
    assert code != 0 and "refused before anything was changed" in said, said
    assert "table ip provider, chain INPUT (input)" in said and "no last rule that drops or rejects" in said
    assert owner.root("nft --stateless --terse list table inet shaka; systemctl show k3s -p MainPID") == before


def test_a_search_domain_with_a_wildcard_is_refused_unless_pods_have_another_file(owner: Owner) -> None:
    code, said = owner.playbook("site.yml", "--tags", "preflight", "-e", '{"k3s_config": {}}')
    assert code != 0 and f"DNS: in '{owner.server.lab['domain']}', a search domain" in said and "k3s_config.resolv-conf" in said, said


def test_pods_do_not_reach_the_wildcard(owner: Owner) -> None:
    """Debian's resolver asks for names of fewer than five dots in the search domains first."""
    wild = owner.root("getent hosts shop.elsewhere.invalid", check=False)
    assert wild.split()[:1] == [owner.server.lab["address"]]
    assert owner.root("k3s kubectl exec -n shaka-dev postgres-0 -- getent hosts shop.elsewhere.invalid", check=False) == ""
    assert owner.root("k3s kubectl exec -n shaka-dev postgres-0 -- getent hosts postgres-dev") != ""


def test_the_owners_locale_is_in_force_and_was_no_obstacle(owner: Owner) -> None:
    said = owner.ssh("ls /nowhere", "-o", f"SetEnv=LC_ALL={owner.own['locale']}").stderr
    assert "Arquivo ou diretório inexistente" in said
    assert f"LANG={owner.own['locale']}" in owner.root("cat /etc/default/locale")


def test_the_node_has_the_hosts_name_in_lower_case_and_the_address_of_the_default_route(owner: Owner) -> None:
    columns = "jsonpath='{.items[*].metadata.name} {.items[*].status.addresses[?(@.type==\"InternalIP\")].address}'"
    nodes = owner.root(f"hostname; k3s kubectl get nodes -o {columns}")
    assert nodes.split() == ["Web-1.Loja.Example", "web-1", owner.server.lab["address"]]
    assert "eth1" in owner.root("ip -brief address")


def test_what_the_owner_chose_stays(owner: Owner) -> None:
    assert owner.root("systemctl is-active chrony systemd-timesyncd", check=False).split() == ["active", "inactive"]
    cron = owner.root("dpkg-query --show --showformat='${db:Status-Status}' cron", check=False)
    assert cron in ("", "not-installed")  # the one where apt does not know it
    assert "somebody else" in owner.root("/usr/local/bin/kubectl")
    assert "Client Version" in owner.root("k3s kubectl version --client")
    assert owner.root("grep -c '^/swapfile none swap' /etc/fstab").strip() == "1"  # a container's swap is its host's: noted, and left


def test_packages_came_in_spite_of_a_source_that_does_not_answer(owner: Owner) -> None:
    assert "127.0.0.1:9" in owner.root("apt-get update 2>&1 | grep ^W:")
    assert "installed" in owner.root("dpkg-query --show --showformat='${db:Status-Status}\\n' unattended-upgrades")


def test_a_package_that_no_source_has_is_named_with_the_sources_that_do_not_answer(owner: Owner) -> None:
    code, said = owner.playbook("site.yml", "--tags", "host", "-e", '{"host_packages": ["nftables", "no-such-package"]}')
    assert code != 0 and "no-such-package could not be installed" in said and "127.0.0.1:9" in said, said


def test_the_server_has_no_packet_filters_program_of_its_own_but_nft(owner: Owner) -> None:
    """K3s brings what it needs."""
    assert owner.root("command -v iptables ipset conntrack socat ethtool || echo none").strip() == "none"
    assert "KUBE-SERVICES" in owner.root("nft list tables; nft list ruleset")
