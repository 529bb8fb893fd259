# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image of the backup tools: the lock's files below tools/, on nothing else. Equal files make an equal archive, on every controller.

No registry has it: its name is not an address, but tells what is in it, and K3s knows it from its folder of images. Its one layer is not compressed,
as what a compressor writes depends on its version.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.server.files import sha256_of
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.oci_archive import Image, write
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.registry import MANIFESTS, parse

NAME = "shaka.platform/backup-tools"
FOLDER = "tools/"  # of their paths in the lock, and in the image
FORMAT = 1  # of the image: another number, another name
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"


def tools(lock: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """File name in the image -> its entry of the lock; empty where the lock has no tools. What is taken out of an archive has the entry's name."""
    found = {name: entry for name, entry in lock.get("files", {}).items() if str(entry["path"]).startswith(FOLDER)}
    return {name if "member" in entry else str(entry["path"]).removeprefix(FOLDER): entry for name, entry in found.items()}


def reference(lock: Mapping[str, Any]) -> str:
    """The image's name, which follows from the versions and sums of what goes in; empty where the lock has no tools."""
    held = {name: [entry.get("version"), entry.get("member"), entry.get("sha256")] for name, entry in tools(lock).items()}
    digest = hashlib.sha256(json.dumps([FORMAT, held], sort_keys=True).encode()).hexdigest()
    return f"{NAME}:{digest[:12]}" if held else ""


def pack(name: str, architecture: str, files: Mapping[str, Path], work: Path, target: Path) -> None:
    """Write the archive of the image. `files`: name below /tools -> where it lies, executable or not; `work`: a directory for the parts."""
    layer = _stored(_layer(files, work / "layer.tar"))
    config = work / "config.json"
    config.write_bytes(_json(_config(architecture, layer.name)))
    config = _stored(config)
    blobs = {f"sha256:{part.name}": part.stat().st_size for part in (config, layer)}
    parts = [{"mediaType": kind, "digest": digest, "size": size} for kind, (digest, size) in zip((CONFIG, LAYER), blobs.items(), strict=True)]
    manifest = _json({"schemaVersion": 2, "mediaType": MANIFESTS[0], "config": parts[0], "layers": parts[1:]})
    write(Image(parse(name), {f"sha256:{hashlib.sha256(manifest).hexdigest()}": manifest}, blobs), work, target)


def _layer(files: Mapping[str, Path], target: Path) -> Path:
    """One layer with the files as root's, none with a time of its own."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo(FOLDER.rstrip("/"))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        for name in sorted(files):
            member = tarfile.TarInfo(f"{FOLDER}{name}")
            status = files[name].stat()
            member.mode, member.size = 0o755 if status.st_mode & 0o100 else 0o644, status.st_size
            with files[name].open("rb") as content:
                archive.addfile(member, content)
    return target


def _config(architecture: str, layer: str) -> dict[str, Any]:
    runs = {"Entrypoint": [f"/{FOLDER}rclone"], "Env": [f"PATH=/{FOLDER.rstrip('/')}"]}
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{layer}"]}
    return {"created": "1970-01-01T00:00:00Z", "architecture": architecture, "os": "linux", "config": runs, "rootfs": rootfs}


def _stored(part: Path) -> Path:
    """The part under the hex of its sum, as oci_archive expects it."""
    return part.rename(part.with_name(sha256_of(part)))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
