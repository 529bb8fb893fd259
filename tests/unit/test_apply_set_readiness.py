"""The table of readiness predicates and of states that do not heal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.engine import waiter
from ansible_collections.shaka.platform.plugins.module_utils.engine.diagnosis import Diagnosis
from ansible_collections.shaka.platform.plugins.module_utils.engine.readiness import (
    Lack,
    creation_problem,
    issuing_problem,
    lack,
    pod_problems,
    unproven,
)
from ansible_collections.shaka.platform.plugins.module_utils.engine.references import Scrubber


def thing(kind: str, api: str = "v1", spec: Any = None, status: Any = None, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "x", "generation": 2, **meta}, "spec": spec or {}, "status": status or {}}


def conditions(**states: str) -> dict[str, Any]:
    return {"conditions": [{"type": name, "status": state, "message": "because"} for name, state in states.items()]}


def deployment(**status: Any) -> dict[str, Any]:
    return thing(
        "Deployment", "apps/v1", {"replicas": 2}, {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, **status}
    )


def stateful(**status: Any) -> dict[str, Any]:
    return thing("StatefulSet", "apps/v1", {"replicas": 1}, {"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1, **status})


def daemon() -> dict[str, Any]:
    return thing("DaemonSet", "apps/v1", {}, {"observedGeneration": 2, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1})


def condition(kind: str, **fields: str) -> dict[str, Any]:
    return {"observedGeneration": 2, "conditions": [{"type": kind, **fields}]}


CRD, APISERVICE, CM = "apiextensions.k8s.io/v1", "apiregistration.k8s.io/v1", "cert-manager.io/v1"


@pytest.mark.parametrize(
    ("obj", "missing"),
    [
        (deployment(), None),
        (deployment(observedGeneration=1), "not looked at"),
        (deployment(updatedReplicas=1), "1 of 2 pods are of the new revision"),
        (deployment(replicas=3), "1 old pods"),
        (deployment(availableReplicas=0), "0 of 2 pods are available"),
        (thing("Deployment", "apps/v1", {"replicas": 0}, {"observedGeneration": 2}), None),
        (stateful(), None),
        (stateful(readyReplicas=0), "0 of 1 pods are ready"),
        (stateful(updateRevision="b", currentRevision="a", updatedReplicas=0), "new revision"),
        (
            thing("DaemonSet", "apps/v1", {}, {"observedGeneration": 2, "desiredNumberScheduled": 1, "updatedNumberScheduled": 1}),
            "0 of 1 pods are available",
        ),
        (thing("Job", "batch/v1"), "not completed"),
        (thing("Job", "batch/v1", status=conditions(Complete="True")), None),
        (thing("Job", "batch/v1", {"suspend": True}), None),
        (thing("CustomResourceDefinition", CRD), "not established"),
        (thing("CustomResourceDefinition", CRD, status=conditions(Established="True", NamesAccepted="True")), None),
        (thing("APIService", APISERVICE, status=conditions(Available="False")), "because"),
        (thing("Certificate", CM, status=conditions(Ready="False")), "because"),
        (thing("ClusterIssuer", CM, status=conditions(Ready="True")), None),
        (thing("PersistentVolumeClaim", status={"phase": "Pending"}), None),
        (thing("PersistentVolumeClaim", status={"phase": "Pending"}, annotations={"volume.kubernetes.io/selected-node": "n"}), "not bound"),
        (thing("Namespace", status={"phase": "Active"}), None),
        (thing("Pod", status={"phase": "Running", **conditions(Ready="True")}), None),
        (thing("Pod", status={"phase": "Pending"}), "Pending"),
        (thing("Service", spec={"type": "ClusterIP"}), None),
        (thing("Service", spec={"type": "LoadBalancer"}), "no address"),
        (thing("Service", spec={"type": "LoadBalancer"}, status={"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}), None),
        (thing("ConfigMap"), None),
        (thing("Deployment", "other.example.com/v1"), None),
    ],
)
def test_what_an_object_waits_for(obj: dict[str, Any], missing: str | None) -> None:
    found = lack(obj)
    assert (found is None) if missing is None else (found is not None and missing in found.text and not found.final)


@pytest.mark.parametrize(
    "obj",
    [
        thing("Job", "batch/v1", status=conditions(Failed="True")),
        thing("CustomResourceDefinition", CRD, status=conditions(NamesAccepted="False")),
        thing(
            "Deployment", "apps/v1", status={"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}
        ),
        thing("PersistentVolumeClaim", status={"phase": "Lost"}),
        thing("Namespace", deletionTimestamp="now"),
        thing("Pod", status={"phase": "Failed"}),
    ],
)
def test_what_is_final(obj: dict[str, Any]) -> None:
    found = lack(obj)
    assert found and found.final


def test_a_stuck_rollout_says_why_no_pod_was_made() -> None:
    stuck = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out."}]
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods."}
    for more, said in (([], "timed out"), ([refused], "exceeded quota: pods")):
        found = lack(thing("Deployment", "apps/v1", status={"observedGeneration": 2, "conditions": [*stuck, *more]}))
        assert found and found.text.endswith(f"s: {said}")


def container(reason: str = "", restarts: int = 0, code: int = 0, message: str = "m") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}} if reason else {}
    return {
        "name": "c",
        "ready": False,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": {"exitCode": code, "reason": "OOMKilled"}},
    }


@pytest.mark.parametrize(
    ("status", "reason", "fatal"),
    [
        ({"containerStatuses": [container("ImagePullBackOff")]}, "ImagePullBackOff", True),
        ({"initContainerStatuses": [container("CreateContainerConfigError")]}, "CreateContainerConfigError", True),
        ({"containerStatuses": [container("CrashLoopBackOff", 3, 1)]}, "CrashLoopBackOff", True),
        ({"containerStatuses": [container("", 4, 137)]}, "CrashLoopBackOff", True),
        ({"containerStatuses": [container("CrashLoopBackOff", 2, 1)]}, None, False),
        ({"containerStatuses": [container("ContainerCreating")]}, None, False),
        (condition("PodScheduled", reason="Unschedulable", message="Insufficient memory"), "Unschedulable", True),
        (
            {"conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": "pod has unbound immediate PersistentVolumeClaims"}]},
            "Unschedulable",
            False,
        ),
        (
            condition(
                "PodScheduled",
                reason="Unschedulable",
                message="0/1 nodes are available: 1 node(s) had untolerated taint {node.cloudprovider.kubernetes.io/uninitialized: true}",
            ),
            "Unschedulable",
            False,
        ),
    ],
)
def test_what_keeps_a_pod_from_running(status: dict[str, Any], reason: str | None, fatal: bool) -> None:
    found = list(pod_problems({"status": status}))
    assert [p.reason for p in found] == ([reason] if reason else [])
    assert all((p.grace is not None) == fatal for p in found)


@pytest.mark.parametrize(
    ("message", "soon"),
    [
        ("failed to resolve reference x: docker.io/library/x:1: not found", True),
        ("pull access denied, repository does not exist or may require authorization", True),
        ("failed to fetch oauth token: 401 Unauthorized", True),
        ("dial tcp: lookup registry.exmaple.com: no such host", True),
        ("httpReadSeeker: failed open: unexpected status code: 429 Too Many Requests", False),
        ("read tcp 10.0.0.5:41234->1.2.3.4:443: read: connection reset by peer", False),
        ("context deadline exceeded", False),
    ],
)
def test_a_pull_that_the_kubelet_tries_again_is_not_given_up(message: str, soon: bool) -> None:
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        found = next(pod_problems({"status": {"containerStatuses": [container(reason, message=message)]}}))
        assert found.grace is not None and (found.grace <= 20) == soon and found.grace <= 300


@pytest.mark.parametrize(
    ("events", "ends"),
    [
        ([("Pulling", 1)], 240.0),  # four times the limit
        ([("Pulling", 1), ("Pulled", 2)], 60.0),
        ([("Pulling", 1), ("Failed", 2)], 60.0),
        ([("Pulling", 3), ("Pulled", 2)], 240.0),
        ([], 60.0),
    ],
)
def test_a_wait_goes_on_while_an_image_is_pulled(monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, int]], ends: float) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda _seconds: clock.__setitem__(0, clock[0] + 10))
    slow = thing("Pod", status={"phase": "Pending"}, uid="u", namespace="n")
    items = [{"reason": reason, "lastTimestamp": f"2027-01-01T00:00:0{second}Z"} for reason, second in events]

    class Api:
        def get(self, path: str, _query: Any = None) -> dict[str, Any]:
            return {"items": items} if path.endswith("/events") else {"items": []} if path.endswith("/secrets") else slow

    with ThreadPoolExecutor(1) as pool, pytest.raises(waiter.WaitFailed, match="not ready after"):
        waiter.Waiter(Api(), pool, 60, Scrubber([])).wait([(slow, "/path")])  # type: ignore[arg-type]
    assert ends < clock[0] <= ends + 20


@pytest.mark.parametrize(("pulled", "ends"), [(50, 60.0), (150, 200.0), (900, 240.0)])
def test_after_a_long_pull_there_is_time_to_start(monkeypatch: pytest.MonkeyPatch, pulled: int, ends: float) -> None:
    """A rollout is past its deadline by then, which is no reason to give it up."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda _seconds: clock.__setitem__(0, clock[0] + 10))
    pod = thing("Pod", status={"phase": "Pending"}, uid="p", namespace="n")

    def slow() -> dict[str, Any]:
        stalled = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out."}
        status = {"observedGeneration": 2, "conditions": [stalled] if clock[0] >= 60 and pulled > 60 else []}
        return thing("Deployment", "apps/v1", status=status, uid="d", namespace="n")

    class Api:
        def get(self, path: str, _query: Any = None) -> dict[str, Any]:
            events = [{"reason": "Pulling", "lastTimestamp": "2027-01-01T00:00:01Z"}]
            events += [{"reason": "Pulled", "lastTimestamp": "2027-01-01T00:00:02Z"}] if clock[0] >= pulled else []
            return {"items": events} if path.endswith("/events") else {"items": []} if path.endswith("/secrets") else slow()

    monkeypatch.setattr(waiter.Waiter, "_pods", lambda _self, _obj: [pod])
    monkeypatch.setattr(Diagnosis, "pods", lambda _self, _obj: [pod])
    with ThreadPoolExecutor(1) as pool, pytest.raises(waiter.WaitFailed, match="not ready after"):
        waiter.Waiter(Api(), pool, 60, Scrubber([])).wait([(slow(), "/path")])  # type: ignore[arg-type]
    assert ends < clock[0] <= ends + 20


def test_a_job_counts_its_own_crashes_and_a_killed_container_says_so() -> None:
    crashed = {"status": {"containerStatuses": [container("CrashLoopBackOff", 5, 137)]}}
    assert next(pod_problems(crashed, restarts_heal=True)).grace is None
    assert "OOMKilled" in next(pod_problems(crashed)).message


@pytest.mark.parametrize(("message", "fatal"), [("exceeded quota: q", True), ("violates PodSecurity", True), ("status unknown for quota: q", False)])
def test_refused_pods(message: str, fatal: bool) -> None:
    assert (creation_problem(message).grace is not None) == fatal


def test_a_certificate_that_failed_says_when_it_is_tried_again() -> None:
    found = issuing_problem(thing("Certificate", CM, status=condition("Issuing", status="False", reason="Failed", message="dns"), namespace="n"))
    assert found and found.grace and "dns" in found.message and "kubectl -n n delete certificate x" in found.message
    assert issuing_problem(thing("Certificate", CM, status=condition("Issuing", status="True"))) is None


@pytest.mark.parametrize(
    ("containers", "extra", "expected"),
    [
        ([{"name": "a"}], {}, True),
        ([{"name": "a", "readinessProbe": {}}], {}, False),
        ([{"name": "a", "readinessProbe": {}}, {"name": "b"}], {}, True),
        ([{"name": "a"}], {"minReadySeconds": 5}, False),
        ([{"name": "a"}], {"replicas": 0}, False),
    ],
)
def test_readiness_without_a_probe_proves_nothing(containers: list[dict[str, Any]], extra: dict[str, Any], expected: bool) -> None:
    assert unproven(thing("Deployment", "apps/v1", {"template": {"spec": {"containers": containers}}, **extra})) == expected
    assert not unproven(thing("Job", "batch/v1", {"template": {"spec": {"containers": containers}}, **extra}))


def test_a_moment_of_readiness_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready, crashed, ready: the time counts anew."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    ready = deployment()
    ready["metadata"].update(uid="u", namespace="n")
    ready["spec"]["template"] = {"spec": {"containers": [{"name": "a"}]}}
    crashed = {**ready, "status": {**ready["status"], "availableReplicas": 0}}
    answers = {0.0: ready, 2.0: crashed, 2.5: ready, 4.0: ready, 6.0: ready}

    class Api:
        def get(self, _path: str) -> dict[str, Any]:
            return answers[clock[0]]

    waiting = waiter.Waiter(Api(), None, 60, Scrubber([]))  # type: ignore[arg-type]
    left = []
    for clock[0] in answers:
        found = waiting._look(waiter.Pending(ready, "/path", Lack("", False)))
        left.append(found.lacking.text if found else "")
    moment = "it has not been ready for long"
    assert left == [moment, "0 of 2 pods are available", moment, moment, ""]
