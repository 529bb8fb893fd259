"""The lab's S3 server: versitygw, with an account for each of the platform's keys and a bucket whose policy says what each may do.

| account | may |
|---|---|
| `s3`, the server's | write new names, list |
| `s3_reader` | list, read |
| `s3_keeper` | list, read, delete |

That the server cannot write over an object is Object Lock's work, as a policy knows no difference between a new name and an old one (AWS's condition
`s3:if-none-match` does; versitygw has none). Without versions, a locked object is not replaced; whoever deletes says so (rclone's
bypass_governance_retention), and may (s3:BypassGovernanceRetention).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

# Each until the platform's own parts can do with it: the three accounts, and the lab's private authority
ENFORCED = True
ENCRYPTED = True
REGION = "lab"
ACCOUNTS = ("s3", "s3_reader", "s3_keeper")  # of the lab's secrets
LOCK_YEARS = 10
WRITES = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
READS = ("s3:GetObject",)
KEEPS = ("s3:GetObject", "s3:DeleteObject", "s3:BypassGovernanceRetention", "s3:AbortMultipartUpload")
SEES = ("s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:ListBucketMultipartUploads")

Secrets = Mapping[str, Mapping[str, str]]


class Refused(Exception):
    """An answer of the S3 server that is no success."""

    def __init__(self, code: int, body: str) -> None:
        super().__init__(f"{code}: {body[:300]}")
        self.code = code


@dataclass(frozen=True)
class Client:
    """Signed requests (AWS Signature Version 4) of one account."""

    endpoint: str
    access_key: str
    secret_key: str
    authority: str = ""  # the certificate that the server's is signed with, where no public one is

    def request(self, method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> bytes:
        """The answer's body; raises Refused. `query`: `name=` for one without a value, sorted."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        digest = hashlib.sha256(body).hexdigest()
        sent = {"host": urlsplit(self.endpoint).netloc, "x-amz-date": moment, "x-amz-content-sha256": digest}
        sent |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
        names = ";".join(sorted(sent))
        lines = [method, quote(path), query, *(f"{name}:{sent[name]}" for name in sorted(sent)), "", names, digest]
        scope = f"{moment[:8]}/{REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
        key = f"AWS4{self.secret_key}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        sent["authorization"] = f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
        address = f"{self.endpoint}{quote(path)}" + (f"?{query}" if query else "")
        trusted = ssl.create_default_context(cadata=self.authority) if self.authority else None
        try:
            with urlopen(Request(address, data=body or None, method=method, headers=sent), timeout=20, context=trusted) as response:
                answer: bytes = response.read()
                return answer
        except HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from error


def prepare(root: Client, bucket: str, prefix: str, secrets: Secrets) -> None:
    """Make the bucket, or bring an older one to what it should be."""
    try:
        root.request("PUT", f"/{bucket}", x_amz_bucket_object_lock_enabled="true")
    except Refused as refused:
        if refused.code != 409:  # it is there
            raise
    configure(root, bucket, "object-lock=", lock())
    configure(root, bucket, "policy=", json.dumps(policy(bucket, prefix, secrets)).encode())


def configure(client: Client, bucket: str, query: str, body: bytes) -> None:
    """Set one of the bucket's own documents; raises Refused."""
    client.request("PUT", f"/{bucket}", query, body, content_md5=base64.b64encode(hashlib.md5(body).digest()).decode())


def lock(*, enforced: bool = ENFORCED) -> bytes:
    """The bucket's configuration of Object Lock."""
    rule = f"<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Years>{LOCK_YEARS}</Years></DefaultRetention></Rule>" if enforced else ""
    enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"
    return f'<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{enabled}{rule}</ObjectLockConfiguration>'.encode()


def accounts(secrets: Secrets) -> str:
    """versitygw's file of accounts."""
    made = {
        secrets[name]["ACCESS_KEY"]: {"access": secrets[name]["ACCESS_KEY"], "secret": secrets[name]["SECRET_KEY"], "role": "user"}
        for name in ACCOUNTS
    }
    return json.dumps({"accessAccounts": made})


def policy(bucket: str, prefix: str, secrets: Secrets, *, enforced: bool = ENFORCED) -> dict[str, object]:
    """The bucket's policy. Not enforced, the server's account may do all, as before the platform had three."""
    server, reader, keeper = ([secrets[name]["ACCESS_KEY"]] for name in ACCOUNTS)
    whole, objects = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{prefix}/*"

    def allow(who: list[str], actions: tuple[str, ...], resource: str, **more: object) -> dict[str, object]:
        return {"Effect": "Allow", "Principal": {"AWS": who}, "Action": list(actions), "Resource": resource, **more}

    below = {"StringLike": {"s3:prefix": [f"{prefix}/*"]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            allow([*server, *reader, *keeper], SEES, whole),
            allow([*server, *reader, *keeper], ("s3:ListBucket",), whole, Condition=below),
            allow(server, WRITES if enforced else (*WRITES, *KEEPS), objects),
            allow(reader, READS, objects),
            allow(keeper, KEEPS, objects),
        ],
    }
