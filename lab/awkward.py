"""What servers of real owners have and a fresh lab server has not, all at once: `python3 -m lab up --awkward`.

The way in is a user with a password for sudo, on port 2222, through a bastion; root may not log in. `lab.json` gains what an inventory needs of it.
"""

from __future__ import annotations

import json
import secrets

from lab.hosts import Lab, podman, wait_for_port, write_private
from lab.progress import Progress

HOSTNAME = "Web-1.Loja.Example"
USER, BASTION_USER, PORT = "maria", "jump", 2222
LOCALE = "pt_BR.UTF-8"
# Has the nameservers alone: what the refusal of a search domain with a wildcard tells an owner to write.
PODS_RESOLV_CONF = "/etc/resolv-pods.conf"

SERVER = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends locales chrony >/dev/null
apt-get clean
rm -rf /var/lib/apt/lists/*                                    # the platform needs lists, and gets to know the dead source
echo "$LOCALE UTF-8" >/etc/locale.gen
locale-gen >/dev/null
echo "LANG=$LOCALE" >/etc/default/locale
printf 'Types: deb\nURIs: http://127.0.0.1:9/debian\nSuites: stable\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
  >/etc/apt/sources.list.d/gone.sources
printf '#!/bin/sh\necho "kubectl of somebody else"\n' >/usr/local/bin/kubectl
chmod 0755 /usr/local/bin/kubectl
echo '/swapfile none swap sw 0 0' >>/etc/fstab
grep ^nameserver /etc/resolv.conf >"$PODS_RESOLV_CONF"
{ grep ^nameserver /etc/resolv.conf; echo "search $DOMAIN"; } >/tmp/resolv.conf
cat /tmp/resolv.conf >/etc/resolv.conf                         # podman mounts it
rm /tmp/resolv.conf
useradd --create-home --shell /bin/bash --groups sudo "$USER_NAME"
chpasswd
install -d -m 0700 -o "$USER_NAME" -g "$USER_NAME" "/home/$USER_NAME/.ssh"
install -m 0600 -o "$USER_NAME" -g "$USER_NAME" /root/.ssh/authorized_keys "/home/$USER_NAME/.ssh/authorized_keys"
rm /root/.ssh/authorized_keys
printf 'Port %s\nPermitRootLogin no\n' "$PORT" >/etc/ssh/sshd_config.d/10-provider.conf
systemctl restart ssh.service
"""

BASTION = r"""
set -eu
useradd --create-home --shell /usr/sbin/nologin "$USER_NAME"
install -d -m 0700 -o "$USER_NAME" -g "$USER_NAME" "/home/$USER_NAME/.ssh"
cat >"/home/$USER_NAME/.ssh/authorized_keys"
ssh-keygen -A >/dev/null
mkdir -p /run/sshd
/usr/sbin/sshd
cat /etc/ssh/ssh_host_ed25519_key.pub
"""


def make(lab: Lab, progress: Progress) -> None:
    """Make a running server awkward, once."""
    settings = json.loads((lab.state / "lab.json").read_text())
    kept = lab.state / "awkward.json"
    if not kept.exists():
        password = secrets.token_urlsafe(12)
        with progress.step("what owners' servers have", seconds=30):
            _bastion(lab)
            _server(lab, password)
            if not podman("network", "ls", "--quiet", "--filter", f"name=^{lab.second_network}$"):
                podman("network", "create", "--disable-dns", "--internal", "--subnet", lab.second_address(0) + "/24", lab.second_network)
            podman("network", "connect", "--ip", lab.second_address(10), lab.second_network, lab.server)
            wait_for_port(lab.server_address, PORT, 30)
        ssh_config = lab.state / "ssh_config"
        shared = f"  IdentityFile {lab.key}\n  UserKnownHostsFile {lab.known_hosts}\n"
        ssh_config.write_text(
            f"Host bastion\n  HostName {lab.services_address}\n  User {BASTION_USER}\n{shared}"
            f"Host {lab.server_address}\n  Port {PORT}\n  User {USER}\n  ProxyJump bastion\n{shared}"
        )
        write_private(kept, json.dumps({"user": USER, "password": password, "port": PORT, "ssh_config": str(ssh_config), "locale": LOCALE}))
    settings["awkward"] = {**json.loads(kept.read_text()), "bastion": lab.services_address, "resolv_conf": PODS_RESOLV_CONF}
    write_private(lab.state / "lab.json", json.dumps(settings, indent=2))


def _bastion(lab: Lab) -> None:
    """sshd beside the DNS service: another machine, which leads to the server."""
    key = lab.key.with_suffix(".pub").read_text()
    host_key = podman("exec", "-i", "-e", f"USER_NAME={BASTION_USER}", f"{lab.server}-dns", "sh", "-c", BASTION, stdin=key)
    kind_and_key = " ".join(host_key.split()[:2])
    server_key = lab.known_hosts.read_text().split(maxsplit=1)[1]
    lab.known_hosts.write_text(f"{lab.known_hosts.read_text()}[{lab.server_address}]:{PORT} {server_key}{lab.services_address} {kind_and_key}\n")


def _server(lab: Lab, password: str) -> None:
    values = {"LOCALE": LOCALE, "DOMAIN": lab.domain, "PODS_RESOLV_CONF": PODS_RESOLV_CONF, "USER_NAME": USER, "PORT": str(PORT)}
    options = [word for name, value in values.items() for word in ("-e", f"{name}={value}")]
    podman("exec", "-i", *options, lab.server, "sh", "-c", SERVER, stdin=f"{USER}:{password}\n")
