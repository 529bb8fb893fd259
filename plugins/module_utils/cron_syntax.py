# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The words of CronJob.spec.schedule (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax)."""

from __future__ import annotations

import re

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# Durations of Go, as far as they make sense here: 6h, 1h30m, 1.5h
DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([hms])")
SECONDS = {"h": 3600, "m": 60, "s": 1}
EVERY = re.compile(rf"@every (?:{DURATION.pattern})+")
# name -> lowest, highest, words for numbers
FIELDS = {
    "minute": (0, 59, ()),
    "hour": (0, 23, ()),
    "day of month": (1, 31, ()),
    "month": (1, 12, tuple("jan feb mar apr may jun jul aug sep oct nov dec".split())),
    "day of week": (0, 6, tuple("sun mon tue wed thu fri sat".split())),  # not 7: the API server refuses it
}


def seconds_of(every: str) -> float:
    """The seconds between two runs of `@every ...`."""
    return sum(float(number) * SECONDS[unit] for number, unit in DURATION.findall(every))
