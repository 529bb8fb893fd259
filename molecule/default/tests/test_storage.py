"""What each account of the lab's S3 may do, asked of the server itself: the keys that lie on a server bring backups and spoil none."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from conftest import Server

from lab import s3

Ask = Callable[[s3.Client, str], object]
OPERATIONS: dict[str, Ask] = {
    "read": lambda client, path: client.request("GET", path),
    "look": lambda client, path: client.request("HEAD", path),
    "list": lambda client, path: client.request("GET", f"/{path.split('/')[1]}", f"list-type=2&prefix={path.split('/')[2]}%2F"),
    "list the whole bucket": lambda client, path: client.request("GET", f"/{path.split('/')[1]}", "list-type=2"),
    "write a new name": lambda client, path: client.request("PUT", f"{path}-{secrets.token_hex(4)}", body=b"new"),
    "write outside its prefix": lambda client, path: client.request("PUT", f"/{path.split('/')[1]}/elsewhere/object", body=b"new"),
    "overwrite": lambda client, path: client.request("PUT", path, body=b"forged"),
    "overwrite in parts": lambda client, path: in_parts(client, path),
    "delete": lambda client, path: client.request("DELETE", path),
    "delete what is locked": lambda client, path: client.request("DELETE", path, x_amz_bypass_governance_retention="true"),
    "change the policy": lambda client, path: s3.configure(client, path.split("/")[1], "policy=", b"{}"),
    "take off the lock": lambda client, path: s3.configure(client, path.split("/")[1], "object-lock=", s3.lock(enforced=False)),
}
MAY = {
    "s3": {"list", "write a new name"},
    "s3_reader": {"list", "read", "look"},
    "s3_keeper": {"list", "read", "look", "delete what is locked"},
}


def in_parts(client: s3.Client, path: str) -> None:
    """Bring an object by a multipart upload, as large ones are."""
    begun = client.request("POST", path, "uploads=").decode()
    upload = begun.partition("<UploadId>")[2].partition("</UploadId>")[0]
    client.request("PUT", path, f"partNumber=1&uploadId={upload}", b"forged")
    listed = client.request("GET", path, f"uploadId={upload}").decode()
    tag = listed.partition("<ETag>")[2].partition("</ETag>")[0]
    done = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part></CompleteMultipartUpload>"
    client.request("POST", path, f"uploadId={upload}", done.encode())


@pytest.mark.skipif(not s3.ENFORCED, reason="the lab's bucket does not enforce yet (lab/s3.py)")
@pytest.mark.parametrize("account", s3.ACCOUNTS)
def test_an_account_may_what_it_is_for_and_nothing_else(server: Server, account: str) -> None:
    storage, keys = server.lab["s3"], server.lab["secrets"]
    authority = storage.get("ca_bundle", "")
    clients = {name: s3.Client(storage["endpoint"], keys[name]["ACCESS_KEY"], keys[name]["SECRET_KEY"], authority) for name in s3.ACCOUNTS}
    allowed = set()
    for name, ask in OPERATIONS.items():
        path = f"/{storage['bucket']}/{storage['prefix']}/test/{secrets.token_hex(8)}"
        clients["s3"].request("PUT", path, body=b"a backup")
        try:
            ask(clients[account], path)
            allowed.add(name)
        except s3.Refused as refused:
            assert refused.code == 403, f"{name}: {refused}"
            assert clients["s3_reader"].request("GET", path) == b"a backup", name
    assert allowed == MAY[account]
