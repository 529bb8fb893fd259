"""Fields that others added to our objects."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.additions import added, removal, without

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


def test_bookkeeping_restarts_and_subresources_are_left() -> None:
    left: dict[str, Any] = {"f:metadata": {"f:finalizers": {}, "f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}}
    assert added(live({**left, "f:status": {}}), DESIRED, []) == []
    assert added(live(HAND, subresource="scale"), DESIRED, []) == []


def test_emptied_mappings_go_too() -> None:
    assert without({"metadata": {"name": "x", "annotations": {"a": "b"}}}, [("metadata", "annotations", "a")]) == {"metadata": {"name": "x"}}
