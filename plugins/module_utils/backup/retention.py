# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which backups go, and why each other one stays. Pure: what lies in the bucket in, a plan out."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Origin, moment

YOUNG = datetime.timedelta(hours=48)  # so that a second backup of a day does not take away the one of before a migration
ABANDONED = datetime.timedelta(days=1)  # no dump takes longer: one that has no manifest by then never gets one
MUCH_SMALLER = 0.5  # of the one before: something is missing from the newest, and older ones may be the only whole ones
BY_ITSELF = frozenset({"scheduled", "base"})  # kinds that the schedule makes, and that retention may remove


@dataclass(frozen=True)
class Spans:
    """How many backups of each span are kept, and how many at least whatever the spans say."""

    daily: int
    weekly: int
    monthly: int
    floor: int = 3


@dataclass(frozen=True)
class StoredDump:
    """A backup in the bucket. `kind` is '' where its manifest is missing, `flaw` says why a manifest cannot be trusted."""

    stamp: str
    kind: str
    bytes: int = 0
    flaw: str = ""


@dataclass(frozen=True)
class RetentionVerdict:
    """What happens to one backup, and why."""

    stored: StoredDump
    goes: bool
    why: str


def plan(stored: Iterable[StoredDump], kept: Spans, now: datetime.datetime, named: Collection[str] = ()) -> list[RetentionVerdict]:
    """The verdict on each backup of one origin, the newest first.

    :arg named: stamps that the user wants removed. Only so do backups go that somebody took by hand, or that a restore took before it began.
    """
    newest_first = sorted(stored, key=lambda each: each.stamp, reverse=True)
    whole = [each for each in newest_first if each.kind and not each.flaw]
    reasons = _spans([each for each in whole if each.kind in BY_ITSELF], kept)
    least = {each.stamp for each in whole[: kept.floor]}
    verdicts = []
    for each in newest_first:
        age = now - moment(each.stamp)
        if each.flaw:
            verdicts.append(RetentionVerdict(each, False, f"kept: {each.flaw}"))
        elif not each.kind:
            gone = age > ABANDONED
            verdicts.append(RetentionVerdict(each, gone, "no manifest: it was never finished" if gone else "kept: it may still be running"))
        elif each.stamp in least:
            why = f"kept: one of the newest {kept.floor}, which always stay" if each.stamp in named else f"kept: one of the newest {kept.floor}"
            verdicts.append(RetentionVerdict(each, False, why))
        elif each.stamp in named:
            verdicts.append(RetentionVerdict(each, True, "named by backup_delete"))
        elif each.kind not in BY_ITSELF:
            verdicts.append(RetentionVerdict(each, False, f"kept: {each.kind}, until it is named by backup_delete"))
        elif age < YOUNG:
            verdicts.append(RetentionVerdict(each, False, f"kept: younger than {YOUNG.days * 24} h"))
        elif each.stamp in reasons:
            verdicts.append(RetentionVerdict(each, False, f"kept: {reasons[each.stamp]}"))
        else:
            verdicts.append(RetentionVerdict(each, True, "in no span that is kept"))
    return verdicts


def _spans(newest_first: Sequence[StoredDump], kept: Spans) -> dict[str, str]:
    """Stamp -> which span it is the last backup of, for as many days, ISO weeks and months as are kept that have one."""
    reasons: dict[str, str] = {}
    for kind, count in (("day", kept.daily), ("week", kept.weekly), ("month", kept.monthly)):
        seen: set[tuple[int, ...]] = set()
        for each in newest_first:
            day = moment(each.stamp).date()
            span = {"day": (day.toordinal(),), "week": tuple(day.isocalendar())[:2], "month": (day.year, day.month)}[kind]
            if span not in seen and len(seen) < count:
                seen.add(span)
                reasons.setdefault(each.stamp, f"the last of its {kind}")
    return reasons


def hindrance(origin: Origin, stored: Iterable[StoredDump], running: str | None, failed: bool, what: str = "Postgres") -> str:
    """Why nothing of an origin may be removed now; '' when it may.

    :arg running: system identifier of the Postgres that runs there; None where nothing is known of it.
    :arg failed: whether the last verify found these backups wrong.
    :arg what: has that identifier; of a Redis its cluster.
    """
    if failed:
        return f"verify found the backups of {origin.environment} wrong; mend them first"
    if running is None:
        return f"nothing is known of the {what} that runs there now"
    if running != origin.system_identifier:
        return f"they are of another {what} than the one that runs there now ({running}); remove that folder by hand once it is not needed"
    whole = sorted((each for each in stored if each.kind in BY_ITSELF and not each.flaw), key=lambda each: each.stamp)[-2:]
    if len(whole) == 2 and whole[1].bytes < whole[0].bytes * MUCH_SMALLER:
        sizes = f"{whole[1].bytes} bytes, {whole[0].stamp} had {whole[0].bytes}"
        return f"the newest, {whole[1].stamp}, is much smaller than the one before ({sizes}); find out what is missing"
    return ""
