# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an object in the cluster still says exactly what we would apply: then a dry run of the apply has nothing to tell.

The server records in managedFields which fields we applied and nobody took over since. Where these are the very fields that we would apply now, each
with the value that we would give it, server-side apply changes nothing by its definition
(https://kubernetes.io/docs/reference/using-api/server-side-apply/). Whatever is not seen to be so at once (a quantity written in another way, a
Secret's stringData) is left to the dry run, which costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .additions import step_of
from .identity import MANAGER

IDENTITY = ("apiVersion", "kind")  # no one owns these
IDENTITY_OF_METADATA = ("name", "namespace")


def as_applied(present: Mapping[str, Any], desired: Mapping[str, Any]) -> bool:
    """Whether applying `desired` would leave `present`, an object as the server has it, as it is. What others added to it is not looked at."""
    meta = present["metadata"]
    ours = [each for each in meta.get("managedFields") or [] if each.get("manager") == MANAGER and each.get("operation") == "Apply"]
    if meta.get("deletionTimestamp") or len(ours) != 1 or ours[0].get("subresource") or ours[0].get("apiVersion") != desired["apiVersion"]:
        return False
    wanted = {key: value for key, value in desired.items() if key not in IDENTITY}
    wanted["metadata"] = {key: value for key, value in desired["metadata"].items() if key not in IDENTITY_OF_METADATA}
    return _fields_agree(ours[0].get("fieldsV1") or {}, present, wanted)


def _agrees(owned: Mapping[str, Any], present: Any, wanted: Any) -> bool:
    """The same of one value; `owned` is in the format FieldsV1."""
    if not any(key != "." for key in owned):  # a plain value, or a mapping or list that is set as a whole
        return bool(present == wanted)
    if isinstance(present, dict) and isinstance(wanted, dict):
        return _fields_agree(owned, present, wanted)
    if isinstance(present, list) and isinstance(wanted, list) and len(present) == len(wanted):
        return _items_agree(owned, present, wanted)
    return False


def _fields_agree(owned: Mapping[str, Any], present: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    fields = {key: below for key, below in owned.items() if key != "."}
    return fields.keys() == {f"f:{name}" for name in wanted} and all(
        key[2:] in present and _agrees(below, present[key[2:]], wanted[key[2:]]) for key, below in fields.items()
    )


def _items_agree(owned: Mapping[str, Any], present: list[Any], wanted: list[Any]) -> bool:
    """Each item has the same place in both lists, as applying may move one that has not."""
    places = set()
    for key, below in owned.items():
        if key != ".":
            place = step_of(key, wanted)
            if not isinstance(place, int) or step_of(key, present) != place or not _agrees(below, present[place], wanted[place]):
                return False
            places.add(place)
    return len(places) == len(wanted)
