# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits until objects are ready, and gives up early on those that will not become ready."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

from .client import Api
from .diagnosis import Diagnosis, old_revision
from .identity import group_of
from .readiness import WORKLOADS, Lack, PodProblem, behind, condition, creation_problem, is_stalled, issuing_problem, lack, pod_problems, unproven
from .references import Scrubber

INTERVAL = (0.2, 0.3, 0.5)  # seconds between looks at first; 1 s later
STEADY = 3.0  # seconds that a workload without a readiness probe stays ready before it counts
LONGEST = 4  # times the time limit, for objects whose images are pulled
REPLACEMENT = 15.0  # seconds for the controller to replace a broken pod of the old revision; a StatefulSet's does not in every case


class WaitFailed(Exception):
    """Objects are not ready; one paragraph for each."""

    def __init__(self, paragraphs: list[str]) -> None:
        super().__init__("\n".join(paragraphs))
        self.paragraphs = paragraphs


class Pending(NamedTuple):
    """An object that is not ready, and what it lacks."""

    obj: dict[str, Any]
    path: str
    lacking: Lack


class Waiter:
    """Polls the objects that are not ready; one time limit for all of them."""

    def __init__(self, api: Api, pool: Executor, timeout: float, scrubber: Scrubber) -> None:
        self.api, self.pool, self.diagnosis = api, pool, Diagnosis(api, scrubber)
        self.timeout = timeout
        self.begun = time.monotonic()
        self.deadline, self.last_deadline = self.begun + timeout, self.begun + timeout * LONGEST
        self.started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._seen: dict[tuple[str, str, str], float] = {}
        self._ready: dict[str, float] = {}
        self._pulled: set[str] = set()  # rollouts that stood still as their images were pulled

    def wait(self, objects: Iterable[tuple[dict[str, Any], str]]) -> None:
        """Returns once every object (with its path) is ready; raises WaitFailed for those that are not ready in time, or never will be."""
        pending = [Pending(obj, path, lacking) for obj, path in objects if (lacking := lack(obj))]
        for pause in itertools.chain(INTERVAL, itertools.repeat(1.0)):
            if not pending:
                return
            late = f"not ready after {self._elapsed():.0f} s: " if self._is_late(pending) else ""
            failed = [(each.obj, reason) for each in pending if (reason := self._hopeless(each.obj, each.lacking))]
            failed = failed or [(each.obj, late + each.lacking.text) for each in pending if late]
            if failed:
                raise WaitFailed([self.diagnosis.paragraph(obj, reason) for obj, reason in failed])
            time.sleep(pause)
            pending = [again for again in self.pool.map(self._look, pending) if again]

    def _is_late(self, pending: list[Pending]) -> bool:
        """Whether the time is up. It begins anew while images are pulled: how long that takes is up to the registry and the line."""
        now = time.monotonic()
        if now > self.deadline and any(self._is_pulling(each.obj) for each in pending):
            self.deadline = min(now + self.timeout, self.last_deadline)
        return now > self.deadline

    def _elapsed(self) -> float:
        return time.monotonic() - self.begun

    def _is_pulling(self, obj: dict[str, Any]) -> bool:
        return any(self.diagnosis.is_pulling(pod) for pod in self._pods(obj))

    def _waits_for_images(self, obj: dict[str, Any]) -> bool:
        """Whether a rollout is past its deadline as its images are pulled, or were when that was first seen: they are not a reason to give it up."""
        if not is_stalled(obj):
            return False
        if self._is_pulling(obj):
            self._pulled.add(obj["metadata"]["uid"])
        return obj["metadata"]["uid"] in self._pulled

    def _pods(self, obj: dict[str, Any]) -> list[dict[str, Any]]:
        place = (group_of(obj["apiVersion"]), obj["kind"])
        return [obj] if place == ("", "Pod") else self.diagnosis.pods(obj) if place in WORKLOADS else []

    def _look(self, pending: Pending) -> Pending | None:
        """The object as it is now and what it lacks; None when it is ready."""
        obj = self.api.get(pending.path)
        if obj is None:
            return pending._replace(lacking=Lack("it was deleted meanwhile", True))
        lacking = lack(obj)
        if lacking:
            self._ready.pop(obj["metadata"]["uid"], None)
        else:
            lacking = self._steady(obj)
        return Pending(obj, pending.path, lacking) if lacking else None

    def _steady(self, obj: dict[str, Any]) -> Lack | None:
        """A workload without a probe has to stay ready for a while: its pods may be about to crash."""
        first = self._ready.setdefault(obj["metadata"]["uid"], time.monotonic())
        return Lack("it has not been ready for long", False) if unproven(obj) and time.monotonic() - first < STEADY else None

    def _hopeless(self, obj: dict[str, Any], lacking: Lack) -> str:
        """The reason to give up on an object now; empty when there is none."""
        if lacking.final and not self._waits_for_images(obj):
            return lacking.text
        for owner, problem in self._problems(obj):
            first = self._seen.setdefault((owner, problem.container, problem.reason), time.monotonic())
            if problem.grace is not None and time.monotonic() - first >= problem.grace:
                return f"{problem.reason}: {problem.message}"
        return ""

    def _problems(self, obj: dict[str, Any]) -> Iterator[tuple[str, PodProblem]]:
        place = (group_of(obj["apiVersion"]), obj["kind"])
        if place == ("", "Pod"):
            for problem in pod_problems(obj):
                yield obj["metadata"]["uid"], problem
        elif obj["kind"] == "Certificate":
            if failed := issuing_problem(obj):
                yield obj["metadata"]["uid"], failed
        elif place in WORKLOADS:
            if behind(obj):  # its present pods may be those that the change replaces
                return
            failure = condition(obj, "ReplicaFailure")
            if failure.get("status") == "True":
                yield obj["metadata"]["uid"], creation_problem(str(failure.get("message") or ""))
            elif obj["kind"] != "Deployment" and (obj.get("status") or {}).get("replicas", 0) < (obj.get("spec") or {}).get("replicas", 1):
                for event in self.diagnosis.events(obj)[-1:]:  # not those of an earlier run
                    if event.get("reason") == "FailedCreate" and str(event.get("lastTimestamp") or "") >= self.started:
                        yield obj["metadata"]["uid"], creation_problem(str(event.get("message") or ""))
            for pod in self.diagnosis.pods(obj):
                for problem in pod_problems(pod, restarts_heal=obj["kind"] == "Job"):
                    if problem.grace is not None and old_revision(obj, pod):
                        problem = dataclasses.replace(problem, grace=max(problem.grace, REPLACEMENT))
                    yield pod["metadata"]["uid"], problem
