# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules about one value. Each returns a sentence that says what is wrong and what to do, or None when the value is right."""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from ansible_collections.shaka.platform.plugins.module_utils.cron_syntax import EVERY, FIELDS, MACROS, seconds_of
from ansible_collections.shaka.platform.plugins.module_utils.engine.references import REFERENCE

TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a header's name (RFC 9110, 5.6.2) and a cookie's (RFC 6265)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESERVED_NAMES = re.compile(r"(^|\.)example(\.(com|net|org))?$|\.(invalid|localhost)$")
_DOCUMENTATION = [ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")]
_PLACEHOLDERS = (
    "changeme", "changethis", "placeholder", "password", "example", "replaceme", "replacewith", "yoursecret", "yourpassword", "yourkey", "senhareal",
    "secretreal", "realkey", "charsminimo", "insertyour", "supersecret", "notasecret", "12345678", "abcdefgh", "xxxxxxxx", "<base64",
)  # fmt: skip


# A name is written into manifests, whose readers take these for something else than text.
_NOT_TEXT = re.compile(r"[0-9]+|0x[0-9a-f]+|0o[0-7]+|0b[01]+|[0-9]+e-?[0-9]+|true|false|null")


def label(value: str) -> str | None:
    """RFC 1123 label: what Kubernetes takes as the name of a namespace. Not one that YAML reads as a number, as that of a commit may be (1e7)."""
    if _NOT_TEXT.fullmatch(value):
        return f"is a number or a truth value to readers of YAML; give it a letter in front, such as pr-{value}"
    if _LABEL.fullmatch(value):
        return None
    return "is not a DNS-1123 label; use lower-case letters, digits and '-', at most 63, with a letter or digit at both ends"


_NODE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def node_name(value: str) -> str | None:
    """A DNS subdomain (RFC 1123) that fits the label kubernetes.io/hostname. K3s lower-cases what it is given, and would then not be found."""
    if _NODE.fullmatch(value) and len(value) <= 63:
        return None
    near = re.sub(r"[^a-z0-9.-]+", "-", value.lower())[:63].strip("-.")
    instead = f", such as '{near}'" if _NODE.fullmatch(near) else ""
    return f"is not a node's name; set it to lower-case letters, digits and '-', at most 63{instead}"


def account(value: str) -> str | None:
    """An account of Linux that has a ServiceAccount called operator-<name>, with a dot for each '_', which Kubernetes' names do not have."""
    if len(value) <= 31 and re.fullmatch(r"[a-z](-*[a-z0-9]|_[a-z0-9])*", value):
        return None
    return "is not the name of an account; use lower-case letters and digits, with '-' or one '_' between them, at most 31"


_TAKEN_NAMESPACES = ("default", "cert-manager", "traefik")


def namespace(value: str) -> str | None:
    """A namespace of the platform's own: kube-* is Kubernetes's (https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/)."""
    if value in _TAKEN_NAMESPACES or value.startswith("kube-"):
        return "belongs to Kubernetes or to the platform's own parts; use another name, such as one with the platform's name in front"
    return label(value)


def platform_name(value: str) -> str | None:
    """A label with which the names of Services are made, labels as well (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/)."""
    most = 63 - len("-api-next")
    return label(value) or (f"makes the name {value}-api-next longer than 63 characters; use at most {most}" if len(value) > most else None)


# Appendix C of the PostgreSQL manual: "reserved", also where a function or type may have the name. They would need quotes everywhere.
_SQL_RESERVED = frozenset(
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation column concurrently constraint"
    " create cross current_catalog current_date current_role current_schema current_time current_timestamp current_user default deferrable desc"
    " distinct do else end except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is isnull"
    " join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing"
    " primary references returning right select session_user similar some symmetric system_user table tablesample then to trailing true union"
    " unique user using variadic verbose when where window with".split()
)


def sql_name(value: str) -> str | None:
    """A PostgreSQL identifier that needs no quotes (at most 63 bytes)."""
    if value in _SQL_RESERVED:
        return "is a word of SQL, which Postgres takes only in quotes; use another name"
    if re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
        return None
    return "is not a plain SQL name; use lower-case letters, digits and '_', at most 63, not starting with a digit"


def database(value: str) -> str | None:
    """The name of a database that is not there already (https://www.postgresql.org/docs/15/manage-ag-templatedbs.html)."""
    if value in ("postgres", "template0", "template1"):
        return "is a database of Postgres itself; leave it out or name another"
    if re.search(r"_(restore|drill|export|before)_[0-9]{8}t[0-9]{6}z$", value):
        return "is called like what a restore makes, and drops again; name another"
    return sql_name(value)


def role(value: str) -> str | None:
    """The name of a role that may be created (https://www.postgresql.org/docs/15/sql-createrole.html)."""
    if value in ("postgres", "public", "none"):
        return "is a role of Postgres itself (its superuser, or a word for all); leave it out or name another"
    own = {"wal_archive": "streams WAL for backup.point_in_time", "password_rotation": "stands in while a password changes"}
    if value in own:
        return f"is the platform's own role, which {own[value]}; name another"
    if value.startswith("pg_"):
        return "starts with pg_, which Postgres keeps for its own roles; name another"
    return sql_name(value)


def redis_user(value: str) -> str | None:
    """A user of Redis's ACL; two are the platform's own."""
    own = {"default": "the operator's user of Redis", "redis-backup": "the user that copies Redis"}
    return f"is {own[value]}; leave it out or name another" if value in own else label(value)


def redis_prefix(value: str) -> str | None:
    """A prefix with no wildcard of its own, ending with a colon, so that `prefix*` matches exactly its keys."""
    if re.fullmatch(r"([A-Za-z0-9_.-]+:)+", value):
        return None
    return "is not a key prefix; use letters, digits, '_', '.', '-', and a ':' at the end, such as prod:"


# host[:port]/path[:tag][@digest] (https://github.com/distribution/reference)
_IMAGE = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]+))?",
    re.ASCII,
)


def image(value: str) -> str | None:
    """An image reference that stays the same program."""
    match = _IMAGE.fullmatch(value)
    if match is None:
        return "is not an image reference; write registry/name:tag or registry/name@sha256:digest, in lower case, without spaces or https://"
    if match["digest"]:
        good = re.fullmatch(r"sha256:[0-9a-f]{64}", match["digest"])
        return None if good else "has a digest that is not sha256: and 64 hexadecimal digits; copy it whole"
    if match["tag"] in (None, "latest"):
        return "names no version, so that each pull may bring another program; use a tag such as :1.4.2, best with its digest"
    return None


def download_host(value: str) -> str | None:
    """Where downloads come from: a host as URLs and images' names have it, with its port where that is not the usual one."""
    if re.fullmatch(r"[a-z0-9.-]+(:[0-9]{1,5})?", value):
        return None
    return "is not a host; write it without https:// and path, such as ghcr.io or registry.test:5000"


def variable_name(value: str) -> str | None:
    """The name of an environment variable (POSIX), which is also a valid key of a ConfigMap or Secret."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        return None
    return "is not the name of an environment variable; use letters, digits and '_'"


def host(value: str) -> str | None:
    """A public host name that somebody can own, so not one reserved for documentation (RFC 2606)."""
    if not value:
        return "is not filled in; set the DNS name that points to the server"
    if _RESERVED_NAMES.search(value.lower()):
        return "is reserved for documentation (RFC 2606); set your own DNS name, one that points to the server"
    if value.startswith("*."):
        return "is a wildcard, at which nobody can ask; write one name here, and the wildcard among the application's further hosts"
    if re.fullmatch(r"[0-9.]+|.*:.*:.*", value):
        return "is an IP address, for which no certificate is issued; set a DNS name that points to it"
    if not value.isascii():
        return f"has letters that DNS does not have; write it as DNS does{_in_ascii(value)}"
    if len(value) > 253 or "." not in value or not all(_LABEL.fullmatch(part) for part in value.split(".")):
        return "is not a host name; use lower-case labels joined by dots, without https:// and port"
    return None


def _in_ascii(name: str) -> str:
    """How DNS writes a name with other letters (RFC 3492), as an example; '' for what cannot be one."""
    try:
        return f", such as {name.lower().encode('idna').decode()}"
    except UnicodeError:
        return ""


def email(value: str) -> str | None:
    """A contact address for the certificate authority (RFC 8555, section 7.3)."""
    if not value:
        return "is not filled in; set the address that the certificate authority writes to before certificates run out"
    name, at, domain = value.rpartition("@")
    if (
        not at
        or not name
        or not value.isascii()
        or re.search(r"[\s,;<>@]", name)
        or not all(_LABEL.fullmatch(part) for part in domain.lower().split("."))
        or "." not in domain
    ):
        return "is not an e-mail address; write one, like ops@your-domain.net"
    if _RESERVED_NAMES.search(domain.lower()):
        return "is reserved for documentation (RFC 2606); certificate authorities refuse it: set an address that you read"
    return None


def address(value: str) -> str | None:
    """The server's address, outside the ranges reserved for documentation (RFC 5737, RFC 3849, RFC 9637)."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        return "is reserved for documentation (RFC 2606); set the server's address" if _RESERVED_NAMES.search(value.lower()) else None
    if any(parsed in network for network in _DOCUMENTATION if network.version == parsed.version):
        return "is a documentation address (RFC 5737); set the server's address"
    return None


def url(value: str) -> str | None:
    """An http(s) URL whose host is not reserved for documentation."""
    if not value:
        return "is not filled in; set its URL"
    match = re.fullmatch(r"https?://(?:([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?(/\S*)?", value)
    if match is None or (match[2] and not is_ip(match[2])):
        name = re.sub(r"^https?://|[:/].*", "", value, flags=re.DOTALL)
        other = "" if name.isascii() else _in_ascii(name)
        return f"is not a URL; write https://, the host and, if need be, :port, without user and password{other}"
    return url_port(match[3]) or address((match[1] or match[2]).rstrip("."))


def url_port(digits: str | None) -> str | None:
    """The port behind the colon of a host, if there is one."""
    return None if not digits or 0 < int(digits) < 65536 else "has a port that is not one; use 1 to 65535, or leave it out"


def nameserver(value: str) -> str | None:
    """A server of DNS as cert-manager takes it: a name or an address, one of IPv6 in brackets, and a port (its ValidNameserver)."""
    match = re.fullmatch(r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?", value)
    if match is None or (match[1] and not is_ip(match[1])):
        return "is not a server of DNS; write its address or name, and if need be :port, such as 10.0.0.53:53 or [fd00::53]:53"
    return url_port(match[2])


def is_ip(text: str) -> bool:
    """Whether it is an address of either version."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def secure_url(value: str) -> str | None:
    """An https:// URL."""
    return url(value) or (None if value.startswith("https://") else "is not encrypted; use https://")


def request_header(value: str) -> str | None:
    """The name of a header that reaches an application: Traefik takes away those with other characters (aliasheadersstrategy)."""
    return None if re.fullmatch(r"[A-Za-z0-9-]+", value) else "is not the name of a header that the edge lets in; use letters, digits and '-'"


def url_path(value: str) -> str | None:
    """The path of a URL."""
    return None if re.fullmatch(r"/[^\s?#\x00-\x1f\x7f]*", value) else "is not a path; it starts with /, without host, spaces and query"


def probe_path(value: str) -> str | None:
    """What a kubelet asks by HTTP, a query included."""
    return url_path(value.partition("?")[0]) or as_written(value) or ("has a space; write %20" if re.search(r"[\s#]", value) else None)


_KEPT_CODED = ":/?#[]@!$&'()*+,;=%"  # as %XX in the path that Traefik compares, in capitals (RFC 3986, 2.2; seen in 3.7.15); else decoded


def edge_path(value: str) -> str | None:
    """A path of an Ingress (validateHTTPIngressPath in Kubernetes' pkg/apis/networking/validation), which Traefik gets in a rule in backquotes."""
    if flaw := url_path(value):
        return flaw
    lowered = value.lower()
    ends = [end for end in ("/.", "/..") if lowered.endswith(end)]
    for part in ("//", "/./", "/../", "%2f", "`", *ends):
        if part in lowered:
            return f"has {part}, which no route may have; write the path as the application sees it"
    for code in re.findall(r"%[0-9A-Fa-f]{2}", value):
        if chr(int(code[1:], 16)) not in _KEPT_CODED:
            return f"has {code}, which Traefik compares as the character that it stands for; write that, or a shorter path without it"
        if code != code.upper():
            return f"has {code}, which Traefik compares in capitals; write {code.upper()}"
    return None


def mount(value: str) -> str | None:
    """A folder that pods see, and that hides nothing that the system has there."""
    parts = value.split("/")[1:]
    if not value.startswith("/") or not all(parts) or {".", ".."} & {*parts} or re.search(r"[:\s]", value):
        return "is not a folder's whole path; write it like /var/cache/app, without an end /"
    return "belongs to the system; use a folder such as /data" if parts[0] in ("proc", "sys", "dev") else None


def certificates(value: str) -> str | None:
    """PEM certificates, or nothing."""
    if not value:
        return None
    try:
        ssl.create_default_context(cadata=value)
    except TypeError:
        return "has characters besides ASCII, as in a comment; leave all out but the certificates' own lines (-----BEGIN to END CERTIFICATE-----)"
    except (ssl.SSLError, ValueError):
        return "contains no PEM certificates (-----BEGIN CERTIFICATE----- ...); give the file's content, not its name"
    return None


_PRIVATE_ENDS = (".internal", ".local", ".lan", ".test", ".home", ".home.arpa", ".svc")


def storage_url(value: str) -> str | None:
    """The endpoint of a storage: https://, or http:// inside a private network."""
    flaw = url(value)
    if flaw or value.startswith("https://"):
        return flaw
    name = (urlsplit(value).hostname or "").rstrip(".")
    try:
        private = not ipaddress.ip_address(name).is_global  # also what carriers and VPNs share (RFC 6598)
    except ValueError:
        private = "." not in name or name.endswith(_PRIVATE_ENDS)
    return None if private else "is not encrypted, and outside the private network it must be; use https://"


# Those whose peculiarities rclone knows (https://rclone.org/s3/, option provider; `rclone config providers` of the version in the lock).
S3_PROVIDERS = frozenset(
    "AWS Alibaba ArvanCloud BizflyCloud Ceph ChinaMobile Cloudflare Cubbit DigitalOcean Dreamhost Exaba Fastly FileLu FlashBlade GCS HCP Hetzner"
    " HuaweiOBS IBMCOS IDrive ImpossibleCloud Intercolo IONOS Leviia Liara Linode LyveCloud Magalu Mega Minio Netease Outscale OVHcloud Petabox Qiniu"
    " Rabata RackCorp Rclone Scaleway Scality SeaweedFS Selectel Servercore SpectraLogic Storj Synology TencentCOS US3 Wasabi Zadara Zata"
    " ZeroServices Other".split()
)


def s3_provider(value: str) -> str | None:
    """Who runs an S3 service, so that rclone speaks its dialect."""
    if value in S3_PROVIDERS:
        return None
    right = next((name for name in S3_PROVIDERS if name.lower() == value.lower()), None)
    return (
        f"is not a provider that rclone knows; {f'write {right}' if right else 'use Other (for Backblaze, too), or a name of https://rclone.org/s3/'}"
    )


def as_network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network in CIDR notation, or one address; ValueError for what Kubernetes, K3s, nftables or Traefik would not read as that."""
    found = ipaddress.ip_network(value)
    if "%" in value:
        raise ValueError("it names an interface, which only a link-local address of one machine has")
    if "/" in value and not re.fullmatch(r"[0-9]+", value.partition("/")[2]):
        raise ValueError(f"the mask is written by its length: {found}")
    if isinstance(found, ipaddress.IPv6Network) and found.network_address.ipv4_mapped:
        raise ValueError("it is a network of IPv4 in the notation of IPv6")
    return found


def network(value: str) -> str | None:
    """A network in CIDR notation."""
    try:
        as_network(value)
    except ValueError as error:
        return f"is not a network in CIDR notation ({error}); write it like 203.0.113.0/24 or 2001:db8::/32"
    return None


def networks(values: Iterable[str]) -> list[str]:
    """Networks with the length of each, as Kubernetes and Traefik want them; what is not one is left as it is, and reported elsewhere."""
    return [str(as_network(value)) if network(value) is None else value for value in values]


def bucket(value: str) -> str | None:
    """An S3 bucket (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html); Google's may have underscores as well."""
    if not value:
        return "is not filled in; set the bucket for the backups, which must exist"
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", value) and ".." not in value and not re.fullmatch(r"[\d.]+", value):
        return None
    return "is not a bucket name; use 3 to 63 lower-case letters, digits, '-', '_' and '.', without s3:// and path"


def folder(value: str) -> str | None:
    """A folder in a bucket, whose parts are plain names."""
    if all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) and part not in (".", "..") for part in value.split("/")):
        return None
    return "is not a folder; use names of letters, digits, '_', '.', '-', joined by '/', without one in front or at the end"


def time_zone(value: str) -> str | None:
    """An IANA time zone name; CronJob.spec.timeZone refuses others. What Debian keeps beside IANA's list, another server may lack."""
    try:
        if value in ("Factory", "localtime", "posixrules") or value.startswith(("posix/", "right/")):
            raise ValueError(value)
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return "is not an IANA time zone; use a name such as America/Sao_Paulo or Etc/UTC"
    return None


_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


_LONGEST = 2**63 / 1e9  # seconds that a duration of Go may have


def cron(value: str) -> str | None:
    """A schedule of CronJob: five fields, or a macro (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax)."""
    if value in MACROS:
        return None
    if EVERY.fullmatch(value):
        return None if 0 < seconds_of(value) < _LONGEST else "never comes; write it like @every 6h"
    fields = value.split()
    if len(fields) != len(FIELDS):
        return "is not a cron schedule; it has five fields: minute hour day-of-month month day-of-week"
    values: list[set[int]] = []
    for text, (name, (low, high, names)) in zip(fields, FIELDS.items(), strict=True):
        values.append(set())
        number = {word: str(index + low) for index, word in enumerate(names)}
        for part in text.split(","):
            match = re.fullmatch(r"(?:\*|\?|(\w+)(?:-(\w+))?)(?:/(\d{1,9}))?", part, re.ASCII)
            if match is None:
                return f"has the {name} '{text}'; write it like 5, 1-5, */10 or 1,15"
            first, last, step = (number.get((group or "").lower(), group) for group in match.groups())
            if not all(bound is None or (bound.isdigit() and low <= int(bound) <= high) for bound in (first, last)):
                sunday = " (Sunday is 0 or sun)" if name == "day of week" else ""
                return f"has the {name} '{text}', outside {low}-{high}{sunday}; correct it"
            if (first and last and int(first) > int(last)) or (step and int(step) == 0):
                return f"has the {name} '{text}', a range that never comes; correct it"
            end = last or (high if first is None or step else first)
            values[-1].update(range(int(first or low), int(end) + 1, int(step or 1)))
    days, months = values[2:4]
    if any(part in ("*", "?", "*/1", "?/1") for part in fields[4].split(",")) and min(days) > max(_DAYS[month - 1] for month in months):
        return f"names day {fields[2]} of month {fields[3]}, which never comes; correct it"
    return None


def json_text(value: str) -> str | None:
    """JSON. The answer names the place of the first mistake and does not repeat the text."""
    try:
        json.loads(value)
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; correct it there"
    return None


def age_recipient(value: str) -> str | None:
    """The public half of an age X25519 key (https://age-encryption.org/v1)."""
    if not value:
        return "is not filled in; make a key pair with 'age-keygen -o key.txt', keep the file off the server and set its public key here"
    if is_age_identity(value):
        return "is a private key; set the public one (age1...), keep the private one off the server, and replace the pair"
    if re.fullmatch(r"age1[02-9ac-hj-np-z]{58}", value) and _bech32("age", value[4:]):
        return None
    return "is not an age public key, or was mistyped (age1 and 58 characters, the last six a checksum); copy it whole from 'age-keygen -y key.txt'"


def is_age_identity(value: str) -> bool:
    """True for text with a private key, which must not be shown."""
    return "AGE-SECRET-KEY-" in value.upper()


def _bech32(prefix: str, data: str) -> bool:
    """The checksum of BIP 173."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    values = [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *(alphabet.index(c) for c in data)]
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check == 1


def _placeholder(value: str) -> bool:
    folded = re.sub(r"[\s_.-]", "", value.lower())
    return any(word in folded for word in _PLACEHOLDERS) or bool(re.search(r"^(your|my|sua|seu|minha)[-_ ]|[-_]aqui$", value.lower()))


def _one_word(value: str) -> str | None:
    if value.isascii() and value.isprintable() and value == value.strip():
        return None
    return "contains a line break, a space at an end or a character outside ASCII, which URLs and shells take for something else"


def secret(value: str, least: int) -> str | None:
    """A secret: length, variety, no placeholder. The answer never contains the value or a part of it."""
    if not value:
        return "is empty"
    if flaw := _one_word(value):
        return flaw
    if _placeholder(value):
        return "is a placeholder"
    if len(value) < least:
        return f"has {len(value)} characters of at least {least}"
    if len(set(value)) < min(8, least // 2):
        return f"has only {len(set(value))} different characters"
    period = (value * 2).find(value, 1)
    if period < len(value):
        return f"repeats its first {period} characters"
    return None


def issued_secret(value: str, *, any_text: bool = False) -> str | None:
    """A secret that others have issued, who choose its length. The answer never contains the value or a part of it.

    :arg any_text: also a key of several lines, as an application gets it in a variable or a file.
    """
    if not value.strip():
        return "is empty"
    if flaw := deliverable(value) if any_text else _one_word(value):
        return flaw
    return "is a placeholder" if "\n" not in value and _placeholder(value) else None


def deliverable(value: str) -> str | None:
    """What a ConfigMap or Secret, and the environment of a process, can hold."""
    if "\0" in value:
        return "contains the character NUL, which no environment variable can hold; give the application base64 or another coding of it"
    if re.search("[\ud800-\udfff]", value):
        return "contains half of a character (a UTF-16 surrogate); write the whole character"
    return None


def secret_reference(value: str) -> str | None:
    """What the engine would take for a secret that it has to fill in."""
    found = REFERENCE.search(value)
    return f"holds {found[0]}, as templates call a secret; move the value to the environment's secrets, where it arrives" if found else None


def as_written(value: str) -> str | None:
    """A text that is to reach an application as it is written."""
    return deliverable(value) or secret_reference(value)


def words(command: Sequence[str]) -> Iterator[str]:
    """What a container runs, word by word: each can arrive, and the first one is a program."""
    yield from filter(None, map(as_written, command))
    if any(not word for word in command[:1]):
        yield "begins with an empty text; name the program first"


def variable_size(name: str, value: str) -> str | None:
    """Linux takes at most 128 KiB for a variable and its name (MAX_ARG_STRLEN, execve(2))."""
    size = len(f"{name}={value}".encode(errors="replace")) + 1
    return None if size <= 131072 else f"has {size} bytes with its name, and an environment variable at most 131072; name it in config_files"


def duration(value: str) -> str | None:
    """A duration as Traefik writes it: a positive number and its unit."""
    match = re.fullmatch(r"([1-9][0-9]*)(ms|s|m|h)", value, re.ASCII)
    if match is None:
        return "is not a duration above 0; write it like 1s, 500ms or 1m"
    hours = int(match[1]) / {"ms": 3600000, "s": 3600, "m": 60, "h": 1}[match[2]]
    return None if hours <= 8760 else "is longer than a year, and Traefik does not read what is longer than some hundreds; use a shorter one"


def shown(value: object) -> str:
    """A value in a message: quoted, one line, cut at 60 characters."""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = re.sub(r"(//)[^/\s@]+@", r"\1***@", " ".join(text.split()))  # user and password of a URL
    return f"'{text[:57]}...'" if len(text) > 60 else f"'{text}'"


def as_text(value: object) -> str:
    """A ConfigMap value: text as it is, a list or dictionary as compact JSON, true/false and numbers in JSON's spelling."""
    if isinstance(value, str):
        return value
    if isinstance(value, (Mapping, list, tuple, bool)) or value is None:
        return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)
