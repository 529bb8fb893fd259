# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turns the module's arguments into the objects to apply: reads manifests, merges patches, sets labels, resolves secrets, checks everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .autoscaling import autoscaled, with_replicas, without_replicas
from .identity import Key, describe, with_identity
from .item import Item, Plan, Refused
from .patches import apply_patches
from .pruning import RULE, malformed
from .references import composed, fill_in, misplaced
from .yamlio import YamlError, read_objects, yaml


def _manifests(paths: list[str], check: bool, notes: list[str], problems: list[str]) -> tuple[list[tuple[dict[str, Any], str]], bool]:
    """The objects, each with its file, and whether every file was read."""
    objects, before = [], len(notes) + len(problems)
    for path in paths:
        if yaml is None or (check and not Path(path).exists()):
            notes.append(f"{path} cannot be read on the server yet: its objects are not listed")
            continue
        try:
            with Path(path).open(encoding="utf-8") as stream:
                objects += [(obj, path) for obj in read_objects(stream.read())]
        except (OSError, YamlError) as error:
            problems.append(f"{path}: {error}")
    return objects, len(notes) + len(problems) == before


def compose(params: Mapping[str, Any], check: bool) -> Plan:
    """Raises Refused with every problem found."""
    plan = Plan([], [])
    problems = [f"platform_delete: '{name}' {RULE}" for name in malformed(params["delete"])]
    for part in params["sets"]:
        manifests = params.get("manifests") or [] if part["name"] == params["role"] else []
        upstream, whole = _manifests(manifests, check, plan.notes, problems)
        if whole:  # without all objects, a patch that matches none is not an error
            patched, errors = apply_patches([obj for obj, _path in upstream], part.get("patches") or [])
            upstream = list(zip(patched, [path for _obj, path in upstream], strict=True))
            problems += errors
        rendered = part.get("objects") or []
        for obj, source in [*upstream, *zip(rendered, part.get("sources") or [""] * len(rendered), strict=True)]:
            identified = with_identity(obj, params["part_of"], params["role"], part["name"])
            resolved, errors = fill_in(identified, params["secrets"])
            problems += errors
            plan.sensitive += [] if errors else composed(identified, resolved)
            if not errors and source not in manifests and misplaced(resolved):
                problems.append(f"{describe(obj)} (template: {source}): a secret reference is resolved only in a Secret's stringData")
            plan.items.append(Item(part["name"], resolved, source))
    plan.complete = not plan.notes
    owned = autoscaled(item.desired for item in plan.items)
    for item in plan.items:
        item.desired = without_replicas(item.desired) if item.key in owned else with_replicas(item.desired)
    problems += _twice(plan.items)
    if problems:
        raise Refused(problems)
    return plan


def _twice(items: Iterable[Item]) -> Iterator[str]:
    """A problem for each object that is rendered twice."""
    seen: dict[Key, Item] = {}
    for item in items:
        first = seen.setdefault(item.key, item)
        if first is not item:
            yield f"{item.key} is rendered twice: {first.source or first.set} and {item.source or item.set}"
