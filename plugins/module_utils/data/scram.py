# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SCRAM-SHA-256 verifiers as Postgres stores them (RFC 5803), so that no password is ever part of an SQL statement or of the server's log."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re

ITERATIONS = 4096  # Postgres's own (SCRAM_SHA_256_DEFAULT_ITERATIONS)
_STORED = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


def verifier(password: str, salt: bytes = b"", iterations: int = ITERATIONS) -> str:
    """The verifier to use as PASSWORD in SQL. ASCII passwords only: SASLprep would change others."""
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


def matches(stored: str | None, password: str) -> bool:
    """Whether a stored verifier belongs to this password."""
    match = _STORED.fullmatch(stored or "")
    return match is not None and hmac.compare_digest(verifier(password, base64.b64decode(match[2]), int(match[1])), match[0])
