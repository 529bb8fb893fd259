# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module returns: each object's action, their number, the diff, the problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .content import diff, masked
from .item import Item

ACTIONS = ("created", "changed", "unchanged", "pruned", "kept")
CHANGES = ("created", "changed", "pruned")


def result(items: Iterable[Item], notes: list[str], problems: list[str], check: bool, show_diff: bool, states: bool = False) -> dict[str, Any]:
    """The module's result; `failed` when there are problems. With `states`, what differs comes with how it is and how it should be."""
    done = [item for item in items if item.action]
    changed = [item for item in done if item.action in CHANGES]
    counts = {action: sum(item.action == action for item in done) for action in ACTIONS}
    message = _message(counts, notes)
    answer: dict[str, Any] = {
        "changed": bool(changed),
        "objects": [{"set": i.set, **_named(i), "action": i.action, "fields": i.fields, **(_states(i) if states else {})} for i in done],
        "counts": counts,
        "notes": notes,
        "msg": message,
    }
    if show_diff:
        answer["diff"] = [diff(item.before, None if item.action == "pruned" else item.after) for item in changed]
    if problems:
        told = [f"({'dry run, ' if check else ''}{message})"] if done else []
        answer.update(failed=True, errors=problems, msg="\n".join([*problems, *told]))
    return answer


def _named(item: Item) -> dict[str, str]:
    return {"kind": item.key.kind, "namespace": item.key.namespace, "name": item.key.name}


def _states(item: Item) -> dict[str, Any]:
    return {"before": masked(item.before), "after": masked(item.after)} if item.action == "changed" else {}


def _message(counts: dict[str, int], notes: list[str]) -> str:
    """`24 objects: 2 created, 1 changed, 21 unchanged; 0 pruned`."""
    number = sum(counts.values())
    applied = ", ".join(f"{counts[action]} {action}" for action in ("created", "changed", "unchanged"))
    kept = f", {counts['kept']} kept" if counts["kept"] else ""
    return f"{number} object{'' if number == 1 else 's'}: {applied}; {counts['pruned']} pruned{kept}" + "".join(f" ({note})" for note in notes)
