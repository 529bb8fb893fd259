"""The records of releases: what is added, and to which one a rollback goes."""

from __future__ import annotations

import re

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.release import records
from ansible_collections.shaka.platform.plugins.module_utils.release.records import Record

A, B, C = (f"lab.local/api@sha256:{letter * 64}" for letter in "abc")


def history(*steps: tuple[str, str, str]) -> list[Record]:
    """Releases as (kind, image, state); each finds what ran before it."""
    found: list[Record] = []
    running = "lab.local/api:1"
    for kind, image, state in steps:
        found = records.begun(found, kind, image, running, "c0ffee", "rolling", "ana", "2026-11-27T00:00:00Z")
        found = records.changed(found, state=state)
        running = image if state == records.SUCCEEDED else running
    return found


GOOD = records.SUCCEEDED
TWO = history(("deploy", A, GOOD), ("deploy", B, GOOD))


@pytest.mark.parametrize(
    ("known", "running", "to", "image"),
    [
        (TWO, B, "", A),
        (TWO, B, "1", A),
        (TWO, B, "a" * 12, A),
        (TWO, B, "sha256:" + "a" * 64, A),
        (history(("deploy", A, GOOD)), A, "", "lab.local/api:1"),  # what ran before the first deploy
        (history(("deploy", A, GOOD), ("deploy", B, GOOD), ("deploy", C, "undone")), B, "", A),
        # a second rollback goes back one further, not forth again
        (history(("deploy", A, GOOD), ("deploy", B, GOOD), ("deploy", C, GOOD), ("rollback", B, GOOD)), B, "", A),
        # the same image once more, as a repeated CI job deploys it, is not what ran before
        (history(("deploy", A, GOOD), ("deploy", B, GOOD), ("deploy", B, GOOD)), B, "", A),
        (history(("deploy", A, GOOD), ("deploy", B, GOOD), ("rollback", A, GOOD), ("deploy", A, GOOD)), A, "", "lab.local/api:1"),
    ],
)
def test_a_rollback_finds_its_release(known: list[Record], running: str, to: str, image: str) -> None:
    assert records.target(known, running, to)["image"] == image


@pytest.mark.parametrize(
    ("known", "running", "to", "says"),
    [
        ([], A, "", "known: none"),
        (TWO, C, "", "was not brought by a deploy that is recorded"),
        (TWO, B, "7", "'7' is not a release that succeeded; known: 1 (api@aaaaaaaaaaaa), 2 (api@bbbbbbbbbbbb)"),
        (TWO, B, "2", "is what runs"),
        (TWO, C, "sha256:", "'sha256:' is not a release that succeeded"),  # a variable of CI that was empty
        (TWO, C, "sha256:b", "'sha256:b' is not a release that succeeded"),
        (history(("deploy", A, GOOD), ("deploy", C, "undone")), A, "2", "'2' is not a release that succeeded"),
    ],
)
def test_a_rollback_to_nowhere_says_what_there_is(known: list[Record], running: str, to: str, says: str) -> None:
    with pytest.raises(records.NoRelease, match=re.escape(says)):
        records.target(known, running, to)


def test_migrations_that_lie_between_are_named() -> None:
    known = records.changed(TWO, migration="done")
    assert records.migrations_since(known, A) == [2]
    assert records.migrations_since(known, B) == []
    again = records.begun(known, "deploy", A, B, "c0ffee", "rolling", "ana", "2026-11-27T00:00:00Z")
    tried = records.changed(again, state=records.UNDONE, migration="done")  # such as since it does not bear the database of B
    assert records.migrations_since(tried, A) == [2, 3] and records.migrations_since(tried, B) == [3]


def test_the_newest_record_without_an_end_is_under_way() -> None:
    assert records.underway(TWO) is None and records.underway([]) is None
    begun = records.begun(TWO, "deploy", C, B, "", "rolling", "ana", "2026-11-27T00:00:00Z")
    found = records.underway(begun)
    assert found and found["number"] == 3


@pytest.mark.parametrize(("running", "state"), [(C, records.SUCCEEDED), (B, records.INTERRUPTED)])
def test_a_killed_release_ends_as_what_runs_says(running: str, state: str) -> None:
    begun = records.begun(TWO, "deploy", C, B, "", "rolling", "ana", "2026-11-27T00:00:00Z")
    assert records.settled(begun, running, "2026-11-27T00:05:00Z")[-1]["state"] == state
    assert records.settled(TWO, running, "2026-11-27T00:05:00Z") == TWO


def test_records_survive_writing_and_the_oldest_go() -> None:
    many = [record for _number in range(40) for record in TWO]
    kept = records.load(records.dump(many))
    assert kept == many[-records.KEPT :]


@pytest.mark.parametrize("text", ["{}", '[{"number": 1}]', "nonsense"])
def test_what_is_not_a_list_of_releases_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a list of releases|Expecting value"):
        records.load(text)


def test_the_table_shows_which_one_runs() -> None:
    first, second = records.rows(history(("deploy", A, GOOD), ("deploy", B, "undone")), A)
    assert first[-1] == "undone" and second[-1] == "succeeded, runs"
