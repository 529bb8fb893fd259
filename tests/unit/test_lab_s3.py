"""The policy of the lab's bucket, before a server reads it. What that server refuses is tested in molecule/default/tests/test_storage.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab import s3

SECRETS = {name: {"ACCESS_KEY": f"{name}-key", "SECRET_KEY": f"{name}-secret"} for name in s3.ACCOUNTS}


def granted(account: str, *, enforced: bool) -> set[tuple[str, str]]:
    """What the policy allows an account: (action, resource)."""
    statements: Any = s3.policy("bucket", "shaka", SECRETS, enforced=enforced)["Statement"]
    mine = [one for one in statements if f"{account}-key" in one["Principal"]["AWS"]]
    assert all(one["Effect"] == "Allow" for one in statements)
    return {(action.removeprefix("s3:"), one["Resource"].removeprefix("arn:aws:s3:::")) for one in mine for action in one["Action"]}


@pytest.mark.parametrize(
    ("account", "may", "may_not"),
    [
        ("s3", {"PutObject", "AbortMultipartUpload"}, {"GetObject", "DeleteObject", "BypassGovernanceRetention"}),
        ("s3_reader", {"GetObject"}, {"PutObject", "DeleteObject", "BypassGovernanceRetention"}),
        ("s3_keeper", {"GetObject", "DeleteObject", "BypassGovernanceRetention"}, {"PutObject"}),
    ],
)
def test_each_account_may_what_it_is_for_below_the_prefix(account: str, may: set[str], may_not: set[str]) -> None:
    objects = {action for action, resource in granted(account, enforced=True) if resource == "bucket/shaka/*"}
    assert may <= objects and not may_not & objects
    assert {resource for _action, resource in granted(account, enforced=True)} == {"bucket", "bucket/shaka/*"}
    assert ("ListBucket", "bucket") in granted(account, enforced=True)


def test_until_it_is_enforced_the_server_may_read_and_delete() -> None:
    assert {("GetObject", "bucket/shaka/*"), ("DeleteObject", "bucket/shaka/*")} <= granted("s3", enforced=False)
    assert b"GOVERNANCE" in s3.lock(enforced=True) and b"GOVERNANCE" not in s3.lock(enforced=False)


def test_the_accounts_file_has_one_account_for_each() -> None:
    found = json.loads(s3.accounts(SECRETS))["accessAccounts"]
    assert {key: (one["access"], one["secret"]) for key, one in found.items()} == {
        f"{name}-key": (f"{name}-key", f"{name}-secret") for name in s3.ACCOUNTS
    }
