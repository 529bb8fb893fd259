# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bucket, through rclone: on the server with the reader's credentials, on the controller with those that may delete.

Credentials and settings are in the process's environment, never among its arguments. Every call ends within bounds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import LOCALE, STATE

RCLONE = Path(STATE) / "tools/rclone"  # on the server
REMOTE = "s3"
PROXIES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE")
# A service that does not answer is given up within about a minute and a half: connection, answer, and how often each is tried.
BOUNDS = ("--contimeout=10s", "--timeout=30s", "--retries=1", "--low-level-retries=2")
_MEMORY = "/run" if os.access("/run", os.W_OK) else None  # where files reach no disk
LONGEST = 600  # seconds of a call that answers all the time
REASONS = {
    "AccessDenied": "the credentials may not do this",
    "InvalidAccessKeyId": "the service does not know the access key",
    "SignatureDoesNotMatch": "the secret key is wrong, or the server's clock is more than 15 minutes off",
    "RequestTimeTooSkewed": "the server's clock is more than 15 minutes off",
    "NoSuchBucket": "there is no such bucket",
    "directory not found": "there is no such bucket, or this is not an S3 service",
}


class StoreError(Exception):
    """The bucket did not do what was asked; the text says why, and has no credentials."""


@dataclass(frozen=True)
class Credentials:
    """Of an S3 service."""

    access_key: str
    secret_key: str


def named_credentials(named: Mapping[str, Any], secrets: Mapping[str, Any]) -> Credentials | None:
    """The pair that `backup.writer` or the like names; None where it is not filled in.

    :arg named: `access_key` and `secret_key`, each as GROUP/NAME.
    :arg secrets: groups of the inventory's secrets.
    """
    places = (named[key].partition("/") for key in ("access_key", "secret_key"))
    access, secret = ((secrets.get(group) or {}).get(name, "") for group, _slash, name in places)
    return Credentials(str(access), str(secret)) if access and secret else None


@dataclass(frozen=True)
class Listed:
    """An object; `path` is that below the bucket."""

    path: str
    bytes: int


class Bucket:
    """One bucket with one pair of credentials."""

    def __init__(self, s3: Mapping[str, Any], credentials: Credentials, rclone: Path = RCLONE, timeout: float = LONGEST) -> None:
        """:arg s3: an environment's `backup.s3` of the model. :arg rclone: the server's own unless the caller is the controller."""
        self.s3, self.rclone, self.timeout = s3, rclone, timeout
        kept = {name: os.environ[name] for name in ("PATH", "HOME", *PROXIES) if name in os.environ}
        remote = {f"RCLONE_CONFIG_S3_{name.upper()}": value for name, value in _remote(s3, credentials).items()}
        self._environment = {**kept, **LOCALE, **remote}

    @property
    def prefix(self) -> str:
        return str(self.s3["prefix"]).strip("/")

    @property
    def place(self) -> str:
        """The folder of all backups, for messages."""
        return "/".join(part for part in (str(self.s3["endpoint"]), str(self.s3["bucket"]), self.prefix) if part)

    def list(self, prefix: str, include: str = "") -> list[Listed]:
        """Every object below a prefix, or those that match rclone's pattern; empty where there is none. Raises StoreError."""
        options = ("--recursive", "--files-only", "--no-mimetype", "--fast-list", *_filter(include))
        return [Listed(_joined(prefix, entry["Path"]), int(entry["Size"])) for entry in json.loads(self._run("lsjson", *options, self._at(prefix)))]

    def read(self, path: str, largest: int) -> bytes:
        """An object's content, or its first bytes where it has more. Raises StoreError."""
        content = self._run("cat", f"--count={largest}", self._at(path))
        if not content:  # rclone takes an object that is not there for an empty directory
            raise StoreError(f"{self.place}: there is no object {path}, or it is empty")
        return content

    def read_all(self, prefix: str, include: str, largest: int) -> dict[str, bytes]:
        """Path -> content of the objects below a prefix that match rclone's pattern and are not larger, by one call. Raises StoreError.

        What is damaged there is returned as it is, and judged by its signature: one such object is no reason to have none.
        """
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            self._run("copy", "--ignore-checksum", "--transfers=8", f"--max-size={largest}B", *_filter(include), self._at(prefix), folder)
            found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            return {_joined(prefix, str(path.relative_to(folder))): path.read_bytes() for path in found}

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects, in any order; one that is not there counts as deleted. Raises StoreError.

        What Object Lock holds in governance mode goes only for who says that it is meant, and may.
        """
        listing = "".join(f"{path}\n" for path in paths).encode()
        if not listing:
            return
        command = ("delete", "--files-from-raw=-", "--no-traverse", self._at(""))
        try:
            self._run(*command, text=listing)
        except StoreError:
            self._run(*command, "--s3-bypass-governance-retention", text=listing)

    def _at(self, path: str) -> str:
        return f"{REMOTE}:{self.s3['bucket']}/{path.strip('/')}".rstrip("/")

    def _run(self, *arguments: str, text: bytes = b"") -> bytes:
        with tempfile.NamedTemporaryFile("w", dir=_MEMORY, suffix=".pem") as trusted:
            environment = dict(self._environment)
            if authority := authorities(self.s3, self.rclone):
                trusted.write(authority)
                trusted.flush()
                environment["RCLONE_CA_CERT"] = trusted.name
            command = [str(self.rclone), "--config=", "--log-level=NOTICE", *BOUNDS, *arguments]
            try:
                done = subprocess.run(  # pylint: disable=ansible-bad-function  # run_command has no bound, and would tie this to a module
                    command, input=text, capture_output=True, timeout=self.timeout, check=False, env=environment
                )
            except subprocess.TimeoutExpired:
                raise StoreError(f"{self.place} did not answer within {self.timeout:.0f} s") from None
            except OSError as error:
                raise StoreError(f"{self.rclone}: {error.strerror}; run the site once (--tags k3s), which brings the backup tools") from None
        if done.returncode == 0:
            return done.stdout
        raise StoreError(f"{self.place}: {reason(done.stderr.decode(errors='replace'))}")


def configuration(s3: Mapping[str, Any], credentials: Credentials) -> str:
    """rclone's configuration file of a bucket, for a pod that gets it through a pipe."""
    return f"[{REMOTE}]\n" + "".join(f"{name} = {value}\n" for name, value in _remote(s3, credentials).items())


def authorities(s3: Mapping[str, Any], rclone: Path = RCLONE) -> str:
    """Issuers of the service's certificate: the inventory's private authority, else those beside rclone, else '' (rclone asks the system)."""
    beside = rclone.with_name("ca-certificates.crt")
    return str(s3.get("ca_bundle") or "") or (beside.read_text(encoding="utf-8") if beside.is_file() else "")


def _remote(s3: Mapping[str, Any], credentials: Credentials) -> dict[str, str]:
    """rclone's options of the remote."""
    return {
        "type": "s3",
        "provider": str(s3.get("provider") or "Other"),
        "endpoint": str(s3["endpoint"]),
        "region": str(s3.get("region") or ""),
        "force_path_style": str(bool(s3.get("path_style", True))).lower(),
        "no_check_bucket": "true",
        "access_key_id": credentials.access_key,
        "secret_access_key": credentials.secret_key,
    }


def _filter(include: str) -> tuple[str, ...]:
    return (f"--include={include}",) if include else ()


def _joined(prefix: str, path: str) -> str:
    return f"{prefix.strip('/')}/{path}".lstrip("/")


def reason(errors: str) -> str:
    """What rclone's errors come down to, in one line."""
    for code, words in REASONS.items():
        if code in errors:
            return f"{words} ({code})"
    if found := re.search(r"dial \S+ .*|lookup \S+ .*|x509: .*|tls: .*|i/o timeout|context deadline exceeded", errors):
        return found[0].strip(' "')[:200]
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = lines[-1] if lines else "rclone said nothing"
    for begin in ("ERROR : ", "CRITICAL: ", "Failed to "):
        last = last.partition(begin)[2] or last
    return last[:300]
