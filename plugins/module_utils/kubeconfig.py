# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""K3s's own kubeconfig, and what a kubeconfig's cluster and user say of TLS, as Python's ssl takes it."""

from __future__ import annotations

import base64
import re
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")  # K3s writes it, for its administrator
_KEYS = ("server", "certificate-authority-data", "client-certificate-data", "client-key-data")


def k3s_administrator(text: str) -> dict[str, Any]:
    """Cluster and user of that file, as `kubectl config view --minify` has them: it is flat YAML with one of each. Raises LookupError."""
    values = {key: match[1].strip("\"'") for key in _KEYS if (match := re.search(rf"^\s*{key}:\s*(\S+)\s*$", text, re.MULTILINE))}
    server = {key: values[key] for key in _KEYS[:2]}
    return {"clusters": [{"cluster": server}], "users": [{"user": {key: values[key] for key in _KEYS[2:]}}]}


def tls_context(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    """Trusts only the cluster's authority, and presents the user's certificate. Raises OSError or ValueError for what cannot be read."""
    context = ssl.create_default_context(cadata=_pem(cluster, "certificate-authority") or None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate := _pem(user, "client-certificate"):
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # Python reads a key from a file only; this one is 0600 and gone at once
            file.write(certificate + "\n" + _pem(user, "client-key"))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _pem(entry: Mapping[str, Any], name: str) -> str:
    """The entry's PEM text, which is inline in base64, or in a file."""
    if entry.get(f"{name}-data"):
        return base64.b64decode(entry[f"{name}-data"]).decode()
    return Path(entry[name]).read_text(encoding="utf-8") if entry.get(name) else ""
