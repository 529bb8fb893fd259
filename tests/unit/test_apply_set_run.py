"""The run against an API server in memory: order, true changed, conflicts, pruning, errors; and the module's ways round a missing cluster."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.engine import applier, worker
from ansible_collections.shaka.platform.plugins.module_utils.engine.client import Api, ApiError, Unreachable
from ansible_collections.shaka.platform.plugins.module_utils.engine.identity import MANAGER, SET, key_of, stranger
from ansible_collections.shaka.platform.plugins.module_utils.engine.pruning import left_over

VERBS = ["list", "delete", "patch", "get"]
SERVED = {
    "v1": [
        ("Namespace", "namespaces", "Cluster"),
        ("ConfigMap", "configmaps", "Namespaced"),
        ("PersistentVolumeClaim", "persistentvolumeclaims", "Namespaced"),
        ("ServiceAccount", "serviceaccounts", "Namespaced"),
    ],
    "apps/v1": [("Deployment", "deployments", "Namespaced")],
}
PLURALS = {kind: plural for kinds in SERVED.values() for kind, plural, _scope in kinds}


class Server:
    """Enough of an API server: objects by path, server-side apply that replaces what was applied."""

    host, retry_for = "https://127.0.0.1:6443", 0.0

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []
        self.conflicts = 0
        self.looks_left: dict[str, int] = {}  # path -> single reads until the object is gone
        self.version = 1
        self.phase = "Active"
        self.lists: list[str] = []

    def request(self, method: str, path: str, query: Any = None, body: Any = None, headers: Any = None) -> Any:
        if path in ("/api", "/apis"):
            served = {version: kinds for version, kinds in SERVED.items() if ("/" in version) == (path == "/apis")}
            return {"items": [discovered(version, kinds) for version, kinds in served.items()]}
        if method == "DELETE":
            self.log.append(f"DELETE {path}")
            return self.objects.pop(path)
        raise AssertionError(f"{method} {path}")

    def get(self, path: str, query: Mapping[str, str] | None = None, headers: Any = None) -> Any:
        if query or path.rpartition("/")[2] in PLURALS.values():
            selected = (query or {}).get("labelSelector", "")
            self.lists.append(path.rpartition("/")[2])
            plural, labels = path.rpartition("/")[2], dict(pair.split("=") for pair in selected.split(",") if pair)
            matching = [
                o
                for p, o in self.objects.items()
                if f"/{plural}/" in p and p.startswith(path.rpartition("/")[0]) and labels.items() <= o["metadata"].get("labels", {}).items()
            ]
            return {"items": copy.deepcopy([o for o in matching if p_plural(o) == plural])}
        if self.looks_left.get(path) is not None:
            self.looks_left[path] -= 1
            if self.looks_left[path] < 0:
                self.objects.pop(path, None)
        return copy.deepcopy(self.objects.get(path))

    def apply(self, path: str, obj: dict[str, Any], manager: str, dry_run: bool) -> dict[str, Any]:
        name, spaces = obj["metadata"]["name"], path.split("/")
        if "BAD" in name:
            raise ApiError(422, {"message": "invalid", "details": {"causes": [{"field": "metadata.name", "message": "bad name"}]}})
        if self.conflicts:
            self.conflicts -= 1
            raise ApiError(409, {"message": "the object has been modified"})
        if len(spaces) == 7 and spaces[1] == "api" and f"/api/v1/namespaces/{spaces[4]}" not in self.objects:
            raise ApiError(404, {"message": f'namespaces "{spaces[4]}" not found'})
        self.version += 1
        stored = copy.deepcopy(obj)
        stored["metadata"].update(
            uid="u", resourceVersion=str(self.version), managedFields=[{"manager": manager, "operation": "Apply", "fieldsV1": {}}]
        )
        stored["status"] = {"phase": self.phase}
        if not dry_run:
            self.log.append(f"APPLY {path}")
            self.objects[path] = stored
        return copy.deepcopy(stored)


def discovered(version: str, kinds: list[tuple[str, str, str]]) -> dict[str, Any]:
    """An API group of one version, as the aggregated discovery lists it."""
    resources = [{"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": VERBS} for kind, plural, scope in kinds]
    group, _slash, number = version.rpartition("/")
    return {"metadata": {"name": group}, "versions": [{"version": number, "resources": resources}]}


def p_plural(obj: dict[str, Any]) -> str:
    return PLURALS[obj["kind"]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(applier, "Api", lambda *_args, **_kwargs: found)
    return found


def named(kind: str, name: str, namespace: str = "", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **fields}


def params(sets: dict[str, list[dict[str, Any]]], **extra: Any) -> dict[str, Any]:
    base = {"role": "r", "part_of": "p", "complete": True, "secrets": {}, "kubeconfig": "k", "wait": True, "wait_timeout": 5, "prune": True}
    lists: dict[str, list[str]] = {"delete": [], "controllers": []}
    return {"sets": [{"name": name, "objects": objects} for name, objects in sets.items()], **base, **lists, **extra}


def claim(name: str, size: str, namespace: str = "dev") -> dict[str, Any]:
    return named("PersistentVolumeClaim", name, namespace, spec={"resources": {"requests": {"storage": size}}})


def actions(result: dict[str, Any]) -> dict[str, str]:
    return {f"{o['kind']} {o['namespace']}/{o['name']}": o["action"] for o in result["objects"]}


DEV = [named("ConfigMap", "a", "dev", data={"k": "1"}), claim("v", "5Gi"), named("Namespace", "dev")]
PROD = [named("ConfigMap", "a", "prod", data={"k": "1"}), named("Namespace", "prod")]


def test_created_in_order_then_unchanged_then_changed(server: Server) -> None:
    first = applier.run(params({"r.dev": DEV}), False, False)
    assert first["counts"]["created"] == 3 and first["msg"] == "3 objects: 3 created, 0 changed, 0 unchanged; 0 pruned"
    assert [line.split("/")[-2] for line in server.log] == ["namespaces", "configmaps", "persistentvolumeclaims"]
    assert not applier.run(params({"r.dev": DEV}), False, False)["changed"]
    changed = applier.run(params({"r.dev": [named("ConfigMap", "a", "dev", data={"k": "2"}), *DEV[1:]]}), False, True)
    assert [o["fields"] for o in changed["objects"] if o["action"] == "changed"] == [["data.k"]]
    assert len(changed["diff"]) == 1 and "k: '2'" in changed["diff"][0]["after"]


def test_states_come_with_what_differs_when_asked_for(server: Server) -> None:
    first, second = (named("ConfigMap", "a", "dev", data={"x": value}) for value in "12")
    sets = {"r": [named("Namespace", "dev"), first]}
    applier.run(params(sets), False, False)
    sets["r"][1] = second
    asked = {each["name"]: each for each in applier.run(params(sets, states=True), True, False)["objects"]}
    assert [asked["a"][state]["data"]["x"] for state in ("before", "after")] == ["1", "2"]
    assert "before" not in asked["dev"]
    assert all("before" not in each for each in applier.run(params(sets), True, False)["objects"])


def test_check_mode_changes_nothing_and_forgives_a_missing_namespace(server: Server) -> None:
    result = applier.run(params({"r.dev": DEV}), True, False)
    assert set(actions(result).values()) == {"created"} and not server.objects


def test_check_mode_without_a_cluster_would_create_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_args: Any, **_kwargs: Any) -> None:
        raise Unreachable("nobody there")

    monkeypatch.setattr(applier, "Api", nobody)
    result = applier.run(params({"r.dev": DEV}), True, True)
    assert result["counts"]["created"] == 3 and "nobody there" in result["msg"] and len(result["diff"]) == 3
    assert applier.run(params({"r.dev": DEV}), False, False)["errors"] == ["nobody there"]


def test_check_mode_without_a_client_would_create_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3", None)
    result = applier.run(params({"r.dev": DEV}), True, False)
    assert result["counts"]["created"] == 3 and "has no urllib3" in result["msg"]
    assert "the interpreter that has it is not there yet: run role k3s first" in applier.run(params({"r.dev": DEV}), False, False)["errors"][0]


def test_another_writer_in_between_is_no_failure(server: Server) -> None:
    applier.run(params({"r.dev": DEV}), False, False)
    server.conflicts = 3
    assert not applier.run(params({"r.dev": DEV}), False, False)["changed"]


def test_every_error_is_reported_and_nothing_more_is_changed(server: Server) -> None:
    objects = [
        named("Namespace", "dev"),
        named("ConfigMap", "BAD1", "dev"),
        named("ConfigMap", "BAD2", "dev"),
        claim("BAD3", "1Gi"),
    ]
    result = applier.run(params({"r.dev": [*objects, claim("fine", "1Gi")]}), False, False)
    assert result["failed"] and len(result["errors"]) == 3 and result["changed"]
    assert list(server.objects) == ["/api/v1/namespaces/dev"]


@pytest.mark.parametrize(("size", "refused"), [("10Gi", False), ("5120Mi", False), ("4.5Gi", True), ("5000M", True)])
def test_a_claim_grows_and_one_that_would_shrink_is_refused_before_anything_changes(server: Server, size: str, refused: bool) -> None:
    applier.run(params({"r.dev": DEV}), False, False)
    before = copy.deepcopy(server.objects)
    result = applier.run(params({"r.dev": [named("ConfigMap", "a", "dev", data={"k": "2"}), claim("v", size), DEV[2]]}), False, False)
    assert bool(result.get("failed")) is refused
    if refused:
        assert (
            server.objects == before
            and f"asks for {size}, and the volume has 5Gi" in result["msg"]
            and "kubectl -n dev delete pvc v" in result["msg"]
        )


def test_what_is_no_longer_rendered_is_pruned_but_not_volumes_and_namespaces(server: Server) -> None:
    applier.run(params({"r.dev": DEV, "r.prod": PROD}), False, False)
    assert actions(applier.run(params({"r.dev": DEV[2:], "r.prod": PROD}), True, False))["ConfigMap dev/a"] == "pruned"
    gone = actions(applier.run(params({"r.prod": PROD}), False, False))
    assert gone["ConfigMap dev/a"] == "pruned" and gone["PersistentVolumeClaim dev/v"] == gone["Namespace /dev"] == "kept"
    half = applier.run(params({"r.prod": PROD}, delete=["namespaces/dev"]), False, False)
    assert actions(half)["Namespace /dev"] == "kept" and "name persistentvolumeclaims/dev/v in platform_delete" in half["msg"]
    whole = ["namespaces/dev", "persistentvolumeclaims/dev/v"]
    named_ones = actions(applier.run(params({"r.prod": PROD}, delete=whole), False, False))
    assert named_ones["PersistentVolumeClaim dev/v"] == named_ones["Namespace /dev"] == "pruned"
    assert set(server.objects) == {"/api/v1/namespaces/prod", "/api/v1/namespaces/prod/configmaps/a"}


def test_an_account_moves_to_another_role_without_a_moment_in_which_no_pod_could_start(server: Server) -> None:
    """As a server's accounts do that were made by the role tenancy and are the workload's own by now."""
    account, namespace = named("ServiceAccount", "app", "dev"), named("Namespace", "dev")
    app = {**named("Deployment", "app", "dev", spec={"template": {"spec": {"serviceAccountName": "app"}}}), "apiVersion": "apps/v1"}
    applier.run(params({"tenancy.dev": [namespace, account]}, role="tenancy", wait=False), False, False)
    applier.run(params({"app.dev": [app]}, role="app", wait=False), False, False)
    server.log.clear()

    without = applier.run(params({"tenancy.dev": [namespace]}, role="tenancy", wait=False), False, False)
    assert actions(without)["ServiceAccount dev/app"] == "kept" and not without["changed"]
    assert "ServiceAccount dev/app is kept as long as a workload runs as it" in without["notes"]
    moved = applier.run(params({"app.dev": [app, account]}, role="app", wait=False), False, False)
    assert actions(moved) == {"ServiceAccount dev/app": "changed", "Deployment dev/app": "unchanged"}
    for role, objects in (("tenancy", [namespace]), ("app", [app, account])):
        again = applier.run(params({f"{role}.dev": objects}, role=role, wait=False), False, False)
        assert not again["changed"] and "kept" not in actions(again).values()
    assert not any(line.startswith("DELETE") for line in server.log)

    gone = applier.run(params({"app.dev": []}, role="app", wait=False), False, False)
    assert actions(gone) == {"ServiceAccount dev/app": "pruned", "Deployment dev/app": "pruned"}


def test_a_narrowed_run_prunes_only_what_it_rendered(server: Server) -> None:
    cluster = [named("ConfigMap", "shared", "dev")]
    applier.run(params({"r": cluster, "r.dev": DEV, "r.prod": PROD}), False, False)
    result = actions(applier.run(params({"r": [], "r.dev": DEV[1:]}, complete=False), False, False))
    assert {name for name, action in result.items() if action == "pruned"} == {"ConfigMap dev/a"}


def test_what_we_did_not_apply_is_never_pruned(server: Server) -> None:
    applier.run(params({"r.dev": DEV}), False, False)
    copied = copy.deepcopy(server.objects["/api/v1/namespaces/dev/configmaps/a"])
    copied["metadata"].update(name="copy", managedFields=[{"manager": "some-controller", "operation": "Update"}])
    owned = copy.deepcopy(server.objects["/api/v1/namespaces/dev/configmaps/a"])
    owned["metadata"].update(name="owned", ownerReferences=[{"uid": "x"}])
    assert owned["metadata"]["managedFields"][0]["manager"] == MANAGER
    server.objects.update({f"/api/v1/namespaces/dev/configmaps/{o['metadata']['name']}": o for o in (copied, owned)})
    assert not applier.run(params({"r.dev": DEV}), False, False)["changed"]


def test_somebody_elses_object_stops_the_run_before_anything_changes(server: Server) -> None:
    by_hand = named("ConfigMap", "a", "dev", data={"theirs": "1"})
    by_hand["metadata"].update(uid="h", resourceVersion="1", managedFields=[{"manager": "kubectl-create", "operation": "Update"}])
    server.objects["/api/v1/namespaces/dev/configmaps/a"] = by_hand
    for check in (True, False):
        result = applier.run(params({"r.dev": DEV}), check, False)
        assert result["failed"] and not result["changed"] and not server.log
        assert "ConfigMap dev/a" in result["msg"] and "made by kubectl-create" in result["msg"]
        assert "kubectl -n dev label configmap a --overwrite app.kubernetes.io/managed-by=shaka.platform app.kubernetes.io/part-of=p" in result["msg"]
    by_hand["metadata"]["labels"] = {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/part-of": "p"}
    assert actions(applier.run(params({"r.dev": DEV}), False, False))["ConfigMap dev/a"] == "changed"


def test_the_service_account_that_kubernetes_makes_in_each_namespace_is_the_namespace_s() -> None:
    account = named("ServiceAccount", "default", "dev")
    assert stranger(account, "p") == "" != stranger(named("ServiceAccount", "other", "dev"), "p")
    account["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    assert "managed by 'Helm'" in stranger(account, "p")


def test_what_is_being_deleted_is_awaited_and_made_anew(server: Server) -> None:
    applier.run(params({"r.dev": DEV}), False, False)
    path = "/api/v1/namespaces/dev/configmaps/a"
    going = server.objects[path]
    going["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/slow"])
    stuck = applier.run(params({"r.dev": DEV}, wait_timeout=0), False, False)
    assert "in deletion since 2026-01-01T00:00:00Z and waits for example.com/slow" in stuck["msg"]
    server.looks_left[path] = 1
    done = applier.run(params({"r.dev": DEV}), False, False)
    assert [(o["action"], o["fields"]) for o in done["objects"] if o["name"] == "a"] == [("changed", ["metadata.deletionTimestamp"])]
    assert "deletionTimestamp" not in server.objects[path]["metadata"]


@pytest.mark.parametrize("name", ["data-postgres-0", "persistentvolumeclaims/data-postgres-0", "namespace/dev", "secrets/dev/x", "namespaces/dev/x"])
def test_a_name_that_could_never_match_is_refused(server: Server, name: str) -> None:
    result = applier.run(params({"r.dev": DEV}, delete=[name]), False, False)
    assert result["failed"] and f"platform_delete: '{name}' must be" in result["msg"] and not server.objects


def test_a_kept_namespace_keeps_what_shields_it() -> None:
    def obj(kind: str, namespace: str, name: str) -> dict[str, Any]:
        found = named(kind, name, namespace)
        found["metadata"].update(labels={SET: "r.dev"}, managedFields=[{"manager": MANAGER, "operation": "Apply"}])
        return found

    listed = [obj("Namespace", "", "dev"), obj("ResourceQuota", "dev", "q"), obj("ConfigMap", "dev", "c")]
    found = {key.kind: action for key, action in left_over(listed, set(), params({})).items()}
    assert found == {"Namespace": "kept", "ResourceQuota": "kept", "ConfigMap": "pruned"}
    for_volumes = left_over(listed, set(), params({}, delete=["namespaces/dev"]), {"dev"})
    assert {key.kind: action for key, action in for_volumes.items()} == found
    found = {key.kind: action for key, action in left_over(listed, {key_of(listed[0])}, params({})).items()}
    assert found == {"ResourceQuota": "pruned", "ConfigMap": "pruned"}


def test_the_worker_takes_more_than_a_pipe_holds() -> None:
    """Ansible's respawn_module would hang here."""
    big = params({"r.dev": [named("ConfigMap", f"c{i}", "dev", data={"k": "x" * 1000}) for i in range(200)]}, kubeconfig="/nonexistent/kubeconfig")
    pytest.importorskip("urllib3")
    answer = worker.run_in(sys.executable, {"params": big, "check": True, "diff": False})
    assert answer["counts"]["created"] == 200


CONFIG = """
current-context: here
contexts: [{name: here, context: {cluster: c, user: u}}]
clusters: [{name: other, cluster: {server: 'https://192.0.2.1'}}, {name: c, cluster: {server: 'https://127.0.0.1:6443/'}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CONFIG.replace("current-context: here", "current-context: gone"), "current context"),
        (CONFIG.replace("user: u}", "user: nobody}"), "current context"),
        (CONFIG.replace("token: t", "client-certificate-data: bm8="), "SSLError"),
        ("{", "not YAML"),
        ("", "TypeError"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_said(tmp_path: Path, text: str, words: str) -> None:
    pytest.importorskip("urllib3")
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(Unreachable, match=f"{path} cannot be used: .*{words}"):
        Api(str(path))


def test_a_kubeconfig_says_where_and_who(tmp_path: Path) -> None:
    pytest.importorskip("urllib3")
    path = tmp_path / "config"
    path.write_text(CONFIG)
    assert Api(str(path)).host == "https://127.0.0.1:6443"
