"""Which places a JMESPath expression selects: as JMESPath itself answers, with where each value is."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils import field_query
from ansible_collections.shaka.platform.plugins.plugin_utils.field_query import FieldQuery, Place, QueryError

CONTAINERS = ("spec", "containers")
OBJECT: dict[str, Any] = {
    "metadata": {"annotations": {"example.com/x": "1", "other": "2"}},
    "spec": {
        "replicas": 3,
        "suspend": False,
        "containers": [{"name": "api", "image": "a:1", "env": [{"name": "X"}]}, {"name": "proxy", "image": "p:1", "env": []}],
    },
}


@pytest.mark.parametrize(
    ("expression", "places"),
    [
        ("spec.replicas", {("spec", "replicas")}),
        ("spec.suspend", {("spec", "suspend")}),
        ('metadata.annotations."example.com/x"', {("metadata", "annotations", "example.com/x")}),
        ("metadata.annotations.*", {("metadata", "annotations", "example.com/x"), ("metadata", "annotations", "other")}),
        ("spec.containers[?name=='api'].image", {(*CONTAINERS, 0, "image")}),
        ("spec.containers[?starts_with(image, 'p') && length(env) < `1`]", {(*CONTAINERS, 1)}),
        ("spec.containers[?!env].image", {(*CONTAINERS, 1, "image")}),
        ("spec.containers[*].[name, image]", {(*CONTAINERS, at, key) for at in (0, 1) for key in ("name", "image")}),
        ("spec.containers[].env[].name", {(*CONTAINERS, 0, "env", 0, "name")}),
        ("spec.containers[-1].image", {(*CONTAINERS, 1, "image")}),
        ("spec.containers[:1].image", {(*CONTAINERS, 0, "image")}),
        ("spec.containers[*].image | [1]", {(*CONTAINERS, 1, "image")}),
        ("[spec.replicas, spec.suspend]", {("spec", "replicas"), ("spec", "suspend")}),
        ("spec.containers", {CONTAINERS}),
        ("@", {()}),
        ("spec.paused", set()),
        ("spec.containers[2].image", set()),
        ("spec.replicas[0]", set()),
        ("spec.containers.image", set()),
        ("metadata[*]", set()),
        ("spec.containers.*", set()),
    ],
)
def test_places(expression: str, places: set[Place]) -> None:
    assert FieldQuery(expression).places(OBJECT) == places


@pytest.mark.parametrize(
    "expression", ["spec.replicas", "spec.containers[?name=='api'].image | [0]", "spec.containers[-1].env", "metadata.annotations"]
)
def test_a_place_holds_what_jmespath_answers(expression: str) -> None:
    (place,) = FieldQuery(expression).places(OBJECT)
    held: Any = OBJECT
    for key in place:
        held = held[key]
    assert held == jmespath.search(expression, OBJECT)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "cannot be empty"),
        ("spec.", "is not JMESPath"),
        ("metadata.annotations.example.com/x", "Unknown token /"),
        ("metadata.annotations.example-x", "double quotes"),
        ("length(spec.containers)", "instead of naming fields"),
        ("{a: spec.replicas}", "instead of naming fields"),
        ("spec.a || spec.b", "instead of naming fields"),
        ("'text'", "instead of naming fields"),
        ("spec.containers[?has(name)].image", "has()"),
    ],
)
def test_what_names_no_fields_is_refused(expression: str, says: str) -> None:
    with pytest.raises(QueryError, match=says.replace("(", r"\(").replace(")", r"\)")):
        FieldQuery(expression)


def test_a_condition_that_does_not_fit_the_object_is_an_error() -> None:
    with pytest.raises(QueryError, match="contains"):
        FieldQuery("spec.containers[?contains(ports, 'x')]").places(OBJECT)


def test_without_jmespath_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_query, "Parser", None)
    with pytest.raises(QueryError, match="pip install jmespath"):
        FieldQuery("spec.replicas")
