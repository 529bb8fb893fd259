# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each pair of keys may do in a bucket, tried: write, read, list, overwrite, delete; and what the bucket itself keeps.

One object is written, of a fixed name, and deleted by the first keys that may. Where none may it stays, and later trials find it: that its name
cannot be written over is then a result, and that a new one could be written is shown by a multipart upload that is given up, which leaves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup.s3_client import S3Answer, S3Client, StoreRefused, StoreUnreached
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Credentials

NAME = "preflight"  # of the object, in the folder of an environment's backups
CONTENT = b"written by shaka.platform.preflight to see what these keys may do\n"
ANSWER = 5.0  # seconds for one request
WITHIN = 18.0  # seconds for all of a bucket
DONE = ("write", "read", "list", "overwrite", "delete")
YES, NO, VERSIONS, UNTRIED = "yes", "no", "as a version", "-"
UNKNOWN, OFF = "unknown", "off"
# Answers that are about the keys or the bucket, whatever is asked of them
FATAL = frozenset(
    {"NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "PermanentRedirect", "AuthorizationHeaderMalformed"}
)
_UPLOAD = re.compile(rb"<UploadId>([^<]+)</UploadId>")


@dataclass(frozen=True)
class KeyPair:
    """Credentials, and where the inventory has them."""

    inventory: str
    credentials: Credentials


@dataclass(eq=False)
class TriedKeys:
    """What one pair may do: for each of DONE whether, and what a refused one was answered."""

    pair: KeyPair
    client: S3Client
    may: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    flaw: str = ""  # why nothing can be done with them

    def row(self) -> list[str]:
        return [self.pair.inventory, *(self.may.get(what, UNTRIED) for what in DONE)]

    def allowed(self, what: str) -> bool:
        return self.may.get(what) == YES

    def refused(self, what: str) -> bool:
        return self.may.get(what) == NO

    def attempt(self, what: str, ask: Callable[[], S3Answer]) -> S3Answer | None:
        """The answer, or None for what is refused; both are noted."""
        try:
            answer = ask()
        except StoreRefused as error:
            if error.code in FATAL:
                self.flaw = str(error)
            self.may[what], self.codes[what] = NO, error.code
            return None
        self.may[what] = YES
        return answer


class BucketTrial:
    """One bucket, with the keys that the backups in a folder of it are made, read and deleted with; `run` fills in the rest.

    Without a reader or a keeper of its own it is the server's pair that does it all.
    """

    def __init__(self, s3: Mapping[str, Any], folder: str, server: KeyPair, reader: KeyPair | None = None, keeper: KeyPair | None = None) -> None:
        """:arg s3: an environment's `backup.s3` of the model."""
        self.place, self.folder, self.path = f"{s3['endpoint']}/{s3['bucket']}", folder, f"{folder}/{NAME}"
        self.versioning = self.lock = UNKNOWN
        self.findings: list[str] = []
        self.notes: list[str] = []

        def keys(pair: KeyPair) -> TriedKeys:
            return TriedKeys(pair, S3Client(s3, pair.credentials, str(s3.get("ca_bundle") or ""), ANSWER, WITHIN))

        self.server = keys(server)
        self.reader, self.keeper = (keys(pair) if pair else None for pair in (reader, keeper))
        self._version = ""  # of the object, where the bucket has versions

    @property
    def tried(self) -> list[TriedKeys]:
        return [keys for keys in (self.server, self.reader, self.keeper) if keys is not None]

    def run(self, only_look: bool = False) -> None:
        """:arg only_look: write nothing."""
        try:
            for keys in self.tried:
                keys.attempt("list", lambda keys=keys: self._list(keys))  # type: ignore[misc]
            usable = [keys for keys in self.tried if not keys.flaw]
            self._look_at_bucket(usable)
            if not only_look and self.server in usable:
                self._write()
                for keys in usable:
                    if keys is not self.keeper:
                        self._read(keys)
                self._delete(self.server)
            if not only_look and self.keeper in usable and self.keeper:
                self._delete(self.keeper, bypass=True)
        except StoreUnreached as error:
            self.notes.append(f"{error}: what the keys may do there was not tried from this controller")
            return
        self._judge()

    # --- trying ---------------------------------------------------------------------------------------------------------------------------------

    def _list(self, keys: TriedKeys) -> S3Answer:
        return keys.client.request("GET", query={"list-type": "2", "prefix": self.path, "max-keys": "2"})

    def _look_at_bucket(self, usable: list[TriedKeys]) -> None:
        """What it keeps, by the first keys that may ask."""
        for keys in usable:
            if self.versioning == UNKNOWN and (found := _asked(keys.client, "versioning")) is not None:
                self.versioning = _tag(found, "Status").lower() or OFF
            if self.lock == UNKNOWN and (found := _asked(keys.client, "object-lock")) is not None:
                span = [text for unit in ("Years", "Days") if (count := _tag(found, unit)) for text in (count, unit.lower())]
                rule = " ".join([_tag(found, "Mode").lower(), *span]).strip()
                self.lock = (rule or "on, without a default rule") if _tag(found, "ObjectLockEnabled") else OFF

    def _write(self) -> None:
        """Write and overwrite with the server's keys."""
        keys, client = self.server, self.server.client
        there = keys.allowed("list") and self.path in client.sizes(self.path)
        written = None if there else keys.attempt("write", lambda: client.request("PUT", self.path, body=CONTENT))
        if written is None and (there or not keys.allowed("list")):  # it may be there, and locked
            there = self._upload(keys)
        if written is None and not there:
            return
        self._version = written.headers.get("x-amz-version-id", "") if written else ""
        if self.versioning == "enabled":
            keys.may["overwrite"] = VERSIONS
        else:
            keys.attempt("overwrite", lambda: client.request("PUT", self.path, body=CONTENT))

    def _upload(self, keys: TriedKeys) -> bool:
        """Whether a new object could be written: a multipart upload begins, and is given up."""
        begun = keys.attempt("write", lambda: keys.client.request("POST", self.path, {"uploads": ""}))
        upload = _UPLOAD.search(begun.body) if begun else None
        if upload:
            _quietly(lambda: keys.client.request("DELETE", self.path, {"uploadId": upload[1].decode()}))
        return upload is not None

    def _read(self, keys: TriedKeys) -> None:
        answer = keys.attempt("read", lambda: keys.client.request("GET", self.path, largest=len(CONTENT) + 1))
        if keys.codes.get("read") == "NoSuchKey":  # they may look
            keys.may["read"] = YES
        if answer is not None:
            self._version = self._version or answer.headers.get("x-amz-version-id", "")
            if answer.body != CONTENT:
                self.findings.append(f"{self.place}: {self.path} reads back as something else than was written; who else writes there?")

    def _delete(self, keys: TriedKeys, bypass: bool = False) -> None:
        """A delete that only hides a version has deleted nothing, so that where there are versions this one is meant."""
        if self.versioning == "enabled" and not self._version:
            return
        which = {"versionId": self._version} if self.versioning == "enabled" else {}
        keys.attempt("delete", lambda: keys.client.request("DELETE", self.path, which))
        if bypass and keys.refused("delete"):
            keys.attempt("delete", lambda: keys.client.request("DELETE", self.path, which, bypass=True))

    # --- the verdict ----------------------------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        self.findings += [f"{keys.pair.inventory}: {keys.flaw}" for keys in self.tried if keys.flaw]
        below = f"below {self.folder}"
        if self.reader and not self.reader.flaw:
            self._lacking(self.reader, ("list", "read"), f"{below}: no restore works, and verify sees no backup")
        if self.keeper and not self.keeper.flaw:
            self._lacking(self.keeper, ("list", "delete"), f"{below}: `playbooks/backup.yml --tags prune` cannot keep it tidy")
        if self.server.flaw:
            return
        self._lacking(self.server, ("write",), f"{below}: no backup can be made")
        if self.server.refused("list") and self.server.refused("read"):
            self._lacking(self.server, ("list",), f"{below}: a backup cannot see whether it has arrived")
        if not self.reader:
            self._lacking(self.server, ("read",), f"{below}, and no others are set that may: fill in platform_secrets.s3_reader")
        self._judge_separation()

    def _lacking(self, keys: TriedKeys, needed: tuple[str, ...], so: str) -> None:
        lacking = [f"{what} ({keys.codes[what]})" for what in needed if keys.refused(what)]
        if lacking:
            self.findings.append(f"{self.place}: {keys.pair.inventory} may not {' nor '.join(lacking)} {so}")

    def _judge_separation(self) -> None:
        """Who takes the server has its keys: where others read and delete, it should do neither. One pair for all is the owner's choice."""
        spoils = [what for what in ("overwrite", "delete") if self.server.allowed(what)]
        reads = ["read"] if self.reader and self.server.allowed("read") else []
        if not spoils and not reads:
            return
        name = self.server.pair.inventory
        if self.reader or self.keeper:
            self.findings.append(
                f"{self.place}: {name}, which lies on the server, may {' and '.join([*reads, *spoils])} backups; take that from them"
            )
        else:
            what = f"{name} may {' and '.join(spoils)} backups, and lies on the server: whoever takes the server takes them along"
            self.notes.append(f"{self.place}: {what} (docs/backups.md, Keys and credentials)")


def _asked(client: S3Client, what: str) -> bytes | None:
    """One of the bucket's own documents, empty where it has none; None where these keys may not ask, or the service has no such thing."""
    try:
        return client.request("GET", query={what: ""}).body
    except StoreRefused as error:
        return b"" if error.code == "ObjectLockConfigurationNotFoundError" else None


def _quietly(ask: Callable[[], S3Answer]) -> None:
    try:
        ask()
    except StoreRefused:
        return


def _tag(document: bytes, name: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>".encode(), document)
    return found[1].decode() if found else ""
