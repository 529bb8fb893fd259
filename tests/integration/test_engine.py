"""What only an API server can say: ownership of fields, phases, deletion, autoscalers, refusals, pods that will not run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Cluster, actions, differences
from objects import config, container, deployment, obj, workload


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> str:
    """A namespace, as a role before ours would have made it."""
    name = f"{cluster.part_of}-a"
    actions(cluster.apply(obj("Namespace", name), role="spaces"))
    # An autoscaler that is not of a set, not even of the platform; it looks only every 15 s, so it starts long before its test.
    actions(cluster.apply(deployment("guest", name, replicas=1), role="guests", wait=False))
    cluster.run(f"kubectl -n {name} create -f -", json.dumps(autoscaler("guest", name)).encode())
    return name


def autoscaler(name: str, namespace: str) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3}
    return obj("HorizontalPodAutoscaler", name, namespace, "autoscaling/v2", spec=spec)


# -- pods that will never run: tried beside the other tests, because each takes its time ---------------------------------

NEVER = {
    "pull": (deployment("pull", "NS", container("lab.local/nothing:1")), "ErrImagePull|ImagePullBackOff", "lab.local/nothing:1"),
    "config": (
        deployment("config", "NS", container(envFrom=[{"configMapRef": {"name": "absent"}}])),
        "CreateContainerConfigError",
        '"absent" not found',
    ),
    "crash": (
        deployment("crash", "NS", container("lab.local/redis:7", command=["sh", "-c", "echo no password=canary-of-a-log today; exit 3"])),
        "CrashLoopBackOff",
        "log of main: no password=******** today",
    ),
    "room": (deployment("room", "NS", container(resources={"requests": {"cpu": "900"}})), "Unschedulable", "Insufficient cpu"),
    "quota": (workload("StatefulSet", "quota", "NS", container(), serviceName="quota"), "FailedCreate", "exceeded quota"),
}


@pytest.fixture(scope="module", autouse=True)
def failures(cluster: Cluster) -> Iterator[dict[str, Future[tuple[dict[str, Any], float]]]]:
    names = {name: f"{cluster.part_of}-{name}" for name in NEVER}
    spaces = [obj("Namespace", name) for name in names.values()]
    quota = obj("ResourceQuota", "none", names["quota"], spec={"hard": {"pods": "0"}})
    actions(cluster.apply(*spaces, quota, role="failing"))

    def attempt(name: str) -> tuple[dict[str, Any], float]:
        started, text = time.monotonic(), json.dumps(NEVER[name][0]).replace('"NS"', f'"{names[name]}"')
        return cluster.apply(json.loads(text), role=name, wait_timeout=200), time.monotonic() - started

    with ThreadPoolExecutor(len(NEVER)) as pool:
        yield {name: pool.submit(attempt, name) for name in NEVER}


# -- what changed, and what others did -----------------------------------------------------------------------------------


def test_120_objects_are_changed_once_and_then_never(cluster: Cluster, space: str) -> None:
    objects = [config(f"many-{number}", space, text="x" * 200, number=str(number)) for number in range(120)]
    assert cluster.apply(*objects, role="many", check=True)["counts"]["created"] == 120
    assert cluster.apply(*objects, role="many")["counts"]["created"] == 120
    for check in (True, False):
        again = cluster.apply(*objects, role="many", check=check)
        assert again["changed"] is False and again["counts"]["unchanged"] == 120 and again["diff"] == []
    objects[7]["data"]["number"] = "seven"
    assert differences(cluster.apply(*objects, role="many", check=True)) == {"ConfigMap many-7": ["data.number"]}
    assert actions(cluster.apply(*objects[:60], role="many")).get("ConfigMap many-119") == "pruned"


POLICY = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []}
EDITS = [
    ("label namespace NS by-hand=1", "Namespace NS", "metadata.labels.by-hand"),
    ("-n NS annotate networkpolicy deny by-hand=1", "NetworkPolicy deny", "metadata.annotations.by-hand"),
    ("""-n NS patch configmap settings --type merge -p '{"data": {"status": "x"}}'""", "ConfigMap settings", "data.status"),
    ("""-n NS patch secret keys --type merge -p '{"data": {"more": "eA=="}}'""", "Secret keys", "data.more"),
    ("-n NS set env deployment/still BY_HAND=1", "Deployment still", "spec.template.spec.containers[main].env"),
    (
        """-n NS patch deployment side -p '{"spec": {"template": {"spec": {"containers": [{"name": "spy", "image": "spy"}]}}}}'""",
        "Deployment side",
        "spec.template.spec.containers[spy]",
    ),
    ("-n NS scale deployment sized --replicas=2", "Deployment sized", "spec.replicas"),
    (
        """-n NS patch service web -p '{"spec": {"ports": [{"name": "debug", "port": 99}]}}'""",
        "Service web",
        "spec.ports[debug]",
    ),
    (
        """-n NS patch networkpolicy open --type json -p '[{"op": "add", "path": "/spec/ingress", "value": [{}]}]'""",
        "NetworkPolicy open",
        "spec.ingress",
    ),
    (
        """-n NS patch deployment still --subresource=status --type merge -p '{"metadata": {"annotations": {"by-status": "1"}}}'""",
        "Deployment still",
        "metadata.annotations.by-status",
    ),
    ("-n NS label configmap settings app.kubernetes.io/managed-by-", "ConfigMap settings", "metadata.labels[app.kubernetes.io/managed-by]"),
    ("-n NS delete configmap whole", "ConfigMap whole", ""),
]


def test_what_is_added_or_changed_by_hand_is_seen_and_put_back(cluster: Cluster) -> None:
    name = f"{cluster.part_of}-edits"
    objects = [
        obj("Namespace", name),
        obj("NetworkPolicy", "deny", name, "networking.k8s.io/v1", spec=POLICY),
        obj("NetworkPolicy", "open", name, "networking.k8s.io/v1", spec={"podSelector": {}, "policyTypes": ["Ingress"]}),
        config("settings", name, ours="1"),
        config("whole", name, ours="1"),
        obj("Secret", "keys", name, stringData={"key": "a @{probe/KEY}"}),
        deployment("still", name, replicas=0),
        deployment("side", name, replicas=0),
        deployment("sized", name),
        obj("Service", "web", name, spec={"selector": {"app": "still"}, "ports": [{"name": "http", "port": 80}]}),
    ]
    given: dict[str, Any] = {"secrets": {"probe/KEY": "canary-of-an-edit"}, "role": "edits"}
    actions(cluster.apply(*objects, **given))
    assert differences(cluster.apply(*objects, check=True, **given)) == {}
    cluster.run(" && ".join(f"kubectl {command.replace('NS', name)}" for command, _object, _field in EDITS))
    seen = cluster.apply(*objects, check=True, **given)
    for _command, title, field in EDITS:
        found = differences(seen)[title.replace("NS", name)]
        assert field in found if field else found == [], (title, found)
    assert set(differences(seen)) == {title.replace("NS", name) for _command, title, _field in EDITS}, "nothing else differs"
    back = cluster.apply(*objects, **given)
    assert differences(back).keys() == differences(seen).keys()
    assert "canary" not in json.dumps([seen, back])
    assert differences(cluster.apply(*objects, check=True, **given)) == {}
    live = cluster.get(f"-n {name} deployment,configmap,secret,service,networkpolicy")["items"]
    for trace in ("by-hand", "BY_HAND", "by-status", '"spy"', '"more"', '"debug"'):
        assert trace not in json.dumps([{**item, "status": {}, "metadata": {**item["metadata"], "managedFields": []}} for item in live]), trace


def test_a_field_that_another_manager_took_is_ours_again(cluster: Cluster, space: str) -> None:
    ours = config("contested", space, a="1", b="2")
    actions(cluster.apply(ours, role="contested"))
    theirs = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "contested"}, "data": {"a": "9", "b": "2"}})
    cluster.run(f"k3s kubectl -n {space} apply --server-side --field-manager=other --force-conflicts -f -", theirs.encode())
    shrunk = config("contested", space, a="1")  # b has another owner as well: it must go in this one run
    assert differences(cluster.apply(shrunk, role="contested", check=True)) == {"ConfigMap contested": ["data.a", "data.b"]}
    actions(cluster.apply(shrunk, role="contested"))
    assert cluster.get(f"-n {space} configmap contested")["data"] == {"a": "1"}
    assert differences(cluster.apply(shrunk, role="contested")) == {}
    theirs = json.dumps({"metadata": {"annotations": {"metrics": "on"}}})
    cluster.kubectl(f"-n {space} patch configmap contested --field-manager=my-operator-v2 -p '{theirs}'")
    assert differences(cluster.apply(shrunk, role="contested", controllers=["my-operator*"])) == {}


def test_an_object_made_by_somebody_else_is_not_touched_until_it_is_handed_over(cluster: Cluster, space: str) -> None:
    cluster.kubectl(f"-n {space} create configmap theirs --from-literal=a=0 --from-literal=extra=1")
    before = cluster.get(f"-n {space} configmap theirs")
    ours = [config("beside", space, a="1"), config("theirs", space, a="1")]
    for check in (True, False):
        refused = cluster.apply(*ours, role="adopting", check=check)
        assert refused["failed"] and not refused["changed"] and "made by kubectl-create" in refused["msg"]
    assert cluster.get(f"-n {space} configmap theirs") == before and "beside" not in cluster.kubectl(f"-n {space} get configmap -o name")
    cluster.run(f"k3s {refused['msg'][refused['msg'].index('kubectl ') : refused['msg'].index(' (what the inventory')]}")
    assert actions(cluster.apply(*ours, role="adopting")) == {"ConfigMap beside": "created", "ConfigMap theirs": "changed"}
    assert cluster.get(f"-n {space} configmap theirs")["data"] == {"a": "1"}
    other = cluster.apply(*ours, role="adopting", part_of="another")
    assert other["failed"] and f"it is of the platform '{cluster.part_of}'" in other["msg"]


# -- deletion, and runs that ended midway --------------------------------------------------------------------------------


def test_data_is_kept_until_it_is_named(cluster: Cluster) -> None:
    name, claim = f"{cluster.part_of}-old", {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    old = [
        obj("Namespace", name),
        obj("ResourceQuota", "quota", name, spec={"hard": {"pods": "5"}}),
        obj("PersistentVolumeClaim", "data", name, spec=claim),
        config("plain", name, a="1"),
    ]
    cluster.apply(role="envs", sets={"envs": [], "envs.old": old, "envs.new": []})
    narrowed = cluster.apply(role="envs", sets={"envs": [], "envs.new": []}, complete=False)
    assert actions(narrowed) == {}
    left = cluster.apply(role="envs", sets={"envs": [], "envs.new": []})
    assert actions(left) == {
        f"Namespace {name}": "kept",
        "ResourceQuota quota": "kept",
        "PersistentVolumeClaim data": "kept",
        "ConfigMap plain": "pruned",
    }
    assert f"name persistentvolumeclaims/{name}/data in platform_delete" in left["msg"]
    half = cluster.apply(role="envs", sets={"envs": []}, delete=[f"namespaces/{name}"])
    assert actions(half)[f"Namespace {name}"] == "kept" and cluster.get(f"-n {name} pvc data")
    both = [f"namespaces/{name}", f"persistentvolumeclaims/{name}/data"]
    assert set(actions(cluster.apply(role="envs", sets={"envs": []}, delete=both, check=True)).values()) == {"pruned"}
    assert cluster.get(f"-n {name} pvc data")
    assert set(actions(cluster.apply(role="envs", sets={"envs": []}, delete=both)).values()) == {"pruned"}
    cluster.kubectl(f"wait --for=delete namespace/{name} --timeout=60s")


def test_a_killed_run_is_completed_by_the_next(cluster: Cluster, space: str) -> None:
    ready = {"exec": {"command": ["test", "-e", "/tmp/ready"]}}
    slow = deployment("slow", space, container("lab.local/redis:7", command=["sleep", "600"], readinessProbe={**ready, "periodSeconds": 1}))
    first = [config("stays", space, a="1"), config("goes", space, a="1")]
    actions(cluster.apply(*first, role="killed"))
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(cluster.apply, first[0], slow, role="killed", prune=False, killable=True)  # as if before pruning
        cluster.kubectl(f"-n {space} wait --for=create deployment/slow --timeout=60s")
        cluster.kill()
        assert killed.result() == {}
        next_run = pool.submit(cluster.apply, first[0], slow, role="killed")
        cluster.kubectl(f"-n {space} wait --for=delete configmap/goes --timeout=60s")
        cluster.kubectl(f"-n {space} wait --for=jsonpath='{{.status.phase}}'=Running pod -l app=slow --timeout=60s")
        assert not next_run.done(), "it waits for what the killed run left not ready"
        cluster.kubectl(f"-n {space} exec deploy/slow -- touch /tmp/ready")
        assert actions(next_run.result()) == {"ConfigMap stays": "unchanged", "Deployment slow": "unchanged", "ConfigMap goes": "pruned"}
    assert actions(cluster.apply(first[0], role="killed")) == {"ConfigMap stays": "unchanged", "Deployment slow": "pruned"}


def test_what_is_being_deleted_is_made_anew(cluster: Cluster, space: str) -> None:
    ours = config("going", space, a="1")
    actions(cluster.apply(ours, role="going"))
    cluster.kubectl(f"-n {space} patch configmap going --type merge -p '{json.dumps({'metadata': {'finalizers': ['example.com/slow']}})}'")
    old = cluster.get(f"-n {space} configmap going")["metadata"]["uid"]
    cluster.kubectl(f"-n {space} delete configmap going --wait=false")
    assert differences(cluster.apply(ours, role="going", check=True)) == {"ConfigMap going": ["metadata.deletionTimestamp"]}
    stuck = cluster.apply(ours, role="going", wait_timeout=1)
    assert stuck["failed"] and "waits for example.com/slow" in stuck["msg"]
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(cluster.apply, ours, role="going")
        time.sleep(1)
        cluster.kubectl(f"-n {space} patch configmap going --type merge -p '{json.dumps({'metadata': {'finalizers': None}})}'")
        assert actions(run.result()) == {"ConfigMap going": "changed"}
    assert cluster.get(f"-n {space} configmap going")["metadata"]["uid"] != old


# -- phases --------------------------------------------------------------------------------------------------------------


def test_a_kind_and_its_objects_come_in_one_set(cluster: Cluster, space: str) -> None:
    group = f"{cluster.part_of}.example.com"
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}
    crd = obj("CustomResourceDefinition", f"widgets.{group}", "", "apiextensions.k8s.io/v1", spec={
        "group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    })  # fmt: skip
    widget = obj("Widget", "one", space, f"{group}/v1", spec={"size": 1})
    assert set(actions(cluster.apply(widget, crd, role="kinds", check=True)).values()) == {"created"}
    assert set(actions(cluster.apply(widget, crd, role="kinds")).values()) == {"created"}
    assert differences(cluster.apply(widget, crd, role="kinds")) == {}
    cluster.kubectl(f"-n {space} patch widgets.{group} one --type merge -p '{json.dumps({'spec': {'by-hand': 1}})}'")
    assert differences(cluster.apply(widget, crd, role="kinds", check=True)) == {"Widget one": ["spec.by-hand"]}
    assert actions(cluster.apply(role="kinds")) == {"Widget one": "pruned", f"CustomResourceDefinition widgets.{group}": "kept"}
    assert actions(cluster.apply(role="kinds", delete=[f"customresourcedefinitions/widgets.{group}"])).popitem()[1] == "pruned"


def test_custom_resources_wait_for_their_webhook(cluster: Cluster, space: str) -> None:
    if not cluster.kubectl("-n cert-manager get deployment cert-manager-webhook -o name", check=False):
        pytest.skip("needs the role cert_manager on the server: its webhook is the one to wait for")
    issuer = obj("Issuer", "self", space, "cert-manager.io/v1", spec={"selfSigned": {}})
    cluster.kubectl("-n cert-manager scale deployment cert-manager-webhook --replicas=0")
    cluster.kubectl("-n cert-manager wait --for=delete pod -l app.kubernetes.io/component=webhook --timeout=60s")
    assert actions(cluster.apply(issuer, role="hooked", check=True)) == {"Issuer self": "created"}
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(cluster.apply, issuer, role="hooked")
        time.sleep(3)
        assert not run.done()
        cluster.kubectl("-n cert-manager scale deployment cert-manager-webhook --replicas=1")
        assert actions(run.result()) == {"Issuer self": "created"}
    assert cluster.get(f"-n {space} issuer self")["status"]["conditions"][0]["status"] == "True"


def test_replicas_belong_to_the_autoscaler(cluster: Cluster, space: str) -> None:
    def replicas(name: str) -> int:
        return int(cluster.get(f"-n {space} deployment {name}")["spec"]["replicas"])

    auto, guest = deployment("auto", space, replicas=2), deployment("guest", space, replicas=1)
    actions(cluster.apply(auto, role="scaled", wait=False))
    rendered = [{**auto, "spec": {**auto["spec"], "replicas": 1}}, autoscaler("auto", space)]
    actions(cluster.apply(*rendered, role="scaled", wait=False))
    assert replicas("auto") == 2, "handing it to the autoscaler must not scale it to one"
    end = time.monotonic() + 60
    while replicas("guest") != 2:
        assert time.monotonic() < end, "the autoscaler did not act"
        time.sleep(1)
    assert differences(cluster.apply(guest, role="guests", wait=False)) == {}
    assert differences(cluster.apply(*rendered, role="scaled", wait=False)) == {}
    assert (replicas("auto"), replicas("guest")) == (2, 2)
    cluster.kubectl(f"-n {space} delete hpa guest")
    assert differences(cluster.apply(guest, role="guests", wait=False)) == {"Deployment guest": ["spec.replicas"]}


# -- refusals ------------------------------------------------------------------------------------------------------------


def test_what_cannot_change_says_what_to_do_and_changes_nothing(cluster: Cluster, space: str) -> None:
    def objects(size: str, address: str, command: str, text: str) -> list[dict[str, Any]]:
        claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}
        task = {"restartPolicy": "Never", "containers": [container(command=["true"], env=[{"name": "X", "value": command}])]}
        return [
            workload("StatefulSet", "sts", space, container(), serviceName="sts", replicas=0, volumeClaimTemplates=[claim]),
            obj("Service", "svc", space, spec={"ports": [{"port": 80}], **({"clusterIP": address} if address else {})}),
            obj("Job", "job", space, "batch/v1", spec={"suspend": True, "template": {"spec": task}}),
            obj("Secret", "sec", space, immutable=True, stringData={"key": f"{text} @{{probe/KEY}}"}),
        ]

    given: dict[str, Any] = {"role": "fixed", "secrets": {"probe/KEY": "canary-of-a-refusal"}}
    actions(cluster.apply(*objects("1Mi", "", "a", "a"), **given))
    versions = cluster.kubectl(f"-n {space} get sts,svc,job,secret -o jsonpath='{{.items[*].metadata.resourceVersion}}'")
    for check in (True, False):
        refused = cluster.apply(*objects("2Mi", "None", "b" * 300, "b"), check=check, **given)
        text = refused["msg"]
        for title, field, remedy in (
            ("StatefulSet", "sts", f"kubectl -n {space} delete statefulset sts --cascade=orphan"),
            ("Service", "svc", f"kubectl -n {space} delete service svc"),
            ("Job", "job", f"kubectl -n {space} delete job job"),
            ("Secret", "sec", f"kubectl -n {space} delete secret sec"),
        ):
            assert f"{title} {space}/{field} (inventory: platform_environments.probe): " in text and remedy in text, text
        for field in ("spec: Forbidden", "spec.clusterIPs", "spec.template.spec: ", "data is immutable"):
            assert field in text, text
        assert "canary" not in json.dumps(refused) and "bbbb" not in text and not refused["changed"]
    assert cluster.kubectl(f"-n {space} get sts,svc,job,secret -o jsonpath='{{.items[*].metadata.resourceVersion}}'") == versions


@pytest.mark.parametrize("name", NEVER)
def test_what_will_never_run_is_given_up_early(failures: dict[str, Future[tuple[dict[str, Any], float]]], name: str) -> None:
    result, seconds = failures[name].result()
    _obj, reasons, words = NEVER[name]
    assert result["failed"] and any(reason in result["msg"] for reason in reasons.split("|")) and words in result["msg"], result["msg"]
    assert "inventory: platform_environments.probe" in result["msg"] and "canary" not in result["msg"]
    assert seconds < 100 and "not ready after" not in result["msg"]
