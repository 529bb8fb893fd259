"""Which moments base backups and pieces of WAL bring back."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup import manifest, wal
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Origin
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import WalStore, choose, requested, retired
from ansible_collections.shaka.platform.plugins.module_utils.backup.wal import BaseBackup, WalPiece

SIZE = 2**24
WHOLE = f"{0:08X}-{SIZE:08X}"


def at(minute: int, second: int = 0) -> datetime.datetime:
    return datetime.datetime(2026, 11, 26, 10, minute, second, tzinfo=datetime.UTC)


def base(minute: int, begin: str, end: str, timeline: int = 1) -> BaseBackup:
    return BaseBackup(f"20261126T10{minute:02}00Z", at(minute), timeline, wal.position(begin), wal.position(end), SIZE)


def piece(segment: int, span: str, minute: int, more: bool = False, timeline: int = 1, log: int = 0) -> str:
    return f"{timeline:08X}{log:08X}{segment:08X}.{span}.20261126T10{minute:02}00Z{'.more' if more else ''}.age"


def pieces(*names: str) -> list[WalPiece]:
    found = [wal.piece(name) for name in names]
    assert None not in found
    return [item for item in found if item]


# Segment 3 in three pieces, then whole; segment 4 in two; nothing was written after 10:05.
FIRST = base(1, "0/3000028", "0/3000100")
STREAM = [
    piece(3, "00000000-00000200", 2), piece(3, "00000200-00800000", 3), piece(3, f"00800000-{SIZE:08X}", 4, more=True), piece(3, WHOLE, 4, more=True),
    piece(4, "00000000-00000050", 4), piece(4, "00000050-00000090", 5), piece(4, "00000090-00000090", 10),
]  # fmt: skip


def test_positions_are_lsns() -> None:
    assert wal.lsn(wal.position("16/B374D848")) == "16/B374D848"
    with pytest.raises(ValueError, match="not an LSN"):
        wal.position("16B374D848")


@pytest.mark.parametrize(
    "name",
    ["000000010000000000000003", "000000010000000000000003.age", "000000010000000000000003.00000200-00000100.20261126T100000Z.age",
     "000000010000000000000003.00000000-00000100.yesterday.age", "00000002.history.age"],
)  # fmt: skip
def test_objects_of_others_are_no_wal(name: str) -> None:
    assert wal.piece(name) is None


def test_a_piece_has_its_place_in_all_of_wal() -> None:
    (item,) = pieces(piece(255, "00000010-00000020", 1, log=2))
    assert [wal.lsn(place) for place in item.span(SIZE)] == ["2/FF000010", "2/FF000020"]
    assert wal.lsn(pieces(piece(255, WHOLE, 1, log=2))[0].span(SIZE)[1]) == "3/0"


def test_wal_without_a_gap_goes_until_the_last_moment_that_is_known() -> None:
    way = wal.reach(FIRST, pieces(*STREAM))
    assert [item.name for item in way.pieces] == [STREAM[3], STREAM[4], STREAM[5]], "a whole segment in place of its pieces"
    assert (wal.lsn(way.end), way.until, way.usable) == ("0/4000090", at(10), True)
    assert wal.reach(FIRST, reversed(pieces(*STREAM))) == way, "in any order"


@pytest.mark.parametrize(
    ("lost", "until", "usable"),
    [
        ([4], at(3), True),  # the piece after segment 3: of its last part it is not known until when it holds all
        ([5], at(4), True),
        ([1, 3], at(2), True),
        ([0, 3], wal.NEVER, False),  # what makes the base backup consistent
        ([6], at(5), True),
        ([0, 1, 2, 3, 4, 5, 6], wal.NEVER, False),
    ],
)
def test_a_gap_ends_what_can_be_recovered(lost: list[int], until: datetime.datetime, usable: bool) -> None:
    way = wal.reach(FIRST, pieces(*(name for place, name in enumerate(STREAM) if place not in lost)))
    assert (way.until, way.usable) == (until, usable)


def test_a_piece_sent_again_with_more_in_it_is_a_way_on() -> None:
    """The receiver ended between a piece and the note of it; then it began again at that piece."""
    sent = pieces(
        piece(3, "00000000-00000200", 2), piece(3, "00000200-00000400", 3), piece(3, "00000200-00000600", 4), piece(3, "00000600-00000700", 5)
    )
    way = wal.reach(FIRST, sent)
    assert [item.end for item in way.pieces] == [0x200, 0x600, 0x700] and way.until == at(5)


def test_a_long_dead_end_is_not_taken() -> None:
    """A stream that was broken off, and a later one over the same segment."""
    way = wal.reach(FIRST, pieces(piece(3, "00000000-00000900", 2), piece(3, "00000000-00000200", 3), piece(3, "00000200-00001000", 4)))
    assert [item.end for item in way.pieces] == [0x200, 0x1000]


def test_a_recovery_takes_the_newest_base_backup_before_the_moment_and_no_more_wal_than_it_reads() -> None:
    second = base(4, "0/4000028", "0/4000040")
    way = wal.recovery(at(4, 50), [FIRST, second], pieces(*STREAM))
    assert way.base == second and [item.name for item in way.pieces] == STREAM[4:6]
    assert wal.recovery(at(3, 59), [FIRST, second], pieces(*STREAM)).base == FIRST
    early = wal.recovery(at(1, 20), [FIRST], pieces(*(STREAM[:3] + STREAM[4:])))
    assert [item.name for item in early.pieces] == STREAM[:1], "10:02 is known to hold all of 10:01:20, and what was committed meanwhile"
    assert wal.recovery(at(10), [FIRST], pieces(*STREAM)).until == at(10)


def test_an_older_base_backup_serves_where_the_newest_has_a_gap_behind_it() -> None:
    second = base(4, "0/5000028", "0/5000040")  # its WAL was never archived
    assert wal.recovery(at(5), [FIRST, second], pieces(*STREAM)).base == FIRST


@pytest.mark.parametrize(
    ("when", "bases", "why"),
    [
        (at(0), [FIRST], "10:00:00Z cannot be recovered.*from 2026-11-26T10:01:00Z to 2026-11-26T10:10:00Z"),
        (at(10, 1), [FIRST], "10:10:01Z cannot be recovered"),
        (at(5), [], "there is no base backup"),
        (at(5), [base(1, "0/3000028", "0/3000100", timeline=2)], "there is no base backup with WAL after it"),
    ],
)
def test_what_cannot_be_recovered_says_what_can(when: datetime.datetime, bases: list[BaseBackup], why: str) -> None:
    with pytest.raises(wal.Unrecoverable, match=why):
        wal.recovery(when, bases, pieces(*STREAM))


def test_windows_are_joined_where_they_meet() -> None:
    after_gap = [piece(9, "00000000-00000500", 22), piece(9, "00000500-00000600", 25)]
    bases = [FIRST, base(4, "0/4000028", "0/4000040"), base(20, "0/9000028", "0/9000040"), base(30, "0/A000028", "0/A000040")]
    assert wal.windows(bases, pieces(*STREAM, *after_gap)) == [(at(1), at(10)), (at(20), at(25))]


def test_what_no_recovery_needs() -> None:
    names = [piece(2, WHOLE, 1, more=True), *STREAM, piece(3, WHOLE, 1, more=True, timeline=2)]
    assert wal.superseded([FIRST], pieces(*names)) == [names[0], *STREAM[:3]]
    assert wal.superseded([base(4, "0/4000028", "0/4000040")], pieces(*names)) == names[:5]
    assert wal.superseded([], pieces(*names)) == []


RAW = {"timeline": 1, "begin": "0/3000028", "end": "0/3000100", "segment_size": SIZE}


def written(**changes: Any) -> manifest.Manifest:
    return manifest.Manifest(
        Origin("s", "prod", "1"), "base", "shaka", "c", "15.8", "20261126T100000Z", "2026-11-26T10:01:00Z", 60, (), more={"wal": {**RAW, **changes}}
    )


def test_a_base_backup_is_its_manifest() -> None:
    assert wal.base(written()) == BaseBackup("20261126T100000Z", at(1), 1, 0x3000028, 0x3000100, SIZE)


@pytest.mark.parametrize("changes", [{"begin": "3"}, {"end": "0/1"}, {"segment_size": 0}, {"segment_size": 2**24 + 1}, {"timeline": None}])
def test_a_manifest_without_sense_is_not_used(changes: dict[str, Any]) -> None:
    with pytest.raises(manifest.Unusable, match="20261126T100000Z"):
        wal.base(written(**changes))


def stored(*bases: BaseBackup, names: tuple[str, ...] = tuple(STREAM), flaws: tuple[str, ...] = ()) -> WalStore:
    manifests = {each.stamp: written() for each in bases}
    return WalStore(Origin("s", "prod", "1"), manifests, list(bases), pieces(*names), list(flaws))


SECOND = base(4, "0/4000028", "0/4000040")


@pytest.mark.parametrize(
    ("store", "keep", "goes"),
    [
        (stored(FIRST, SECOND), 2, ([], STREAM[:3])),
        (stored(FIRST, SECOND), 1, ([FIRST.stamp], STREAM[:4])),
        (stored(FIRST, SECOND, flaws=("a manifest is not authentic",)), 1, ([], [])),
        (stored(FIRST, base(20, "0/9000028", "0/9000040")), 1, ([], [])),  # the newest has no WAL yet
        (stored(), 1, ([], [])),
    ],
)
def test_what_goes_when_so_many_base_backups_stay(store: WalStore, keep: int, goes: tuple[list[str], list[str]]) -> None:
    assert retired(store, keep) == goes


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2026-11-26T10:05:00Z", at(5)), ("2026-11-26T07:05:00-0300", at(5)), ("latest", None)],
)
def test_a_moment_is_named_with_its_zone(text: str, moment: datetime.datetime | None) -> None:
    assert requested(text) == moment


@pytest.mark.parametrize("text", ["2026-11-26 10:05:00", "2026-11-26T10:05:00", "yesterday", ""])
def test_a_moment_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="2026-11-24T10:00:00Z"):
        requested(text)


def test_the_choice_is_the_postgres_that_had_the_moment() -> None:
    """A rebuilt server has another system identifier; what it lost is in the folder of the old one."""
    lost = stored(FIRST)
    rebuilt = WalStore(Origin("s", "prod", "2"), {"20261126T102000Z": written()}, [base(20, "0/9000028", "0/9000040")],
                       pieces(piece(9, "00000000-00000500", 22)))  # fmt: skip
    assert choose([rebuilt, lost], at(5)).store == lost and choose([rebuilt, lost], at(21)).store == rebuilt
    assert choose([lost, rebuilt], None).moment == at(22)
    with pytest.raises(wal.Unrecoverable, match=r"s/1 from .*10:10:00Z; s/2 from"):
        choose([lost, rebuilt], at(15))


@pytest.mark.parametrize("when", [at(5), None], ids=["a moment", "the latest"])
def test_of_two_that_ran_at_the_same_time_the_user_says_which(when: datetime.datetime | None) -> None:
    """As after a move, whose old server goes on archiving; the order of the list would say which it is."""
    first = stored(FIRST)
    old, new = WalStore(Origin("web1", "prod", "1"), first.manifests, first.bases, first.pieces), first
    for both in ([old, new], [new, old]):
        with pytest.raises(wal.Unrecoverable, match=r"2 Postgres were archived at .*restore_origin=.*web1/1"):
            choose(both, when)
    assert choose([old], when).store == old
