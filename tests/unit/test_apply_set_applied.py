"""What is seen without a dry run to be in the cluster as we would apply it, and what is left to one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.engine.admission import Admission
from ansible_collections.shaka.platform.plugins.module_utils.engine.applied import as_applied
from ansible_collections.shaka.platform.plugins.module_utils.engine.discovery import Discovery, Resource

LABELS = {"app": "api"}
WANTED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "prod", "labels": LABELS},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "containers": [
                    {"name": "api", "image": "a:1", "args": ["x", "y"], "ports": [{"containerPort": 80}]},
                    {"name": "side", "image": "s:1", "ports": [{"containerPort": 81, "protocol": "UDP"}]},
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        },
    },
}
PORT = 'k:{"containerPort":80,"protocol":"TCP"}'
OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:containers": {
                    'k:{"name":"api"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:args": {},
                        "f:ports": {PORT: {".": {}, "f:containerPort": {}}},
                    },
                    'k:{"name":"side"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:ports": {'k:{"containerPort":81,"protocol":"UDP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}}},
                    },
                },
                "f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
            },
        },
    },
}
ENTRY = {"manager": "shaka.platform", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": OWNED}


def present() -> dict[str, Any]:
    """WANTED as the server has it: with its defaults and bookkeeping."""
    obj: dict[str, Any] = copy.deepcopy(WANTED)
    status = {"manager": "k3s", "operation": "Update", "apiVersion": "apps/v1", "subresource": "status", "fieldsV1": {"f:status": {}}}
    obj["metadata"].update(uid="u", resourceVersion="7", generation=1, managedFields=[copy.deepcopy(ENTRY), status])
    obj["spec"].update(progressDeadlineSeconds=600)
    pod = obj["spec"]["template"]["spec"]
    pod["restartPolicy"] = "Always"
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    obj["status"] = {"readyReplicas": 2}
    return obj


def pod(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["template"]["spec"]
    return found


def entry(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = obj["metadata"]["managedFields"][0]
    return found


def owned_containers(obj: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = entry(obj)["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    return found


def test_an_object_with_the_servers_defaults_is_as_applied() -> None:
    assert as_applied(present(), WANTED)


@pytest.mark.parametrize(
    "change",
    [
        lambda o: pod(o)["containers"][0].update(image="a:2"),  # changed, by somebody who took no field over
        lambda o: owned_containers(o)['k:{"name":"api"}'].pop("f:image"),  # set to the same by somebody who took the field over
        lambda o: pod(o)["containers"].reverse(),
        lambda o: pod(o)["containers"].append({"name": "more", "image": "m:1"}),
        lambda o: pod(o)["containers"].pop(),
        lambda o: pod(o)["containers"][0]["args"].append("z"),
        lambda o: pod(o)["containers"][0]["ports"][0].update(containerPort=90),
        lambda o: pod(o)["volumes"][0]["emptyDir"].update(sizeLimit="1Gi"),
        lambda o: o["spec"]["selector"]["matchLabels"].update(more="x"),
        lambda o: o["spec"].pop("replicas"),
        lambda o: o["metadata"]["labels"].pop("app"),
        lambda o: o["metadata"].pop("labels"),
        lambda o: o["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
        lambda o: o["metadata"].update(managedFields=[]),
        lambda o: o["metadata"].pop("managedFields"),
        lambda o: entry(o).update(apiVersion="apps/v1beta2"),
        lambda o: entry(o).update(operation="Update"),
        lambda o: entry(o).update(manager="kubectl"),
        lambda o: entry(o).update(fieldsV1={}),
        lambda o: entry(o)["fieldsV1"]["f:spec"].update({"f:paused": {}}),  # a field that we applied once and no longer want
        lambda o: o["metadata"]["managedFields"].append(entry(o)),
    ],
)
def test_whatever_differs_is_left_to_the_dry_run(change: Any) -> None:
    obj = present()
    change(obj)
    assert not as_applied(obj, WANTED)


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o["spec"].update(replicas=3),
        lambda o: o["spec"].update(paused=False),  # not applied so far
        lambda o: o["spec"].pop("replicas"),
        lambda o: o["metadata"].update(annotations={"a": "b"}),
        lambda o: pod(o)["containers"][0].update(image=None),
        lambda o: pod(o)["containers"].reverse(),
        lambda o: pod(o)["containers"].append(pod(o)["containers"][0]),  # twice
        lambda o: pod(o).update(volumes=[]),
        lambda o: o.update(data={}),
        lambda o: o.update(apiVersion="apps/v2"),
    ],
)
def test_whatever_is_wanted_otherwise_is_left_to_the_dry_run(change: Any) -> None:
    wanted = copy.deepcopy(WANTED)
    change(wanted)
    assert not as_applied(present(), wanted)


@pytest.mark.parametrize(
    ("rule", "concerned"),
    [
        ({"apiGroups": ["apps"], "resources": ["deployments"]}, True),
        ({"apiGroups": ["*"], "resources": ["*/*"]}, True),
        ({"apiGroups": ["apps"], "resources": ["*"]}, True),
        ({"apiGroups": [""], "resources": ["*"]}, False),
        ({"apiGroups": ["apps"], "resources": ["statefulsets", "deployments/scale"]}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("policy", [False, True])
def test_what_a_webhook_or_policy_looks_at_is_left_to_the_dry_run(rule: dict[str, Any], concerned: bool, policy: bool) -> None:
    kind, plural = (
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies") if policy else ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations")
    )
    spec = {"spec": {"matchConstraints": {"resourceRules": [rule]}}} if policy else {"webhooks": [{"rules": [rule]}]}

    class Server:
        def get(self, path: str) -> Any:
            assert path == f"/apis/admissionregistration.k8s.io/v1/{plural}"
            return {"items": [spec]}

    served = {"version": "v1", "resources": [{"resource": plural, "responseKind": {"kind": kind}, "scope": "Cluster"}]}
    group = {"metadata": {"name": "admissionregistration.k8s.io"}, "versions": [served]}
    admission = Admission(Server(), Discovery([{"items": [group]}]))  # type: ignore[arg-type]
    assert admission.concerns(Resource("apps/v1", "Deployment", "deployments", True)) is concerned
