# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuses changes that an existing volume cannot follow (a smaller size, another major version of Postgres), and says how to make them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment

from ..quantities import parse_memory

WAY = """To do it, move to a new volume (the old one is kept, and named by: kubectl get pv):
    ansible-playbook shaka.platform.backup -i INVENTORY -e platform_only={env}
    kubectl -n {namespace} delete statefulset/postgres pvc/postgres-pvc
    ansible-playbook shaka.platform.site -i INVENTORY -e platform_only={env}
    ansible-playbook shaka.platform.restore -i INVENTORY -e restore_environment={env}"""


class BoundVolume(NamedTuple):
    """A bound claim: its size in bytes and as text, and the major version of the Postgres whose data it has ('' when it has none yet)."""

    size: int
    text: str
    major: str


def image_major(reference: str) -> str:
    """The major version in an image's tag: postgres:15-alpine -> 15. '' when there is only a digest."""
    match = re.search(r":v?(\d+)[^/:]*$", reference.partition("@")[0])
    return match[1] if match else ""


def volumes(claims: list[dict[str, Any]], persistent: list[dict[str, Any]]) -> dict[str, BoundVolume]:
    """Namespace -> the volume of its Postgres, whose files are on this server (local-path)."""
    paths = {}
    for item in persistent:
        spec = item["spec"]
        paths[item["metadata"]["name"]] = (spec.get("local") or spec.get("hostPath") or {}).get("path", "")
    result = {}
    for claim in claims:
        if claim["metadata"]["name"] == "postgres-pvc":
            text = claim["spec"]["resources"]["requests"]["storage"]
            path = paths.get(claim["spec"].get("volumeName", ""), "")
            result[claim["metadata"]["namespace"]] = BoundVolume(parse_memory(text), text, _major(Path(path)) if path else "")
    return result


def _major(path: Path) -> str:
    try:
        return (path / "pgdata/PG_VERSION").read_text().strip()
    except OSError:
        return ""


def refusals(name: str, env: Environment, volume: BoundVolume | None, image: str) -> list[str]:
    """The changes that an environment's volume cannot follow."""
    if volume is None:
        return []
    problems, storage, major = [], str(env["postgres"]["storage"]), image_major(image)
    if parse_memory(storage) < volume.size:
        problems.append(f"platform_environments.{name}.postgres.storage is {storage}, and its volume has {volume.text}: a volume does not shrink.")
    if major and volume.major and major != volume.major:
        problems.append(
            f"{env['namespace']}: the volume has data of Postgres {volume.major}, and the image {image} is Postgres {major}, which cannot read it: "
            f"keep an image of {volume.major}."
        )
    return [f"{text} {WAY.format(env=name, namespace=env['namespace'])}" for text in problems]
