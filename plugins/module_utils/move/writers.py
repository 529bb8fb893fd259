# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stops what writes into the environments' databases, and starts it again as it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import POOLER
from ansible_collections.shaka.platform.plugins.module_utils.data.sql import ADMIN
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered, until_answered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.module_utils.move import record
from ansible_collections.shaka.platform.plugins.module_utils.restore import databases
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import Superuser

# Application names of sessions that write nothing there: PGAPPNAME in the scripts of the roles backup and restore, and verify's own
READERS = ("backup", "pg_basebackup", "postgres-restore", "verify", "wal_archive")
CLOCK = "cronjobs/"  # begins the name of what runs by the clock
END_SECONDS = 120  # for pods to end
QUIET_SECONDS = 30  # for sessions to end after them


class StillWritten(Exception):
    """Somebody else than the platform's applications is connected, or a pod does not end; the text says who."""


def workloads(kubectl: Kubectl, environments: Mapping[str, Environment]) -> Iterator[tuple[str, int]]:
    """NAMESPACE/NAME and replicas of each application, of what a release tries beside it, and of each pool of connections. Raises Unanswered.

    One that runs by the clock is NAMESPACE/cronjobs/NAME, with 0 where it is suspended.
    """
    for env in environments.values():
        namespace, apps = env["namespace"], env["apps"].values()
        for name in (*(label for app in apps for label in app["labels"] if not app["schedule"]), POOLER):
            if found := kubectl.find(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"):
                yield f"{namespace}/{name}", int(found["spec"].get("replicas", 1))
        for name in (app["name"] for app in apps if app["schedule"]):
            if found := kubectl.find(f"/apis/batch/v1/namespaces/{namespace}/cronjobs/{name}"):
                yield f"{namespace}/{CLOCK}{name}", 0 if found["spec"].get("suspend") else 1


def stop(kubectl: Kubectl, environments: Mapping[str, Environment], now: str) -> tuple[list[str], str]:
    """What was stopped by this call, and since when all of it is; noted before it is done. Raises StillWritten, Unanswered."""
    known = record.read(kubectl)
    running = {place: count for place, count in workloads(kubectl, environments) if count}
    replicas = {**json.loads(known.get(record.REPLICAS, "{}")), **running}
    stopped = known.get(record.STOPPED) or now
    known = {key: value for key, value in known.items() if key not in (record.COMPLETE, record.COUNTED)}  # it is not the one that has everything
    record.write(kubectl, {**known, record.REPLICAS: json.dumps(replicas), record.STOPPED: stopped})
    for place in running:
        scale(kubectl, place, 0)
    for place in replicas:
        _await_end(kubectl, place, time.monotonic() + END_SECONDS)
    _await_quiet(kubectl, environments, time.monotonic() + QUIET_SECONDS)
    return sorted(running), stopped


def start(kubectl: Kubectl, wait_seconds: int) -> list[str]:
    """What was started: all that a call of `stop` has stopped, with as many replicas as it had. Raises Unanswered."""
    known = record.read(kubectl)
    replicas: dict[str, int] = json.loads(known.get(record.REPLICAS, "{}"))
    for place, count in replicas.items():
        scale(kubectl, place, count)
    for place in replicas:
        namespace, _slash, name = place.partition("/")
        if name.startswith(CLOCK):
            continue
        ok, output = kubectl.run("rollout", "status", f"deployment/{name}", f"--namespace={namespace}", f"--timeout={wait_seconds}s")
        if not ok:
            raise Unanswered(f"{place} was started and is not ready: {output}")
    record.write(kubectl, {key: value for key, value in known.items() if key not in (record.REPLICAS, record.STOPPED)})
    return sorted(replicas)


def scale(kubectl: Kubectl, place: str, replicas: int) -> None:
    """What runs by the clock is suspended, or goes on. Raises Unanswered."""
    namespace, _slash, name = place.partition("/")
    if name.startswith(CLOCK):
        patch = json.dumps({"spec": {"suspend": None if replicas else True}})
        ok, output = kubectl.run("patch", name, f"--namespace={namespace}", "--type=merge", f"--patch={patch}")
    else:
        ok, output = kubectl.run("scale", f"deployment/{name}", f"--namespace={namespace}", f"--replicas={replicas}")
    if not ok:
        raise Unanswered(f"{place}: {output}")


def _await_end(kubectl: Kubectl, place: str, deadline: float) -> None:
    namespace, _slash, name = place.partition("/")

    def lacking() -> str:
        found = kubectl.find(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{name.removeprefix(CLOCK)}") or {}
        pods = [pod for pod in found.get("items") or [] if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
        return f"{place} was stopped {END_SECONDS} s ago, and this pod has not ended: {pods[0]['metadata']['name']}" if pods else ""

    _await(lacking, deadline)


def _await_quiet(kubectl: Kubectl, environments: Mapping[str, Environment], deadline: float) -> None:
    def lacking() -> str:
        found = [f"{env['name']}: {who}" for env in environments.values() for who in sessions(kubectl, env)]
        return f"the applications are stopped, and somebody is still connected to Postgres: {'; '.join(found)}. End that first" if found else ""

    _await(lacking, deadline)


def _await(lacking: Callable[[], str], deadline: float) -> None:
    """Until nothing is lacking; raises StillWritten with what is, at the deadline."""
    while text := lacking():
        if time.monotonic() > deadline:
            raise StillWritten(text)
        time.sleep(PAUSE)


def sessions(kubectl: Kubectl, env: Environment) -> list[str]:
    """Who could still write, in words. Raises Unanswered."""
    superuser = Superuser(kubectl, env["namespace"])
    declared = [env["postgres"]["database"], *env["postgres"]["databases"]]
    found: list[dict[str, Any]] = until_answered(lambda: superuser.ask(databases.sessions(declared)), time.monotonic() + QUIET_SECONDS)
    others = [each for each in found if each["role"] != ADMIN and each["application"] not in READERS]
    return [f"{each['role']} in {each['database']} ({each['application'] or 'no application name'}, process {each['pid']})" for each in others]
