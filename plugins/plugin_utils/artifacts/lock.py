# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The artifacts lock: reads it, finds what it lacks, merges what an inventory adds to it, and writes the inventory's file."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import tools_image
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import PACKED

NAME = "artifacts.lock.yml"  # the file's name, in an inventory and in a bundle
PENDING = "pending/"  # begins the reference of an image that is still to be named
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}  # by machine name

HEADER = """\
---
# What the collection's lock lacked, resolved once from its upstreams. Commit this file: from then on nothing changes under you, and a mismatch is
# refused. To resolve an entry again, delete it here.
"""


class LockError(Exception):
    """A lock that cannot be read, or two that contradict each other; the text says which, where and what to do."""


@dataclass(frozen=True)
class Missing:
    """One sum that the lock lacks. `architecture` is empty for an image, whose digest is that of its index."""

    kind: str
    name: str
    architecture: str
    source: str
    sums: str

    @property
    def label(self) -> str:
        return f"{self.name} ({self.architecture})" if self.architecture not in ("", "any") else self.name


@dataclass(frozen=True)
class GivenLock:
    """The lock that a run begins with. `flaws`: part of the inventory -> what is wrong with its lock, which is then left out."""

    lock: dict[str, Any]
    lacks: list[str] = field(default_factory=list)  # the bundle's missing files
    pending: bool = False  # a bundle is named, but not made yet
    flaws: dict[str, str] = field(default_factory=dict)


def read(path: Path, remedy: str = "bring it back from your version control, or delete it to have it resolved again") -> dict[str, Any]:
    """The content of a lock's file; empty when there is no file yet."""
    try:
        held = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError) as error:
        raise LockError(f"{path} cannot be read: {error}; {remedy}") from error
    if not isinstance(held, dict) or not isinstance(held.get("platform_artifacts"), dict):
        raise LockError(f"{path} contains no platform_artifacts; {remedy}")
    return dict(held["platform_artifacts"])


def given_lock(shipped: Path, inventory: Path, bundle: Path | None) -> GivenLock:
    """The bundle's own lock; without a bundle the collection's, with what the inventory's file adds to it."""
    pending = bundle is not None and not (bundle / NAME).is_file()
    try:
        if bundle is not None and not pending:
            lock = read(bundle / NAME, "make the bundle again with `ansible-playbook shaka.platform.bundle`")
            return GivenLock(lock, [entry["path"] for entry in lock["files"].values() if not (bundle / entry["path"]).is_file()])
        return GivenLock(merged(read(shipped), read(inventory / NAME), str(inventory / NAME)), pending=pending)
    except LockError as error:
        return GivenLock(read(shipped), flaws={NAME if bundle is None or pending else "platform_bundle": str(error)})


def references(lock: Mapping[str, Any], overrides: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Logical name -> reference, from the lock and the inventory. Each of `names` that neither has gets a placeholder."""
    known = {name: "@".join(part for part in (image["reference"], image.get("digest")) if part) for name, image in lock.get("images", {}).items()}
    own = {PACKED: reference} if (reference := tools_image.reference(lock)) else {}
    return {**{name: f"{PENDING}{name}" for name in names}, **known, **own, **overrides}


def images(lock: Mapping[str, Any]) -> list[str]:
    """Logical names of the images that the lock has, or that are packed from its files."""
    return [*lock.get("images", {}), *([PACKED] if tools_image.reference(lock) else [])]


def architecture_of(machine: str) -> str:
    """The lock's name of an architecture, from a machine's own such as x86_64."""
    if machine not in ARCHITECTURES:
        raise LockError(f"the server is a {machine}; K3s and the artifacts lock know {', '.join(sorted(set(ARCHITECTURES.values())))}")
    return ARCHITECTURES[machine]


def of_architecture(value: Any, architecture: str) -> str:
    """One of an entry's values, given as text for all architectures or as a dictionary."""
    return str(value if isinstance(value, str) else (value or {}).get(architecture) or (value or {}).get("any") or "")


def missing(lock: Mapping[str, Any], skip: Iterable[str] = (), with_bundled: bool = False, only: str = "") -> list[Missing]:
    """The artifacts whose sum the lock lacks. Images in `skip` have a reference of the user's own. `only`: for this architecture."""
    found = []
    for name, entry in sorted(lock.get("files", {}).items()):
        if entry.get("bundled_only") and not with_bundled:
            continue
        architectures = list(entry["source"]) if isinstance(entry["source"], Mapping) else ["any"]
        for architecture in architectures:
            if only and architecture not in (only, "any"):
                continue
            if not of_architecture(entry.get("sha256"), architecture):
                sources = [of_architecture(entry.get(key), architecture) for key in ("source", "sums")]
                found.append(Missing("files", name, architecture, *sources))
    for name, entry in sorted(lock.get("images", {}).items()):
        if not entry.get("digest") and "@" not in entry["reference"] and name not in skip:
            found.append(Missing("images", name, "", entry["reference"], ""))
    return found


def with_sum(lock: Mapping[str, Any], item: Missing, value: str) -> dict[str, Any]:
    """The lock with one more sum."""
    result = copy.deepcopy(dict(lock))
    entry = result[item.kind][item.name]
    if item.kind == "images":
        entry["digest"] = value
    else:
        entry["sha256"] = {**(entry.get("sha256") or {}), item.architecture: value}
    return result


def merged(shipped: Mapping[str, Any], kept: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The shipped lock with what the inventory's file adds. An entry of another version or reference is out of date and left out."""
    result = copy.deepcopy(dict(shipped))
    for name, entry in (kept.get("files") or {}).items():
        own = result["files"].get(name)
        if own is None or own["source"] != entry.get("source"):
            continue
        for architecture, value in (entry.get("sha256") or {}).items():
            _agree(name, of_architecture(own.get("sha256"), architecture), str(value), where)
            own["sha256"] = {**(own.get("sha256") or {}), architecture: str(value)}
    for name, entry in (kept.get("images") or {}).items():
        own = result["images"].get(name)
        if own is None or own["reference"] != entry.get("reference") or not entry.get("digest"):
            continue
        _agree(name, str(own.get("digest") or ""), str(entry["digest"]), where)
        own["digest"] = str(entry["digest"])
    return result


def _agree(name: str, shipped: str, kept: str, where: str) -> None:
    if shipped and shipped != kept:
        raise LockError(
            f"{name}: the collection's lock says {shipped}, {where} says {kept}; one of the two has changed. Delete the entry from {where} "
            "if the collection's is the right one, else do not go on"
        )


def missing_from(shipped: Mapping[str, Any], full: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the full lock that the shipped one lacks."""
    result: dict[str, Any] = {"files": {}, "images": {}}
    for name, entry in full["files"].items():
        before = shipped["files"][name].get("sha256") or {}
        added = {key: value for key, value in (entry.get("sha256") or {}).items() if key not in before} if isinstance(before, Mapping) else {}
        if added:
            result["files"][name] = {"source": entry["source"], "sha256": added, **({"version": entry["version"]} if "version" in entry else {})}
    for name, entry in full["images"].items():
        if entry.get("digest") and not shipped["images"][name].get("digest"):
            result["images"][name] = {"reference": entry["reference"], "digest": entry["digest"]}
    return {kind: entries for kind, entries in result.items() if entries}


def text(added: Mapping[str, Any]) -> str:
    """The inventory's file."""
    return HEADER + yaml.safe_dump({"platform_artifacts": dict(added)}, sort_keys=True, width=200, default_flow_style=False)
