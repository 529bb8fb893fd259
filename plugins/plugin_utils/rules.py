# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules about one value. Each returns the sentence that says what is wrong with it and what to do, or None when nothing is."""

from __future__ import annotations

import ipaddress
import json
import re
import zoneinfo
from collections.abc import Mapping

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESERVED_NAMES = re.compile(r"(^|\.)example(\.(com|net|org))?$|\.(invalid|localhost)$")
_DOCUMENTATION = [ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")]
_PLACEHOLDERS = (
    "changeme", "changethis", "placeholder", "password", "example", "replaceme", "replacewith", "yoursecret", "yourpassword", "yourkey", "senhareal",
    "secretreal", "realkey", "charsminimo", "insertyour", "supersecret", "notasecret", "12345678", "abcdefgh", "xxxxxxxx", "<base64",
)  # fmt: skip


def label(value: str) -> str | None:
    """RFC 1123 label: what Kubernetes takes as the name of a namespace."""
    if _LABEL.fullmatch(value):
        return None
    return "is no DNS-1123 label; use lower-case letters, digits and '-', at most 63, with a letter or digit at both ends"


def sql_name(value: str) -> str | None:
    """A PostgreSQL identifier that needs no quotes (at most 63 bytes)."""
    if re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
        return None
    return "is no plain SQL name; use lower-case letters, digits and '_', at most 63, not starting with a digit"


def variable_name(value: str) -> str | None:
    """The name of an environment variable (POSIX), which is also a valid key of a ConfigMap or Secret."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        return None
    return "is no name of an environment variable; use letters, digits and '_'"


def host(value: str) -> str | None:
    """A public host name that the owner can have: no documentation name (RFC 2606)."""
    if not value:
        return "is not filled in; set the DNS name that points to the server"
    if _RESERVED_NAMES.search(value.lower()):
        return "is reserved for documentation (RFC 2606); set your own DNS name, one that points to the server"
    if len(value) > 253 or "." not in value or not all(_LABEL.fullmatch(part) for part in value.split(".")):
        return "is no host name; use lower-case labels joined by dots"
    return None


def email(value: str) -> str | None:
    """A contact address for the certificate authority (RFC 8555, section 7.3)."""
    if not value:
        return "is not filled in; set the address that the certificate authority writes to before certificates run out"
    name, at, domain = value.rpartition("@")
    if not at or not name or " " in value or "." not in domain:
        return "is no e-mail address"
    if _RESERVED_NAMES.search(domain.lower()):
        return "is reserved for documentation (RFC 2606); certificate authorities refuse it: set an address that you read"
    return None


def address(value: str) -> str | None:
    """The server's address: not one of the documentation ranges (RFC 5737, RFC 3849, RFC 9637)."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        return "is reserved for documentation (RFC 2606); set the server's address" if _RESERVED_NAMES.search(value.lower()) else None
    if any(parsed in network for network in _DOCUMENTATION if network.version == parsed.version):
        return "is a documentation address (RFC 5737); set the server's address"
    return None


def network(value: str) -> str | None:
    """A network in CIDR notation without host bits."""
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        return f"is no network in CIDR notation ({error})"
    return None


def url(value: str) -> str | None:
    """An http(s) URL that is not a documentation name."""
    if not value:
        return "is not filled in; set its URL"
    match = re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?(/\S*)?", value)
    if match is None:
        return "is no http:// or https:// URL"
    return address(match[1].strip("[]"))


def time_zone(value: str) -> str | None:
    """An IANA time zone name; CronJob.spec.timeZone refuses others."""
    if value in zoneinfo.available_timezones():
        return None
    return "is no IANA time zone; use a name such as America/Sao_Paulo or Etc/UTC"


_CRON = [
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day of month", 1, 31, ""),
    ("month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    ("day of week", 0, 7, "sun mon tue wed thu fri sat"),
]


def cron(value: str) -> str | None:
    """A schedule of CronJob: five fields, or a macro (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax)."""
    if value in ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"):
        return None
    fields = value.split()
    if len(fields) != 5:
        return "is no cron schedule; it has five fields: minute hour day-of-month month day-of-week"
    for text, (name, low, high, names) in zip(fields, _CRON, strict=True):
        number = {word: str(index + low) for index, word in enumerate(names.split())}
        for part in text.split(","):
            match = re.fullmatch(r"(?:\*|\?|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
            if match is None:
                return f"has the {name} '{text}', which is not like 5, 1-5, */10 or 1,15"
            first, last, step = (number.get((group or "").lower(), group) for group in match.groups())
            if not all(bound is None or (bound.isdigit() and low <= int(bound) <= high) for bound in (first, last)):
                return f"has the {name} '{text}', outside {low}-{high}"
            if (first and last and int(first) > int(last)) or step == "0":
                return f"has the {name} '{text}', a range that never comes"
    return None


def json_text(value: str) -> str | None:
    """JSON, with the place of the first mistake. The text itself is not repeated."""
    try:
        json.loads(value)
    except json.JSONDecodeError as error:
        return f"is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    return None


def age_recipient(value: str) -> str | None:
    """The public half of an age X25519 key (https://age-encryption.org/v1)."""
    if not value:
        return "is not filled in; make a key pair with 'age-keygen -o key.txt', keep the file off the server and set its public key here"
    if value.upper().startswith("AGE-SECRET-KEY-"):
        return "is a private key; set the public one (age1...), keep the private one off the server, and replace the pair"
    if re.fullmatch(r"age1[02-9ac-hj-np-z]{58}", value):
        return None
    return "is no age public key (age1 and 58 characters)"


def secret(value: str, least: int) -> str | None:
    """Length, placeholders and variety of a secret. The answer never holds the value or a part of it."""
    if not value:
        return "is empty"
    folded = re.sub(r"[\s_.-]", "", value.lower())
    if any(word in folded for word in _PLACEHOLDERS) or re.search(r"^(your|my|sua|seu|minha)[-_ ]|[-_]aqui$", value.lower()):
        return "is a placeholder"
    if len(value) < least:
        return f"has {len(value)} characters of at least {least}"
    if len(set(value)) < min(8, least // 2):
        return f"has only {len(set(value))} different characters"
    return None


def duration(value: str) -> str | None:
    """A duration as Traefik writes it: a positive number and its unit."""
    return None if re.fullmatch(r"[1-9]\d*(ms|s|m|h)", value) else "is no duration such as 1s, 500ms or 1m"


def shown(value: object) -> str:
    """A value in a message: quoted, one line, cut at 60 characters."""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = " ".join(text.split())
    return f"'{text[:57]}...'" if len(text) > 60 else f"'{text}'"


def as_text(value: object) -> str:
    """A ConfigMap value: text as it is, a list or dictionary as compact JSON, true/false and numbers in JSON's spelling."""
    if isinstance(value, str):
        return value
    if isinstance(value, (Mapping, list, tuple, bool)) or value is None:
        return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)
