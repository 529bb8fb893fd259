# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When K3s's own certificates end (https://docs.k3s.io/cli/certificate)."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute

PATTERNS = ("/var/lib/rancher/k3s/server/tls/*.crt", "/var/lib/rancher/k3s/agent/*.crt")
_SCRIPT = 'for file; do printf "%s=" "$file"; openssl x509 -noout -enddate -dateopt iso_8601 -in "$file" || exit 1; done'


def matching_files(patterns: Iterable[str]) -> list[str]:
    """The files that match, in order."""
    return sorted({str(path) for pattern in map(Path, patterns) for path in pattern.parent.glob(pattern.name) if path.is_file()})


def ends(execute: Execute, patterns: Iterable[str] = PATTERNS) -> dict[str, int]:
    """Certificate file -> end of its first certificate, the leaf, in seconds since the epoch; ValueError for one that cannot be read."""
    files = matching_files(patterns)
    if not files:
        return {}
    code, out, err = execute(["sh", "-c", _SCRIPT, "sh", *files])
    if code != 0:
        raise ValueError(f"a certificate of K3s cannot be read: {err.strip() or out.strip()}")
    rows = [line.split("=notAfter=") for line in out.splitlines()]
    return {path: calendar.timegm(time.strptime(end, "%Y-%m-%d %H:%M:%SZ")) for path, end in rows}


def is_authority(path: str) -> bool:
    return "-ca." in Path(path).name
