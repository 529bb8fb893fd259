# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the module's arguments to the objects to apply: manifests read, patches merged, labels put on, secrets resolved, all checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .discovery import Resource
from .identity import Key, describe, key_of, stamp
from .merge import apply_patches
from .ordering import autoscaled, rank, with_replicas, without_replicas
from .pruning import RULE, malformed
from .references import composed, misplaced, resolve
from .yamlio import YamlError, read_objects, yaml


class Refused(Exception):
    """Nothing or not everything could be applied; one text per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass
class Item:
    """One object on its way."""

    set: str
    desired: dict[str, Any]
    source: str = ""
    resource: Resource | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    action: str = ""
    fields: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def key(self) -> Key:
        return key_of(self.desired)

    @property
    def rank(self) -> int:
        return rank(self.desired)


@dataclass
class Plan:
    """Every object of the call; `complete` unless check mode found a manifest not yet on the server, which the notes say."""

    items: list[Item]
    notes: list[str]
    complete: bool = True
    autoscaled: set[Key] = field(default_factory=set)
    sensitive: list[str] = field(default_factory=list)  # texts made with secret values


def _manifests(paths: list[str], check: bool, notes: list[str], problems: list[str]) -> tuple[list[tuple[dict[str, Any], str]], bool]:
    """The objects with their file, and whether every file was read."""
    found, before = [], len(notes) + len(problems)
    for path in paths:
        if check and (yaml is None or not Path(path).exists()):
            notes.append(f"{path} cannot be read on the server yet: its objects are not listed")
            continue
        try:
            with Path(path).open(encoding="utf-8") as stream:
                found += [(obj, path) for obj in read_objects(stream.read())]
        except (OSError, YamlError) as error:
            problems.append(f"{path}: {error}")
    return found, len(notes) + len(problems) == before


def compose(params: Mapping[str, Any], check: bool) -> Plan:
    """Raises Refused with every problem found."""
    notes: list[str] = []
    problems = [f"platform_delete: '{name}' {RULE}" for name in malformed(params["delete"])]
    items: list[Item] = []
    sensitive: list[str] = []
    for part in params["sets"]:
        known, whole = _manifests(part.get("manifests") or [], check, notes, problems)
        objects, patches = [obj for obj, _path in known], part.get("patches") or []
        if whole:  # a patch of an object that could not be read says nothing
            objects, errors = apply_patches(objects, patches)
            problems += errors
        sources = [path for _obj, path in known] + list(part.get("sources") or [""] * len(part.get("objects") or []))
        for obj, source in zip(objects + (part.get("objects") or []), sources, strict=True):
            stamped = stamp(obj, params["part_of"], params["role"], part["name"])
            resolved, errors = resolve(stamped, params["secrets"])
            problems += errors
            sensitive += [] if errors else composed(stamped, resolved)
            if not errors and source not in (part.get("manifests") or []) and misplaced(resolved):
                problems.append(f"{describe(obj)} (template: {source}): a secret reference is resolved only in a Secret's stringData")
            items.append(Item(part["name"], resolved, source))
    owned = autoscaled(item.desired for item in items)
    seen: dict[Key, Item] = {}
    for item in items:
        item.desired = without_replicas(item.desired) if item.key in owned else with_replicas(item.desired)
        if item.key in seen:
            problems.append(f"{describe(item.desired)} is there twice: {seen[item.key].source or seen[item.key].set} and {item.source or item.set}")
        seen[item.key] = item
    if problems:
        raise Refused(problems)
    return Plan(items, notes, complete=not notes, autoscaled=owned, sensitive=sensitive)
