# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an environment's WAL is archived in time: what its pod `postgres-wal` says of itself, and the verdict. The verdict is pure."""

from __future__ import annotations

import calendar
import json
import time
from typing import NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment

DEPLOYMENT = "postgres-wal"
STATUS = "/work/status"  # written by roles/backup/files/wal.sh after each round
STALE = 180.0  # seconds without a round; one is at most half as long
DAY = 86400


class ArchiveState(NamedTuple):
    """What the pod says. Times in seconds since the epoch; `covered` 0 and `base` '' where there is none yet."""

    at: float
    covered: float
    lag: int
    room: int  # bytes of WAL that Postgres can still keep for it; -1 is without bound
    base: str  # the newest base backup that it knows, by its stamp
    making_base: bool
    problem: str


def ask(kubectl: Kubectl, env: Environment) -> tuple[ArchiveState | None, str]:
    """Its state, or why there is none. (None, '') where nothing is archived."""
    if not env["backup"]["point_in_time"]["enabled"]:
        return None, ""
    ok, output = kubectl.execute(env["namespace"], f"deployment/{DEPLOYMENT}", "cat", STATUS)
    return read(output) if ok else (None, f"{DEPLOYMENT} does not answer: {output}")


def read(text: str) -> tuple[ArchiveState | None, str]:
    try:
        raw = json.loads(text)
        return ArchiveState(
            float(raw["at"]),
            float(raw["covered"]),
            int(raw["lag"]),
            int(raw["room"]),
            str(raw["base"]),
            bool(raw["making_base"]),
            str(raw["problem"]),
        ), ""
    except (KeyError, TypeError, ValueError) as error:
        return None, f"{DEPLOYMENT} says something else than expected: {type(error).__name__} {error}"


def verdict(env: Environment, state: ArchiveState | None, problem: str, now: float) -> tuple[bool, str]:
    """Whether all is archived that should be, and in words."""
    if state is None:
        return not problem, problem or "off"
    lag = state.lag + round(max(now - state.at, 0))
    most = env["backup"]["point_in_time"]["max_lag_seconds"]
    if now - state.at > STALE:
        return False, f"{DEPLOYMENT} has not looked for WAL for {round(now - state.at)} s"
    if state.problem or state.lag > most:
        room = "" if state.room < 0 else f"; Postgres keeps {state.room / 2**20:.0f} MiB more for it"
        return False, f"nothing archived for {lag} s, at most {most} s allowed: {state.problem or 'more is written than is sent'}{room}"
    until = time.strftime("%H:%M:%SZ", time.gmtime(state.covered))
    if not state.base:
        text = f"WAL to {until}, but no base backup yet: no moment can be recovered"
        return state.making_base, f"{text}; one is being made" if state.making_base else text
    age = now - calendar.timegm(time.strptime(state.base, "%Y%m%dT%H%M%SZ"))
    return True, f"to {until}, base backup {f'{age / DAY:.0f} d' if age >= DAY else f'{age / 3600:.0f} h'} old"
