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

# A service that does not answer is given up within about a minute and a half: connection, answer, and how often each is tried.
BOUNDS = ("--contimeout=10s", "--timeout=30s", "--retries=1", "--low-level-retries=2")
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


@dataclass(frozen=True)
class Listed:
    """An object; `path` is that below the bucket, `modified` in UTC as the service says it (ISO 8601)."""

    path: str
    bytes: int
    modified: str


class Bucket:
    """One bucket with one pair of credentials."""

    def __init__(self, rclone: Path, s3: Mapping[str, Any], credentials: Credentials) -> None:
        """:arg s3: an environment's `backup.s3` of the model."""
        self.rclone, self.s3 = rclone, s3
        self._environment = settings(s3, credentials)

    def list(self, prefix: str) -> list[Listed]:
        """Every object below a prefix; empty where there is none. Raises StoreError."""
        text = self._run("lsjson", "--recursive", "--files-only", "--no-mimetype", "--fast-list", self._at(prefix))
        folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        return [Listed(folder + entry["Path"], int(entry["Size"]), str(entry["ModTime"])) for entry in json.loads(text)]

    def read(self, path: str, largest: int) -> bytes:
        """An object's content, or its first bytes where it has more. Raises StoreError."""
        content = self._run("cat", f"--count={largest}", self._at(path))
        if not content:  # rclone takes an object that is not there for an empty directory
            raise StoreError(f"{self._where()}: there is no object {path}, or it is empty")
        return content

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects, in this order; one that is not there counts as deleted. Raises StoreError.

        What Object Lock holds in governance mode goes only for who says that it is meant, and may.
        """
        for path in paths:
            listing = f"{path}\n".encode()
            command = ("delete", "--files-from-raw=-", "--no-traverse", self._at(""))
            try:
                self._run(*command, text=listing)
            except StoreError:
                self._run(*command, "--s3-bypass-governance-retention", text=listing)

    def delete_all(self, paths: Iterable[str]) -> None:
        """Delete many objects at once, in any order; otherwise as `delete`."""
        listing = "".join(f"{path}\n" for path in paths).encode()
        if not listing:
            return
        command = ("delete", "--files-from-raw=-", "--no-traverse", self._at(""))
        try:
            self._run(*command, text=listing)
        except StoreError:
            self._run(*command, "--s3-bypass-governance-retention", text=listing)

    def abort_uploads(self, prefix: str, older_than: str) -> None:
        """Remove the parts of uploads that were never completed (`older_than` as rclone writes a duration, such as 24h)."""
        self._run("backend", "cleanup", "-o", f"max-age={older_than}", self._at(prefix))

    def _at(self, path: str) -> str:
        return f"s3:{self.s3['bucket']}/{path.strip('/')}".rstrip("/")

    def _run(self, *arguments: str, text: bytes = b"") -> bytes:
        with tempfile.TemporaryDirectory() as place:
            environment = dict(self._environment)
            if self.s3.get("ca_bundle"):
                authority = Path(place) / "ca.crt"
                authority.write_text(str(self.s3["ca_bundle"]), encoding="utf-8")
                environment["RCLONE_CA_CERT"] = str(authority)
            command = [str(self.rclone), "--config=", "--log-level=NOTICE", *BOUNDS, *arguments]
            try:
                done = subprocess.run(  # pylint: disable=ansible-bad-function  # run_command has no bound, and would tie this to a module
                    command, input=text, capture_output=True, timeout=LONGEST, check=False, env=environment
                )
            except subprocess.TimeoutExpired:
                raise StoreError(f"{self._where()}: no answer within {LONGEST} s") from None
            except OSError as error:
                raise StoreError(f"{self.rclone}: {error.strerror}") from None
        if done.returncode == 0:
            return done.stdout
        raise StoreError(f"{self._where()}: {reason(done.stderr.decode(errors='replace'))}")

    def _where(self) -> str:
        return f"{self.s3['endpoint']}, bucket {self.s3['bucket']}"


def settings(s3: Mapping[str, Any], credentials: Credentials) -> dict[str, str]:
    """rclone's environment for the remote `s3`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
    }
    remote = {
        "TYPE": "s3",
        "PROVIDER": str(s3.get("provider") or "Other"),
        "ENDPOINT": str(s3["endpoint"]),
        "REGION": str(s3.get("region") or ""),
        "FORCE_PATH_STYLE": str(bool(s3.get("path_style", True))).lower(),
        "NO_CHECK_BUCKET": "true",
        "ACCESS_KEY_ID": credentials.access_key,
        "SECRET_ACCESS_KEY": credentials.secret_key,
    }
    return {**kept, "LC_ALL": "C.UTF-8", **{f"RCLONE_CONFIG_S3_{name}": value for name, value in remote.items()}}


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
