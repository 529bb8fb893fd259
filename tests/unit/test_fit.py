"""The fit plan: what rendered objects need, whether it fits, and which variables are named when it does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import yaml
from ansible_collections.shaka.platform.plugins.module_utils.quantities import QuantityError
from ansible_collections.shaka.platform.plugins.plugin_utils.amounts import Amounts
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.fit import FitPlan, Row, counted_size, make_plan

MI = 1 << 20


@dataclass(frozen=True)
class Set:
    name: str
    role: str
    environment: str | None
    objects: list[dict[str, Any]]
    patches: list[dict[str, Any]] = field(default_factory=list)


def model(**server: Any) -> Any:
    limits = {
        "min": {"cpu": "25m", "memory": "32Mi"}, "max": {"cpu": "2", "memory": "4Gi"},
        "default": {"cpu": "100m", "memory": "128Mi"}, "default_request": {"cpu": "25m", "memory": "32Mi"},
    }  # fmt: skip
    reserved = {"cpu": "200m", "memory": "560Mi", "disk": "10Gi"}
    return {
        "server": {"cpu": "2", "memory": "2Gi", "disk": "60Gi", "pods": 110, "reserved": reserved} | server,
        "environments": {"prod": {"namespace": "x-prod", "limits": limits, "quota": {}}},
        "namespaces": {},
        "acme": {"kind": "acme", "challenge": "http01"},
    }


def objects(text: str, **values: object) -> list[dict[str, Any]]:
    for name, value in values.items():
        text = text.replace(f"<{name}>", str(value))
    return [item for item in yaml.safe_load_all(text) if item]


DEPLOYMENT = """
kind: Deployment
metadata: {name: api, namespace: x-prod}
spec:
  replicas: 2
  template:
    spec:
      initContainers: [<init>]
      containers: [{name: api, resources: <resources>}]
"""


def row(plan: FitPlan, name: str) -> Row:
    return next(item for item in plan.rows if item.component == name)


def plan_of(
    text: str, role: str = "api", environment: str | None = "prod", quota: dict[str, str] | None = None, server: dict[str, Any] | None = None
) -> FitPlan:
    described = model(**(server or {}))
    described["environments"]["prod"]["quota"] = quota or {}
    return make_plan([Set(f"{role}.{environment}", role, environment, objects(text))], described)


@pytest.mark.parametrize(
    ("resources", "init", "cpu", "memory"),
    [
        ("{requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 1, memory: 128Mi}}", "", 100, 128),
        ("{limits: {cpu: 500m, memory: 128Mi}}", "", 1000, 256),  # a request defaults to the limit
        ("{}", "", 50, 64),  # and without one to the LimitRange
        ("{requests: {cpu: 50m, memory: 64Mi}}", "{name: init, resources: {requests: {cpu: 25m, memory: 256Mi}}}", 100, 512),  # the larger start
        ("{requests: {cpu: 50m, memory: 64Mi}}", "{name: side, restartPolicy: Always, resources: {requests: {cpu: 25m, memory: 32Mi}}}", 150, 192),
    ],
)
def test_what_a_pod_needs(resources: str, init: str, cpu: int, memory: int) -> None:
    rest = row(make_plan([Set("api.prod", "api", "prod", objects(DEPLOYMENT, resources=resources, init=init))], model()), "api").rest
    assert (rest.cpu_request, rest.memory_request // MI, rest.pods) == (cpu, memory, 2)


@pytest.mark.parametrize(
    ("replicas", "strategy", "pods"),
    [
        (1, "{}", 1),
        (5, "{}", 2),
        (2, "{rollingUpdate: {maxSurge: 1}}", 1),
        (4, "{rollingUpdate: {maxSurge: 50%}}", 2),
        (2, "{rollingUpdate: {maxSurge: 0}}", 0),
        (2, "{type: Recreate}", 0),
    ],
)
def test_rollout_needs_room(replicas: int, strategy: str, pods: int) -> None:
    spec = f"replicas: {replicas}, strategy: {strategy}, template: {{spec: {{containers: [{{name: a}}]}}}}"
    text = f"{{kind: Deployment, metadata: {{name: api, namespace: x-prod}}, spec: {{{spec}}}}}"
    assert row(plan_of(text), "api").rollout.pods == pods


def test_peak_is_the_largest_role_s_rollout_and_every_scheduled_job() -> None:
    pod = "{spec: {containers: [{name: a, resources: {requests: {memory: <memory>}}}]}}"
    deployment = f"{{kind: Deployment, metadata: {{name: <name>}}, spec: {{template: {pod}}}}}"
    job = "{kind: CronJob, metadata: {name: j<s>, namespace: x-prod}, spec: {suspend: <s>, jobTemplate: {spec: {template: <pod>}}}}".replace(
        "<pod>", pod
    )
    job = job.replace("<memory>", "64Mi")
    sets = [
        Set("a", "a", None, objects(deployment, name="a1", memory="100Mi") + objects(deployment, name="a2", memory="100Mi")),
        Set("b", "b", None, objects(deployment, name="b", memory="150Mi")),
        Set("j.prod", "j", "prod", objects(job, s="false") + objects(job, s="true")),
    ]
    plan = make_plan(sets, model())
    assert plan.rollout.memory_request == 200 * MI
    assert plan.jobs.pods == 1
    assert plan.peak == plan.rest + plan.rollout + plan.jobs


def test_server_s_own_rows_and_service_lb() -> None:
    plan = plan_of("{kind: Service, metadata: {name: traefik}, spec: {type: LoadBalancer}}", "traefik", None)
    assert row(plan, "system and K3s (reserved)").rest.memory_request == 560 * MI
    assert plan.rest.memory_request == 700 * MI
    assert row(plan, "K3s ServiceLB for traefik").rest.pods == 1


def test_patches_count_as_workloads() -> None:
    patch = objects(
        "{kind: Deployment, metadata: {name: controller}, spec: {template: {spec: {containers: [{name: a, resources: {requests: {memory: 40Mi}}}]}}}}"
    )
    plan = make_plan([Set("cm", "cm", None, [], patch)], model())
    assert row(plan, "controller").rest.memory_request == 40 * MI


def test_claims_belong_to_the_workload_that_mounts_them() -> None:
    text = """
{kind: PersistentVolumeClaim, metadata: {name: data, namespace: x-prod}, spec: {resources: {requests: {storage: 20Gi}}}}
---
kind: StatefulSet
metadata: {name: postgres, namespace: x-prod}
spec:
  template: {spec: {containers: [{name: a}], volumes: [{name: v, persistentVolumeClaim: {claimName: data}}, {name: t, emptyDir: {sizeLimit: 1Gi}}]}}
  volumeClaimTemplates: [{spec: {resources: {requests: {storage: 1Gi}}}}]
"""
    plan = plan_of(text, "postgres")
    assert row(plan, "postgres").rest.disk == 22 << 30
    assert len([item for item in plan.rows if item.namespace == "x-prod"]) == 1


BIG = """
kind: StatefulSet
metadata: {name: postgres, namespace: x-prod, annotations: {shaka.platform/inventory: platform_environments.prod}}
spec: {template: {spec: {containers: [{name: postgres, resources: {requests: {cpu: 100m, memory: <request>}, limits: {memory: <limit>}}}]}}}
"""


def test_too_much_names_the_variables_largest_first() -> None:
    big = Set("postgres.prod", "postgres", "prod", objects(BIG, request="1200Mi", limit="1200Mi"))
    small = Set("redis", "redis", None, objects(BIG.replace("x-prod", "shared"), request="300Mi", limit="300Mi"))
    plan = make_plan([small, big], model())
    finding = next(text for text in plan.findings if text.startswith("memory"))
    assert "152Mi too much" in finding
    assert finding.index("platform_environments.prod.postgres.requests.memory (1200Mi)") < finding.index("platform_redis.requests.memory (300Mi)")
    assert "DOES NOT FIT: memory" in plan.text()
    assert plan.as_dict()["status"] == "findings"


@pytest.mark.parametrize(
    ("server", "measure"), [({"cpu": "250m"}, "CPU"), ({"memory": "512Mi"}, "memory"), ({"disk": "9Gi"}, "disk"), ({"pods": 2}, "pods")]
)
def test_each_measure_can_be_too_small(server: dict[str, Any], measure: str) -> None:
    assert [text.split(":")[0] for text in plan_of("", server=server).findings] == [measure]


def test_unknown_size_is_a_note() -> None:
    plan = plan_of("", server={"cpu": "", "disk": ""})
    assert plan.findings == []
    assert any("CPU, disk is not known" in note for note in plan.notes)


def test_limit_beyond_the_server() -> None:
    finding = plan_of(objects_text("64Mi", "3Gi"), "postgres").findings
    assert len(finding) == 1
    assert "3Gi, more memory than the server has; lower platform_environments.prod.postgres.limits.memory" in finding[0]


def objects_text(request: str, limit: str) -> str:
    return BIG.replace("<request>", request).replace("<limit>", limit)


def test_container_under_the_limit_range_minimum() -> None:
    finding = plan_of(objects_text("16Mi", "64Mi"), "postgres").findings
    assert len(finding) == 1
    assert "requests 16Mi memory, under the LimitRange minimum 32Mi; raise platform_environments.prod.postgres.requests.memory" in finding[0]


def test_quota_less_than_the_namespace_needs() -> None:
    finding = plan_of(objects_text("64Mi", "512Mi"), "postgres", quota={"limits.memory": "256Mi"}).findings
    assert finding == ["platform_environments.prod.quota.limits.memory 256Mi is less than the 512Mi that its pods need at the peak; raise it"]


@pytest.mark.parametrize(
    ("quota", "finding"),
    [
        ({"configmaps": "1"}, "quota.configmaps 1 is less than the 2 "),  # Kubernetes itself adds kube-root-ca.crt
        (
            {"secrets": "2"},
            "quota.secrets 2 is less than the 3 that the platform has there while a certificate is issued",
        ),  # its key, and its next one
        ({"services": "1"}, "quota.services 1 is less than the 2 that the platform has there while a certificate is issued"),
        ({"configmaps": "2", "secrets": "3", "services": "2"}, ""),
    ],
)
def test_quota_less_than_the_objects(quota: dict[str, str], finding: str) -> None:
    text = "".join(f"---\nkind: {kind}\nmetadata: {{name: x, namespace: x-prod}}\n" for kind in ("Service", "Secret", "Certificate", "ConfigMap"))
    found = plan_of(text, quota=quota).findings
    assert len(found) == bool(finding)
    assert all(finding in item for item in found)


@pytest.mark.parametrize(("acme", "refused"), [({"challenge": "http01"}, 1), ({"challenge": "dns01"}, 0), ({"kind": "ca"}, 0)])
def test_a_service_for_the_answer_is_needed_by_http_alone(acme: dict[str, str], refused: int) -> None:
    wanted = model()
    wanted["environments"]["prod"]["quota"], wanted["acme"] = {"services": "0"}, wanted["acme"] | acme
    made = [{"kind": "Certificate", "metadata": {"name": "x", "namespace": "x-prod"}}]
    assert len(make_plan([Set("apps.prod", "apps", "prod", made)], wanted).findings) == refused


def test_quota_beyond_the_server_is_a_note() -> None:
    plan = plan_of("", quota={"pods": "200", "limits.memory": "64Gi"})
    assert plan.findings == []
    assert any("pods 200" in note for note in plan.notes)


def test_a_bad_quantity_names_its_object() -> None:
    with pytest.raises(QuantityError, match=r"StatefulSet x-prod/postgres of set postgres\.prod: .*did you mean 512Mi"):
        plan_of(objects_text("64Mi", "512MB"), "postgres")


def test_amounts_are_counted_exactly() -> None:
    one = Amounts(50, 100, 32 * MI, 64 * MI, 1, 0, 0, 0, 0)
    assert one * 3 == one + one + one
    assert Amounts.total([]) == Amounts()


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        ({"processor_vcpus": 4, "memtotal_mb": 1967, "disk_total": (40 << 30) + 9}, ("2", "1967Mi", "40Gi")),
        ({"processor_vcpus": 1}, ("1", "2Gi", "")),
        ({}, ("2", "2Gi", "")),
    ],
)
def test_a_server_counts_with_the_smaller_of_inventory_and_facts(facts: dict[str, int], counts: tuple[str, str, str]) -> None:
    size = counted_size(cast(Any, {"cpu": "2", "memory": "2Gi", "disk": "", "pods": 110}), facts)
    assert (size["cpu"], size["memory"], size["disk"]) == counts and size["pods"] == 110
