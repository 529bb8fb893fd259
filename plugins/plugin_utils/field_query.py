# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JMESPath expressions (https://jmespath.org) as names of fields: finds the places in an object that an expression selects.

JMESPath itself answers with values. What differs is a place, so this follows the expression's steps: names, `[0]`, `[0:2]`, `[*]`, `*`, `[]`,
`[?condition]`, `|`, and `[a, b]` for several. A condition may be any expression; outside of one, what makes new values is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

try:
    from jmespath.exceptions import JMESPathError
    from jmespath.functions import Functions
    from jmespath.parser import ParsedResult, Parser
except ImportError:  # needed only by those who name fields
    JMESPathError, Functions, ParsedResult, Parser = ValueError, None, None, None

Place = tuple["str | int", ...]
MISSING = "needs the Python package jmespath on the controller; install it beside ansible-core (pip install jmespath)"
# The parts of an expression that select; those of the last line lead from one to the next.
_SELECTS = frozenset(
    "current identity field index slice flatten multi_select_list projection value_projection filter_projection"
    " subexpression index_expression pipe".split()
)
_ITSELF = {"type": "identity", "children": []}


class QueryError(ValueError):
    """The expression cannot name fields; the text says why and what to write."""


@dataclass(frozen=True)
class Spot:
    """A value of the object, and where it is."""

    place: Place
    value: Any


Found = Spot | list["Found"]  # a projection of several spots is a list


class FieldQuery:
    """One expression. Raises QueryError, also where jmespath is not installed."""

    def __init__(self, expression: str) -> None:
        if Parser is None:
            raise QueryError(MISSING)
        try:
            self._node: Mapping[str, Any] = Parser().parse(expression).parsed
        except JMESPathError as error:
            reason = str(error).partition("\n")[0].partition(": Parse error")[0].rstrip(":")
            raise QueryError(f"is not JMESPath ({reason}); a name with other characters than letters, digits and _ needs double quotes") from None
        if makes := set(_kinds(self._node)) - _SELECTS:
            kind = min(makes).replace("_", " ")
            raise QueryError(f"makes new values ({kind}) instead of naming fields; outside of [?...] use names, [0], [*], [?...] and [a, b]")
        if unknown := set(_functions(self._node)) - Functions.FUNCTION_TABLE.keys():
            raise QueryError(f"has a function that JMESPath does not know, {min(unknown)}(); see https://jmespath.org/specification.html")

    def places(self, obj: Any) -> set[Place]:
        """Where the selected values are. Raises QueryError when a function in a condition does not take what the object has there."""
        try:
            return set(_places(_select(self._node, Spot((), obj))))
        except JMESPathError as error:
            raise QueryError(f"cannot be evaluated: {error}") from None


def _kinds(node: Mapping[str, Any]) -> Iterator[str]:
    """The kinds of an expression's parts, conditions left out."""
    yield node["type"]
    parts = node["children"][:2] if node["type"] == "filter_projection" else node["children"]
    for child in parts if node["type"] != "slice" else ():
        yield from _kinds(child)


def _functions(node: Any) -> Iterator[str]:
    """The functions that an expression calls anywhere."""
    if isinstance(node, Mapping):
        if node["type"] == "function_expression":
            yield node["value"]
        for child in node["children"]:
            yield from _functions(child)


def _plain(found: Found) -> Any:
    return found.value if isinstance(found, Spot) else [_plain(each) for each in found]


def _items(found: Found | None) -> list[Found] | None:
    """The items of a list of the object, or of several spots; None of anything else."""
    if isinstance(found, Spot):
        return [Spot((*found.place, index), item) for index, item in enumerate(found.value)] if isinstance(found.value, list) else None
    return found


def _fields(found: Found | None) -> dict[str, Found]:
    """The fields of a mapping of the object; none of anything else."""
    if isinstance(found, Spot) and isinstance(found.value, Mapping):
        return {key: Spot((*found.place, key), value) for key, value in found.value.items()}
    return {}


def _opened(found: Found) -> list[Found]:
    items = _items(found)
    return [found] if items is None else items


def _holds(condition: Mapping[str, Any], found: Found) -> bool:
    """JMESPath's own answer, as it filters a list of this one value."""
    query = {"type": "filter_projection", "children": [_ITSELF, _ITSELF, condition]}
    return bool(ParsedResult("", query).search([_plain(found)]))


def _select(node: Mapping[str, Any], at: Found | None) -> Found | None:
    """What the expression selects from here: JMESPath's interpreter, with the places beside the values."""
    if at is None:
        return None
    match node["type"], node["children"]:
        case "current" | "identity", _:
            return at
        case "field", _:
            return _fields(at).get(node["value"])
        case "index", _:
            items = _items(at) or []
            return items[node["value"]] if -len(items) <= node["value"] < len(items) else None
        case "slice", bounds:
            return (_items(at) or [])[slice(*bounds)]
        case "flatten", (of,):
            return [inner for item in _items(_select(of, at)) or [] for inner in _opened(item)]
        case "multi_select_list", children:
            return _each(children, [at])
        case "projection", (of, then):
            return _each([then], _items(_select(of, at)) or [])
        case "value_projection", (of, then):
            return _each([then], _fields(_select(of, at)).values())
        case "filter_projection", (of, then, condition):
            return _each([then], [item for item in _items(_select(of, at)) or [] if _holds(condition, item)])
        case _, children:  # subexpression, index_expression, pipe: one step after the other
            for child in children:
                at = _select(child, at)
            return at


def _each(nodes: Iterable[Mapping[str, Any]], spots: Iterable[Found]) -> Found:
    return [found for spot in spots for node in nodes if (found := _select(node, spot)) is not None]


def _places(found: Found | None) -> Iterator[Place]:
    if isinstance(found, Spot):
        yield found.place
    for each in found if isinstance(found, list) else ():
        yield from _places(each)
