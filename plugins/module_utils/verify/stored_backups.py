# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What lies in an environment's bucket, looked at with the credentials that read it: all its dumps by name and size, and the newest manifests."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, manifest
from ansible_collections.shaka.platform.plugins.module_utils.backup.s3_client import S3Client, StoreRefused
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import StoreError, authorities, named_credentials
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment, RedisCopies

SECONDS = 8.0  # that one bucket may take
ANSWER = 5.0  # that one answer of it may take
READ = 2  # newest manifests that are read of each Postgres: the newest, and the one that it is compared with
READER = "set platform_secrets.s3_reader to keys that may list and read"

Secrets = Mapping[str, Mapping[str, str]]


class StoredDumps(NamedTuple):
    """Paths below the bucket. `unseen` says what was not looked at, and why; `wrong`: that it should have been possible."""

    objects: Mapping[str, int] | None = None  # bytes of each; None where the bucket was not looked at
    manifests: Mapping[str, bytes] = {}
    unseen: str = ""
    wrong: bool = False


def look_into(env: Environment | RedisCopies, server: str, secrets: Secrets, kind: str = layout.DUMPS) -> StoredDumps:
    """All of the environment's dumps that this server made, of every Postgres that it has had; or the copies of a Redis.

    :arg secrets: groups of the inventory's secrets, with those that `backup.reader` names.
    """
    s3, reader = env["backup"]["s3"], env["backup"]["reader"]
    if not s3["endpoint"]:
        return StoredDumps()
    credentials = named_credentials(reader, secrets)
    if credentials is None:
        return StoredDumps(unseen=f"the bucket was not looked at: {READER}")
    own = reader == env["backup"]["writer"]  # the server's, which should only write and list
    try:
        client = S3Client(s3, credentials, authorities(s3), ANSWER, SECONDS)
        base = "/".join(part for part in (s3["prefix"].strip("/"), server, env["name"]) if part)
        objects: dict[str, int] = {}
        for folder in client.folders(f"{base}/"):
            objects |= client.sizes(f"{folder}{kind}/")
    except StoreRefused as error:
        return StoredDumps(None, {}, *_refused("the bucket was not looked at", error, own))
    except (StoreError, OSError) as error:
        return StoredDumps(unseen=f"the bucket was not looked at: {error}", wrong=not _of_the_cluster(s3["endpoint"]))
    try:
        return StoredDumps(objects, {path: client.read(path, 2 * manifest.LARGEST) for path in newest_manifests(objects, s3["prefix"])})
    except StoreRefused as error:
        return StoredDumps(objects, {}, *_refused("its manifest was not read", error, own))
    except StoreError as error:
        return StoredDumps(objects, unseen=f"its manifest was not read: {error}", wrong=True)


def _refused(what: str, error: StoreRefused, own: bool) -> tuple[str, bool]:
    """What to say of it, and whether it is wrong: keys of the server that may only write are as they should be."""
    expected = own and error.code == "AccessDenied"
    return f"{what}: {error}{f'; {READER}' if expected else ''}", not expected


def newest_manifests(objects: Mapping[str, int], prefix: str) -> list[str]:
    """The paths of those that are worth reading."""
    found: dict[layout.Origin, list[tuple[str, str]]] = {}
    for path in objects:
        item = layout.read(path, prefix)
        if item is not None and item.name == layout.MANIFEST:
            found.setdefault(item.origin, []).append((item.stamp, path))
    return [path for places in found.values() for _stamp, path in sorted(places)[-READ:]]


def _of_the_cluster(endpoint: str) -> bool:
    """Whether only pods find the endpoint: a name of a Service, which the server itself cannot look up."""
    host = urlsplit(endpoint).hostname or ""
    if host.endswith((".svc", ".svc.cluster.local")):
        return True
    try:
        return host.count(".") == 1 and not socket.getaddrinfo(host, None)
    except OSError:
        return True
