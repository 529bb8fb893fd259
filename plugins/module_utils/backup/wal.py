# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which moments can be recovered from base backups and archived WAL, and what is needed for one of them. Pure.

WAL is archived in pieces, as it is written, each in an object of its own:

    wal/SEGMENT.START-END.STAMP.age         bytes START to END (hexadecimal) of a segment; all that was committed before STAMP is in WAL up to END
    wal/SEGMENT.START-END.STAMP.more.age    the same bytes, of which that is not known: when they were read there was more

A segment that went up in several pieces is archived again as one once it is complete, so that a recovery fetches few objects. A piece without bytes
says that nothing was written since. A position is a byte in the whole of WAL, as Postgres's LSN is.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import ENCRYPTED, STAMP, UTC, moment
from ansible_collections.shaka.platform.plugins.module_utils.backup.manifest import Manifest, Unusable

_NAME = re.compile(rf"([0-9A-F]{{24}})\.([0-9A-F]{{8}})-([0-9A-F]{{8}})\.({STAMP.pattern})(\.more)?{re.escape(ENCRYPTED)}")
_LSN = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})")
# A commit is in WAL a little after the time that it carries: so much more WAL is fetched where there is some.
MARGIN = datetime.timedelta(seconds=30)
NEVER = datetime.datetime.min.replace(tzinfo=UTC)
SHOWN = "%Y-%m-%dT%H:%M:%SZ"


class Unrecoverable(Exception):
    """That moment cannot be recovered; the text says why, and which moments can."""


def position(lsn: str) -> int:
    """The byte that an LSN such as 0/17420F0 names."""
    match = _LSN.fullmatch(lsn)
    if not match:
        raise ValueError(f"'{lsn}' is not an LSN such as 0/17420F0")
    return int(match[1], 16) << 32 | int(match[2], 16)


def lsn(place: int) -> str:
    """A position as Postgres writes it."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


@dataclass(frozen=True, order=True)
class WalPiece:
    """Bytes of a segment. `covers`: the moment before which all commits are in WAL up to its end, where that is known."""

    segment: str
    start: int
    end: int
    name: str
    covers: datetime.datetime | None

    @property
    def timeline(self) -> int:
        return int(self.segment[:8], 16)

    def span(self, size: int) -> tuple[int, int]:
        """Its first position, and the one after its last, with segments of so many bytes."""
        first = (int(self.segment[8:16], 16) << 32) + int(self.segment[16:], 16) * size
        return first + self.start, first + self.end


def piece(name: str) -> WalPiece | None:
    """What an object's name says; None for an object of others."""
    match = _NAME.fullmatch(name)
    if not match or int(match[2], 16) > int(match[3], 16):
        return None
    return WalPiece(match[1], int(match[2], 16), int(match[3], 16), name, None if match[5] else moment(match[4]))


@dataclass(frozen=True)
class BaseBackup:
    """A copy of Postgres's files, which WAL from `begin` to `end` makes consistent, as it was at `finished`."""

    stamp: str
    finished: datetime.datetime
    timeline: int
    begin: int
    end: int
    segment_size: int


def base(manifest: Manifest) -> BaseBackup:
    """A base backup by its manifest; raises Unusable."""
    raw: Mapping[str, Any] = manifest.more.get("wal") or {}
    try:
        finished = datetime.datetime.strptime(manifest.finished, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        size = int(raw["segment_size"])
        found = BaseBackup(manifest.stamp, finished, int(raw["timeline"]), position(raw["begin"]), position(raw["end"]), size)
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable(f"the manifest of the base backup {manifest.stamp} cannot be read: {type(error).__name__} {error}") from None
    if not 0 < found.begin <= found.end or size < 2**20 or size & (size - 1):
        raise Unusable(f"the manifest of the base backup {manifest.stamp} has positions that cannot be: {raw}")
    return found


@dataclass(frozen=True)
class WalReach:
    """WAL without a gap after a base backup: its pieces in their order, where they end, and the moment before which all commits are in them."""

    base: BaseBackup
    pieces: tuple[WalPiece, ...]
    end: int
    until: datetime.datetime

    @property
    def usable(self) -> bool:
        return self.end >= self.base.end and self.until >= self.base.finished


def reach(of: BaseBackup, pieces: Iterable[WalPiece], when: datetime.datetime | None = None) -> WalReach:
    """How far WAL goes after a base backup without a gap, in as few pieces as there are.

    :arg when: leave out what a recovery to that moment does not read.
    """
    spans = sorted(((item.span(of.segment_size), item) for item in pieces if item.timeline == of.timeline), reverse=True)
    furthest: dict[int, tuple[int, int, WalPiece]] = {}  # begin -> (where the best way on from here ends, the end of its first piece, that piece)
    for (begin, end), item in spans:
        if begin < end:
            way = (furthest[end][0] if end in furthest else end, end, item)
            furthest[begin] = max(furthest.get(begin, way), way)
    first = of.begin - of.begin % of.segment_size
    known = sorted((end, item.covers) for (_begin, end), item in spans if item.covers and end >= of.begin)
    last = max(of.end, next((end for end, covers in known if when and covers >= when + MARGIN), sys.maxsize))
    place, chosen = first, []
    while place in furthest and place < last:
        _last, place, item = furthest[place]
        chosen.append(item)
    return WalReach(of, tuple(chosen), place, max((covers for end, covers in known if end <= place), default=NEVER))


def windows(bases: Iterable[BaseBackup], pieces: Collection[WalPiece]) -> list[tuple[datetime.datetime, datetime.datetime]]:
    """The spans of time that can be recovered, oldest first, joined where they meet."""
    found: list[tuple[datetime.datetime, datetime.datetime]] = []
    for each in sorted(bases, key=lambda each: each.finished):
        way = reach(each, pieces)
        if way.usable and found and each.finished <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], way.until)
        elif way.usable:
            found.append((each.finished, way.until))
    return found


def recovery(when: datetime.datetime, bases: Iterable[BaseBackup], pieces: Collection[WalPiece]) -> WalReach:
    """What is needed to recover a moment: the newest base backup before it that WAL leads on from, and that WAL; raises Unrecoverable."""
    bases = list(bases)
    for each in sorted((each for each in bases if each.finished <= when), key=lambda each: each.finished, reverse=True):
        way = reach(each, pieces, when)
        if way.usable and way.until >= when:
            return way
    spans = windows(bases, pieces)
    if not spans:
        raise Unrecoverable("no moment can be recovered: there is no base backup with WAL after it (docs/point-in-time.md)")
    raise Unrecoverable(f"{when:{SHOWN}} cannot be recovered, for there is no WAL of it or no base backup before it; what can be: {shown(spans)}")


def shown(spans: Iterable[tuple[datetime.datetime, datetime.datetime]]) -> str:
    """Spans of time for a person."""
    return "; ".join(f"from {since:{SHOWN}} to {until:{SHOWN}}" for since, until in spans)


def superseded(bases: Collection[BaseBackup], pieces: Collection[WalPiece]) -> list[str]:
    """Names of the WAL that no recovery needs: before the oldest of these base backups, or archived again as part of a whole segment."""
    first: dict[int, int] = {}
    for each in bases:
        first[each.timeline] = min(first.get(each.timeline, each.begin), each.begin)
    sizes = {each.timeline: each.segment_size for each in bases}
    known = [item for item in pieces if item.timeline in sizes]  # without a base backup of its timeline it may still be needed
    whole = {item.segment for item in known if item.end - item.start == sizes[item.timeline]}
    last = max((item.segment for item in known if item.covers), default="")  # says until when all is there
    return [
        item.name
        for item in known
        if item.span(size := sizes[item.timeline])[1] <= first[item.timeline] // size * size
        or (item.segment in whole and item.end - item.start < size and item.segment < last)
    ]
