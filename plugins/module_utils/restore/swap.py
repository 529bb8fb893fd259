# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts restored databases in the place of the live ones: one transaction of renames, while a second connection ends the sessions in its way.

New sessions wait at the lock of the rename and find the restored database afterwards. PgBouncer is paused for that moment, so that its clients wait
instead of failing, and so that it does not take a refused login for a server that is down (server_login_retry: 15 s). It resumes by itself, also when
nobody is left to tell it to.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore import databases
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import RestorePlan
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import RefusedStatement, Superuser

ATTEMPTS = 3
LOCK_SECONDS = 5
ENDING_SECONDS = 8.0  # a rename waits 5 s for sessions to end
PAUSE_SECONDS = 30
# SIGUSR1 is PAUSE, SIGUSR2 is RESUME (pgbouncer(1)); the second comes by itself if nobody sends it
_PAUSE = f"kill -USR1 1; (sleep {PAUSE_SECONDS}; kill -USR2 1) > /dev/null 2>&1 < /dev/null &"
_RESUME = "kill -USR2 1"


class SwapRefused(Exception):
    """The swap did not happen: all databases are as they were. The text says who stands in the way."""


@dataclass(frozen=True)
class SwapResult:
    """How long the swap took, from the first session that was ended, and under which names the old databases are kept."""

    seconds: float
    kept: tuple[str, ...]


def swap(kubectl: Kubectl, plan: RestorePlan) -> SwapResult:
    """Raises SwapRefused, Unanswered."""
    superuser = Superuser(kubectl, plan.namespace)
    there = superuser.ask(databases.SERVER)["databases"]
    pairs = [(database.live, database.scratch, plan.before(database)) for database in plan.databases]
    live = [name for name, _new, _before in pairs if name in there]
    names = [*live, *plan.scratch_names]
    statements = databases.swap(pairs, live, LOCK_SECONDS)
    oids = {name: int(each["row"]["oid"]) for name, each in there.items()}
    ending = databases.end_sessions([oids[name] for name in live], [oids[name] for name in plan.scratch_names], ENDING_SECONDS)
    refused = ""
    for _number in range(ATTEMPTS):
        started = time.monotonic()
        poolers = _poolers(kubectl, plan.namespace)
        try:
            _each(kubectl, plan.namespace, poolers, _PAUSE)
            refused = _attempt(superuser, statements, ending)
        finally:
            _each(kubectl, plan.namespace, poolers, _RESUME)
        if not refused:
            return SwapResult(time.monotonic() - started, tuple(before for name, _new, before in pairs if name in live))
    raise SwapRefused(f"{refused} {ATTEMPTS} times; {who(superuser, names)}. Nothing was renamed: see to that, and run the restore again")


def _attempt(superuser: Superuser, statements: list[str], ending: str) -> str:
    """'' when it is done, else Postgres's refusal."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(superuser.run, [ending])  # if that fails, the rename's own error says what is wrong
        try:
            superuser.run_as_one(statements)
        except RefusedStatement as error:
            return str(error)
    return ""


def _poolers(kubectl: Kubectl, namespace: str) -> list[str]:
    listing = kubectl.find(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3Dpgbouncer") or {}
    return [pod["metadata"]["name"] for pod in listing.get("items") or [] if (pod.get("status") or {}).get("phase") == "Running"]


def _each(kubectl: Kubectl, namespace: str, pods: list[str], command: str) -> None:
    for pod in pods:
        kubectl.execute(namespace, pod, "sh", "-c", command)


def who(superuser: Superuser, names: list[str]) -> str:
    """Who is connected to these databases, in words."""
    found = superuser.ask(databases.sessions(names))
    if not found:
        return "nobody is connected to them now"
    shown = [
        f"{each['role']} ({each['application'] or 'no application name'}, process {each['pid']}, {each['state']} for {each['seconds']} s)"
        for each in found[:5]
    ]
    return f"connected are {', '.join(shown)}" + (f" and {len(found) - 5} more" if len(found) > 5 else "")
