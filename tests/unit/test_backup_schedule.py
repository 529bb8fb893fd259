"""When a backup was due last, and is due next."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup.schedule import CronSchedule


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text + "+00:00")


@pytest.mark.parametrize(
    ("schedule", "zone", "now", "last", "following"),
    [
        ("0 2 * * *", "Etc/UTC", "2026-11-26T01:59", "2026-11-25T02:00", "2026-11-26T02:00"),
        ("0 2 * * *", "Etc/UTC", "2026-11-26T02:00", "2026-11-26T02:00", "2026-11-27T02:00"),
        ("0 2 * * *", "America/Sao_Paulo", "2026-11-26T04:59", "2026-11-25T05:00", "2026-11-26T05:00"),
        ("0 3 * * 0", "Etc/UTC", "2026-11-26T12:00", "2026-11-22T03:00", "2026-11-29T03:00"),  # a Thursday between two Sundays
        ("*/20 * * * *", "Etc/UTC", "2026-11-26T12:39", "2026-11-26T12:20", "2026-11-26T12:40"),
        ("30 1,13 * * mon-fri", "Etc/UTC", "2026-11-28T12:00", "2026-11-27T13:30", "2026-11-30T01:30"),
        ("0 2 29 2 *", "Etc/UTC", "2026-11-26T12:00", "2024-02-29T02:00", "2028-02-29T02:00"),
        ("0 2 1 * fri", "Etc/UTC", "2026-11-26T12:00", "2026-11-20T02:00", "2026-11-27T02:00"),  # either day
        ("0 2 */2 * fri", "Etc/UTC", "2026-11-26T12:00", "2026-11-25T02:00", "2026-11-27T02:00"),  # a star with a step names days
        ("@weekly", "Etc/UTC", "2026-11-26T12:00", "2026-11-22T00:00", "2026-11-29T00:00"),
        ("15 5/8 * * *", "Etc/UTC", "2026-11-26T12:00", "2026-11-26T05:15", "2026-11-26T13:15"),
        # 02:30 does not exist on 29 March 2026 in Berlin, and comes twice on 25 October
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T01:30", "2026-03-30T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T12:00", "2026-10-25T00:30", "2026-10-26T01:30"),
    ],
)
def test_the_moments_before_and_after(schedule: str, zone: str, now: str, last: str, following: str) -> None:
    found = CronSchedule(schedule, zone)
    assert (found.last(at(now)), found.next(at(now))) == (at(last), at(following))


@pytest.mark.parametrize(
    ("schedule", "last"), [("@every 1h30m", "2026-11-26T10:30"), ("@every 120s", "2026-11-26T11:58"), ("@every 1.5h", "2026-11-26T10:30")]
)
def test_an_interval_counts_from_its_last_run(schedule: str, last: str) -> None:
    found = CronSchedule(schedule, "Etc/UTC")
    assert found.last(at("2026-11-26T12:00")) == at(last)
    assert found.next(at("2026-11-26T12:00")) is None


def test_a_day_that_never_comes_ends() -> None:
    assert CronSchedule("0 2 31 2 *", "Etc/UTC").last(at("2026-11-26T12:00")) is None


@pytest.mark.parametrize(("schedule", "zone", "words"), [("0 2 * *", "Etc/UTC", "not a cron schedule"), ("0 2 * * *", "Mars/Base", "Mars/Base")])
def test_what_cannot_be_told_is_said(schedule: str, zone: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CronSchedule(schedule, zone)
