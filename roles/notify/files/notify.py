"""Tells a webhook when backups, copies of Redis or drills fail, and when they are well again: one message for each change.

Runs every minute by shaka-notify.timer. What was told last is in the state directory; what could not be told is tried again at the next run. It needs
nothing but Python's own library, so that it works when all else does not.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

UTC = timezone.utc  # noqa: UP017  # for the server's Python
API = "https://127.0.0.1:6443"
WATCHED = {"postgres-backup": "backup", "postgres-base-backup": "base backup", "redis-backup": "copy of Redis"}  # CronJob -> what it makes, in words
DRILL = "backup-drill"  # ConfigMap of the last drill
ARCHIVE = "postgres-wal"  # Deployment whose pod is ready while WAL is archived in time
SILENT = 60  # seconds that it may be away, as when it is rolled out
LATE = 900  # seconds after its deadline from which a scheduled backup that did not succeed is overdue
LINES = 5  # of a failed pod's log


class State(NamedTuple):
    """What is known of one thing. `since`: when it began, ISO 8601 in UTC."""

    ok: bool
    since: str
    reason: str


class Unanswered(Exception):
    """The API server does not answer; the text says why."""


class Cluster:
    """Reads of the API server, with the token of this run."""

    def __init__(self, runtime: Path) -> None:
        try:
            self.token = (runtime / "token").read_text(encoding="ascii").strip()
            self.context = ssl.create_default_context(cafile=str(runtime / "ca.crt"))
        except OSError as error:
            raise Unanswered(f"K3s gave no token ({error.strerror}): is k3s.service running?") from None
        if not self.token:
            raise Unanswered("K3s gave no token: is k3s.service running?")

    def text(self, path: str) -> str:
        request = urllib.request.Request(API + path, headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.context) as answer:
                return str(answer.read().decode(errors="replace"))
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise Unanswered(f"the API server answers {error.code}") from None
            return ""  # there is no such thing (any more)
        except (OSError, ssl.SSLError) as error:
            raise Unanswered(f"the API server does not answer: {getattr(error, 'reason', error)}") from None

    def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.text(path) or "{}").get("items") or []
        return found


def moment(text: str | None) -> float:
    """Seconds of a Kubernetes timestamp; 0 for none."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() if text else 0.0


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a job ended; empty while it has not."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] in ("Complete", "Failed") and each["status"] == "True"), {})


def of_cronjob(cronjob: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Its jobs that have ended, the newest last; those that were started by hand from it, too."""
    uid = cronjob["metadata"]["uid"]
    mine = [job for job in jobs if any(owner["uid"] == uid for owner in job["metadata"].get("ownerReferences") or ())]
    return sorted((job for job in mine if condition(job)), key=lambda job: str(condition(job).get("lastTransitionTime")))


def judge(cronjob: Mapping[str, Any], ended: Sequence[Mapping[str, Any]], now: float) -> tuple[State, Mapping[str, Any] | None]:
    """The state of a CronJob's work, and the job that failed. The reason of a failed one is still to be filled in."""
    status, spec = cronjob.get("status") or {}, cronjob["spec"]
    newest = ended[-1] if ended else None
    if newest and condition(newest)["type"] == "Failed":
        return State(False, str(condition(newest)["lastTransitionTime"]), str(condition(newest).get("message") or "")), newest
    started, succeeded = moment(status.get("lastScheduleTime")), moment(status.get("lastSuccessfulTime"))
    longest = float(spec["jobTemplate"]["spec"].get("activeDeadlineSeconds") or 3600)
    if not spec.get("suspend") and started > succeeded and now > started + longest + LATE:
        return State(False, iso(started), f"the one that was due at {iso(started)} has neither succeeded nor failed"), None
    return State(True, iso(succeeded or now), "succeeded" if succeeded else "nothing was due yet"), None


def why(cluster: Cluster, job: Mapping[str, Any], message: str) -> str:
    """Why a job failed, in a few lines: how its last pod ended, what it said, or why there was none."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    pods = cluster.items(f"/api/v1/namespaces/{namespace}/pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{name}")
    if not pods:
        events = cluster.items(f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3D{name},type%3DWarning")
        return "; ".join(dict.fromkeys([message, *(str(event.get("message") or "") for event in events[-1:])]))
    pod = max(pods, key=lambda each: str(each["metadata"]["creationTimestamp"]))
    lines = [message]
    for status in [*(pod["status"].get("initContainerStatuses") or ()), *(pod["status"].get("containerStatuses") or ())]:
        ended = (status.get("state") or {}).get("terminated") or {}
        waiting = (status.get("state") or {}).get("waiting") or {}
        if ended.get("exitCode") or waiting.get("reason"):
            lines.append(f"{status['name']}: {ended.get('reason') or waiting.get('reason')} {waiting.get('message') or ''}".strip())
    log = cluster.text(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/log?tailLines={LINES}")
    return "\n".join([*lines, *log.strip().splitlines()])


def archive(cluster: Cluster, deployment: Mapping[str, Any], now: float) -> State | None:
    """Whether WAL is archived; None where it has not been away for long."""
    conditions = {each["type"]: each for each in (deployment.get("status") or {}).get("conditions") or ()}
    available = conditions.get("Available") or {}
    since = str(available.get("lastTransitionTime") or deployment["metadata"]["creationTimestamp"])
    if available.get("status") == "True":
        return State(True, since, "what is committed is in the bucket in time")
    if now - moment(since) < SILENT:
        return None
    namespace = deployment["metadata"]["namespace"]
    lines = ["what is committed is not in the bucket in time; were the server lost now, that would be, too"]
    for pod in cluster.items(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{ARCHIVE}")[-1:]:
        log = cluster.text(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/log?container=wal&tailLines=1")
        lines += log.strip().splitlines()
    return State(False, since, "\n".join(lines))


def drill(data: Mapping[str, str]) -> State:
    """How the last drill ended, of the ConfigMap that it wrote."""
    problem = data.get("problem", "")
    at = datetime.strptime(data["failed" if problem else "finished"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return State(not problem, iso(at.timestamp()), problem or f"{data.get('stamp', 'a backup')} was restored and checked")


def look(cluster: Cluster, environments: Mapping[str, str], now: float) -> dict[str, State]:
    """Thing -> its state; a thing is called `prod backup`."""
    found: dict[str, State] = {}
    for name, namespace in environments.items():
        jobs = cluster.items(f"/apis/batch/v1/namespaces/{namespace}/jobs")
        for cronjob in cluster.items(f"/apis/batch/v1/namespaces/{namespace}/cronjobs"):
            if words := WATCHED.get(cronjob["metadata"]["name"]):
                state, failed = judge(cronjob, of_cronjob(cronjob, jobs), now)
                if failed:
                    state = state._replace(reason=why(cluster, failed, state.reason))
                found[f"{name} {words}"] = state
        for deployment in cluster.items(f"/apis/apps/v1/namespaces/{namespace}/deployments"):
            if deployment["metadata"]["name"] == ARCHIVE and (state := archive(cluster, deployment, now)):
                found[f"{name} archive of WAL"] = state
        if record := json.loads(cluster.text(f"/api/v1/namespaces/{namespace}/configmaps/{DRILL}") or "{}").get("data"):
            found[f"{name} drill"] = drill(record)
    return found


def message(configuration: Mapping[str, Any], thing: str, state: State) -> dict[str, Any]:
    """What the webhook gets; `text` is for a person."""
    place = f"{configuration['platform']} on {configuration['server']}"
    head = f"{place}: {thing} is well again" if state.ok else f"{place}: {thing} FAILED"
    return {
        "text": f"{head} ({state.since})\n{state.reason}",
        "platform": configuration["platform"],
        "server": configuration["server"],
        "what": thing,
        "state": "ok" if state.ok else "failed",
        "since": state.since,
        "reason": state.reason,
    }


def send(webhook: str, content: Mapping[str, Any]) -> str:
    """'' when it arrived, else why not; the address is never part of that."""
    request = urllib.request.Request(webhook, json.dumps(content).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20):
            return ""
    except urllib.error.HTTPError as error:
        return f"the webhook answers {error.code}"
    except (OSError, ValueError) as error:
        return f"the webhook does not answer: {type(error).__name__}"


def tell(configuration: Mapping[str, Any], states: Mapping[str, State], told: dict[str, bool]) -> list[str]:
    """Tell what changed since the last time, and remember that in `told`; returns what could not be told. That all is well is told to nobody."""
    problems = []
    for thing, state in states.items():
        if told.get(thing, True) is not state.ok:
            print(f"{thing}: {'well again' if state.ok else 'FAILED'}: {state.reason}", flush=True)
            problem = send(configuration["webhook"], message(configuration, thing, state)) if configuration["webhook"] else ""
            if problem:
                problems.append(f"{thing}: not told: {problem}")
                continue
        told[thing] = state.ok
    return problems


def remembered(memory: Path) -> dict[str, Any]:
    """What was told last. Nothing where that was lost, as by a power failure: what is wrong is then told once more."""
    try:
        kept = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def remember(memory: Path, kept: Mapping[str, Any]) -> None:
    """Keep what was told; on a full disk in the place of the old text, or the same would be told every minute."""
    partial, text = memory.with_suffix(".new"), json.dumps(kept)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(memory)
    except OSError:
        with memory.open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()


def main() -> int:
    runtime = Path(os.environ["RUNTIME_DIRECTORY"])
    configuration = json.loads((runtime / "configuration").read_text(encoding="utf-8"))
    memory = Path(os.environ["STATE_DIRECTORY"]) / "told.json"
    kept = remembered(memory)
    told, silent_since, now = kept.get("told", {}), kept.get("silent_since"), time.time()
    try:
        states = look(Cluster(runtime), configuration["environments"], now)
        silent_since = None
        states["the cluster"] = State(True, iso(now), "it answers")
    except Unanswered as error:
        silent_since = silent_since or now
        long_enough = now - silent_since >= configuration["unanswered_minutes"] * 60
        states = {"the cluster": State(False, iso(silent_since), str(error))} if long_enough else {}
    problems = tell(configuration, states, told)
    remember(memory, {"told": told, "silent_since": silent_since})
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
