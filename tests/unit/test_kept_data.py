"""An inventory that would start something on empty data is refused, with what to write where it is meant."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.filter.data_problems import data_problems
from ansible_collections.shaka.platform.plugins.module_utils.data import claims

PROD = {"databases": ["shaka_prod", "billing"], "user": "shaka_prod"}
KEYS = {"shaka-prod": {"name": "prod", "database": 2, "prefix": "prod:"}}


def claim(namespace: str = "shaka-prod", name: str = "postgres-pvc", data: Any = None, **change: Any) -> dict[str, Any]:
    role = name.partition("-")[0]
    found = {
        "namespace": namespace,
        "name": name,
        "platform": "shaka",
        "set": f"{role}.prod",
        "size": "20Gi",
        "used": True,
        "data": PROD if data is None else data,
    }
    return {**found, **change}


def model(name: str = "prod", **change: Any) -> Any:
    """One environment and the shared namespace; a change of `postgres` or `redis` is laid over."""
    postgres = {"database": "shaka_prod", "databases": ["billing"], "user": "shaka_prod", "renamed_from": {"database": "", "user": ""}}
    redis = {"namespace": "shaka-shared", "dedicated": False, "database": 2, "prefix": "prod:"}
    env = {"name": name, "namespace": change.get("namespace", f"shaka-{name}")}
    env["apps"] = change.get("apps", {})
    env |= {"postgres": {**postgres, **change.get("postgres", {})}, "redis": {**redis, **change.get("redis", {})}}
    shared = {"name": "shared", "namespace": change.get("shared", "shaka-shared")}
    return {"name": change.get("platform", "shaka"), "all_environments": {name: env}, "namespaces": {"shared": shared}}


HAD = [claim(), claim("shaka-shared", "redis-pvc", KEYS, set="redis")]


def test_what_is_as_it_was_is_fine() -> None:
    assert data_problems(HAD, model(), [], []) == [] and data_problems([], model(), [], []) == [] and data_problems(None, model(), [], []) == []


@pytest.mark.parametrize(
    ("changed", "says", "meant"),
    [
        (model("production"), ["platform_environments: 'prod' is not in it", "databases shaka_prod, billing", "platform_environments.production its",
                               "namespace (shaka-prod)", "platform_retire: [prod]"], ["prod"]),
        (model("production"), ["platform_retire: [prod]"], ["shaka-prod"]),
        (model(namespace="other"), ["platform_environments.prod.namespace: is 'other'", "set it back to shaka-prod"], ["shaka-prod"]),
        (model(shared="cache"), ["platform_namespaces.shared.namespace: is 'cache'", "redis-pvc"], ["shaka-shared"]),
        (model(postgres={"database": "new"}), ["postgres.database: is 'new'", "renamed_from: {database: shaka_prod}"], ["prod/shaka_prod"]),
        (model(postgres={"databases": []}), ["postgres.databases: lacks 'billing'", "in no backup"], ["prod/billing"]),
        (model(redis={"database": 0}), ["redis.database: is 0", "keys are in 2", "platform_retire: [prod/redis/2]"], ["prod/redis/2"]),
        (model(redis={"prefix": "p:"}), ["redis.prefix: is 'p:'", "begin with 'prod:'"], ["prod/redis/2"]),
        (model(redis={"namespace": "shaka-cache"}), ["platform_redis.namespace: puts the Redis into shaka-cache", "that of shaka-shared",
                                                     "set it back", "platform_retire: [prod/redis/2]"], ["prod/redis/2"]),
        (model(redis={"dedicated": True, "namespace": "shaka-prod"}), ["redis.dedicated: is true", "Redis of shaka-shared"], ["prod/redis/2"]),
    ],
)  # fmt: skip
def test_each_way_to_empty_data_is_refused_unless_it_is_named(changed: Any, says: list[str], meant: list[str]) -> None:
    found = data_problems(HAD, changed, [], [])
    assert len(found) == 1
    assert [words for words in says if words not in found[0]] == []
    assert data_problems(HAD, changed, meant, []) == []
    assert data_problems(HAD, changed, ["staging", "staging/shaka_prod", "prod/redis/9"], []) == found, "another name allows nothing"


def test_another_platform_s_name_starts_everything_empty() -> None:
    changed = model(platform="foo", namespace="foo-prod", shared="foo-shared")
    found = data_problems(HAD, changed, [], [])
    assert len(found) == 2 and all(text.startswith("platform_name: is 'foo'") and "set it back to shaka" in text for text in found)


def test_two_environments_that_swap_their_numbers_are_both_refused() -> None:
    both = model()
    other = model("staging", redis={"database": 2, "prefix": "staging:"})["all_environments"]["staging"]
    both["all_environments"] = {"prod": model(redis={"database": 1})["all_environments"]["prod"], "staging": other}
    keys = {**KEYS, "shaka-staging": {"name": "staging", "database": 1, "prefix": "staging:"}}
    found = data_problems([claim(), claim("shaka-shared", "redis-pvc", keys, set="redis")], both, [], [])
    assert [text.split(" is ")[0] for text in found] == [f"platform_environments.{name}.redis.database:" for name in ("prod", "staging")]


def test_an_environment_s_own_redis_that_goes_back_to_the_shared_one() -> None:
    own = [claim(), claim("shaka-prod", "redis-pvc", {"shaka-prod": {"name": "prod", "database": 0, "prefix": "prod:"}})]
    assert "redis.dedicated: is false" in data_problems(own, model(redis={"database": 0}), [], [])[0]
    assert data_problems(own, model(redis={"database": 0}), ["prod/redis/0"], []) == []


def test_a_user_of_another_name_has_to_say_so() -> None:
    assert "postgres.user: is 'ana'" in data_problems(HAD, model(postgres={"user": "ana"}), [], [])[0]
    assert data_problems(HAD, model(postgres={"user": "ana", "renamed_from": {"database": "", "user": "shaka_prod"}}), [], []) == []
    both = {"database": "new", "user": "new", "renamed_from": {"database": "shaka_prod", "user": "shaka_prod"}}
    assert data_problems(HAD, model(postgres=both), [], []) == []


def app(name: str, volume: str) -> dict[str, Any]:
    """An application of prod with a volume."""
    return {name: {"path": f"platform_environments.prod.apps.{name}", "volumes": {volume: {"claim": f"shaka-{name}-{volume}"}}}}


INDEX = claim(name="shaka-search-index", set="apps.prod", data={}, size="5Gi")


@pytest.mark.parametrize("apps", [app("find", "index"), app("search", "files")])
def test_an_application_or_volume_of_another_name_does_not_start_empty(apps: dict[str, Any]) -> None:
    assert data_problems([*HAD, INDEX], model(apps=app("search", "index")), [], []) == []
    found = data_problems([*HAD, INDEX], model(apps=apps), [], [])
    assert len(found) == 1
    words = [
        "platform_environments.prod.apps: ",
        "volume shaka-search-index of 5Gi",
        "would start empty",
        "platform_retire: [prod/shaka-search-index]",
    ]
    assert [text for text in words if text not in found[0]] == []
    assert data_problems([*HAD, INDEX], model(apps=apps), ["prod/shaka-search-index"], []) == []
    assert data_problems([*HAD, INDEX], model(apps=apps), [], ["persistentvolumeclaims/shaka-prod/shaka-search-index"]) == []
    assert data_problems([*HAD, {**INDEX, "used": False}], model(apps=apps), [], []) == [], "it stayed behind before"


def test_an_application_that_went_alone_leaves_its_volume() -> None:
    assert data_problems([*HAD, INDEX], model(), [], []) == []


@pytest.mark.parametrize("change", [{"used": False}, {"data": {}}])
def test_what_was_retired_before_and_what_an_earlier_version_made_is_no_problem(change: dict[str, Any]) -> None:
    assert data_problems([claim(**change)], model("production" if "used" in change else "prod", postgres={"databases": []}), [], []) == []


def test_data_that_is_to_be_deleted_is_meant_to_go() -> None:
    assert data_problems([claim()], model("production"), [], ["persistentvolumeclaims/shaka-prod/postgres-pvc"]) == []


# --- what the server says -------------------------------------------------------------------------------------------------------------------


def test_a_claim_says_what_is_in_it() -> None:
    record = {claims.DATA: json.dumps(PROD)}
    labels = {"app.kubernetes.io/part-of": "shaka", "shaka.platform/set": "postgres.prod"}
    meta = {"namespace": "shaka-prod", "name": "postgres-pvc", "labels": labels, "annotations": record}
    spec = {"volumeName": "pv1", "resources": {"requests": {"storage": "20Gi"}}}
    unbound = {"metadata": {**meta, "name": "later"}, "spec": {**spec, "volumeName": ""}}
    volumes = [{"name": "config"}, {"name": "data", "persistentVolumeClaim": {"claimName": "postgres-pvc"}}]
    workload = {"metadata": {"namespace": "shaka-prod"}, "spec": {"template": {"spec": {"volumes": volumes}}}}
    assert claims.bound_claims([{"metadata": meta, "spec": spec}, unbound], [workload]) == [claim()]
    scheduled = {**workload, "spec": {"jobTemplate": {"spec": workload["spec"]}}}
    assert claims.bound_claims([{"metadata": meta, "spec": spec}], [scheduled]) == [claim()]
    assert claims.bound_claims([{"metadata": {**meta, "annotations": {claims.DATA: "no JSON"}}, "spec": spec}], []) == [claim(data={}, used=False)]


def test_without_a_cluster_nothing_is_there_and_of_one_that_is_silent_nothing_is_known(tmp_path: Path) -> None:
    assert claims.claims(tmp_path / "none.yaml") == []
    authority = base64.b64encode(b"no certificate").decode()
    config = tmp_path / "k3s.yaml"
    config.write_text(
        f"    server: https://127.0.0.1:1\n    certificate-authority-data: {authority}\n"
        f"    client-certificate-data: {authority}\n    client-key-data: {authority}\n"
    )
    assert claims.claims(config) is None
    config.write_text("nothing\n")
    assert claims.claims(config) is None
