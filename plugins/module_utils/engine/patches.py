# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Patches: partial objects merged over the objects of an upstream manifest."""

from __future__ import annotations

from typing import Any

from .identity import describe, key_of


def _named(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and "name" in item for item in items)


def merge(base: Any, patch: Any) -> Any:
    """`patch` over `base`: mappings deeply, lists of named mappings by name, null deletes a key, anything else replaces."""
    if isinstance(patch, dict):
        old = base if isinstance(base, dict) else {}
        merged = {**old, **{key: merge(old.get(key), value) for key, value in patch.items()}}
        return {key: value for key, value in merged.items() if not (key in patch and patch[key] is None)}
    if isinstance(base, list) and isinstance(patch, list) and base and patch and _named(base) and _named(patch):
        changes = {item["name"]: item for item in patch}
        known = {item["name"] for item in base}
        return [merge(item, changes[item["name"]]) if item["name"] in changes else item for item in base] + [
            merge(None, item) for item in patch if item["name"] not in known
        ]
    return patch


def apply_patches(objects: list[dict[str, Any]], patches: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The patched objects, and an error for each patch that does not match exactly one object. A patch may leave out the namespace."""
    result, errors = list(objects), []
    for patch in patches:
        target = key_of(patch)
        matches = [index for index, obj in enumerate(result) if target in (key_of(obj), key_of(obj)._replace(namespace=""))]
        if len(matches) == 1:
            result[matches[0]] = merge(result[matches[0]], {key: value for key, value in patch.items() if key not in ("apiVersion", "kind")})
        elif not matches:
            errors.append(f"patch of {describe(patch)} ({patch['apiVersion']}): no object of the manifests has this kind and name")
        else:
            errors.append(f"patch of {describe(patch)}: {len(matches)} objects have this name, give its namespace")
    return result, errors
