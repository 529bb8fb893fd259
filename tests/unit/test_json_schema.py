"""Configuration against JSON Schema: each mistake is told with its path and without the JSON."""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.application import check_schemas
from ansible_collections.shaka.platform.plugins.plugin_utils.model.json_schema import flaws, schema_flaws
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

PLAN = {"type": "object", "required": ["limit"], "additionalProperties": False, "properties": {"limit": {"type": "integer", "minimum": 1}}}
PLANS = {"type": "object", "minProperties": 1, "required": ["starter"], "additionalProperties": PLAN}


@pytest.mark.parametrize(
    ("value", "schema", "found"),
    [
        ({"starter": {"limit": 100}, "pro": {"limit": 1000}}, PLANS, []),
        ({"starter": {"limit": 100.0}}, PLANS, []),
        ({"starter": {"limit": "100"}}, PLANS, [(".starter.limit", "must be of the type integer")]),
        ({"starter": {"limit": True}}, PLANS, [(".starter.limit", "must be of the type integer")]),
        ({"starter": {"limit": 1.5}}, PLANS, [(".starter.limit", "must be of the type integer")]),
        ({"starter": {"limit": 0}}, PLANS, [(".starter.limit", "must be 1 or more")]),
        ({"starter": {}}, PLANS, [(".starter.limit", "is missing")]),
        ({"starter": {"limit": 1, "limt": 2}}, PLANS, [(".starter.limt", "is not in the schema; known: limit")]),
        ({"pro": {"limit": 1}}, PLANS, [(".starter", "is missing")]),
        ({}, {"minProperties": 1}, [("", "must have at least 1 entries")]),
        ([], PLANS, [("", "must be of the type object")]),
        ([1, "a"], {"items": {"type": "integer"}}, [("[1]", "must be of the type integer")]),
        ([], {"minItems": 1}, [("", "must have at least 1 items")]),
        (None, {"type": ["string", "null"]}, []),
        ("day", {"enum": ["hour", "minute"]}, [("", "must be one of hour, minute")]),
        ("1d", {"pattern": "^[0-9]+[smh]$"}, [("", "must match ^[0-9]+[smh]$")]),
        ("", {"minLength": 1}, [("", "must have at least 1 characters")]),
        (2, {"maximum": 1}, [("", "must be 1 or less")]),
        (0, {"exclusiveMinimum": 0}, [("", "must be more than 0")]),
        ({"a": 1}, {"required": ["b", "c"]}, [(".b", "is missing"), (".c", "is missing")]),
        ("nobody", {"format": "email"}, [("", "must have the format email")]),
        ([1, 1], {"uniqueItems": True}, [("", "must have no item twice")]),
        ("x", {"oneOf": [{"type": "integer"}, {"const": "y"}]}, [("", "does not satisfy oneOf of the schema")]),
        ({"a": 0}, {"properties": {"a": {"$ref": "#/$defs/positive"}}, "$defs": {"positive": {"minimum": 1}}}, [(".a", "must be 1 or more")]),
    ],
)
def test_a_value_and_its_schema(value: Any, schema: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert list(schema_flaws(schema)) == []
    assert list(flaws(value, schema)) == found


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("object", ""),
        ({"type": "int"}, ".type"),
        ({"type": {}}, ".type"),
        ({"oneOf": []}, ".oneOf"),
        ({"anyOf": [{"minimun": 1}]}, ".anyOf[0].minimun"),
        ({"properties": {"a": {"minimum": "1"}}}, ".properties.a.minimum"),
        ({"items": {"requird": ["a"]}}, ".items.requird"),
        ({"additionalProperties": {"enum": []}}, ".additionalProperties.enum"),
    ],
)
def test_a_schema_that_would_not_be_checked_is_refused(schema: Any, path: str) -> None:
    assert [where for where, _text in schema_flaws(schema)] == [path]


def test_a_reference_to_elsewhere_is_not_fetched() -> None:
    found = list(flaws(1, {"$ref": "https://example.com/schema.json"}))
    assert found == [
        ("", "cannot be checked: the schema refers to https://example.com/schema.json, and only references inside the schema are followed")
    ]


def test_without_the_library_the_inventory_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    problems = Problems()
    check_schemas({}, {}, problems)
    assert problems == []
    check_schemas({"PLANS": PLANS, "MORE": PLANS}, cast(Any, {"dev": {"config": {"PLANS": "{}"}}}), problems)
    assert [str(problem.path) for problem in problems] == ["platform_config_schemas"] and "pip install jsonschema" in problems[0].text
