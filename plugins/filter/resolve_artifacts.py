# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the artifacts lock to the files that a server gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.shaka.platform.plugins.module_utils.conventions import STATE
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import LockError, architecture_of, of_architecture
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import mirrored

DOCUMENTATION = r"""
name: resolve_artifacts
short_description: Files for artifact_files, from the artifacts lock
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Takes the lock (C(platform_artifacts)) and a list of places, and returns the list I(files) of M(shaka.platform.artifact_files).
  - A file comes from the bundle when there is one, else from its public source.
positional: places, bundle, architecture, mirrors
options:
  _input: {description: The lock, type: dict, required: true}
  places:
    description:
      - "Each has C(match) (a pattern over the lock's C(path)) and optionally C(dest), C(mode) and C(links)."
      - C(dest) is a directory when it ends in C(/). Without it a file lies below C(/var/lib/shaka) as in the lock.
      - A match without a wildcard must be in the lock.
    type: list
    elements: dict
    required: true
  bundle:
    description: Path of the bundle on the controller; empty for a connected server.
    type: str
    required: true
  architecture:
    description: The server's machine name, such as V(x86_64) or V(aarch64).
    type: str
    required: true
  mirrors:
    description: "Host to the address that stands for it, such as C({github.com: https://mirror.example/github})."
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what the server gets
  ansible.builtin.debug:
    msg: "{{ platform_artifacts | shaka.platform.resolve_artifacts(places, platform_bundle, 'x86_64') }}"
  vars:
    places: [{match: "manifests/*"}, {match: bin/k3s, dest: /usr/local/bin/k3s, mode: "0755"}]
"""

RETURN = r"""
_value:
  description: Entries with C(name), C(dest), C(sha256), C(mode), C(links), and C(src) or C(url).
  type: list
  elements: dict
"""


def _sum_of(name: str, entry: Mapping[str, Any], architecture: str) -> str:
    text = of_architecture(entry.get("sha256"), architecture)
    if not text:
        raise AnsibleFilterError(f"artifact '{name}': the lock has no sha256 for {architecture}")
    return text


def resolve_artifacts(
    lock: Mapping[str, Any],
    places: Sequence[Mapping[str, Any]],
    bundle: str,
    architecture: str,
    mirrors: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The files of the lock that match the places, in the order of the places."""
    try:
        machine = architecture_of(architecture)
    except LockError as error:
        raise AnsibleFilterError(str(error)) from error
    if bundle and lock.get("arch", machine) != machine:
        raise AnsibleFilterError(f"platform_bundle {bundle} is for {lock['arch']}, the server is {machine}")
    files: list[dict[str, Any]] = []
    for place in places:
        found = {name: entry for name, entry in lock.get("files", {}).items() if fnmatchcase(entry["path"], place["match"])}
        if not found and not set("*?[") & set(place["match"]):
            raise AnsibleFilterError(f"the artifacts lock has no file {place['match']}")
        for name, entry in found.items():
            if entry.get("bundled_only") and not bundle:
                continue
            dest = place.get("dest", f"{STATE}/{entry['path']}")
            file = {
                "name": name,
                "dest": dest + entry["path"].rsplit("/", 1)[-1] if dest.endswith("/") else dest,
                "sha256": _sum_of(name, entry, machine),
                "mode": place.get("mode", "0644"),
                "links": list(place.get("links", [])),
            }
            address = of_architecture(entry.get("source"), machine)
            if bundle:
                file["src"] = f"{bundle.rstrip('/')}/{entry['path']}"
            elif address.startswith(("https://", "http://")):
                file["url"] = mirrored(address, mirrors or {})
            else:
                raise AnsibleFilterError(f"artifact '{name}' has no public source ('{address}'): it comes in a bundle only; set platform_bundle")
            files.append(file)
    return files


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Any]:
        return {"resolve_artifacts": resolve_artifacts}
