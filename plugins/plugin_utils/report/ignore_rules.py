# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of `platform_drift_ignore`: known differences of objects, which a drift report shows and does not count. Pure except for JMESPath."""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.engine.content import is_named, step
from ansible_collections.shaka.platform.plugins.plugin_utils.field_query import FieldQuery, Place, QueryError, Spot
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain

VARIABLE = "platform_drift_ignore"


@dataclass(frozen=True)
class IgnoreRule:
    """One entry of the list: the fields that `query` names, of the objects that the other three name."""

    number: int
    kind: str
    namespace: str
    name: str
    query: str
    reason: str
    until: str

    @classmethod
    def read(cls, number: int, entry: Mapping[str, Any]) -> IgnoreRule:
        """As the inventory has it: YAML reads a date as such."""
        keys = ("kind", "namespace", "name", "query", "reason", "until")
        return cls(number, **{key: "" if entry.get(key) is None else str(entry[key]).strip() for key in keys})

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name or '*'}" if self.namespace else self.name or "*"
        return f"{VARIABLE}[{self.number}] ({self.kind} {where}: {self.query})"

    @cached_property
    def fields(self) -> FieldQuery:
        return FieldQuery(self.query)

    def lapsed(self, today: datetime.date) -> str | None:
        """Why the rule ignores nothing (any more). It is still valid on its last day."""
        if not self.reason:
            return "has no reason, and so ignores nothing; say in reason why this may differ, or remove the entry"
        try:
            over = bool(self.until) and datetime.date.fromisoformat(self.until) < today
        except ValueError:
            return f"has '{self.until}' for a date"
        return f"ended on {self.until}, and ignores nothing any more; give it a new date, or remove the entry" if over else None

    def concerns(self, kind: str, namespace: str, name: str) -> bool:
        """Whether it applies to this object; a missing namespace or name, or a `*` in it, matches any."""
        patterns = (self.namespace or "*", self.name or "*")
        return kind == self.kind and all(fnmatch.fnmatchcase(text, pattern) for text, pattern in zip((namespace, name), patterns, strict=True))


def read_rules(entries: Any) -> list[IgnoreRule]:
    """The rules of the inventory's variable, which the role platform has checked."""
    found = entries if isinstance(entries, Sequence) and not isinstance(entries, str) else []
    return [IgnoreRule.read(number, entry) for number, entry in enumerate(found) if isinstance(entry, Mapping)]


def in_force(rules: Iterable[IgnoreRule], today: datetime.date) -> list[IgnoreRule]:
    """The rules that have a reason, and whose time is not over."""
    return [rule for rule in rules if rule.lapsed(today) is None]


@dataclass(frozen=True)
class Leaf:
    """One difference: its name as the engine writes it, and its place in the present and in the desired object, where it has one."""

    name: str
    before: Place | None
    after: Place | None


def leaves(before: Spot | None, after: Spot | None, name: str = "") -> Iterator[Leaf]:
    """Every single difference, also below a field that only one of the two has: the engine's own names, followed to their ends."""
    values = [spot.value for spot in (before, after) if spot]
    both, listed = len(values) == 2, all(isinstance(value, list) for value in values)
    if both and values[0] == values[1]:
        return
    named = listed and all(is_named(value) for value in values)
    alike = all(isinstance(value, Mapping) for value in values) or named or (listed and both and len(values[0]) == len(values[1]))
    old, new = (_parts(spot, name, named) if spot and alike else {} for spot in (before, after))
    if not (old or new) or (named and old.keys() == new.keys() and list(old) != list(new)):
        yield Leaf(name, before.place if before else None, after.place if after else None)
    for part in {**old, **new}:
        yield from leaves(old.get(part), new.get(part), part)


def _parts(spot: Spot, name: str, named: bool) -> dict[str, Spot]:
    """The fields of a mapping or the items of a list, by their names."""
    if isinstance(spot.value, Mapping):
        return {step(name, key): Spot((*spot.place, key), value) for key, value in spot.value.items()}
    return {f"{name}[{item['name'] if named else index}]": Spot((*spot.place, index), item) for index, item in enumerate(spot.value)}


@dataclass(frozen=True)
class IgnoredFields:
    """What one rule covers of one object's differences."""

    rule: int
    fields: tuple[str, ...]
    reason: str
    until: str

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> IgnoredFields:
        """From apply_set's return value."""
        return cls(int(entry["rule"]), tuple(str(path) for path in entry["fields"]), str(entry["reason"]), str(entry["until"]))

    def __str__(self) -> str:
        return f"{', '.join(self.fields)}: {self.reason}" + (f" (until {self.until})" if self.until else "")


def divide(fields: Iterable[str], before: Any, after: Any, rules: Sequence[IgnoreRule]) -> tuple[list[str], list[IgnoredFields]]:
    """The fields of an object that differ, those that no rule covers first; one that is covered in part is given by its parts.

    A single difference is covered when the query selects it, or what it is part of, in the object as it is or as the inventory wants it.
    Raises QueryError.
    """
    selected = [(rule, _places(rule, before), _places(rule, after)) for rule in rules]
    found = list(leaves(Spot((), before), Spot((), after)))
    counted: list[str] = []
    ignored: dict[int, list[str]] = {}
    for field in fields:
        owners = {leaf.name: _owner(leaf, selected) for leaf in found if _within(leaf.name, field)}
        if len(set(owners.values())) <= 1:
            owners = {field: next(iter(owners.values()), None)}
        for name, owner in owners.items():
            (counted if owner is None else ignored.setdefault(owner, [])).append(name)
    return counted, [IgnoredFields(rule.number, tuple(ignored[rule.number]), rule.reason, rule.until) for rule in rules if rule.number in ignored]


def _places(rule: IgnoreRule, obj: Any) -> set[Place]:
    try:
        return rule.fields.places(obj)
    except QueryError as error:
        raise QueryError(f"{rule} {error}") from None


def _owner(leaf: Leaf, selected: Iterable[tuple[IgnoreRule, set[Place], set[Place]]]) -> int | None:
    """The number of the first rule that covers the difference."""
    for rule, before, after in selected:
        if _covers(before, leaf.before) or _covers(after, leaf.after):
            return rule.number
    return None


def _covers(selected: set[Place], place: Place | None) -> bool:
    return place is not None and any(place[:length] in selected for length in range(len(place) + 1))


def _within(name: str, field: str) -> bool:
    return name == field or (name.startswith(field) and name[len(field)] in ".[")


def mark(entry: dict[str, Any], rules: Iterable[IgnoreRule]) -> None:
    """Add to an object's result which of its fields are ignored, and remove the two states, which nobody else needs."""
    before, after = entry.pop("before", None), entry.pop("after", None)
    mine = [rule for rule in rules if rule.concerns(entry["kind"], entry["namespace"], entry["name"])]
    if not mine or before is None or after is None:
        return
    before, after = plain(before), plain(after)  # JMESPath's functions do not accept Ansible's tagged text as a string
    counted, ignored = divide(entry["fields"], before, after, mine)
    if ignored:
        entry["fields"] = sorted({*counted, *(name for each in ignored for name in each.fields)})
        entry["ignored"] = [asdict(each) for each in ignored]
