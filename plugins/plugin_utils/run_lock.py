# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock that one run at a time has on a server: the command that holds it there, and what another run says. Pure.

flock(1) holds it for as long as a command runs, whose end is the end of its connection. So the lock of a run that was killed is free at once, without
a time after which somebody may take it. Only root can open the directory: nobody else can hold the lock.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

PLACE = "/run/shaka"
HELD = 75  # flock's exit code when another holds it (EX_TEMPFAIL)
GONE = (66, 76)  # the directory went with its holder: before flock opened it (EX_NOINPUT), or while it waited
TRIES = 5  # of runs that begin just as others end
PATIENCE = 3  # seconds for a run that has just ended to let go


def reading() -> str:
    """A shell command that prints who has the lock."""
    return f"cat {shlex.quote(PLACE)}/run.json"


def holding(info: Mapping[str, str], until: str) -> str:
    """A shell command that has the lock until the command `until` ends. Nothing is left of it, so that a reset leaves nothing either.

    :arg info: who it is; what `refusal` needs.
    """
    place, holder = shlex.quote(PLACE), shlex.quote(f"{PLACE}/run.json")
    inner = f'printf %s "$1" 2>/dev/null > {holder} || exit {GONE[1]}; {until}; rm -f {holder}; rmdir {place}'
    flock = f"flock --wait {PATIENCE} --conflict-exit-code {HELD} {place} sh -c {shlex.quote(inner)} - {shlex.quote(json.dumps(info))}"
    again = " | ".join(map(str, GONE))
    tries = " ".join(map(str, range(TRIES)))
    return f"for try in {tries}; do install -d -m 0700 {place} && {flock}; ended=$?; case $ended in {again}) ;; *) break ;; esac; done; exit $ended"


def holder_of(text: str) -> dict[str, str]:
    """Who has the lock, from the file that he wrote; empty when that cannot be read."""
    try:
        info = json.loads(text)
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}


def refusal(info: Mapping[str, str]) -> str:
    """Why this run does not begin."""
    if not info:
        return "another run works on this server, and does not say whose it is; wait for its end, and run this again"
    return (
        f"another run works on this server: {info.get('playbook')} of {info.get('user')} on {info.get('host')}, process {info.get('pid')}, since "
        f"{info.get('since')}. Nothing was changed. Wait for its end, or end that process: its lock is free then, and this run can begin at once. "
        "drift, verify and --check do not need the lock"
    )
