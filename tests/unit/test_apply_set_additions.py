"""Fields that others added to our objects."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.engine.additions import CONTROLLERS, added, removal, without
from ansible_collections.shaka.platform.plugins.modules.apply_set import DOCUMENTATION

CONTAINER = 'k:{"name":"api"}'
DESIRED: dict[str, Any] = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {"replicas": 2, "containers": [{"name": "api", "env": [{"name": "A", "value": "1"}]}]},
}
OURS = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {"f:replicas": {}, "f:containers": {CONTAINER: {".": {}, "f:name": {}, "f:env": {'k:{"name":"A"}': {".": {}}}}}},
}


def live(fields: dict[str, Any], manager: str = "kubectl-edit", **entry: str) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {"a": "1", "hand/made": "x"},
            "annotations": {"kubectl.kubernetes.io/restartedAt": "now"},
            "finalizers": ["f"],
            "managedFields": [
                {"manager": "shaka.platform", "operation": "Apply", "fieldsV1": OURS},
                {"manager": manager, "operation": "Update", "fieldsV1": fields, **entry},
            ],
        },
        "spec": {
            "replicas": 5,
            "containers": [{"name": "api", "env": [{"name": "A", "value": "1"}, {"name": "EVIL", "value": "x"}]}, {"name": "side", "image": "i"}],
        },
    }


HAND = {
    "f:metadata": {"f:labels": {"f:hand/made": {}}},
    "f:spec": {"f:containers": {CONTAINER: {"f:env": {'k:{"name":"EVIL"}': {".": {}, "f:name": {}}}}, 'k:{"name":"side"}': {".": {}, "f:image": {}}}},
}


def test_a_label_a_variable_and_a_sidecar_are_found_and_removed() -> None:
    found = added(live(HAND), DESIRED, [])
    assert [item["path"] for item in removal(found)] == ["/spec/containers/1", "/spec/containers/0/env/1", "/metadata/labels/hand~1made"]
    cleaned = without(live(HAND), found)
    assert [c["name"] for c in cleaned["spec"]["containers"]] == ["api"] and cleaned["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]


@pytest.mark.parametrize("manager", ["k3s", "kube-controller-manager", "cert-manager-cainjector", "shaka.platform-deploy", "my-operator-v2"])
def test_controllers_keep_their_fields(manager: str) -> None:
    assert added(live(HAND, manager), DESIRED, ["my-operator*"]) == []


def test_a_changed_field_of_ours_is_not_an_addition() -> None:
    """It becomes theirs alone in managedFields; removing it would undo what we apply."""
    assert added(live({"f:spec": {"f:replicas": {}}}), DESIRED, []) == []


def test_bookkeeping_restarts_and_status_are_left() -> None:
    left: dict[str, Any] = {"f:metadata": {"f:finalizers": {}, "f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}
    assert added(live({**left, "f:status": {"f:conditions": {}}}, subresource="status"), DESIRED, []) == []


def test_a_subresource_is_no_way_round() -> None:
    """kubectl scale, of a workload whose size we do not set; and a label written along with the status."""
    plain = {"metadata": DESIRED["metadata"], "spec": {"containers": DESIRED["spec"]["containers"]}}
    scaled: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    assert added(live(scaled, subresource="scale"), plain, []) == [("spec", "replicas")]
    assert added(live(scaled, "kube-controller-manager", subresource="scale"), plain, []) == []
    assert added(live({"f:metadata": {"f:labels": {"f:hand/made": {}}}}, subresource="status"), plain, []) == [("metadata", "labels", "hand/made")]


def test_a_field_we_no_longer_want_goes_also_when_somebody_set_it_too() -> None:
    """Server-side apply leaves it to its other owner, so a second run would still find it."""
    shrunk = {**DESIRED, "spec": {"replicas": 2, "containers": [{"name": "api"}]}}
    co_owned: dict[str, Any] = {"f:spec": {"f:containers": {CONTAINER: {"f:env": {'k:{"name":"A"}': {".": {}}}}}}}
    assert added(live(co_owned), shrunk, []) == [("spec", "containers", 0, "env")]


@pytest.mark.parametrize("name", ["status", "finalizers", "caBundle", "nodePort", "clusterIP"])
def test_a_key_of_a_config_map_may_have_any_name(name: str) -> None:
    entry = {"manager": "kubectl-patch", "operation": "Update", "fieldsV1": {"f:data": {f"f:{name}": {}}}}
    obj = {"metadata": {"managedFields": [entry]}, "data": {name: "x", "ours": "y"}}
    assert added(obj, {"metadata": {}, "data": {"ours": "y"}}, []) == [("data", name)]


def test_the_documented_controllers_are_those_known() -> None:
    documented = re.findall(r"C\(([\w.*-]+)\)", DOCUMENTATION.partition("Known are:")[2].partition("Of anybody")[0])
    assert documented == list(CONTROLLERS)


def test_emptied_mappings_go_too() -> None:
    assert without({"metadata": {"name": "x", "annotations": {"a": "b"}}}, [("metadata", "annotations", "a")]) == {"metadata": {"name": "x"}}
