"""What a list of backups says of each."""

from __future__ import annotations

import datetime
import json

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup import manifest, overview

FOLDER = "shaka/server/prod/7/dumps"
KEY = "c0ffee" * 10


def signed(stamp: str, bytes: int = 10) -> bytes:
    raw = {
        "format": 1, "kind": "scheduled", "platform": "shaka", "server": "server", "cluster": "c", "environment": "prod", "system_identifier": "7",
        "postgres": "15.8", "stamp": stamp, "finished": "2026-11-26T10:00:09Z", "seconds": 9,
        "databases": [{"name": "app", "object": "app.dump.age", "bytes": bytes, "sha256": "ab", "database_bytes": 9, "seconds": 1.5}],
    }  # fmt: skip
    line = json.dumps(raw).encode()
    return line + b"\n" + manifest.signature(line, KEY).encode() + b"\n"


def test_each_backup_has_its_verdict_and_the_newest_is_first() -> None:
    stamps = [f"2026112{day}T100000Z" for day in range(1, 6)]
    sizes = [10, 7, 10, 10, 0]
    objects = {f"{FOLDER}/{stamp}/app.dump.age": size for stamp, size in zip(stamps, sizes, strict=True) if size}
    manifests = {f"{FOLDER}/{stamp}/manifest": signed(stamp) for stamp in stamps[:2]}
    manifests[f"{FOLDER}/{stamps[2]}/manifest"] = signed(stamps[2]).replace(b'"bytes": 10', b'"bytes": 11')
    manifests[f"{FOLDER}/{stamps[4]}/manifest"] = signed(stamps[4])
    objects |= dict.fromkeys(manifests, 300)
    found = overview.backups(objects, manifests, "shaka", KEY)
    assert [each["backup"] for each in found] == stamps[::-1]
    flaws = [each["flaw"] for each in found[::-1]]
    assert flaws[0] == ""
    assert flaws[1] == "app.dump.age has 7 of 10 bytes"
    assert "not authentic" in flaws[2]
    assert "no manifest" in flaws[3]
    assert flaws[4] == "app.dump.age has 0 of 10 bytes"
    drilled = {"stamp": stamps[0], "finished": "20261123T040000Z", "seconds": "64"}
    found = overview.with_drill_and_due(found, drilled, "20261126T020000Z")
    table, failed = overview.rows(found, "prod", "20261126T020000Z")
    assert failed == [0, 1, 2, 3]
    start = ["prod", "server/7", stamps[0], "app", "10 B", "9 B", "scheduled"]
    assert table[4] == [*start, "yes", "20261123T040000Z, 64 s", ""]
    assert table[3][-3:] == ["no: app.dump.age has 7 of 10 bytes", "-", ""]
    assert [row[-1] for row in table] == ["20261126T020000Z", "", "", "", ""]
    assert [(each["verified"], bool(each["drilled"]), each["next_due"]) for each in found[3:]] == [
        (False, False, "20261126T020000Z"),
        (True, True, "20261126T020000Z"),
    ]


def test_an_environment_without_a_backup_has_its_row() -> None:
    table, failed = overview.rows([], "dev", overview.BY_HAND)
    assert (table, failed) == ([["dev", "-", "none", "-", "-", "-", "-", "-", "-", "by hand only"]], [])


@pytest.mark.parametrize(
    ("schedule", "zone", "due"),
    [
        ("", "Etc/UTC", "by hand only"),
        ("0 2 * * *", "America/Sao_Paulo", "20261126T050000Z"),
        ("@every 6h", "Etc/UTC", ""),
        ("0 2 * * *", "Mars/Base", ""),
    ],
)
def test_when_the_next_one_is_due(schedule: str, zone: str, due: str) -> None:
    assert overview.next_due(schedule, zone, datetime.datetime(2026, 11, 26, 2, 30, tzinfo=datetime.UTC)) == due
