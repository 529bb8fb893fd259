# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Configuration values against JSON Schema (draft 2020-12), by the library jsonschema, in the inventory's words.

Pure. A message contains the path of the mistake, never the JSON itself. The library is imported when the first schema is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

MISSING = "needs the Python library jsonschema on this machine; install it (pip install jsonschema), or leave the schemas out"
# Keywords that hold further schemas, by their shape; any other keyword's value is not looked into.
_BY_NAME = {"properties", "patternProperties", "$defs", "dependentSchemas"}
_LISTS = {"allOf", "anyOf", "oneOf", "prefixItems"}
_ONE = {"items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames", "unevaluatedItems", "unevaluatedProperties"}
_REMARKS = {"$schema", "$id", "$anchor", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
# Keyword -> the sentence about a value that breaks it, from the keyword's own value
_SENTENCES: dict[str, Callable[[Any], str]] = {
    "type": lambda kinds: f"must be of the type {kinds if isinstance(kinds, str) else ' or '.join(kinds)}",
    "enum": lambda values: f"must be one of {', '.join(map(str, values))}",
    "const": lambda value: f"must be {value}",
    "pattern": lambda pattern: f"must match {pattern}",
    "format": lambda name: f"must have the format {name}",
    "minimum": lambda least: f"must be {least} or more",
    "maximum": lambda most: f"must be {most} or less",
    "exclusiveMinimum": lambda bound: f"must be more than {bound}",
    "exclusiveMaximum": lambda bound: f"must be less than {bound}",
    "multipleOf": lambda step: f"must be a multiple of {step}",
    "minLength": lambda least: f"must have at least {least} characters",
    "maxLength": lambda most: f"must have at most {most} characters",
    "minItems": lambda least: f"must have at least {least} items",
    "maxItems": lambda most: f"must have at most {most} items",
    "minProperties": lambda least: f"must have at least {least} entries",
    "maxProperties": lambda most: f"must have at most {most} entries",
    "uniqueItems": lambda _value: "must have no item twice",
}


class SchemaLibraryMissing(Exception):
    """This Python has no jsonschema."""


def _library() -> Any:
    try:
        import jsonschema
    except ImportError:
        raise SchemaLibraryMissing from None
    return jsonschema


def _validator(schema: Any) -> Any:
    """A validator that resolves references inside the schema alone: nothing is fetched."""
    from referencing import Registry

    draft = _library().Draft202012Validator
    return draft(schema, registry=Registry(), format_checker=draft.FORMAT_CHECKER)


def _path(steps: Iterable[Any]) -> str:
    """`.limits[0].minimum` of the steps to a value."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def schema_flaws(schema: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with a schema: (path inside it, sentence). A keyword that the draft does not know would check nothing, and is one."""
    library = _library()
    if not isinstance(schema, Mapping):
        yield "", "must be a dictionary"
        return
    unknown = list(_unknown_keywords(schema, {*library.Draft202012Validator.VALIDATORS, "then", "else", "$defs", *_REMARKS}, ""))
    yield from unknown
    checker = library.Draft202012Validator(library.Draft202012Validator.META_SCHEMA)
    for path in dict.fromkeys(_path(error.absolute_path) for error in checker.iter_errors(schema)):
        yield path, "is not what JSON Schema (draft 2020-12) takes there"


def _unknown_keywords(schema: Any, known: set[str], path: str) -> Iterator[tuple[str, str]]:
    for keyword, value in schema.items() if isinstance(schema, Mapping) else ():
        here = f"{path}.{keyword}"
        if keyword not in known:
            yield here, f"is not a keyword of JSON Schema (draft 2020-12); known: {', '.join(sorted(known))}"
        elif keyword == "enum" and value == []:
            yield here, "must be a list of values; nothing would satisfy an empty one"
        elif keyword in _ONE:
            yield from _unknown_keywords(value, known, here)
        elif keyword in _BY_NAME and isinstance(value, Mapping):
            for name, part in value.items():
                yield from _unknown_keywords(part, known, f"{here}.{name}")
        elif keyword in _LISTS and isinstance(value, list):
            for index, part in enumerate(value):
                yield from _unknown_keywords(part, known, f"{here}[{index}]")


def flaws(value: Any, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a value: (path inside it, sentence). The schema has no flaws itself."""
    _library()
    from referencing.exceptions import Unresolvable

    try:
        for error in _validator(schema).iter_errors(value):
            yield from _sentences(error)
    except Unresolvable as error:
        yield "", f"cannot be checked: the schema refers to {error.ref}, and only references inside the schema are followed"


def _sentences(error: Any) -> Iterator[tuple[str, str]]:
    path, keyword = _path(error.absolute_path), str(error.validator)
    if keyword == "required":
        # one error for each name that is missing, which only its text tells apart
        missing = (name for name in error.validator_value if error.message.startswith(f"{name!r} is "))
        yield from ((f"{path}.{name}", "is missing") for name in missing)
    elif keyword == "additionalProperties":
        known = error.schema.get("properties", {})
        for name in (name for name in error.instance if name not in known):
            yield f"{path}.{name}", f"is not in the schema; known: {', '.join(sorted(known))}"
    elif keyword in _SENTENCES:
        yield path, _SENTENCES[keyword](error.validator_value)
    else:
        yield path, f"does not satisfy {keyword} of the schema"
