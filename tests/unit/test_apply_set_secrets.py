"""Secret references, and that no value leaves the module."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.engine import applier
from ansible_collections.shaka.platform.plugins.module_utils.engine.client import ApiError
from ansible_collections.shaka.platform.plugins.module_utils.engine.compose import compose
from ansible_collections.shaka.platform.plugins.module_utils.engine.errors import explain
from ansible_collections.shaka.platform.plugins.module_utils.engine.item import Refused
from ansible_collections.shaka.platform.plugins.module_utils.engine.references import Scrubber, fill_in, references_in

SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "n", "annotations": {"shaka.platform/inventory": "platform_environments.prod"}},
    "stringData": {"URL": "redis://:@{prod/REDIS_PASSWORD}@redis/2", "PLAIN": "text"},
}


def test_references_are_found_and_resolved_into_data() -> None:
    assert list(references_in(SECRET)) == ["prod/REDIS_PASSWORD"]
    resolved, errors = fill_in(SECRET, {"prod/REDIS_PASSWORD": "pässword"})
    assert not errors and "stringData" not in resolved
    assert {key: base64.b64decode(value).decode() for key, value in resolved["data"].items()} == {"URL": "redis://:pässword@redis/2", "PLAIN": "text"}


def test_an_unknown_reference_names_object_key_and_inventory() -> None:
    _resolved, errors = fill_in(SECRET, {})
    assert errors == ["Secret n/s: stringData.URL refers to the unknown secret @{prod/REDIS_PASSWORD} (inventory: platform_environments.prod)"]


def test_a_secret_within_json_is_written_as_json_has_it() -> None:
    text = json.dumps({"auths": {"r.test": {"username": "_json_key", "password": "@{registries/GOOGLE}"}}})
    given = {"kind": "Secret", "metadata": {"name": "r"}, "stringData": {".dockerconfigjson": text, "key_json": "@{registries/GOOGLE}"}}
    value = '{"key": "a\\nb"}\n\\ ação'
    resolved, errors = fill_in(given, {"registries/GOOGLE": value})
    assert errors == []
    assert json.loads(base64.b64decode(resolved["data"][".dockerconfigjson"]))["auths"]["r.test"]["password"] == value
    assert base64.b64decode(resolved["data"]["key_json"]).decode() == value


def test_a_reference_elsewhere_is_refused() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": {"a": "@{prod/X}"}}
    params = {
        "sets": [{"name": "r", "objects": [config], "sources": ["r/t.j2"]}],
        "role": "r",
        "part_of": "p",
        "delete": [],
        "secrets": {"prod/X": "v"},
    }
    with pytest.raises(Refused, match=r"ConfigMap n/c \(template: r/t.j2\): a secret reference"):
        compose(params, False)


def test_values_are_taken_out_of_any_text() -> None:
    value = "canary-0123456789"
    encoded = base64.b64encode(value.encode()).decode()
    scrubbed = json.dumps(Scrubber([value]).all({"a": [f"x {value} y"], "b": {"c": encoded}, "n": 1}))
    assert value not in scrubbed and encoded.rstrip("=") not in scrubbed and '"n": 1' in scrubbed


def test_what_is_made_with_a_secret_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may quote the whole URL in base64, in which the password's own base64 does not occur."""
    whole = base64.b64encode(b"redis://:pa55word-of-prod@redis/2").decode()

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise ApiError(500, {"message": f"admission webhook denied the request: {whole} and 'PLAIN: text'"})

    monkeypatch.setattr(applier, "Api", refuse)
    sets = [{"name": "r", "objects": [SECRET]}]
    base = {"sets": sets, "role": "r", "part_of": "p", "delete": [], "kubeconfig": "k", "wait_timeout": 1}
    text = json.dumps(applier.run({**base, "secrets": {"prod/REDIS_PASSWORD": "pa55word-of-prod"}}, False, True))
    assert "denied the request: ********" in text and whole not in text and "PLAIN: text" in text


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("FATAL: password=hunter22 rejected", "FATAL: password=******** rejected"),
        ("connecting to postgres://app:hunter22@db:5432/x", "connecting to postgres://app:********@db:5432/x"),
        ('{"api_key": "hunter22", "level": 3}', '{"api_key": "********", "level": 3}'),
        ("password authentication failed for user app", "password authentication failed for user app"),
    ],
)
def test_log_lines_lose_what_looks_like_a_secret(line: str, shown: str) -> None:
    assert Scrubber([]).log(line) == shown


def refusal(field: str, message: str) -> ApiError:
    return ApiError(422, {"message": f"it is invalid: {message}", "details": {"causes": [{"field": field, "message": message}]}})


def test_an_error_about_a_secret_never_quotes_the_server() -> None:
    text = explain(SECRET, refusal("data[k]", 'Invalid value: "aHVudGVy"'))
    assert "aHVudGVy" not in text and "data[k]" in text


def test_a_quoted_object_is_not_shown() -> None:
    quoted = 'Invalid value: {"metadata":{"labels":{"a":"b: c"}},"spec":{"containers":[' + '{"env":[{"name":"A","value":"x: y"}]},' * 9 + "]}}"
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n"}}
    text = explain(job, refusal("spec.template", f"{quoted}: field is immutable"))
    assert text.startswith("Job n/j: spec.template: Invalid value: (not shown): field is immutable. To do: a Job's template never changes")
    short = explain(job, refusal("spec.clusterIPs[0]", 'Invalid value: ["None"]: may not change once set'))
    assert 'Invalid value: ["None"]: may not change once set' in short


def test_an_error_says_object_field_inventory_and_what_to_do() -> None:
    claim = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "postgres", "namespace": "shaka-prod"}}
    error = refusal("spec", "Forbidden: updates to statefulset spec for fields other than x are forbidden")
    text = explain(claim, error, "postgres/templates/environment/postgres.yaml.j2")
    for words in ("StatefulSet shaka-prod/postgres", "template: postgres/templates", "spec: Forbidden", "delete statefulset postgres --cascade"):
        assert words in text
