# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Job whose pod does a restore's work, made of the PodTemplate that the role restore keeps in the namespace.

Its pod lives as long as the restore: it ends when it is told to, or when nobody has asked it for a while. So a pod that runs means a restore that
goes on, and a Job without one is left of another.
"""

from __future__ import annotations

import calendar
import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.module_utils.engine.readiness import pod_problems
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import fitted

NAME, REDIS = "postgres-restore", "redis-restore"  # of the PodTemplate; the Jobs' names begin with it, and it is their label `app`
ABOUT = "shaka.platform/restore"  # annotation of a Job: what it restores
SCRIPT = ["bash", "/scripts/restore.sh"]
SCRIPTS = {NAME: SCRIPT, REDIS: ["sh", "/scripts/redis_restore.sh"]}
RUNNING = ("Pending", "Running")
ORPHAN_SECONDS = 150  # after which a pod that nobody asks has ended (restore_silence_seconds, and a while)


class PodFailed(Exception):
    """The pod did not start, or is gone; the text says why."""


@dataclass(frozen=True)
class PodReport:
    """What the pod's script answers to `state`. `ended`: the phase's exit code; None while it runs."""

    phase: str = "none"
    ended: int | None = None
    index: int = 0
    doing: str = ""
    fetched: int = 0
    dumped: int = 0
    tables: int = 0
    problem: tuple[str, ...] = ()


def report(text: str) -> PodReport:
    """Reads that answer."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        word, _space, rest = line.partition(" ")
        if word == "phase":
            phase, _space, ended = rest.partition(" ")
            found |= {"phase": phase, "ended": int(ended) if ended.isdigit() else None}
        elif word == "step":
            index, _space, doing = rest.partition(" ")
            found |= {"index": int(index), "doing": doing}
        elif word in ("fetched", "dumped", "tables"):
            found[word] = int(rest)
        elif word == "problem":
            found["problem"] = tuple(rest.split(" ", 2))
    return PodReport(**found)


@dataclass(frozen=True)
class RestoreJob:
    """A Job of a restore that is there. `pods`: the phases of its pods. `about`: what it said that it restores."""

    name: str
    pods: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return any(phase in RUNNING for phase in self.pods)


@dataclass(frozen=True)
class RestoreJobs:
    """What restores left, as far as it is their Jobs."""

    jobs: tuple[RestoreJob, ...]

    @property
    def running(self) -> list[RestoreJob]:
        return [job for job in self.jobs if job.running]

    @property
    def ended(self) -> list[str]:
        """Jobs of restores that have ended."""
        return [job.name for job in self.jobs if not job.running]


Found = TypeVar("Found", bound=RestoreJobs)


def going_on(jobs: RestoreJobs, what: str, namespace: str) -> str:
    """Why no other restore can begin, and what to do; '' when it can."""
    if not jobs.running:
        return ""
    job = jobs.running[0]
    text = f"a restore of {what} goes on ({job.name}: {json.dumps(dict(job.about))}): wait until it has ended"
    return f"{text}; if whoever ran it is gone, it ends by itself within minutes, or now by: kubectl -n {namespace} delete job {job.name}"


def once_ended(look: Callable[[], Found], what: str, namespace: str) -> tuple[Found, str]:
    """What is there once no other restore goes on, and ''; or why one still does. The pod of one whose controller is gone ends in this time."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (found := look()).running and time.monotonic() <= deadline:
        time.sleep(5 * PAUSE)
    return found, going_on(found, what, namespace)


def jobs(kubectl: Kubectl, namespace: str, name: str = NAME) -> list[RestoreJob]:
    """Those in the namespace. Raises Unanswered."""
    query = f"labelSelector=app%3D{name}"
    found = (kubectl.find(f"/apis/batch/v1/namespaces/{namespace}/jobs?{query}") or {}).get("items") or []
    pods = (kubectl.find(f"/api/v1/namespaces/{namespace}/pods?{query}") or {}).get("items") or []
    result = []
    for job in found:
        job_name = job["metadata"]["name"]
        mine = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name") == job_name]
        phases = tuple(str((pod.get("status") or {}).get("phase")) for pod in mine if not pod["metadata"].get("deletionTimestamp"))
        # the controller has not made its pod yet
        phases = phases or (("Pending",) if not mine and not (job.get("status") or {}).get("conditions") else ())
        result.append(RestoreJob(job_name, phases, _about(job)))
    return result


def _about(job: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        about = json.loads((job["metadata"].get("annotations") or {}).get(ABOUT) or "{}")
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def delete(kubectl: Kubectl, namespace: str, names: list[str]) -> None:
    """Jobs away, with their pods, and wait until these are gone. Raises Unanswered."""
    if names:
        kubectl.must("delete", "job", f"--namespace={namespace}", "--ignore-not-found", "--cascade=foreground", "--timeout=60s", *names)


class RestorePod:
    """The pod of one restore.

    :arg name: what it restores, NAME or REDIS.
    """

    def __init__(self, kubectl: Kubectl, namespace: str, job: str, name: str = NAME) -> None:
        self.kubectl, self.namespace, self.job, self.name = kubectl, namespace, job, name
        self._pod = ""

    def create(self, about: Mapping[str, Any], dumps: int, cpu: int | None, deadline_seconds: int, of: str = "") -> None:
        """Make the Job. Raises PodFailed, Unanswered.

        :arg of: another PodTemplate than that of its name.
        :arg dumps: bytes that they may take at most.
        :arg cpu: millicores that each container may have at most; None for what the PodTemplate says.
        :arg deadline_seconds: after which it is ended whatever it does.
        """
        template = self.kubectl.find(f"/api/v1/namespaces/{self.namespace}/podtemplates/{of or self.name}")
        if template is None:
            need = "" if not of else "backup.point_in_time.enabled has to be true there; "
            tags = "redis,backup,restore" if self.name == REDIS else "backup,restore"  # the start of Redis has its part in it
            raise PodFailed(f"{self.namespace} has no PodTemplate {of or self.name}: {need}run the site once with this version (--tags {tags})")
        pod = copy.deepcopy(template["template"])
        for volume in pod["spec"]["volumes"]:
            if volume["name"] == "work":
                volume["emptyDir"] = {"sizeLimit": str(dumps)}
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
            container["resources"] = fitted(container.get("resources") or {}, cpu)
        labels = {"app": self.name}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self.job, "namespace": self.namespace, "labels": labels, "annotations": {ABOUT: json.dumps(about)}},
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": deadline_seconds, "template": {"metadata": {"labels": labels}, "spec": pod["spec"]}},
        }
        ok, output = self.kubectl.run("create", "--filename=-", text=json.dumps(job))
        if not ok:
            raise PodFailed(f"the Job {self.job} was refused: {output}")

    def await_running(self, deadline: float) -> None:
        """Wait until its container runs; raises PodFailed with the reason when that cannot happen or takes until the deadline (of time.monotonic)."""
        while True:
            pod = self._find()
            status = (pod or {}).get("status") or {}
            if status.get("phase") == "Running":
                return
            if status.get("phase") in ("Failed", "Succeeded"):
                raise PodFailed(f"the pod of {self.job} ended before it began: {status.get('message') or status.get('reason') or status['phase']}")
            if time.monotonic() > deadline:
                raise PodFailed(f"the pod of {self.job} did not start in time: {self._lacking(pod)}")
            time.sleep(PAUSE)

    def _find(self) -> dict[str, Any] | None:
        listing = self.kubectl.find(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{self.job}") or {}
        return next(iter(listing.get("items") or []), None)

    def _lacking(self, pod: dict[str, Any] | None) -> str:
        if pod is None:
            ok, output = self.kubectl.run(
                "get", "events", f"--namespace={self.namespace}", f"--field-selector=involvedObject.name={self.job}", "--output=json"
            )
            events = json.loads(output).get("items") if ok else []
            return str(events[-1].get("message")) if events else "it was not made"
        return "; ".join(f"{problem.reason}: {problem.message}" for problem in pod_problems(pod)) or "it waits for its image or a place"

    @property
    def pod(self) -> str:
        """Its name. Raises PodFailed, Unanswered."""
        if not self._pod:
            found = self._find()
            if found is None or (found.get("status") or {}).get("phase") != "Running":
                raise PodFailed(f"the pod of {self.job} does not run any more: {_why_ended(found)}")
            self._pod = found["metadata"]["name"]
        return self._pod

    def call(self, *command: str, text: str | None = None) -> str:
        """The output of one of its script's commands. Raises PodFailed when it fails."""
        ok, output = self.kubectl.execute(self.namespace, self.pod, *SCRIPTS[self.name], *command, text=text)
        if not ok:
            raise PodFailed(f"{command[0]} in the pod of {self.job}: {output}")
        return output

    def put(self, files: Mapping[str, str]) -> None:
        """Write files of whole lines for the script's commands. Raises PodFailed."""
        self.call("put", text="".join(f"{name} {len(_lines(_whole(content)))}\n" + _whole(content) for name, content in files.items()))

    def get(self, *names: str) -> list[str]:
        """Contents of files that the script has written. Raises PodFailed."""
        rest, found = _lines(self.call("get", *names)), []
        for name in names:
            head, count = rest.pop(0).split()
            if head != name:
                raise PodFailed(f"the pod of {self.job} answered with {head} where {name} was asked for")
            found.append("".join(rest[: int(count)]))
            rest = rest[int(count) :]
        return found

    def age(self) -> int:
        """Seconds since the Job was made. Raises Unanswered."""
        job = self.kubectl.find(f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{self.job}")
        created = (job or {"metadata": {}})["metadata"].get("creationTimestamp")
        return int(time.time() - calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ"))) if created else 0

    def state(self) -> PodReport:
        """How far its present phase is; asking also keeps it alive. Raises PodFailed."""
        return report(self.call("state"))


def _lines(text: str) -> list[str]:
    """Lines as the shell has them: their ends alone, no other characters that Python takes for one."""
    return [f"{line}\n" for line in text.split("\n")[:-1]]


def _whole(content: str) -> str:
    """Ending with a line's end, as the script counts lines."""
    return content if not content or content.endswith("\n") else f"{content}\n"


def _why_ended(pod: Mapping[str, Any] | None) -> str:
    status: Mapping[str, Any] = (pod or {}).get("status") or {}
    ended = [(each.get("state") or {}).get("terminated") or {} for each in status.get("containerStatuses") or []]
    if any(state.get("reason") == "OOMKilled" for state in ended):
        return "it needed more memory than it may have (restore_limits; for a point in time, restore_recover_limits)"
    return str(status.get("message") or status.get("reason") or ("it ended" if pod else "it is gone"))
