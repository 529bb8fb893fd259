# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The part of JSON Schema that configuration needs. An unknown keyword is refused: ignoring it would silently skip a check.

Keywords as https://json-schema.org/draft/2020-12/json-schema-validation says.
Pure. A message contains the path of the mistake, never the JSON itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value),
}
REMARKS = {"title", "description", "$comment", "$schema"}
_SHAPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (
        lambda value: {*([value] if isinstance(value, str) else value if isinstance(value, list) else [0])} <= {*TYPES},
        "one or more of the types",
    ),
    "enum": (lambda value: isinstance(value, list) and bool(value), "a list of values"),
    "required": (lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value), "a list of names"),
    "properties": (lambda value: isinstance(value, Mapping), "a dictionary of schemas"),
    "additionalProperties": (lambda value: isinstance(value, (bool, Mapping)), "true, false or a schema"),
    "items": (lambda value: isinstance(value, Mapping), "a schema"),
    "pattern": (lambda value: isinstance(value, str), "a regular expression"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum"), (TYPES["number"], "a number")),
    **dict.fromkeys(("minItems", "minProperties", "minLength"), (TYPES["integer"], "a whole number")),
}


def schema_flaws(schema: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """What is wrong with a schema: (path inside it, sentence)."""
    if not isinstance(schema, Mapping):
        yield path, "must be a dictionary"
        return
    for keyword, value in schema.items():
        here = f"{path}.{keyword}"
        if keyword in REMARKS:
            continue
        if keyword not in _SHAPES:
            yield here, f"is not a keyword that is checked here; known: {', '.join(sorted(_SHAPES))}"
            continue
        fits, what = _SHAPES[keyword]
        if not fits(value):
            yield here, f"must be {what}"
        elif keyword == "properties":
            for name, part in value.items():
                yield from schema_flaws(part, f"{here}.{name}")
        elif isinstance(value, Mapping):
            yield from schema_flaws(value, here)


def flaws(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """What is wrong with a value: (path inside it, sentence). The schema has no flaws itself."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(TYPES[kind](value) for kind in kinds):
        yield path, f"must be of the type {' or '.join(kinds)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield path, f"must be one of {', '.join(map(str, schema['enum']))}"
    if TYPES["number"](value):
        yield from _number(value, schema, path)
    elif isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield path, f"must have at least {schema['minLength']} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield path, f"must match {schema['pattern']}"
    elif isinstance(value, dict):
        yield from _object(value, schema, path)
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield path, f"must have at least {schema['minItems']} items"
        for index, item in enumerate(value):
            yield from flaws(item, schema.get("items", {}), f"{path}[{index}]")


def _number(value: float, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if value < schema.get("minimum", value):
        yield path, f"must be {schema['minimum']} or more"
    if value > schema.get("maximum", value):
        yield path, f"must be {schema['maximum']} or less"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield path, f"must be more than {schema['exclusiveMinimum']}"


def _object(value: dict[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}.{name}", "is missing"
    if len(value) < schema.get("minProperties", 0):
        yield path, f"must have at least {schema['minProperties']} entries"
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in known:
            yield from flaws(item, known[name], f"{path}.{name}")
        elif others is False:
            yield f"{path}.{name}", f"is not in the schema; known: {', '.join(sorted(known))}"
        elif isinstance(others, Mapping):
            yield from flaws(item, others, f"{path}.{name}")
