"""Which backups go."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.shaka.platform.plugins.action.backup_prune import by_origin, sources
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Origin, moment
from ansible_collections.shaka.platform.plugins.module_utils.backup.retention import Spans, StoredDump, hindrance, plan
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Listed

NOW = moment("20261126T120000Z")
ORIGIN = Origin("server", "prod", "1")


def at(days: float, kind: str = "scheduled", size: int = 100, flaw: str = "") -> StoredDump:
    """A backup of so many days ago."""
    return StoredDump((NOW - datetime.timedelta(days=days)).strftime("%Y%m%dT%H%M%SZ"), kind, size, flaw)


def removed(*stored: StoredDump, kept: Spans = Spans(7, 4, 6, floor=0), named: tuple[str, ...] = ()) -> list[StoredDump]:  # noqa: B008
    return [verdict.stored for verdict in plan(stored, kept, NOW, named) if verdict.goes]


def test_of_a_year_of_nights_the_last_days_weeks_and_months_stay() -> None:
    nights = [at(days) for days in range(365)]
    left = [verdict for verdict in plan(nights, Spans(7, 4, 6), NOW) if not verdict.goes]
    assert [moment(verdict.stored.stamp).strftime("%m-%d") for verdict in left] == [
        "11-26", "11-25", "11-24", "11-23", "11-22", "11-21", "11-20", "11-15", "11-08", "10-31", "09-30", "08-31", "07-31", "06-30",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "kept", "gone"),
    [
        # a second backup of a day does not take away the one of before the migration
        ([at(0.1), at(0.3)], Spans(1, 0, 0, 0), []),
        ([at(0.1), at(1.9), at(2.1)], Spans(1, 0, 0, 0), [at(2.1)]),
        ([at(0.1), at(2.1), at(3), at(4)], Spans(0, 0, 0, 3), [at(4)]),  # the floor
        ([at(40), at(41)], Spans(0, 0, 1, 0), [at(41)]),  # nothing new for weeks: the last of its month stays
        ([at(3, "manual"), at(4, "before-restore"), at(5)], Spans(0, 0, 0, 0), [at(5)]),
        ([at(3, ""), at(0.5, "")], Spans(0, 0, 0, 0), [at(3, "")]),  # without a manifest
        ([at(9, flaw="the manifest is not authentic")], Spans(0, 0, 0, 0), []),
        # what cannot be trusted fills no span and no floor
        ([at(3, flaw="forged"), at(4), at(5)], Spans(0, 0, 0, 1), [at(5)]),
    ],
)
def test_each_rule(stored: list[StoredDump], kept: Spans, gone: list[StoredDump]) -> None:
    assert removed(*stored, kept=kept) == gone


def test_what_is_named_goes_but_not_the_last_ones() -> None:
    old, new = at(9, "manual"), at(1, "manual")
    assert removed(old, new, kept=Spans(0, 0, 0, 1), named=(old.stamp, new.stamp)) == [old]


@pytest.mark.parametrize(
    ("stored", "running", "failed", "why"),
    [
        ([at(1), at(2)], "1", False, ""),
        ([at(1, size=49), at(2)], "1", False, "much smaller"),
        ([at(1, "manual", 1), at(2), at(3)], "1", False, ""),  # of one table, by hand
        ([at(1), at(2)], "2", False, "another Postgres"),
        ([at(1), at(2)], None, False, "nothing is known"),
        ([at(1), at(2)], "1", True, "verify"),
    ],
)
def test_what_keeps_everything(stored: list[StoredDump], running: str | None, failed: bool, why: str) -> None:
    found = hindrance(ORIGIN, stored, running, failed)
    assert why in found and bool(found) is bool(why)


def test_a_redis_is_pruned_beside_the_databases_of_its_environment() -> None:
    backup: dict[str, object] = {"keep": {}}
    arguments = {"environments": {"prod": {"backup": backup}}, "redis_copies": {"shared": {"backup": backup}, "prod": {"backup": backup}}}
    assert [(name, kind) for name, kind, _backup in sources(arguments)] == [("prod", "dumps"), ("shared/redis", "redis"), ("prod/redis", "redis")]
    paths = [f"shaka/server/prod/{place}/20261126T100000Z/manifest" for place in ("7/dumps", "abc/redis", "7/base")]
    listed = [Listed(path, 1) for path in paths]
    assert [[origin.system_identifier for origin in by_origin(listed, "shaka", kind)] for kind in ("dumps", "redis")] == [["7"], ["abc"]]
    assert "another cluster" in hindrance(ORIGIN, (), "2", False, "cluster")
