"""What counts as a change, what is shown of it, how patches merge, and what YAML means."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.engine.autoscaling import autoscaled, holds_replicas, with_replicas, without_replicas
from ansible_collections.shaka.platform.plugins.module_utils.engine.content import content, diff, differing, digest
from ansible_collections.shaka.platform.plugins.module_utils.engine.ordering import CUSTOM, rank
from ansible_collections.shaka.platform.plugins.module_utils.engine.patches import apply_patches, merge
from ansible_collections.shaka.platform.plugins.module_utils.engine.yamlio import YamlError, read_objects, to_yaml


def obj(kind: str, name: str = "x", namespace: str = "", api: str = "v1", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **fields}


def test_bookkeeping_and_status_are_not_content() -> None:
    before = obj("Namespace", status={"phase": "Active"})
    after = obj("Namespace")
    after["metadata"].update(resourceVersion="2", generation=3, uid="u", creationTimestamp="t", managedFields=[])
    assert content(before) == content(after)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"spec": {"hard": {"pods": "1"}}}, {"spec": {"hard": {"pods": "2"}}}, ["spec.hard.pods"]),
        ({"hard": {"limits.cpu": "1"}}, {"hard": {}}, ["hard[limits.cpu]"]),
        ({"c": [{"name": "a", "i": 1}]}, {"c": [{"name": "a", "i": 2}, {"name": "b"}]}, ["c[a].i", "c[b]"]),
        ({"c": [{"name": "a"}, {"name": "b"}]}, {"c": [{"name": "b"}, {"name": "a"}]}, ["c"]),
        ({"args": ["x"]}, {"args": ["y"]}, ["args"]),
        ({"a": None}, {}, ["a"]),
    ],
)
def test_paths_that_differ(before: Any, after: Any, paths: list[str]) -> None:
    assert list(differing(before, after)) == paths


def test_a_diff_of_a_secret_shows_digests_only() -> None:
    before = obj("Secret", data={"K": "b2xkLXZhbHVl"})
    after = obj("Secret", data={"K": "bmV3LXZhbHVl"})
    after["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"K": "bmV3LXZhbHVl"}}'}
    text = str(diff(before, after))
    assert digest("bmV3LXZhbHVl") in text and "(9 bytes)" in text
    assert "bmV3" not in text and "b2xk" not in text and "value" not in text


def test_a_diff_names_what_is_created_and_deleted() -> None:
    assert diff(None, obj("ConfigMap", "c", "n"))["before_header"] == "ConfigMap n/c (absent)"
    assert diff(obj("ConfigMap", "c", "n"), None)["after_header"] == "ConfigMap n/c (deleted)"


@pytest.mark.parametrize(
    ("base", "patch", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        (
            {"l": [{"name": "x", "v": 1}, {"name": "y"}]},
            {"l": [{"name": "x", "v": 2}, {"name": "z"}]},
            {"l": [{"name": "x", "v": 2}, {"name": "y"}, {"name": "z"}]},
        ),
        ({"args": ["--a", "--b"]}, {"args": ["--c"]}, {"args": ["--c"]}),
        ({"l": [{"name": "x"}]}, {"l": []}, {"l": []}),
    ],
)
def test_merging(base: Any, patch: Any, merged: Any) -> None:
    assert merge(base, patch) == merged


def test_a_patch_must_match_exactly_one_object() -> None:
    objects = [obj("Deployment", "a", "n", "apps/v1", spec={"replicas": 1}), obj("ConfigMap", "c", "n"), obj("ConfigMap", "c", "m")]
    patched, errors = apply_patches(objects, [obj("Deployment", "a", api="apps/v1", spec={"replicas": 2})])
    assert not errors and patched[0]["spec"] == {"replicas": 2} and patched[0]["metadata"]["namespace"] == "n"
    for patch, words in (
        (obj("Deployment", "zz", api="apps/v1"), "no object"),
        (obj("ConfigMap", "c"), "2 objects"),
        (obj("ConfigMap", "c", "zz"), "no object"),
    ):
        assert words in apply_patches(objects, [patch])[1][0]


def test_what_an_object_needs_comes_before_it() -> None:
    order = [
        obj("Namespace"),
        obj("CustomResourceDefinition", api="apiextensions.k8s.io/v1"),
        obj("ResourceQuota"),
        obj("ServiceAccount"),
        obj("Role", api="rbac.authorization.k8s.io/v1"),
        obj("RoleBinding", api="rbac.authorization.k8s.io/v1"),
        obj("NetworkPolicy", api="networking.k8s.io/v1"),
        obj("ConfigMap"),
        obj("Secret"),
        obj("PersistentVolumeClaim"),
        obj("Service"),
        obj("Deployment", api="apps/v1"),
        obj("CronJob", api="batch/v1"),
        obj("ValidatingWebhookConfiguration", api="admissionregistration.k8s.io/v1"),
        obj("Ingress", api="networking.k8s.io/v1"),
        obj("ClusterIssuer", api="cert-manager.io/v1"),
    ]
    assert [rank(item) for item in order] == sorted({rank(item) for item in order})
    assert rank(obj("Service", api="serving.knative.dev/v1")) == CUSTOM


def test_replicas_belong_to_the_autoscaler() -> None:
    deployment = obj("Deployment", "w", "n", "apps/v1", spec={"replicas": 3, "paused": False})
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"}
    assert autoscaled([deployment, obj("HorizontalPodAutoscaler", "h", "n", "autoscaling/v2", spec={"scaleTargetRef": target})]) == {
        ("apps", "Deployment", "n", "w")
    }
    assert without_replicas(deployment)["spec"] == {"paused": False} and deployment["spec"]["replicas"] == 3
    assert with_replicas(deployment) == deployment
    assert with_replicas(obj("StatefulSet", api="apps/v1", spec={"serviceName": "x"}))["spec"] == {"replicas": 1, "serviceName": "x"}
    assert "spec" not in with_replicas(obj("DaemonSet", api="apps/v1"))


@pytest.mark.parametrize(("fields", "held"), [({"f:spec": {"f:replicas": {}}}, True), ({"f:spec": {"f:paused": {}}}, False)])
def test_who_holds_replicas(fields: dict[str, Any], held: bool) -> None:
    deployment = obj("Deployment", "w", "n", "apps/v1")
    deployment["metadata"]["managedFields"] = [{"manager": "shaka.platform", "operation": "Apply", "fieldsV1": fields}]
    assert holds_replicas(deployment) == held


def test_yaml_scalars_are_those_of_kubernetes() -> None:
    spec = "{y: on, port: 22:22, day: 2026-01-01, no: ~, t: true, mode: 0440, f: 1.5, e: 1e3, s: '1'}"
    text = f"apiVersion: example.com/v1\nkind: Demo\nmetadata: {{name: c}}\nspec: {spec}\n"
    assert read_objects(text)[0]["spec"] == {
        "y": "on", "port": "22:22", "day": "2026-01-01", "no": None, "t": True, "mode": 288, "f": 1.5, "e": 1000.0, "s": "1"
    }  # fmt: skip


WORDS = (
    "123 1e7 0123456 0123 0x1F 0o17 1_000 1.10 .5 +1 -0 12:30 2026-01-01 on off yes No y n true TRUE False null NULL Null ~ .inf .NaN = << 0b11 1.5e3"
).split()


@pytest.mark.parametrize("word", WORDS)
def test_where_kubernetes_takes_text_a_word_is_read_as_it_is_written(word: str) -> None:
    """No template needs quotes, whatever a name or a key looks like."""
    lists = f"args: [{word}], command: [{word}], env: [{{name: {word}, value: {word}}}], volumeMounts: [{{name: x, mountPath: {word}}}]"
    container = f"{{name: {word}, image: {word}, {lists}}}"
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: {word}, namespace: {word}, labels: {{a: {word}}}, annotations: {{{word}x: {word}}}}}
spec: {{nodeSelector: {{a: {word}}}, containers: [{container}], priority: 5, hostNetwork: true, affinity: null}}
---
apiVersion: v1
kind: Secret
metadata: {{name: s}}
stringData: {{"{word}": a, b: {word}}}
---
apiVersion: v1
kind: Service
metadata: {{name: s}}
spec: {{selector: {{app: {word}}}, ports: [{{name: {word}, port: 80}}]}}
"""
    pod, secret, service = read_objects(text)
    told = pod["spec"]["containers"][0]
    assert told.pop("volumeMounts")[0]["mountPath"] == word
    assert told == {"name": word, "image": word, "args": [word], "command": [word], "env": [{"name": word, "value": word}]}
    assert pod["metadata"] == {"name": word, "namespace": word, "labels": {"a": word}, "annotations": {f"{word}x": word}}
    assert pod["spec"].pop("nodeSelector") == {"a": word} and pod["spec"].pop("containers")
    assert pod["spec"] == {"priority": 5, "hostNetwork": True, "affinity": None}
    assert secret["stringData"] == {word: "a", "b": word}
    assert service["spec"] == {"selector": {"app": word}, "ports": [{"name": word, "port": 80}]}


@pytest.mark.parametrize("word", [word for word in WORDS if word != "<<"])  # which merges
def test_a_key_is_read_as_it_is_written(word: str) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  {word}: x\n"
    assert read_objects(text)[0]["data"] == {word: "x"}


def test_a_definition_of_a_resource_keeps_the_types_of_its_defaults() -> None:
    schema = "{properties: {labels: {nullable: true}, name: {default: 5}, data: {maxLength: 3}}}"
    text = f"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: c}}\nspec: {schema}\n"
    assert read_objects(text)[0]["spec"]["properties"] == {"labels": {"nullable": True}, "name": {"default": 5}, "data": {"maxLength": 3}}


def test_an_emoji_that_json_wrote_as_two_escapes_arrives_whole() -> None:
    told = {"emoji": "Shaka 🤙", "accent": "São Paulo", "backslash": "\\\\ud83e\\udd19", "mixed": "\\🤙"}
    assert "\\ud83e" in json.dumps(told)
    text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": told})
    assert read_objects(text)[0]["data"] == told


def test_documents_may_be_empty_and_lists_are_flattened() -> None:
    text = "---\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: p}}\n"
    assert [item["kind"] for item in read_objects(text)] == ["Pod"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2\n", "line 2"),
        ("- a\n", "not an object"),
        ("kind: Pod\nmetadata: {}\n", "apiVersion, metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {? '' : x}\n", "line 4: a key is empty"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {? [a] : x}\n", "unhashable key"),
    ],
)
def test_what_is_wrong_in_yaml_is_said(text: str, words: str) -> None:
    with pytest.raises(YamlError, match=words):
        read_objects(text)


def test_shown_yaml_keeps_lines_and_order() -> None:
    assert to_yaml(obj("ConfigMap", data={"a": "1\n2\n"})) == "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  a: |\n    1\n    2\n"
