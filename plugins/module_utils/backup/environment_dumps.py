# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One environment's dumps in a bucket, of every server and Postgres that it has had; or the copies of a Redis."""

from __future__ import annotations

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, manifest
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket


def objects(bucket: Bucket, name: str, kind: str = layout.DUMPS) -> dict[str, int]:
    """Path below the bucket -> bytes. Raises StoreError."""
    return {entry.path: entry.bytes for entry in bucket.list(bucket.prefix, f"/*/{name}/*/{kind}/**")}


def manifests(bucket: Bucket, name: str, kind: str = layout.DUMPS) -> dict[str, bytes]:
    """Path below the bucket -> content. Raises StoreError."""
    return bucket.read_all(bucket.prefix, f"/*/{name}/*/{kind}/*/{layout.MANIFEST}", 2 * manifest.LARGEST)
