"""What verify concludes from what lies in the bucket, from the last jobs and from the schedule."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup import manifest
from ansible_collections.shaka.platform.plugins.module_utils.verify.backups import BackupVerdict, judge
from ansible_collections.shaka.platform.plugins.module_utils.verify.stored_backups import StoredDumps, look_into, newest_manifests
from s3_server import S3Server, serving

KEY = "c0ffee" * 10
S3 = {"endpoint": "https://s3.test", "prefix": "shaka"}
PLACE = [{"name": "S3_BUCKET", "value": "backups"}, {"name": "S3_PREFIX", "value": "shaka"}]
WEEKLY, DAILY = "0 2 * * 0", "0 2 * * *"
TUESDAY, YESTERDAY, TODAY = "20261124T020003Z", "20261125T020003Z", "20261126T020003Z"


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(f"2026-{text}+00:00").timestamp()


def pods(place: list[dict[str, str]]) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"env": place}]}}}


def cron(changed: str = "01-02T00:00", **status: str) -> dict[str, Any]:
    metadata = {
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"time": f"2026-{changed}:00Z"}, {"time": "2027", "subresource": "status"}],
    }
    return {"metadata": metadata, "spec": {"jobTemplate": {"spec": {"activeDeadlineSeconds": 3600, **pods(PLACE)}}}, "status": status}


def job(start: str, failed: str = "", place: list[dict[str, str]] | None = None) -> dict[str, Any]:
    moment, place = f"2026-{start}:00Z", PLACE if place is None else place
    if failed:
        return {
            "spec": pods(place),
            "status": {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": moment, "message": failed}]},
        }
    return {"spec": pods(place), "status": {"succeeded": 1, "startTime": moment, "completionTime": moment}}


def stored(*backups: tuple[str, int], postgres: str = "7", **more: Any) -> StoredDumps:
    """Of one database each, (stamp, bytes)."""
    objects: dict[str, int] = {}
    manifests: dict[str, bytes] = {}
    for stamp, size in backups:
        folder = f"shaka/server/prod/{postgres}/dumps/{stamp}"
        raw = {
            "format": 1, "kind": "scheduled", "platform": "shaka", "server": "server", "cluster": "c", "environment": "prod",
            "system_identifier": postgres, "postgres": "15.8", "stamp": stamp, "finished": "", "seconds": 9,
            "databases": [{"name": "app", "object": "app.dump.age", "bytes": size, "sha256": "ab", "database_bytes": 9, "seconds": 1.5}],
        }  # fmt: skip
        line = json.dumps(raw).encode()
        objects |= {f"{folder}/app.dump.age": size, f"{folder}/manifest": len(line)}
        manifests[f"{folder}/manifest"] = line + b"\n" + manifest.signature(line, KEY).encode()
    read = {path: content for path, content in manifests.items() if path in newest_manifests(objects, "shaka")}
    return StoredDumps(**{"objects": objects, "manifests": read, **more})


def verdict(seen: StoredDumps, now: str = "11-26T08:00", schedule: str = DAILY, **more: Any) -> BackupVerdict:
    given: dict[str, Any] = {"crons": [cron()], "jobs": [], "running": "7", "zone": "Etc/UTC", "key": KEY, **more}
    env: Any = {"name": "prod", "backup": {"schedule": schedule, "time_zone": given["zone"], "s3": S3}}
    return judge(env, given["crons"], given["jobs"], seen, given["key"], given["running"], at(now), 50)


def test_the_newest_is_there_whole_and_authentic() -> None:
    found = verdict(stored((YESTERDAY, 4000), (TODAY, 4096)), jobs=[job("11-26T02:00")])
    assert found == BackupVerdict(True, "2026-11-26 02:00Z (6 h ago, 4 KiB, authentic)")


@pytest.mark.parametrize(
    ("schedule", "zone", "now", "due"),
    [
        (DAILY, "Etc/UTC", "11-27T02:30", ""),  # it may still be running
        (DAILY, "Etc/UTC", "11-27T03:10", "due at 2026-11-27 02:00Z"),
        (DAILY, "America/Sao_Paulo", "11-27T03:10", ""),
        (DAILY, "America/Sao_Paulo", "11-27T06:10", "due at 2026-11-27 05:00Z"),
        (WEEKLY, "Etc/UTC", "11-28T23:00", ""),  # green all week
        (WEEKLY, "Etc/UTC", "11-29T03:10", "due at 2026-11-29 02:00Z"),
        ("", "Etc/UTC", "12-24T03:10", ""),  # by hand
        (DAILY, "Mars/Base", "11-27T02:30", "does not know the time zone Mars/Base"),
    ],
)
def test_the_age_is_judged_by_the_schedule(schedule: str, zone: str, now: str, due: str) -> None:
    found = verdict(stored(("20261126T050003Z", 4096)), now, schedule, zone=zone)
    assert found.ok == (not due) and due in found.detail


def test_what_was_due_before_the_schedule_was_changed_is_not_missed() -> None:
    assert verdict(stored((TODAY, 4096)), "11-27T08:00", crons=[cron("11-27T07:00")]).ok
    assert not verdict(stored((TODAY, 4096)), "11-28T08:00", crons=[cron("11-27T07:00")]).ok


BROKEN = stored((YESTERDAY, 4000), (TODAY, 4096))
FOLDER = f"shaka/server/prod/7/dumps/{TODAY}"
CUT = {**BROKEN.objects, f"{FOLDER}/app.dump.age": 4000}  # type: ignore[dict-item]
GONE = {path: size for path, size in CUT.items() if path != f"{FOLDER}/app.dump.age"}
NO_MANIFEST = {path: size for path, size in CUT.items() if path != f"{FOLDER}/manifest"}
FAULTS: list[tuple[StoredDumps, dict[str, Any], str]] = [
    (BROKEN._replace(objects=CUT), {}, f"{TODAY} does not count: app.dump.age has 4000 of 4096 bytes"),
    (BROKEN._replace(objects=GONE), {}, "app.dump.age has 0 of 4096 bytes"),
    (BROKEN._replace(objects=NO_MANIFEST), {}, "one was due at 2026-11-26 02:00Z"),
    (BROKEN._replace(objects=NO_MANIFEST), {"now": "11-26T02:20"}, ""),
    (
        BROKEN._replace(objects=NO_MANIFEST),
        {"now": "11-26T02:20", "jobs": [job("11-26T02:00")]},
        f"made at 2026-11-26 02:00Z is not in the bucket: the newest manifest is {YESTERDAY}",
    ),
    (stored(), {"jobs": [job("11-26T02:00")]}, "not in the bucket: there is no manifest at all"),
    (stored(("20261126T015957Z", 9)), {"jobs": [job("11-26T02:00")], "schedule": ""}, "the newest manifest is 20261126T015957Z"),  # 3 s before
    (stored(), {"jobs": [job("11-26T02:00", place=[])], "schedule": ""}, ""),  # of another bucket
    (BROKEN, {"key": "another" * 9}, "not authentic"),
    (stored((YESTERDAY, 4096), (TODAY, 2047)), {}, f"much smaller than the one before (2 KiB, {YESTERDAY} has 4 KiB"),
    (stored((YESTERDAY, 4096), (TODAY, 2048)), {}, ""),
    (stored((TUESDAY, 4096), (YESTERDAY, 100), (TODAY, 100)), {}, ""),  # said once
    (stored((TODAY, 0)), {"key": KEY}, ""),
    (StoredDumps({f"{FOLDER}/manifest": 9}, unseen="its manifest was not read: no keys"), {}, "its objects are not there"),
]


@pytest.mark.parametrize(("seen", "more", "words"), FAULTS)
def test_what_is_wrong_in_the_bucket_is_said(seen: StoredDumps, more: dict[str, Any], words: str) -> None:
    found = verdict(seen, **more)
    assert found.ok == (not words), found
    assert words in found.detail


def test_another_postgres_than_the_backups_are_of_is_a_finding_that_stops_no_run() -> None:
    found = verdict(stored((TODAY, 4096)), schedule="", running="8")
    assert not found.ok and not found.blocks
    assert "none is of the Postgres that runs now (8)" in found.detail
    assert verdict(stored((TODAY, 4096)), running="").ok  # it does not answer


def test_a_failed_job_is_told_until_one_succeeds() -> None:
    failed = job("11-26T07:00", "BackoffLimitExceeded")
    found = verdict(stored((TODAY, 4096)), jobs=[failed])
    assert not found.ok and not found.blocks and "failed 60 min ago: BackoffLimitExceeded" in found.detail
    assert verdict(stored((TODAY, 4096), ("20261126T073000Z", 4096)), jobs=[failed]).ok


def test_a_bucket_that_was_not_looked_at_is_said() -> None:
    jobs = [job("11-26T02:00")]
    keys = verdict(StoredDumps(unseen="the bucket was not looked at: no keys"), jobs=jobs)
    assert keys == BackupVerdict(True, "2026-11-26 02:00Z (6 h ago); the bucket was not looked at: no keys", blocks=False)
    away = verdict(StoredDumps(unseen="the bucket was not looked at: no answer", wrong=True), jobs=jobs)
    assert not away.ok and not away.blocks
    assert not verdict(StoredDumps(unseen="x", wrong=True), now="11-28T08:00", jobs=jobs).ok


def test_what_is_only_listed_counts_without_a_proof() -> None:
    listed = stored((TODAY, 4096), manifests={}, unseen="its manifest was not read: the credentials may not do this (AccessDenied)")
    found = verdict(listed)
    assert found.ok and found.detail.startswith("2026-11-26 02:00Z (6 h ago, 4 KiB); its manifest was not read")


def test_the_newest_two_manifests_of_each_postgres_are_read() -> None:
    old = stored((TODAY, 1), postgres="5").objects or {}
    new = stored((TUESDAY, 1), (YESTERDAY, 1), (TODAY, 1)).objects or {}
    assert newest_manifests({**old, **new, "shaka/server/prod/preflight": 1}, "shaka") == [
        f"shaka/server/prod/5/dumps/{TODAY}/manifest",
        f"shaka/server/prod/7/dumps/{YESTERDAY}/manifest",
        f"shaka/server/prod/7/dumps/{TODAY}/manifest",
    ]


# --- the look into the bucket -------------------------------------------------------------------------------------------------------------------


def filled(server: S3Server) -> None:
    """Backups of this server's prod, and others that are none of its business."""
    dumps = stored((TUESDAY, 3), (YESTERDAY, 3), (TODAY, 3))
    for path, size in (dumps.objects or {}).items():
        server.objects[path] = [("v", dumps.manifests.get(path, b"x" * size))]
    for path in ("shaka/server/prod/7/wal/000001.0-9.20261126T020003Z.age", "shaka/other/prod/9/dumps/x/manifest", "shaka/server/prod/preflight"):
        server.objects[path] = [("v", b"x")]


def seen(server: S3Server, reader: str, keys: dict[str, str] | None = None, **s3: Any) -> StoredDumps:
    pairs = {who: {"access_key": f"{group}/ACCESS_KEY", "secret_key": f"{group}/SECRET_KEY"} for who, group in (("writer", "s3"), ("reader", reader))}
    env: Any = {"name": "prod", "backup": {"s3": {**server.s3, **s3}, **pairs}}
    return look_into(env, "server", {reader: {"ACCESS_KEY": "a", "SECRET_KEY": "b"} if keys is None else keys})


def test_only_this_servers_dumps_are_looked_at() -> None:
    with serving({"a": {"list", "read"}}) as server:
        filled(server)
        found = seen(server, "s3_reader")
        assert verdict(found).ok and not found.unseen
        assert len(found.objects or ()) == 6 and len(found.manifests) == 2
        assert not any("wal" in request and "dumps" not in request for request in server.requests)


@pytest.mark.parametrize(
    ("may", "reader", "words", "wrong"),
    [
        (set(), "s3_reader", "the bucket was not looked at: ", True),
        (set(), "s3", "set platform_secrets.s3_reader", False),  # the server's own keys, which only write
        ({"list"}, "s3", "its manifest was not read: ", False),
        ({"list"}, "s3_reader", "its manifest was not read: ", True),
    ],
)
def test_keys_that_may_not_look_are_said(may: set[str], reader: str, words: str, wrong: bool) -> None:
    with serving({"a": may}) as server:
        filled(server)
        found = seen(server, reader)
        assert words in found.unseen and found.wrong is wrong
        assert (found.objects is not None) is ("list" in may)


def test_a_bucket_out_of_reach_is_said() -> None:
    with serving({}) as server:
        pass
    found = seen(server, "s3_reader")
    assert found.wrong and "Connection refused" in found.unseen
    of_the_cluster = seen(server, "s3_reader", endpoint="http://minio.storage.svc:9000")
    assert not of_the_cluster.wrong and "the bucket was not looked at" in of_the_cluster.unseen
    assert seen(server, "s3_reader", keys={}) == StoredDumps(
        unseen="the bucket was not looked at: set platform_secrets.s3_reader to keys that may list and read"
    )
