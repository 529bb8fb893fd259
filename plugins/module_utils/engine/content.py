# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an object says: comparing, the paths that differ, masking, and the diff shown to a person."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator
from typing import Any

from .identity import describe
from .yamlio import to_yaml

# Kept by the API server or by controllers, never by us. Nothing else is ignored.
BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
_KEY = os.urandom(16)  # of this process: two values in one diff compare, and nobody tries guesses on one that was kept
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def content(obj: dict[str, Any]) -> dict[str, Any]:
    """The object without bookkeeping and status."""
    kept = {key: value for key, value in obj.items() if key not in ("status", "metadata")}
    kept["metadata"] = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in BOOKKEEPING}
    return kept


def step(path: str, key: str) -> str:
    """The path of a mapping's field; what has a dot or slash of its own stands in brackets."""
    return f"{path}[{key}]" if any(c in key for c in "./") else (f"{path}.{key}" if path else key)


def is_named(items: list[Any]) -> bool:
    """Whether all items of a list are mappings with a name, which then says which is which."""
    return all(isinstance(item, dict) and "name" in item for item in items)


def differing(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """The paths that differ; an item of a list of named mappings goes by its name: `spec.containers[api].image`."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            if key in before and key in after:
                yield from differing(before[key], after[key], step(path, key))
            else:
                yield step(path, key)
    elif isinstance(before, list) and isinstance(after, list) and is_named(before + after):
        old, new = ({item["name"]: item for item in items} for items in (before, after))
        if list(old) != list(new) and set(old) == set(new):
            yield path
        for name in list(dict.fromkeys([*old, *new])):
            if name in old and name in new:
                yield from differing(old[name], new[name], f"{path}[{name}]")
            else:
                yield f"{path}[{name}]"
    else:
        yield path


def digest(encoded: Any) -> str:
    """`digest ab12cd34 (40 bytes)` for a Secret's base64 text."""
    try:
        value = base64.b64decode(str(encoded))
    except ValueError:
        value = str(encoded).encode()
    return f"digest {hmac.new(_KEY, value, hashlib.sha256).hexdigest()[:8]} ({len(value)} bytes)"


def masked(obj: dict[str, Any] | None) -> dict[str, Any] | None:
    """The content as it may be shown: a Secret's values as short digests, and no copy of the object in kubectl's annotation."""
    if obj is None:
        return None
    shown = content(obj)
    if LAST_APPLIED in (shown["metadata"].get("annotations") or {}):
        shown["metadata"]["annotations"] = {**shown["metadata"]["annotations"], LAST_APPLIED: "(not shown)"}
    if shown.get("kind") == "Secret":
        for field in ("data", "stringData"):
            if shown.get(field):
                shown[field] = {key: digest(value) for key, value in shown[field].items()}
    return shown


def diff(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, str]:
    """One entry of Ansible's diff; None stands for an object that is not there."""
    name = describe(after or before or {})
    old, new = masked(before), masked(after)
    return {
        "before": to_yaml(old) if old else "",
        "after": to_yaml(new) if new else "",
        "before_header": name if old else f"{name} (absent)",
        "after_header": name if new else f"{name} (deleted)",
    }
