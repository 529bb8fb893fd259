"""A moment in place of a backup: the plan of its restore, and what the pod is told of it."""

from __future__ import annotations

import dataclasses
import datetime
import json

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup import manifest, wal
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Origin
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import ChosenPoint, WalStore
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket, Credentials
from ansible_collections.shaka.platform.plugins.module_utils.restore import overview, problems, recovery
from ansible_collections.shaka.platform.plugins.module_utils.restore.choice import NoChoice
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import RestorePlan
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import PodReport
from test_backup_wal import FIRST, STREAM, at, pieces
from test_restore_plan import STAMP, environment

ORIGIN = Origin("old", "prod", "7")
PROD = environment("prod", others=("extra",))


def chosen() -> ChosenPoint:
    dump = manifest.Dump("*", "base.tar.age", 300, "ab", 2**30, 5.0)
    more = {"wal": {"databases": ["postgres", "shaka_prod", "extra", "shaka_preview_pr_7"]}}
    base = manifest.Manifest(ORIGIN, "base", "shaka", "c", "15", FIRST.stamp, "", 5.0, (dump,), more=more)
    way = wal.recovery(at(4, 30), [FIRST], pieces(*STREAM))
    return ChosenPoint(WalStore(ORIGIN, {FIRST.stamp: base}, [FIRST], pieces(*STREAM)), way, at(4, 30))


def test_a_moment_is_swapped_in_as_a_backup_is() -> None:
    plan = recovery.make(chosen(), PROD, PROD, STAMP, "", [])
    assert [(database.live, database.scratch, plan.before(database)) for database in plan.databases] == [
        ("shaka_prod", "shaka_prod_restore_20261126t180000z", "shaka_prod_before_20261126t180000z"),
        ("extra", "extra_restore_20261126t180000z", "extra_before_20261126t180000z"),
    ]
    assert (plan.end, plan.job, plan.origin, plan.moment) == ("swap", "postgres-restore-20261126t180000z", "old/7", "2026-11-26T10:04:30Z")
    assert plan.pod_bytes > 2.5 * 2**30 + 2**30, "the recovered files, their dump, and WAL"
    assert RestorePlan.read(json.loads(json.dumps(plan.as_dict()))) == plan


def test_the_table_says_which_moment_comes_and_what_is_kept() -> None:
    plan = recovery.make(chosen(), PROD, PROD, STAMP, "", [])
    live = overview.LiveServer({"shaka_prod": overview.LiveDatabase(2**20, 10, 2, "")})
    table = overview.plan_table(plan, live, "never drilled")
    assert table["rows"][0][2:] == ["as it was at 2026-11-26T10:04:30Z", "is kept as shaka_prod_before_20261126t180000z"]
    assert f"base backup {FIRST.stamp}" in table["title"]
    moments = overview.moments_table([chosen().store], "prod")
    assert moments["rows"] == [["old/7", "1", "2026-11-26T10:01:00Z to 2026-11-26T10:10:00Z", ""]]


def test_one_database_of_a_moment_beside_the_live_one_or_in_another_environment() -> None:
    source = environment("prod")
    plan = recovery.make(chosen(), source, source, STAMP, "look", ["extra"])
    assert (plan.end, plan.databases[0].name, plan.databases[0].live) == ("beside", "extra", "look")
    plan = recovery.make(chosen(), source, environment("staging", "owner"), STAMP, "", ["shaka_prod"])
    assert (plan.databases[0].live, plan.databases[0].masked, plan.renamed_roles) == ("shaka_staging", True, {"shaka_prod": "owner"})


@pytest.mark.parametrize(
    ("beside", "wanted", "says"),
    [
        ("look", [], "restore_as names one database, and the base backup .* has 2"),
        ("", ["other"], "has no database other; it has shaka_prod, extra, shaka_pre"),
    ],
)
def test_what_a_base_backup_has_not_is_refused(beside: str, wanted: list[str], says: str) -> None:
    with pytest.raises(NoChoice, match=says):
        recovery.make(chosen(), PROD, PROD, STAMP, beside, wanted)


def test_what_previews_had_is_left_out_and_what_was_made_since_is_had_by_its_name() -> None:
    """A preview's database would come back as its parent's; one that is over by that moment, or is not made yet, would end the recovery."""
    source = environment("prod", others=("extra", "later"))
    plan = recovery.make(chosen(), source, source, STAMP, "", [])
    assert [database.name for database in plan.databases] == ["shaka_prod", "extra"]
    assert ": shaka_preview_pr_7, later (-e restore_database=...)" in recovery.left_out(chosen(), source, plan)
    for name in ("later", "shaka_preview_pr_7"):
        assert recovery.make(chosen(), source, source, STAMP, "", [name]).databases[0].name == name
    with pytest.raises(NoChoice, match=r"none of the inventory's databases, but shaka_prod, extra"):
        recovery.make(chosen(), environment("dev"), environment("dev"), STAMP, "", [])
    assert recovery.left_out(chosen(), PROD, recovery.make(chosen(), PROD, PROD, STAMP, "", ["shaka_prod", "extra", "shaka_preview_pr_7"])) == ""


def test_the_pod_is_told_the_way_to_the_moment() -> None:
    source = environment("prod")
    plan = recovery.make(chosen(), source, source, STAMP, "", ["extra"])
    lines = recovery.instructions(chosen(), source, plan).splitlines()
    assert lines[:6] == [
        "until 2026-11-26 10:04:30+00", "origin old/prod/7", "folder backups/shaka/old/prod/7", f"segment {2**24}", f"base {FIRST.stamp} 300 ab",
        "database 0 extra",
    ]  # fmt: skip
    assert [line for line in lines if line.startswith("wal ")] == [f"wal {each.name}" for each in chosen().way.pieces] != []


@pytest.mark.parametrize(("moment", "says"), [("2026-11-24T10:00:00", "is not a moment such as"), ("2999-01-01T00:00:00Z", "has not come yet")])
def test_what_is_no_moment_is_refused_before_the_bucket_is_asked(moment: str, says: str) -> None:
    with pytest.raises(NoChoice, match=says):
        recovery.look(Bucket({"prefix": "shaka", "bucket": "b", "endpoint": ""}, Credentials("", "")), "prod", "k", moment, "")


def test_a_failed_recovery_is_explained() -> None:
    plan = dataclasses.replace(recovery.make(chosen(), PROD, PROD, STAMP, "", []))
    report = PodReport("recover", 1, problem=("recovery", "0", "recovery failed: WAL could not be fetched: 403"))
    assert problems.explain(plan, report) == "prod as it was at 2026-11-26T10:04:30Z could not be recovered: WAL could not be fetched: 403"


def test_the_moment_named_is_in_utc() -> None:
    point = chosen()
    moved = dataclasses.replace(point, moment=point.moment.astimezone(datetime.timezone(datetime.timedelta(hours=-3))))
    assert recovery.make(moved, PROD, PROD, STAMP, "", []).moment == "2026-11-26T10:04:30Z"
