"""One lab: a bare server to practise on, and beside it what the internet would offer it: DNS, an ACME server and an S3 server.

All of it runs in podman containers on a network of the lab's own; nothing listens on the machine's other addresses.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import paths, rootfs, s3
from lab.progress import Progress

DOMAIN = "test"
ACME_PORT, ACME_MANAGEMENT_PORT, S3_PORT = 14000, 15000, 9000
BUCKET, PREFIX = "shaka-backups", "shaka"
# --cgroupns=private: without it pods die on cgroup v1; the volume: containerd cannot stack an overlay on the container's own overlay.
# --systemd=false: podman's own way shares one name=systemd hierarchy among containers on cgroup v1, and they remove each other's groups.
SERVER_OPTIONS = (
    "--privileged --systemd=false --cgroupns=private --tmpfs /run:rw,nosuid,nodev,mode=755 --tmpfs /run/lock -e container=podman --stop-signal 37"
).split()
HOSTNAME = "microsaas-server"
# below the hard limits of a machine that may not raise them
LIMITS = "--ulimit nofile=20000:20000 --ulimit nproc=4194:4194".split()


def podman(*arguments: str, check: bool = True, stdin: str | None = None) -> str:
    """What podman prints; SystemExit with its words when it has to succeed and does not."""
    done = subprocess.run(["podman", "--runtime", "runc", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise SystemExit(f"podman {' '.join(arguments[:3])} failed: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Lab:
    """A lab by its name; its addresses follow from the name, so that several labs live side by side."""

    name: str

    @property
    def state(self) -> Path:
        """Keys, certificates, secrets and the S3 server's data; gone with `down`."""
        return paths.cache() / "labs" / self.name

    @property
    def server(self) -> str:
        return f"shaka-{self.name}"

    @property
    def services(self) -> list[str]:
        """Their containers, in the order in which they can be removed: the first two live in the network of the last."""
        return [f"{self.server}-s3", f"{self.server}-acme", f"{self.server}-dns"]

    def address(self, host: int) -> str:
        return f"10.89.{zlib.crc32(self.name.encode()) % 200 + 20}.{host}"

    @property
    def server_address(self) -> str:
        return self.address(10)

    @property
    def services_address(self) -> str:
        return self.address(11)

    @property
    def second_network(self) -> str:
        """Where a server with two interfaces has the other one."""
        return f"{self.server}-second"

    def second_address(self, host: int) -> str:
        return self.address(host).replace("10.89.", "10.90.", 1)

    @property
    def domain(self) -> str:
        return f"{self.name}.{DOMAIN}"

    @property
    def key(self) -> Path:
        return self.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.state / "known_hosts"

    def running(self) -> bool:
        """Whether the server runs and was made to the end; known_hosts is written last."""
        return self.known_hosts.exists() and podman("inspect", "-f", "{{.State.Running}}", self.server, check=False) == "true"

    def ssh(self, *command: str) -> list[str]:
        options = ["-i", str(self.key), "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "LogLevel=ERROR"]
        return ["ssh", *options, f"root@{self.server_address}", *command]

    def prepare(self, bundle: Path, *, memory: str, cpus: str) -> None:
        """Make the keys and secrets, and write lab.json: what the sandbox's inventory reads. Needs no server yet."""
        if not self.running():
            self.down()
            self._make_keys()
        values = {
            "state": str(self.state),
            "address": self.server_address,
            "key": str(self.key),
            "known_hosts": str(self.known_hosts),
            "domain": self.domain,
            "acme_root": str(self.state / "acme/root.pem"),
            "bundle": str(bundle),
            "server": {"cpu": cpus, "memory": memory.upper().replace("G", "Gi").replace("M", "Mi")},
            "acme": {
                "email": f"operator@{self.domain}",
                "server": f"https://{self.services_address}:{ACME_PORT}/dir",
                "ca_bundle": (self.state / "acme/ca.crt").read_text(),
            },
            "s3": {"endpoint": self.s3_endpoint, "region": s3.REGION, "bucket": BUCKET, "prefix": PREFIX, **self._s3_authority()},
            "backup_recipient": self.backup_recipient(),
            "backup_identity_file": str(self.state / "backup-identity.txt"),
            "secrets": self.secrets(),
        }
        write_private(self.state / "lab.json", json.dumps(values, indent=2))

    def up(self, progress: Progress, *, memory: str, cpus: str, release: str = rootfs.RELEASES[0], hostname: str = HOSTNAME) -> None:
        """Start the bare server of a prepared lab; a running one is left alone."""
        if self.running():
            return
        image = rootfs.image(progress, release)
        with progress.step(f"bare server ({release}, {memory} of memory, {cpus} CPUs)", seconds=6):
            if not podman("network", "ls", "--quiet", "--filter", f"name=^{self.server}$"):
                podman("network", "create", "--disable-dns", "--subnet", self.address(0) + "/24", self.server)
            # /var/lib/rancher is a volume, as overlayfs cannot be stacked on the container's own
            podman(
                "run", "-d", "--name", self.server, "--hostname", hostname, *SERVER_OPTIONS, *LIMITS,
                "--memory", memory, "--memory-swap", memory, "--cpus", cpus,
                "--network", self.server, "--ip", self.server_address, "--dns", self.services_address, "--dns-search", ".",
                "-v", f"{self.server}-rancher:/var/lib/rancher", image,
            )  # fmt: skip
            # the container is there before systemd's socket is; `--wait` then ends when the boot has
            booted = ["exec", self.server, "systemctl", "is-system-running", "--wait"]
            _until(lambda: podman(*booted, check=False) in ("running", "degraded"), "systemd", 60)
            podman("exec", self.server, "mkdir", "-p", "-m", "0700", "/root/.ssh")
            podman("cp", str(self.key) + ".pub", f"{self.server}:/root/.ssh/authorized_keys")
            # sshd has failed so far, as the image has no host keys
            start = "chown root:root /root/.ssh/authorized_keys && ssh-keygen -A && systemctl reset-failed ssh; systemctl restart ssh"
            podman("exec", self.server, "sh", "-c", start)
            host_key = podman("exec", self.server, "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
            wait_for_port(self.server_address, 22, 30)
            if podman("inspect", "-f", "{{.State.Running}}", f"{self.server}-dns", check=False) != "true":
                self._start_dns(image)
            # last: a lab without it is made anew
            self.known_hosts.write_text(f"{self.server_address} {' '.join(host_key.split()[:2])}\n")

    def start_services(self, bundle: Path, progress: Progress) -> None:
        """Start the ACME and the S3 server, whose programs the bundle brings; a running one is left alone."""
        with progress.step("services (DNS, ACME, S3)", seconds=3):
            image = podman("inspect", "-f", "{{.ImageName}}", self.server)
            self._start_service("acme", image, bundle, {"PEBBLE_VA_NOSLEEP": "1"}, "pebble", "-config", "/state/acme/pebble.json")
            root = self._s3_accounts()
            serve = ["--port", f":{S3_PORT}", "--region", s3.REGION, "--iam-dir", "/state/s3-accounts", "--quiet", "--keep-alive"]
            if s3.ENCRYPTED:
                serve += ["--cert", "/state/acme/server.crt", "--key", "/state/acme/server.key"]
            environment = {"ROOT_ACCESS_KEY_ID": root.access_key, "ROOT_SECRET_ACCESS_KEY": root.secret_key, "GOMEMLIMIT": "96MiB"}
            self._start_service("s3", image, bundle, environment, "versitygw", *serve, "posix", "--sidecar", "/state/metadata", "/state/s3")
            for port in (ACME_PORT, ACME_MANAGEMENT_PORT, S3_PORT):
                wait_for_port(self.services_address, port, 30)
            s3.prepare(root, BUCKET, PREFIX, self.secrets())
            (self.state / "acme/root.pem").write_text(self.acme_root())

    @property
    def s3_endpoint(self) -> str:
        return f"{'https' if s3.ENCRYPTED else 'http'}://{self.services_address}:{S3_PORT}"

    def _s3_authority(self) -> dict[str, str]:
        return {"ca_bundle": (self.state / "acme/ca.crt").read_text()} if s3.ENCRYPTED else {}

    def _s3_accounts(self) -> s3.Client:
        """Write the accounts that the S3 server knows; the client of its own, which may do all, is made once."""
        for folder in ("s3", "metadata", "s3-accounts"):
            (self.state / folder).mkdir(exist_ok=True, mode=0o700)
        write_private(self.state / "s3-accounts/users.json", s3.accounts(self.secrets()))
        owner = self.state / "s3-owner"
        if not owner.exists():
            write_private(owner, secrets.token_hex(32))
        return s3.Client(self.s3_endpoint, "owner", owner.read_text(), self._s3_authority().get("ca_bundle", ""))

    def destroy_server(self) -> None:
        """Take the server and its disk away; what the internet has stays, S3 among it. `up` then makes a bare server at the same address."""
        self.known_hosts.unlink(missing_ok=True)
        podman("rm", "-f", "-t", "0", self.server, check=False)
        podman("volume", "rm", "-f", f"{self.server}-rancher", check=False)

    def down(self) -> None:
        """Remove the containers, the volume, the network and the state."""
        for container in [*self.services, self.server]:
            podman("rm", "-f", "-t", "10", container, check=False)
        podman("volume", "rm", "-f", f"{self.server}-rancher", check=False)
        for network, gateway in ((self.server, self.address(1)), (self.second_network, self.second_address(1))):
            podman("network", "rm", "-f", network, check=False)
            # netavark leaves the bridge behind when a container was killed, and then refuses its subnet
            addresses = subprocess.run(["ip", "-o", "-4", "address", "show", "to", gateway], capture_output=True, text=True, check=True).stdout
            for line in addresses.splitlines():
                subprocess.run(["ip", "link", "delete", line.split()[1]], check=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def acme_root(self) -> str:
        """The root certificate that the ACME server signs with, made anew at each of its starts."""
        url = f"https://{self.services_address}:{ACME_MANAGEMENT_PORT}/roots/0"
        return subprocess.run(["curl", "-fsS", "--cacert", str(self.state / "acme/ca.crt"), url], capture_output=True, text=True, check=True).stdout

    def secrets(self) -> dict[str, dict[str, str]]:
        """The lab's own secrets, made once for the life of the server."""
        path = self.state / "secrets.json"
        if not path.exists():
            names = ("DB_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET", "ENCRYPTION_KEY", "STRIPE_SECRET_KEY", "SMTP_PASSWORD", "BACKUP_KEY")
            made = {environment: {name: secrets.token_hex(32) for name in names} for environment in ("dev", "staging", "prod")}
            made["prod"]["WAL_PASSWORD"] = secrets.token_hex(32)
            made["shared"] = {name: secrets.token_hex(32) for name in ("REDIS_ADMIN_PASSWORD", "HASH_KEY")}
            made |= {account: {"ACCESS_KEY": secrets.token_hex(10), "SECRET_KEY": secrets.token_hex(32)} for account in s3.ACCOUNTS}
            write_private(path, json.dumps(made))
        loaded: dict[str, dict[str, str]] = json.loads(path.read_text())
        return loaded

    def backup_recipient(self) -> str:
        """The public half of the key that opens the backups; the private half stays in the lab's state (the operator's safe)."""
        text = subprocess.run(["age-keygen", "-y", str(self.state / "backup-identity.txt")], capture_output=True, text=True, check=True).stdout
        return text.strip()

    def _make_keys(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {self.name}", "-f", str(self.key)], check=True)
        subprocess.run(["age-keygen", "-o", str(self.state / "backup-identity.txt")], check=True, capture_output=True)
        acme = self.state / "acme"
        acme.mkdir()
        extensions = acme / "server.ext"
        extensions.write_text(f"subjectAltName=IP:{self.services_address},DNS:acme.{self.domain}\nextendedKeyUsage=serverAuth\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        authority = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        for command in (
            ["req", "-x509", *curve, *authority, "-days", "3650", "-subj", "/CN=lab ACME API", "-keyout", f"{acme}/ca.key", "-out", f"{acme}/ca.crt"],
            ["req", *curve, "-subj", "/CN=acme", "-keyout", f"{acme}/server.key", "-out", f"{acme}/server.csr"],
            ["x509", "-req", "-days", "3650", "-in", f"{acme}/server.csr", "-CA", f"{acme}/ca.crt", "-CAkey", f"{acme}/ca.key", "-CAcreateserial",
             "-extfile", str(extensions), "-out", f"{acme}/server.crt"],
        ):  # fmt: skip
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        pebble = {
            "listenAddress": f"0.0.0.0:{ACME_PORT}", "managementListenAddress": f"0.0.0.0:{ACME_MANAGEMENT_PORT}",
            "certificate": "/state/acme/server.crt", "privateKey": "/state/acme/server.key", "httpPort": 80, "tlsPort": 443,
            "ocspResponderURL": "", "externalAccountBindingRequired": False,
        }  # fmt: skip
        (self.state / "resolv.conf").write_text(f"nameserver {self.services_address}\n")
        (acme / "pebble.json").write_text(json.dumps({"pebble": pebble}))

    def _start_dns(self, image: str) -> None:
        """dnsmasq answers for the lab's domain with the server's address and asks this machine's resolver for the rest."""
        answers = ["--keep-in-foreground", "--no-hosts", "--no-daemon", "--user=root", f"--address=/{self.domain}/{self.server_address}"]
        self._run_service("dns", image, ["--network", self.server, "--ip", self.services_address], ["/usr/sbin/dnsmasq", *answers])

    def _start_service(self, name: str, image: str, bundle: Path, environment: Mapping[str, str], program: str, *arguments: str) -> None:
        container = f"{self.server}-{name}"
        if podman("inspect", "-f", "{{.State.Running}}", container, check=False) == "true":
            return
        podman("rm", "-f", container, check=False)
        variables = self.state / f"{name}.env"  # some are secret, and arguments are not
        write_private(variables, "".join(f"{key}={value}\n" for key, value in environment.items()))
        mounts = {bundle: "/bundle:ro", self.state: "/state", self.state / "resolv.conf": "/etc/resolv.conf:ro"}
        options = ["--network", f"container:{self.server}-dns", "--env-file", str(variables)]
        options += [word for source, target in mounts.items() for word in ("-v", f"{source}:{target}")]
        self._run_service(name, image, options, [f"/bundle/services/{program}", *arguments])

    def _run_service(self, name: str, image: str, options: list[str], command: list[str]) -> None:
        podman("run", "-d", "--name", f"{self.server}-{name}", *LIMITS, "--memory", "512m", *options, image, *command)


def write_private(path: Path, text: str) -> None:
    """A file that only this user reads."""
    path.touch(0o600)
    path.write_text(text)


def _until(true: Callable[[], bool], what: str, seconds: float) -> None:
    """Ask until it is so; the bound is generous, the usual answer comes at once."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: nothing after {seconds:.0f} s")
        time.sleep(0.1)


def wait_for_port(address: str, port: int, seconds: float) -> None:
    """Until a port takes connections."""

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return True
        return False

    _until(listens, f"{address}:{port}", seconds)
