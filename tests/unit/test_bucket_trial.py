"""What preflight finds out about the keys of the backups, at a small S3 service; and the requests that it makes."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.action.bucket_trial import planned, run, table_of
from ansible_collections.shaka.platform.plugins.module_utils.backup.bucket_trial import BucketTrial
from ansible_collections.shaka.platform.plugins.module_utils.backup.s3_client import S3Client, StoreRefused, StoreUnreached, signed
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Credentials
from s3_server import S3Server, serving

PATH = "shaka/server/prod/preflight"
SERVER, READER, KEEPER = {"write", "list", "look"}, {"read", "list", "look"}, {"read", "list", "delete", "bypass", "look"}
EVERYTHING = {"write", "read", "list", "delete", "look"}
THREE = {"a-server": SERVER, "a-reader": READER, "a-keeper": KEEPER}


def keys(*names: str) -> dict[str, dict[str, str]]:
    groups = {"server": "s3", "reader": "s3_reader", "keeper": "s3_keeper"}
    return {groups[name]: {"ACCESS_KEY": f"a-{name}", "SECRET_KEY": f"canary-{name}"} for name in names}


def environment(s3: dict[str, Any], reader: str = "s3_reader") -> dict[str, Any]:
    pairs = {who: {"access_key": f"{group}/ACCESS_KEY", "secret_key": f"{group}/SECRET_KEY"} for who, group in (("writer", "s3"), ("reader", reader))}
    return {"backup": {"s3": s3, **pairs}}


def tried(server: S3Server, *names: str, only_look: bool = False) -> tuple[BucketTrial, dict[str, str]]:
    """The trial, and each pair's row: write, read, list, overwrite, delete."""
    secrets = keys(*names)
    ((trial, environments),) = planned("server", {"prod": environment(server.s3, "s3_reader" if "reader" in names else "s3")}, secrets)
    run([(trial, environments)], only_look)
    shown = table_of(trial, environments)
    assert "canary" not in str([shown, trial.findings, trial.notes])
    return trial, {row[0].removeprefix("platform_secrets."): " ".join(row[1:]) for row in shown["rows"]}


def test_three_pairs_and_a_lock_are_as_they_should_be() -> None:
    with serving(THREE, locked=True) as server:
        trial, rows = tried(server, "server", "reader", "keeper")
        assert rows == {"s3": "yes no yes no no", "s3_reader": "- yes yes - -", "s3_keeper": "- - yes - yes"}
        assert (trial.findings, trial.notes, trial.lock, trial.versioning) == ([], [], "governance 10 years", "off")
        assert server.objects == {}


def test_where_nobody_may_delete_one_object_stays_and_the_next_trial_says_the_same() -> None:
    with serving(THREE, locked=True) as server:
        first = tried(server, "server", "reader")[1]
        assert list(server.objects) == [PATH]
        assert tried(server, "server", "reader")[1] == first == {"s3": "yes no yes no no", "s3_reader": "- yes yes - -"}
        assert list(server.objects) == [PATH] and not server.uploads


def test_one_pair_for_everything_is_told_and_no_finding() -> None:
    with serving({"a-server": EVERYTHING}) as server:
        trial, rows = tried(server, "server")
        assert rows == {"s3": "yes yes yes yes yes"}
        assert trial.findings == []
        assert len(trial.notes) == 1 and "platform_secrets.s3 may overwrite and delete backups, and lies on the server" in trial.notes[0]
        assert server.objects == {}


def test_the_servers_keys_that_may_more_than_they_should_are_a_finding() -> None:
    with serving({**THREE, "a-server": EVERYTHING}) as server:
        trial, rows = tried(server, "server", "reader", "keeper")
        assert rows["s3"] == "yes yes yes yes yes"
        assert len(trial.findings) == 1 and "may read and overwrite and delete backups; take that from them" in trial.findings[0]


def test_versions_keep_what_is_written_over_or_deleted() -> None:
    with serving({**THREE, "a-server": {*SERVER, "delete"}}, locked=True, versions=True) as server:
        trial, rows = tried(server, "server", "reader", "keeper")
        assert rows == {"s3": "yes no yes as a version no", "s3_reader": "- yes yes - -", "s3_keeper": "- - yes - yes"}
        assert (trial.findings, trial.versioning) == ([], "enabled")
        assert server.objects == {}  # the version itself is gone


LACKING: list[tuple[dict[str, set[str]], str]] = [
    ({"a-server": SERVER - {"write"}}, "platform_secrets.s3 may not write (AccessDenied) below shaka/server/prod: no backup can be made"),
    ({"a-server": SERVER - {"list"}}, "platform_secrets.s3 may not list (AccessDenied) below shaka/server/prod: a backup cannot see"),
    ({"a-reader": {"look"}}, "platform_secrets.s3_reader may not list (AccessDenied) nor read (AccessDenied) below"),
    ({"a-keeper": READER}, "platform_secrets.s3_keeper may not delete (AccessDenied) below"),
]


@pytest.mark.parametrize(("changed", "words"), LACKING)
def test_what_keys_lack_is_a_finding(changed: dict[str, set[str]], words: str) -> None:
    with serving({**THREE, **changed}, locked=True) as server:
        trial, _rows = tried(server, "server", "reader", "keeper")
        assert len(trial.findings) == 1 and words in trial.findings[0], trial.findings


def test_keys_that_only_write_need_others_that_read() -> None:
    with serving(THREE, locked=True) as server:
        assert "no others are set that may: fill in platform_secrets.s3_reader" in tried(server, "server")[0].findings[0]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("NoSuchBucket", "there is no such bucket (NoSuchBucket)"),
        ("InvalidAccessKeyId", "does not know the access key"),
        ("SignatureDoesNotMatch", "the secret key is wrong"),
    ],
)
def test_keys_that_are_not_known_there_are_one_finding_each(code: str, words: str) -> None:
    with serving(THREE) as server:
        server.code = code
        trial, rows = tried(server, "server", "reader")
        assert [words in text for text in trial.findings] == [True, True]
        assert rows["s3"] == "- - no - -"


def test_check_mode_writes_nothing() -> None:
    with serving({"a-server": EVERYTHING}, locked=True) as server:
        trial, rows = tried(server, "server", only_look=True)
        assert rows == {"s3": "- - yes - -"} and trial.findings == [] and trial.lock == "governance 10 years"
        assert {request.split()[0] for request in server.requests} == {"GET"}


def test_a_service_out_of_reach_is_told_within_its_bounds() -> None:
    with serving(THREE) as server:
        gone = server.s3
    began = time.monotonic()
    ((trial, names),) = planned("server", {"prod": environment(gone)}, keys("server", "reader"))
    run([(trial, names)], False)
    assert trial.findings == [] and "Connection refused: what the keys may do there was not tried from this controller" in trial.notes[0]
    assert time.monotonic() - began < 5


def test_one_trial_for_each_bucket_and_keys() -> None:
    with serving(THREE) as server:
        other = {**server.s3, "bucket": "another"}
        environments = {
            "dev": environment(server.s3),
            "prod": environment(server.s3),
            "staging": environment(other),
            "bare": environment({"endpoint": ""}),
        }
        assert [names for _trial, names in planned("server", environments, keys("server", "reader"))] == [["dev", "prod"], ["staging"]]
        assert planned("server", environments, {}) == []


# --- the client ---------------------------------------------------------------------------------------------------------------------------------


def test_the_signature_of_amazons_own_example() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, Example: GET Object."""
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9"}
    moment = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
    found = signed("GET", "/test.txt", "", b"", headers, credentials, "us-east-1", moment)["authorization"]
    assert found.endswith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


def test_long_lists_and_folders_come_whole() -> None:
    with serving(THREE) as server:
        server.objects = {f"shaka/s/e/{place}/dumps/{index}": [("v", b"x" * index)] for place in "12" for index in range(8)}
        client = S3Client(server.s3, Credentials("a-reader", "s"))
        assert client.folders("shaka/s/e/") == ["shaka/s/e/1/", "shaka/s/e/2/"]
        assert client.sizes("shaka/s/e/2/") == {f"shaka/s/e/2/dumps/{index}": index for index in range(8)}
        assert client.read("shaka/s/e/1/dumps/7", 3) == b"xxx"
        with pytest.raises(StoreRefused, match="AccessDenied"):
            S3Client(server.s3, Credentials("a-server", "s")).read("shaka/s/e/1/dumps/7", 3)


def test_all_requests_together_are_bounded() -> None:
    with serving(THREE) as server, pytest.raises(StoreUnreached, match="no answer in time"):
        S3Client(server.s3, Credentials("a-reader", "s"), within=0).sizes("shaka/")


def test_an_answer_that_is_not_of_s3_is_no_verdict_on_the_keys() -> None:
    """As of a proxy, a portal, or a web server."""
    with serving(THREE) as server:
        server.code = "<not S3>"
        trial, _rows = tried(server, "server")
        assert trial.findings == [] and "the answer is 403 and not S3's" in trial.notes[0]


def test_host_style_names_the_bucket_in_the_host() -> None:
    client = S3Client({"endpoint": "https://s3.test:9000", "bucket": "b", "path_style": False}, Credentials("a", "s"))
    assert (client.origin, client.base) == ("https://b.s3.test:9000", "")
