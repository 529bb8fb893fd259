# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells when an object is ready, and when it never will be: pure functions of the object's status, in one table by kind.

A predicate returns None when the object is ready, else what is missing in a few words; it raises Hopeless when waiting cannot help.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Object

from .identity import group_of


class Hopeless(Exception):
    """The object's own status says that it will not become ready."""


@dataclass(frozen=True)
class PodProblem:
    """Why a pod does not run, or is not made. Fatal once it has lasted `grace` seconds; None: never fatal."""

    reason: str
    message: str
    grace: float | None
    container: str = ""
    crashed: bool = False


def condition(obj: Object, name: str) -> Mapping[str, Any]:
    """The condition of that type, or an empty dictionary."""
    for item in (obj.get("status") or {}).get("conditions") or []:
        if item.get("type") == name:
            return dict(item)
    return {}


def behind(obj: Object) -> str | None:
    """Whether the status describes the object before our change, as its older observedGeneration tells (a Job has none)."""
    if obj["kind"] != "Job" and int((obj.get("status") or {}).get("observedGeneration") or 0) < int(obj["metadata"].get("generation") or 0):
        return "its controller has not looked at the change yet"
    return None


def is_stalled(obj: Object) -> bool:
    """Whether a Deployment's rollout made no progress within its deadline."""
    return bool(condition(obj, "Progressing").get("reason") == "ProgressDeadlineExceeded")


def deployment(obj: Object) -> str | None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if spec.get("paused"):
        return None
    progressing = condition(obj, "Progressing")
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    if behind(obj):
        return behind(obj)
    if is_stalled(obj):
        reason = condition(obj, "ReplicaFailure").get("message") or progressing.get("message", "")  # when no pod was made: why
        raise Hopeless(f"its rollout made no progress for {spec.get('progressDeadlineSeconds', 600)} s: {reason.rstrip('.')}")
    if updated < wanted:
        return f"{updated} of {wanted} pods are of the new revision"
    if status.get("replicas", 0) > updated:
        return f"{status.get('replicas', 0) - updated} old pods are still there"
    if status.get("availableReplicas", 0) < wanted:
        return f"{status.get('availableReplicas', 0)} of {wanted} pods are available"
    return None


def stateful_set(obj: Object) -> str | None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    wanted, strategy = spec.get("replicas", 1), spec.get("updateStrategy") or {}
    if behind(obj):
        return behind(obj)
    if status.get("readyReplicas", 0) < wanted:
        return f"{status.get('readyReplicas', 0)} of {wanted} pods are ready"
    due = wanted - int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    updated = status.get("updatedReplicas", 0)
    if strategy.get("type") != "OnDelete" and status.get("updateRevision") != status.get("currentRevision") and updated < due:
        return f"{updated} of {due} pods are of the new revision"
    return None


def daemon_set(obj: Object) -> str | None:
    status = obj.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    if behind(obj):
        return behind(obj)
    if status.get("updatedNumberScheduled", 0) < wanted and ((obj.get("spec") or {}).get("updateStrategy") or {}).get("type") != "OnDelete":
        return f"{status.get('updatedNumberScheduled', 0)} of {wanted} pods are of the new revision"
    if status.get("numberAvailable", 0) < wanted:
        return f"{status.get('numberAvailable', 0)} of {wanted} pods are available"
    return None


def job(obj: Object) -> str | None:
    failed = condition(obj, "Failed")
    if failed.get("status") == "True":
        raise Hopeless(f"it failed: {failed.get('reason', '')} {failed.get('message', '')}".strip())
    if condition(obj, "Complete").get("status") == "True" or (obj.get("spec") or {}).get("suspend"):
        return None
    return "it has not completed"


def _is_true(name: str, words: str) -> Callable[[Object], str | None]:
    def predicate(obj: Object) -> str | None:
        state = condition(obj, name)
        if state.get("status") == "True":
            return None
        return f"{words}: {state.get('message') or state.get('reason') or 'no status yet'}"

    return predicate


def crd(obj: Object) -> str | None:
    accepted = condition(obj, "NamesAccepted")
    if accepted.get("status") == "False":
        raise Hopeless(f"its names are taken: {accepted.get('message', '')}")
    return _is_true("Established", "it is not established")(obj)


def issued(obj: Object) -> str | None:
    """cert-manager's Issuer, ClusterIssuer and Certificate (docs: conditions of the API reference)."""
    ready = condition(obj, "Ready")
    generation = int(obj["metadata"].get("generation") or 0)
    if ready.get("status") == "True" and int(ready.get("observedGeneration") or generation) >= generation:
        return None
    return f"it is not ready: {ready.get('message') or 'no status yet'}"


def claim(obj: Object) -> str | None:
    """A claim that waits for its first pod (WaitForFirstConsumer) counts as ready; if its volume cannot be made later, that pod shows it."""
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Lost":
        raise Hopeless("its volume is lost")
    chosen = (obj["metadata"].get("annotations") or {}).get("volume.kubernetes.io/selected-node")
    return None if phase == "Bound" or not chosen else "its volume is not bound"


def namespace(obj: Object) -> str | None:
    if obj["metadata"].get("deletionTimestamp"):
        raise Hopeless("it is being deleted")
    return None if (obj.get("status") or {}).get("phase") == "Active" else "it is not active"


def pod(obj: Object) -> str | None:
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Failed":
        raise Hopeless(f"it failed: {(obj.get('status') or {}).get('message', '')}")
    return None if phase == "Succeeded" or condition(obj, "Ready").get("status") == "True" else f"it is {phase or 'not scheduled'}"


def service(obj: Object) -> str | None:
    if (obj.get("spec") or {}).get("type") != "LoadBalancer" or ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return None
    return "the load balancer has no address"


PREDICATES: dict[tuple[str, str], Callable[[Object], str | None]] = {
    ("", "Namespace"): namespace,
    ("", "PersistentVolumeClaim"): claim,
    ("", "Pod"): pod,
    ("", "Service"): service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): crd,
    ("apiregistration.k8s.io", "APIService"): _is_true("Available", "it is not available"),
    ("apps", "DaemonSet"): daemon_set,
    ("apps", "Deployment"): deployment,
    ("apps", "StatefulSet"): stateful_set,
    ("batch", "Job"): job,
    ("cert-manager.io", "Certificate"): issued,
    ("cert-manager.io", "ClusterIssuer"): issued,
    ("cert-manager.io", "Issuer"): issued,
}
WORKLOADS = {("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("batch", "Job")}


def unproven(obj: Object) -> bool:
    """True for a workload without probe and minReadySeconds: its pods count as available when they start, even if they end right after."""
    spec = obj.get("spec") or {}
    if spec.get("replicas") == 0:
        return False
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    place = (group_of(obj["apiVersion"]), obj["kind"])
    return place in WORKLOADS and place[0] == "apps" and not spec.get("minReadySeconds") and any("readinessProbe" not in each for each in containers)


class Lack(NamedTuple):
    """What an object lacks to be ready; `final` when waiting cannot help."""

    text: str
    final: bool


def lack(obj: Object) -> Lack | None:
    """None when the object is ready. A kind without a predicate is ready once it exists."""
    predicate = PREDICATES.get((group_of(obj["apiVersion"]), obj["kind"]))
    try:
        text = predicate(obj) if predicate else None
    except Hopeless as error:
        return Lack(str(error), True)
    return Lack(text, False) if text else None


# What a registry will answer again. Anything else - its rate limit, a connection that broke - the kubelet tries again after 10, 20, 40 s.
REFUSED_PULL = re.compile(
    r"not found|unauthorized|denied|forbidden|manifest unknown|invalid reference|no such host|no match for platform|x509|server gave HTTP response",
    re.I,
)
PULLS = ("ErrImagePull", "ImagePullBackOff")
TRIED_PULL = 300.0  # seconds for which it may try
# reason of a waiting container -> seconds after which it counts as final; until then the images of a bundle may still be imported.
WAITING = {
    "ErrImagePull": 20.0,
    "ImagePullBackOff": 20.0,
    "ErrImageNeverPull": 20.0,
    "InvalidImageName": 0.0,
    "CreateContainerConfigError": 8.0,
    "CreateContainerError": 8.0,
    "RunContainerError": 8.0,
}
RESTARTS = 3
UNSCHEDULABLE = 40.0  # until then a pod that is being replaced may still occupy the space
# Words of the scheduler and the quota for problems that end by themselves: a node that starts, a volume being made, a quota not counted yet.
TRANSIENT = re.compile(
    r"not-ready|uninitialized|unbound immediate|being provisioned|status unknown for quota|waiting for|serviceaccount .* not found|"
    r"failed calling webhook",
    re.I,
)


def pod_problems(obj: Object, restarts_heal: bool = False) -> Iterator[PodProblem]:
    """What keeps one pod from running. `restarts_heal`: restarts are not final, as in a Job, which counts its own failures."""
    status = obj.get("status") or {}
    scheduled = condition(obj, "PodScheduled")
    if scheduled.get("reason") == "Unschedulable":
        message = str(scheduled.get("message") or "")
        yield PodProblem("Unschedulable", message, None if TRANSIENT.search(message) else UNSCHEDULABLE)
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        last = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated") or {}
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if reason in WAITING:
            again = reason in PULLS and not REFUSED_PULL.search(message)
            yield PodProblem(reason, message, TRIED_PULL if again else WAITING[reason], container["name"])
        elif not container.get("ready") and container.get("restartCount", 0) >= RESTARTS and (reason == "CrashLoopBackOff" or last.get("exitCode")):
            ended = f"exit code {last.get('exitCode')}" + (f", {last['reason']}" if last.get("reason") not in (None, "Error") else "")
            yield PodProblem(
                "CrashLoopBackOff", f"{container['restartCount']} restarts, {ended}", None if restarts_heal else 0.0, container["name"], True
            )


def issuing_problem(obj: Object) -> PodProblem | None:
    """The failed attempt to issue a Certificate. cert-manager tries again only after an hour or more, unless the spec changes."""
    issuing, meta = condition(obj, "Issuing"), obj["metadata"]
    if issuing.get("status") != "False" or issuing.get("reason") != "Failed":
        return None
    remedy = f"once the cause is gone: kubectl -n {meta.get('namespace')} delete certificate {meta['name']}, and run again"
    return PodProblem("IssuingFailed", f"{issuing.get('message', '')} (the next attempt comes in an hour or more; {remedy})", 15.0)


def creation_problem(message: str) -> PodProblem:
    """A controller's FailedCreate: quota, LimitRange or Pod Security refuse the pod, so there is no pod to look at."""
    return PodProblem("FailedCreate", message, None if TRANSIENT.search(message) else 20.0)
