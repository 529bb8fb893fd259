# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a CronJob is due: the last moment before another one, and the next. Pure.

The syntax is that of CronJob.spec.schedule (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax), as the rule `cron`
of the inventory lets it through. A moment that the time zone leaps over never comes; of one that comes twice the first counts.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Iterator

from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import UTC
from ansible_collections.shaka.platform.plugins.module_utils.cron_syntax import EVERY, FIELDS, MACROS, seconds_of

LONGEST = 366 * 9  # days from one 29 February to the next, at most


class CronSchedule:
    """A schedule in its time zone; ValueError for text that is not one, or where this machine does not know the zone."""

    def __init__(self, text: str, zone: str) -> None:
        self._every = _interval(text)
        fields = MACROS.get(text, "* * * * *" if self._every else text).split()
        if len(fields) != len(FIELDS):
            raise ValueError(f"'{text}' is not a cron schedule")
        values = [_values(field, *limits) for field, limits in zip(fields, FIELDS.values(), strict=True)]
        self._minutes, self._hours, self._days, self._months, self._weekdays = values
        # Where both name days, either is enough; a star without a step names none (github.com/robfig/cron, which Kubernetes reads them with).
        self._either = not any(part in ("*", "?", "*/1", "?/1") for field in (fields[2], fields[4]) for part in field.split(","))
        try:
            self._zone = zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"this machine does not know the time zone {zone}; install the package tzdata") from None

    def last(self, until: datetime.datetime) -> datetime.datetime | None:
        """The latest moment that is not after `until`; None where none ever was."""
        if self._every:
            return until - self._every
        return next((moment for moment in self._moments(until, -1) if moment <= until), None)

    def next(self, after: datetime.datetime) -> datetime.datetime | None:
        """The first moment after `after`. One that counts from its last run (@every) has none that its text tells: None."""
        return None if self._every else next((moment for moment in self._moments(after, 1) if moment > after), None)

    def _moments(self, around: datetime.datetime, step: int) -> Iterator[datetime.datetime]:
        """All of them from the day of `around` on, forwards (1) or backwards (-1), in UTC."""
        today = around.astimezone(self._zone).date()
        for passed in range(LONGEST):
            day = today + datetime.timedelta(days=step * passed)
            if day.month in self._months and self._on(day):
                yield from self._of(day, step)

    def _on(self, day: datetime.date) -> bool:
        of_month, of_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        return of_month or of_week if self._either else of_month and of_week

    def _of(self, day: datetime.date, step: int) -> Iterator[datetime.datetime]:
        for hour in self._hours[::step]:
            for minute in self._minutes[::step]:
                local = datetime.datetime(day.year, day.month, day.day, hour, minute, tzinfo=self._zone)
                moment = local.astimezone(UTC)
                if moment.astimezone(self._zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    yield moment


def _interval(text: str) -> datetime.timedelta | None:
    return datetime.timedelta(seconds=seconds_of(text)) if EVERY.fullmatch(text) else None


def _values(field: str, low: int, high: int, names: tuple[str, ...]) -> list[int]:
    """The numbers of a field, sorted; ValueError for text that has none."""
    found: set[int] = set()
    for part in field.lower().split(","):
        span, _slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            begin, end = low, high
        else:
            begin = _number(first, names, low)
            end = _number(last, names, low) if dash else high if step else begin
        found.update(range(begin, end + 1, int(step or 1)))
    return sorted(found)


def _number(text: str, names: tuple[str, ...], low: int) -> int:
    return names.index(text) + low if text in names else int(text)
