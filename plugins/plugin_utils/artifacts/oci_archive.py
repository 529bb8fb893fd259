# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One image as an archive that K3s imports from agent/images: an OCI layout in a tar, with the registry's own bytes, and so its digests.

The image keeps its index although one architecture's content is there. K3s imports such an archive (`WithSkipMissing`) and names the image by its tag
and by the index's digest (`retagImages` in its pkg/agent/containerd/containerd.go), so that pods name it as they would on a server with internet.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.registry import INDEXES, MANIFESTS, Reference, media_type
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import UpstreamError


@dataclass(frozen=True)
class Image:
    """An image of one architecture: `documents` are its manifests by digest, beginning with the referenced one; `blobs` are its other parts."""

    reference: Reference
    documents: dict[str, bytes]
    blobs: dict[str, int]

    @property
    def digest(self) -> str:
        return next(iter(self.documents))

    @property
    def tagged(self) -> str:
        """Its full name with a tag, which K3s's import requires; without a tag in the reference, one made of the digest."""
        return f"{self.reference.name}:{self.reference.tag or 'bundled-' + self.digest.removeprefix('sha256:')[:12]}"


def manifest_digest(what: str, index: Mapping[str, Any], architecture: str) -> str:
    """The digest of an index's manifest for Linux on that architecture."""
    platforms = [(entry.get("platform") or {}, entry["digest"]) for entry in index["manifests"]]
    for platform, digest in platforms:
        if (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
            return str(digest)
    known = sorted({f"{platform.get('architecture')}" for platform, _digest in platforms if platform.get("os") == "linux"})
    raise UpstreamError(f"{what}: the image is not made for {architecture}, only for {', '.join(known) or 'no Linux'}; name one that is")


def parts(what: str, manifest: Mapping[str, Any]) -> dict[str, int]:
    """The blobs of a manifest, digest to size."""
    if media_type(manifest) not in MANIFESTS or "config" not in manifest:
        kind = f"{manifest.get('mediaType') or 'no type'}, schema {manifest.get('schemaVersion')}"
        raise UpstreamError(f"{what}: its manifest ({kind}) cannot be packed; push the image again with a current tool")
    return {str(entry["digest"]): int(entry["size"]) for entry in (manifest["config"], *manifest["layers"])}


def write(image: Image, blobs: Path, target: Path) -> None:
    """Write the archive; equal images give equal archives. `blobs`: the directory with the image's blobs, each named by the hex of its sum."""
    root = image.documents[image.digest]
    described = media_type(json.loads(root))
    entry = {"mediaType": described, "digest": image.digest, "size": len(root), "annotations": {"io.containerd.image.name": image.tagged}}
    index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [entry]}
    small = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    small |= {f"blobs/sha256/{digest.removeprefix('sha256:')}": body for digest, body in image.documents.items()}
    with tarfile.open(target, "w") as archive:
        for name, body in small.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
        for digest in sorted(image.blobs):
            name = digest.removeprefix("sha256:")
            member = tarfile.TarInfo(f"blobs/sha256/{name}")
            member.size = (blobs / name).stat().st_size
            with (blobs / name).open("rb") as content:
                archive.addfile(member, content)
