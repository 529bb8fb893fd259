# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The backup tools on the controller: taken out of the lock's archives once for each architecture, packed into their image, and kept in a cache."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from ansible_collections.shaka.platform.plugins.module_utils.server.files import sha256_of
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import alone
from ansible_collections.shaka.platform.plugins.plugin_utils import cache
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import tools_image
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import ARCHITECTURES, of_architecture
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import Upstream

IMAGE = "backup-tools.tar"
SUMS = "sums.json"  # written last: a place with it is whole
PATIENCE = 600  # seconds; for another run that brings them
KEPT_DAYS = 60  # how long the cache keeps what no run asked for


class ToolsError(Exception):
    """Tools that are missing or damaged; the text says which, and what to do."""


def ready(lock: Mapping[str, Any], architecture: str, bundle: Path | None, upstream: Upstream) -> dict[Path, str]:
    """The tools for that architecture and the archive of their image, each with its sum; from the bundle or the upstreams, once.

    Raises ToolsError, UpstreamError, Busy or OSError.
    """
    name = tools_image.reference(lock)
    if not name:
        raise ToolsError("the artifacts lock has no backup tools; make the bundle again with `ansible-playbook shaka.platform.bundle`")
    place = cache.folder("tools") / f"{name.rpartition(':')[2]}-{architecture}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(place.parent, f"another run still brings the backup tools into {place.parent}; wait for it", PATIENCE):
        if not (place / SUMS).is_file():
            shutil.rmtree(place, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=place.parent) as work:
                _make(lock, architecture, bundle, upstream, Path(work)).rename(place)
            _forget_old(place.parent)
        os.utime(place)
    sums: dict[str, str] = json.loads((place / SUMS).read_text(encoding="utf-8"))
    return {place / file: sha256 for file, sha256 in sums.items()}


def own_rclone(lock: Mapping[str, Any], bundle: Path | None, upstream: Upstream) -> Path:
    """The rclone for the controller itself: the lock's where it has one for this machine, else the one that is installed."""
    architecture = ARCHITECTURES.get(platform.machine(), "")
    if platform.system() == "Linux" and architecture and lock.get("arch", architecture) == architecture and tools_image.reference(lock):
        found, sha256 = next((path, sha256) for path, sha256 in ready(lock, architecture, bundle, upstream).items() if path.name == "rclone")
        if sha256_of(found) == sha256:
            return found
        raise ToolsError(f"{found} is not the pinned rclone; delete {found.parent}, and it is fetched again")
    if installed := shutil.which("rclone"):
        return Path(installed)
    raise ToolsError(
        f"the controller has no rclone, and the artifacts lock none for its {platform.system()} on {platform.machine()}: "
        "install it from https://rclone.org/install, so that `rclone version` answers"
    )


def _make(lock: Mapping[str, Any], architecture: str, bundle: Path | None, upstream: Upstream, work: Path) -> Path:
    """The whole place in `work`."""
    made = work / "made"
    made.mkdir()
    files = {}
    for name, entry in tools_image.tools(lock).items():
        source = _archive(name, entry, architecture, bundle, upstream, work)
        files[name] = made / name
        _take(name, source, str(entry.get("member", "")), files[name])
    parts = work / "parts"
    parts.mkdir()
    tools_image.pack(tools_image.reference(lock), architecture, files, parts, made / IMAGE)
    sums = {file.name: sha256_of(file) for file in sorted(made.iterdir())}
    (made / SUMS).write_text(json.dumps(sums), encoding="utf-8")
    return made


def _archive(name: str, entry: Mapping[str, Any], architecture: str, bundle: Path | None, upstream: Upstream, work: Path) -> Path:
    """The upstream's file, whole by its sum."""
    sha256 = of_architecture(entry.get("sha256"), architecture).lower()
    if not sha256:
        raise ToolsError(f"{name}: the artifacts lock has no sum of it for {architecture}")
    if bundle is None:
        url, target = of_architecture(entry["source"], architecture), work / f"{name}.archive"
        upstream.save(name, url, upstream.open(name, url), target, sha256)
        return target
    packed = bundle / str(entry["path"])
    if not packed.is_file() or sha256_of(packed) != sha256:
        raise ToolsError(f"{name}: {packed} is missing or not the pinned file; make the bundle again with `ansible-playbook shaka.platform.bundle`")
    return packed


def _take(name: str, source: Path, member: str, target: Path) -> None:
    """Take one file out of an archive; without a member the source is the file itself. What is taken out is a program."""
    if not member:
        shutil.copyfile(source, target)
        target.chmod(0o644)
        return
    try:
        with source.open("rb") as opened, target.open("wb") as copy:
            if zipfile.is_zipfile(opened):
                with zipfile.ZipFile(opened) as pack, pack.open(_one(name, member, pack.namelist())) as found:
                    shutil.copyfileobj(found, copy)
            else:
                opened.seek(0)
                _from_tar(name, member, opened, copy)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ToolsError(f"{name}: {source} cannot be read as an archive: {error}") from error
    target.chmod(0o755)


def _from_tar(name: str, member: str, opened: IO[bytes], copy: IO[bytes]) -> None:
    with tarfile.open(fileobj=opened) as pack:
        found = pack.extractfile(_one(name, member, pack.getnames()))
        if found is None:
            raise ToolsError(f"{name}: {member} in its archive is not a file")
        shutil.copyfileobj(found, copy)


def _one(name: str, member: str, names: list[str]) -> str:
    """The one of an archive's names that the pattern matches."""
    found = [each for each in names if fnmatchcase(each, member)]
    if len(found) != 1:
        raise ToolsError(f"{name}: {member} is {len(found)} times in its archive, not once; correct `member` in the artifacts lock")
    return found[0]


def _forget_old(folder: Path) -> None:
    """Remove what no run asked for in a while."""
    for place in folder.iterdir():
        if time.time() - place.stat().st_mtime > KEPT_DAYS * 86400:
            shutil.rmtree(place, ignore_errors=True)
