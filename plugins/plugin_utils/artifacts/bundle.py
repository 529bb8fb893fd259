# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The content of an offline bundle, computed from the complete lock and the inventory's images. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import tools_image
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import PENDING, of_architecture
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.registry import parse
from ansible_collections.shaka.platform.plugins.plugin_utils.report.tables import table

FOLDERS = ("bin", "images", "manifests", "tools", "wheels")  # folders of the bundle's files; nothing else in its directory is touched
STAGING = ".partial"
HEADER = "---\n# Made by the playbook shaka.platform.bundle; it is written last, so that a bundle with it is whole. Do not edit.\n"


class BundleError(Exception):
    """A bundle that cannot be packed; the text says what is wrong and what to do."""


@dataclass(frozen=True)
class PackedFile:
    """A file of the bundle: where it comes from, which is a URL or a path on the controller, and where it goes."""

    name: str
    path: str
    url: str
    sha256: str
    local: Path | None = None


@dataclass(frozen=True)
class Archive:
    """An image of the bundle; `names` are its logical names."""

    names: list[str]
    reference: str
    path: str

    @property
    def entry(self) -> str:
        return f"image_{self.names[0]}"


def files(lock: Mapping[str, Any], architecture: str) -> list[PackedFile]:
    """The lock's files for servers of that architecture."""
    return [
        PackedFile(name, entry["path"], of_architecture(entry["source"], architecture), of_architecture(entry["sha256"], architecture).lower())
        for name, entry in sorted(lock["files"].items())
    ]


def wheel_file(wheel: Path, sha256: str) -> PackedFile:
    """One of the wheels for the server's Python."""
    return PackedFile(wheel.name, f"wheels/{wheel.name}", "", sha256, wheel)


def archives(images: Mapping[str, str], applications: Mapping[str, str]) -> list[Archive]:
    """The images, each reference once. An application's has the name APP_ENVIRONMENT, unless the same image also has another name."""
    names: dict[str, list[str]] = {}
    for name, reference in {**images, **applications}.items():
        if reference and not reference.startswith((PENDING, f"{tools_image.NAME}:")):  # the tools' image is packed from the files of tools/
            names.setdefault(reference, []).append(name)
    return [Archive(known, reference, f"images/{known[0]}.tar") for reference, known in sorted(names.items(), key=lambda item: item[1])]


def lock_of(architecture: str, lock: Mapping[str, Any], chosen: list[PackedFile], packed: list[tuple[Archive, str, str]]) -> dict[str, Any]:
    """The bundle's own lock, in the form of the collection's; `packed` has each archive with its image's digest and its own sum."""
    entries: dict[str, Any] = {}
    for file in chosen:
        if file.local:
            entries[file.name] = {"version": file.name.split("-")[1], "path": file.path, "source": "pip", "sha256": {"any": file.sha256}}
            continue
        entry = lock["files"][file.name]
        key = "any" if "any" in entry["sha256"] else architecture
        kept = {part: entry[part] for part in ("version", "path", "member") if part in entry}
        entries[file.name] = {**kept, "source": file.url, "sha256": {key: file.sha256}}
    images: dict[str, Any] = {}
    for archive, digest, sha256 in packed:
        entries[archive.entry] = {"path": archive.path, "source": archive.reference, "sha256": {architecture: sha256}}
        one = {"reference": archive.reference.partition("@")[0], "digest": digest, "asked": archive.reference, "archive": archive.entry}
        images |= dict.fromkeys(archive.names, one)
    return {"arch": architecture, "files": entries, "images": images}


def version_of(entry: Mapping[str, Any]) -> str:
    """A file's version; an archive's is its image's tag, or the first digits of its digest."""
    return str(entry.get("version") or parse(entry["source"]).tag or parse(entry["source"]).digest.removeprefix("sha256:")[:12])


def shown(lock: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """The table of a bundle: what, version, size and sum."""
    rows = []
    for name, entry in sorted(lock["files"].items(), key=lambda item: item[1]["path"]):
        (sha256,) = entry["sha256"].values()
        rows.append((entry["path"], version_of(entry), f"{sizes[name] / 1e6:.1f}", sha256[:16]))
    return table(("file", "version", "MB", "sha256"), rows, "llr")


def text(lock: Mapping[str, Any]) -> str:
    """The bundle's lock file."""
    dumper = type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    return HEADER + yaml.dump({"platform_artifacts": dict(lock)}, Dumper=dumper, sort_keys=True, width=200)
