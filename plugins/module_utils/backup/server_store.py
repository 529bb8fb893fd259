# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a bucket of backups on the server, with the rclone of the platform. The credentials reach it through a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout
from ansible_collections.shaka.platform.plugins.module_utils.conventions import LOCALE, STATE

TOOLS = f"{STATE}/tools"
RCLONE = f"{TOOLS}/rclone"
AUTHORITIES = f"{TOOLS}/ca-certificates.crt"
REMOTE = "s3"
# S3 that does not answer is a failure within a minute
_BOUNDS = ["--contimeout=10s", "--timeout=30s", "--retries=2", "--low-level-retries=3"]


class UnreadableStore(Exception):
    """The bucket cannot be read; the text says why and what to do."""


def configuration(s3: Mapping[str, Any], access_key: str, secret_key: str) -> str:
    """rclone's configuration file of a bucket, whose remote is called `s3`.

    :arg s3: an environment's `backup.s3`.
    """
    values = {
        "type": "s3",
        "provider": s3.get("provider") or "Other",
        "endpoint": s3["endpoint"],
        "region": s3["region"],
        "access_key_id": access_key,
        "secret_access_key": secret_key,
        "force_path_style": "true" if s3.get("path_style", True) else "false",
        "no_check_bucket": "true",
    }
    return f"[{REMOTE}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())


def authorities(s3: Mapping[str, Any]) -> str:
    """Whom to trust to have issued the service's certificate: a private authority where the inventory names one, else those of the tools."""
    own = str(s3.get("ca_bundle") or "")
    return own or Path(AUTHORITIES).read_text(encoding="utf-8")


class BackupStore:
    """A bucket.

    :arg s3: an environment's `backup.s3`.
    """

    def __init__(self, s3: Mapping[str, Any], access_key: str, secret_key: str, timeout: float = 120) -> None:
        self.s3, self.timeout = s3, timeout
        self.configuration = configuration(s3, access_key, secret_key)

    @property
    def place(self) -> str:
        """The folder of all backups, for messages."""
        return "/".join(part for part in (str(self.s3["endpoint"]), str(self.s3["bucket"]), str(self.s3["prefix"]).strip("/")) if part)

    def objects(self, environment: str, kind: str = layout.DUMPS) -> dict[str, int]:
        """Path below the bucket -> bytes, of one environment's backups of every origin. Raises UnreadableStore."""
        listing = self._rclone(
            "lsjson", "--recursive", "--files-only", "--no-modtime", "--no-mimetype", f"--include=/*/{environment}/*/{kind}/**", self._root
        )
        start = f"{self._prefix}/" if self._prefix else ""
        return {f"{start}{entry['Path']}": int(entry["Size"]) for entry in json.loads(listing or "[]")}

    def manifests(self, environment: str, kind: str = layout.DUMPS) -> dict[str, bytes]:
        """Path below the bucket -> content, of the manifests of one environment's backups of every origin. Raises UnreadableStore."""
        with tempfile.TemporaryDirectory(dir="/run") as folder:  # in memory
            self._rclone("copy", "--transfers=8", "--max-size=8Mi", f"--include=/*/{environment}/*/{kind}/*/{layout.MANIFEST}", self._root, folder)
            found = sorted(Path(folder).rglob(layout.MANIFEST))
            start = f"{self._prefix}/" if self._prefix else ""
            return {f"{start}{path.relative_to(folder)}": path.read_bytes() for path in found}

    @property
    def _prefix(self) -> str:
        return str(self.s3["prefix"]).strip("/")

    @property
    def _root(self) -> str:
        return f"{REMOTE}:{self.s3['bucket']}" + (f"/{self._prefix}" if self._prefix else "")

    def _rclone(self, *arguments: str) -> str:
        with tempfile.NamedTemporaryFile("w", dir="/run", suffix=".pem") as trusted:
            trusted.write(authorities(self.s3))
            trusted.flush()
            command = [RCLONE, "--config=/dev/stdin", f"--ca-cert={trusted.name}", *_BOUNDS, *arguments]
            try:
                # pylint: disable-next=ansible-bad-function  # run_command has no timeout, and would tie this to a module
                done = subprocess.run(
                    command, input=self.configuration, capture_output=True, encoding="utf-8", errors="replace", timeout=self.timeout, check=False,
                    env={**os.environ, **LOCALE},
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise UnreadableStore(f"{self.place} did not answer within {self.timeout:.0f} s") from None
            except OSError as error:
                raise UnreadableStore(f"{RCLONE}: {error.strerror}; run the site once (--tags k3s), which brings the backup tools") from None
        if done.returncode == 0:
            return done.stdout
        if "directory not found" in done.stderr:
            return ""
        raise UnreadableStore(f"{self.place} cannot be read: {_reason(done.stderr)}; check the endpoint and that these credentials may list and read")


def _reason(messages: str) -> str:
    """The last of rclone's messages, without its time and level."""
    lines = [line.split(": ", 1)[-1] for line in messages.strip().splitlines()]
    return lines[-1][:300] if lines else "no reason given"
