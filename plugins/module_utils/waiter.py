# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting until objects are ready, and saying why they are not: the pods' events and last log lines."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

from .discovery import Resource
from .identity import describe, group_of, inventory_of, key_of
from .kube import Api, ApiError, segment
from .readiness import WORKLOADS, Lack, Problem, behind, condition, creation_problem, issuing_problem, lack, pod_problems, unproven
from .references import Scrubber

INTERVAL = (0.2, 0.3, 0.5)  # seconds between looks at first; 1 s later
LOG_LINES = 8
STEADY = 3.0  # seconds that a workload without a readiness probe stays ready before it counts
REPLACEMENT = 15.0  # seconds for the controller to replace a broken pod of the old revision; a StatefulSet's does not in every case


class WaitFailed(Exception):
    """Objects that are not ready, one paragraph each."""

    def __init__(self, paragraphs: list[str]) -> None:
        super().__init__("\n".join(paragraphs))
        self.paragraphs = paragraphs


class Waiter:
    """Polls the objects that are not ready; one time limit for all of them."""

    def __init__(self, api: Api, pool: Executor, timeout: float, scrubber: Scrubber) -> None:
        self.api, self.pool, self.scrubber = api, pool, scrubber
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._seen: dict[tuple[str, str, str], float] = {}
        self._ready: dict[str, float] = {}

    def wait(self, objects: Iterable[tuple[dict[str, Any], Resource]]) -> None:
        """Returns once every object is ready; raises WaitFailed for those that are not in time, or never will be."""
        pending = [(obj, resource, lacking) for obj, resource in objects for lacking in [lack(obj)] if lacking]
        for pause in itertools.chain(INTERVAL, itertools.repeat(1.0)):
            if not pending:
                return
            failed = [self._paragraph(obj, reason) for obj, _resource, lacking in pending for reason in [self._hopeless(obj, lacking)] if reason]
            if failed:
                raise WaitFailed(failed)
            if time.monotonic() > self.deadline:
                raise WaitFailed(
                    [self._paragraph(obj, f"not ready after {self.timeout:.0f} s: {lacking.text}") for obj, _resource, lacking in pending]
                )
            time.sleep(pause)
            pending = [again for again in self.pool.map(self._look, pending) if again]

    def _look(self, pending: tuple[dict[str, Any], Resource, Lack]) -> tuple[dict[str, Any], Resource, Lack] | None:
        """The object as it is now and what it lacks, None when ready."""
        obj, resource, _lacking = pending
        found = self.api.get(resource.path_of(key_of(obj)))
        if found is None:
            return obj, resource, Lack("it was deleted meanwhile", True)
        lacking = lack(found)
        if lacking:
            self._ready.pop(found["metadata"]["uid"], None)
        else:
            lacking = self._steady(found)
        return (found, resource, lacking) if lacking else None

    def _steady(self, obj: dict[str, Any]) -> Lack | None:
        """A workload without a probe has to stay ready for a while: its pods may be about to crash."""
        first = self._ready.setdefault(obj["metadata"]["uid"], time.monotonic())
        return Lack("it has not been ready for long", False) if unproven(obj) and time.monotonic() - first < STEADY else None

    def _hopeless(self, obj: dict[str, Any], lacking: Lack) -> str:
        """The reason to give up on an object now, or the empty text."""
        if lacking.final:
            return lacking.text
        for owner, problem in self._problems(obj):
            first = self._seen.setdefault((owner, problem.container, problem.reason), time.monotonic())
            if problem.grace is not None and time.monotonic() - first >= problem.grace:
                return f"{problem.reason}: {problem.message}"
        return ""

    def _problems(self, obj: dict[str, Any]) -> Iterator[tuple[str, Problem]]:
        place = (group_of(obj["apiVersion"]), obj["kind"])
        if place == ("", "Pod"):
            for problem in pod_problems(obj):
                yield obj["metadata"]["uid"], problem
        elif obj["kind"] == "Certificate":
            if failed := issuing_problem(obj):
                yield obj["metadata"]["uid"], failed
        elif place in WORKLOADS:
            if behind(obj):  # the pods there are now may be those that the change replaces
                return
            failure = condition(obj, "ReplicaFailure")
            if failure.get("status") == "True":
                yield obj["metadata"]["uid"], creation_problem(str(failure.get("message") or ""))
            elif obj["kind"] != "Deployment" and (obj.get("status") or {}).get("replicas", 0) < (obj.get("spec") or {}).get("replicas", 1):
                for event in self._events(obj)[-1:]:  # those of an earlier run say nothing about this one
                    if event.get("reason") == "FailedCreate" and str(event.get("lastTimestamp") or "") >= self.started:
                        yield obj["metadata"]["uid"], creation_problem(str(event.get("message") or ""))
            for pod in self.pods(obj):
                for problem in pod_problems(pod, restarts_heal=obj["kind"] == "Job"):
                    if problem.grace is not None and _old_revision(obj, pod):
                        problem = dataclasses.replace(problem, grace=max(problem.grace, REPLACEMENT))
                    yield pod["metadata"]["uid"], problem

    def pods(self, obj: dict[str, Any]) -> list[dict[str, Any]]:
        """The pods of a workload that matter: for a Deployment those of its current revision, as the old ones go anyway."""
        labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        if not labels:
            return []
        space = f"/namespaces/{segment(obj['metadata']['namespace'])}"
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
        pods = [p for p in (self.api.get(f"/api/v1{space}/pods", query) or {}).get("items") or [] if not p["metadata"].get("deletionTimestamp")]
        if obj["kind"] == "Deployment":
            revision = (obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
            sets = (self.api.get(f"/apis/apps/v1{space}/replicasets", query) or {}).get("items") or []
            current = [
                s["metadata"]["uid"] for s in sets if (s["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision") == revision
            ]
            pods = [p for p in pods if any(owner.get("uid") in current for owner in p["metadata"].get("ownerReferences") or [])]
        return pods

    def _events(self, obj: dict[str, Any]) -> list[dict[str, Any]]:
        """Warnings about an object, the last one last."""
        meta = obj["metadata"]
        query = {"fieldSelector": f"involvedObject.uid={meta['uid']},type=Warning"}
        found = (self.api.get(f"/api/v1/namespaces/{segment(meta.get('namespace') or 'default')}/events", query) or {}).get("items") or []
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def _paragraph(self, obj: dict[str, Any], reason: str) -> str:
        """The reason with what the cluster says about it; looking must not hide the reason."""
        lines = [f"{describe(obj)}{f' (inventory: {inventory_of(obj)})' if inventory_of(obj) else ''}: {reason}"]
        try:
            scrubber = Scrubber([*self.scrubber.values, *self._secrets_of(obj["metadata"].get("namespace"))])
            place = (group_of(obj["apiVersion"]), obj["kind"])
            lines += [f"  event: {event.get('reason')}: {scrubber.log(str(event.get('message')))}" for event in self._events(obj)[-2:]]
            for pod in ([obj] if place == ("", "Pod") else self.pods(obj) if place in WORKLOADS else [])[:3]:
                problems = list(pod_problems(pod))
                if not problems and condition(pod, "Ready").get("status") == "True":
                    continue
                name = pod["metadata"]["name"]
                lines.append(
                    f"  pod {name}: {(pod.get('status') or {}).get('phase')}"
                    + "".join(f", {p.container + ' ' if p.container else ''}{p.reason}" for p in problems)
                )
                if obj["kind"] == "StatefulSet" and problems and _old_revision(obj, pod):
                    remedy = f"kubectl -n {pod['metadata']['namespace']} delete pod {name}"
                    lines.append(f"    this pod is of the old revision, and its controller waits for it: {remedy}")
                if place != ("", "Pod"):
                    lines += [f"    event: {event.get('reason')}: {scrubber.log(str(event.get('message')))}" for event in self._events(pod)[-3:]]
                for problem in problems or [Problem("", "", None, container["name"]) for container in (pod["spec"].get("containers") or [])[:1]]:
                    if problem.container:
                        lines += [f"    log of {problem.container}: {scrubber.log(line)}" for line in self._log(pod, problem)]
        except Exception as error:  # whatever fails here, the reason above is what the user needs
            lines.append(f"  (could not look further: {type(error).__name__})")
        return "\n".join(lines)

    def _log(self, pod: dict[str, Any], problem: Problem) -> list[str]:
        """The last lines of a container; of its previous run when it crashed."""
        path = f"/api/v1/namespaces/{segment(pod['metadata']['namespace'])}/pods/{segment(pod['metadata']['name'])}/log"
        for previous in ("true", "false") if problem.crashed else ("false",):
            try:
                text = self.api.request("GET", path, {"container": problem.container, "tailLines": str(LOG_LINES), "previous": previous})
            except ApiError:
                continue
            lines = [line for line in str(text).splitlines() if line.strip()][-LOG_LINES:]
            if lines and not lines[0].startswith("unable to retrieve container logs"):  # the kubelet's answer, with status 200, once they are gone
                return lines
        return []

    def _secrets_of(self, namespace: str | None) -> list[str]:
        """Every secret value a pod of the namespace can print."""
        if not namespace:
            return []
        found = (self.api.get(f"/api/v1/namespaces/{segment(namespace)}/secrets") or {}).get("items") or []
        return [base64.b64decode(value).decode(errors="ignore") for secret in found for value in (secret.get("data") or {}).values()]


def _old_revision(obj: dict[str, Any], pod: dict[str, Any]) -> bool:
    """True for a pod of a StatefulSet or DaemonSet that its controller has still to replace."""
    labels = pod["metadata"].get("labels") or {}
    if obj["kind"] == "StatefulSet":
        return labels.get("controller-revision-hash") != (obj.get("status") or {}).get("updateRevision")
    current = (obj["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation")
    return obj["kind"] == "DaemonSet" and labels.get("pod-template-generation") != current
