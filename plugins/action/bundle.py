# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packs an offline bundle; see the module of the same name for its documentation."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.module_utils.server.files import sha256_of
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import Busy, alone
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts import bundle, oci_archive, wheels
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.bundle import Archive, BundleError, PackedFile
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import NAME, LockError, read
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.oci_archive import Image
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.registry import INDEXES, Reference, Registry, media_type, parse
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import Upstream, UpstreamError, each
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.shaka.platform.plugins.plugin_utils.plain import plain
from ansible_collections.shaka.platform.plugins.plugin_utils.report.ticker import Ticker
from ansible_collections.shaka.platform.plugins.plugin_utils.whole_file import replace_file

display = Display()
INCOMPLETE = "the bundle is not complete; what came is kept, run it again"
ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "architecture": {"type": "str", "required": True},
    "lock": {"type": "dict", "required": True},
    "requirements": {"type": "path", "required": True},
    "images": {"type": "dict", "required": True},
    "applications": {"type": "dict", "default": {}},
    "registries": {"type": "dict", "default": {}},
    "mirrors": {"type": "dict", "default": {}},
    "timeout": {"type": "int", "default": 30},
}


def place_problem(path: str) -> str | None:
    """Why a bundle cannot be packed there."""
    place = Path(path)
    if not place.is_absolute():
        return f"bundle_path: '{path}' is not an absolute path; name a directory of the bundle's own, such as -e bundle_path=/srv/shaka-bundle"
    if place.exists() and not place.is_dir():
        return f"bundle_path: {path} is a file; name a directory of the bundle's own"
    if not place.exists() or (place / bundle.STAGING).is_dir() or not any(place.iterdir()):
        return None
    lock = place / NAME
    if not lock.is_file() or not lock.read_text(encoding="utf-8", errors="replace").startswith(bundle.HEADER):
        return f"bundle_path: {path} holds other things, which could be lost; name an empty directory, or one that bundle.yml made"
    return None


def previous_lock(place: Path) -> dict[str, Any]:
    """The lock of the bundle that is there; empty when there is none."""
    return read(place / NAME, "delete it, and what is missing is fetched again")


class Downloads(Ticker):
    """Says what has come, and every few seconds how far it is."""

    def __init__(self, total: int) -> None:
        super().__init__(lambda _seconds: f"  {self.done} of {self.total} downloads, {self.bytes / 1e6:.0f} MB so far")
        self.total, self.done, self.bytes = total, 0, 0
        self.lock = threading.Lock()

    def came(self, label: str, size: int) -> None:
        with self.lock:
            self.done, self.bytes = self.done + 1, self.bytes + size
            display.display(f"  {self.done} of {self.total}: {label}, {size / 1e6:.1f} MB")


class Packer:
    """One bundle: what it lacks, and how that gets there."""

    def __init__(self, place: Path, architecture: str, registry: Registry) -> None:
        self.place, self.architecture, self.registry = place, architecture, registry
        self.staging = place / bundle.STAGING
        self.previous = previous_lock(place)

    def holds(self, path: str, sha256: str) -> bool:
        file = self.place / path
        return file.is_file() and sha256_of(file) == sha256

    def known(self, archive: Archive) -> tuple[str, str] | None:
        """The digest and the sum of an archive that is there, whole and of what is asked for."""
        entry = self.previous.get("files", {}).get(archive.entry, {})
        digests = [image["digest"] for image in self.previous.get("images", {}).values() if image.get("asked") == archive.reference]
        sha256 = entry.get("sha256", {}).get(self.architecture, "")
        fits = digests and (entry.get("source"), entry.get("path")) == (archive.reference, archive.path) and self.holds(archive.path, sha256)
        return (digests[0], sha256) if fits else None

    def examine(self, archive: Archive) -> Image:
        """An image's manifests: the one it names, and where that is an index the one of the architecture."""
        what, reference = archive.names[0], parse(archive.reference)
        body, digest = self.registry.manifest(what, reference)
        documents, manifest = {digest: body}, json.loads(body)
        if media_type(manifest) in INDEXES:
            own = Reference(reference.registry, reference.repository, "", oci_archive.manifest_digest(what, manifest, self.architecture))
            documents[own.digest], _digest = self.registry.manifest(what, own)
            manifest = json.loads(documents[own.digest])
        return Image(reference, documents, oci_archive.parts(what, manifest))

    def fetch(self, files: list[PackedFile], images: Mapping[str, Image]) -> None:
        """Every missing file and blob into the staging directory, under its sum; one that several images share comes once."""
        jobs: dict[str, tuple[str, Callable[[Path], object]]] = {}
        for file in files:
            jobs[file.sha256] = (file.name, self._file_job(file))
        for name, image in images.items():
            for digest in image.blobs:
                jobs.setdefault(digest.removeprefix("sha256:"), (name, self._blob_job(name, image, digest)))
        jobs = {sha256: job for sha256, job in jobs.items() if not (self.staging / sha256).exists()}

        with Downloads(len(jobs)) as downloads:

            def bring(sha256: str) -> None:
                label, job = jobs[sha256]
                job(self.staging / sha256)
                downloads.came(label, (self.staging / sha256).stat().st_size)

            each(bring, jobs, INCOMPLETE)

    def wheels(self, requirements: Path, check_mode: bool) -> tuple[list[PackedFile], list[str]]:
        """The wheels for servers of every Python, those that are here or else the index's; and for which Pythons they were not here."""
        text, machine = requirements.read_text(encoding="utf-8"), wheels.MACHINES[self.architecture]
        found: dict[str, PackedFile] = {}
        fetched = []
        for python in wheels.PYTHONS:
            try:
                chosen = wheels.chosen(self.place / "wheels", text, python, machine)
            except wheels.WheelError:
                fetched.append(f"wheels for Python {python}")
                display.display(f"  {self.place} lacks {fetched[-1]}")
                chosen = [] if check_mode else wheels.downloaded(requirements, python, machine)
            found |= {wheel.name: bundle.wheel_file(wheel, sha256_of(wheel)) for wheel in chosen if wheel.name not in found}
        return list(found.values()), fetched

    def _file_job(self, file: PackedFile) -> Callable[[Path], object]:
        if file.local:
            return partial(shutil.copyfile, file.local)
        upstream = self.registry.upstream
        return lambda target: upstream.save(file.name, file.url, upstream.open(file.name, file.url), target, file.sha256)

    def _blob_job(self, name: str, image: Image, digest: str) -> Callable[[Path], None]:
        return lambda target: self.registry.save_blob(name, image.reference, digest, target)

    def put(self, source: Path, path: str) -> None:
        """Give a staged file its place."""
        (self.place / path).parent.mkdir(exist_ok=True)
        source.chmod(0o644)
        source.rename(self.place / path)

    def surplus(self, lock: Mapping[str, Any]) -> list[Path]:
        """Files that the lock does not name, in the folders of a bundle."""
        named = {self.place / entry["path"] for entry in lock["files"].values()}
        found = [path for folder in bundle.FOLDERS for path in (self.place / folder).rglob("*") if path.is_file() and path not in named]
        return sorted(found)


def summary(changed: bool, message: str, fetched: list[str], pruned: list[Path]) -> dict[str, Any]:
    """The result, whose message is also printed."""
    display.display(f"  {message}")
    return {"changed": changed, "msg": message, "fetched": fetched, "removed": [str(path) for path in pruned]}


def pack(arguments: Mapping[str, Any], logins: Mapping[str, tuple[str, str]], check_mode: bool) -> dict[str, Any]:
    """The whole bundle; the result of the module."""
    place, architecture, lock = Path(arguments["path"]), arguments["architecture"], arguments["lock"]
    packer = Packer(place, architecture, Registry(Upstream(arguments["mirrors"], arguments["timeout"]), logins))
    own_wheels, fetched = packer.wheels(Path(arguments["requirements"]), check_mode)
    files, archives = [*bundle.files(lock, architecture), *own_wheels], bundle.archives(arguments["images"], arguments["applications"])
    missing = [file for file in files if not packer.holds(file.path, file.sha256)]
    there = {archive.entry: packer.known(archive) for archive in archives}
    lacking = [archive for archive in archives if there[archive.entry] is None]
    fetched = [*fetched, *(file.name for file in missing if not file.local), *(archive.entry for archive in lacking)]
    packed = [(archive, *known) for archive in archives if (known := there[archive.entry])]
    if check_mode:
        future = bundle.lock_of(architecture, lock, files, [*packed, *((archive, "", "") for archive in lacking)])
        pruned = packer.surplus(future)
        changed = bool(fetched or pruned or future != packer.previous)
        return summary(changed, f"would fetch {', '.join(fetched) or 'nothing'}, remove {len(pruned)}", fetched, pruned)
    place.mkdir(parents=True, exist_ok=True)
    with alone(place, f"another run packs into {place}; wait for it"):
        if fetched:
            packer.staging.mkdir(exist_ok=True)
            display.display(f"  {place} lacks {len(missing)} files and {len(lacking)} images")
            images = dict(zip((archive.entry for archive in lacking), each(packer.examine, lacking, INCOMPLETE), strict=True))
            packer.fetch(missing, images)
            for archive in lacking:
                target = packer.staging / Path(archive.path).name
                oci_archive.write(images[archive.entry], packer.staging, target)
                packed.append((archive, images[archive.entry].digest, sha256_of(target)))
        own = bundle.lock_of(architecture, lock, files, packed)
        for file in missing:
            packer.put(packer.staging / file.sha256, file.path)
        for archive in lacking:
            packer.put(packer.staging / Path(archive.path).name, archive.path)
        changed = bool(fetched or own != packer.previous)
        if changed:
            replace_file(place / NAME, bundle.text(own), 0o644)
        pruned = packer.surplus(own)
        for path in pruned:
            path.unlink()
        shutil.rmtree(packer.staging, ignore_errors=True)
    sizes = {name: (place / entry["path"]).stat().st_size for name, entry in own["files"].items()}
    display.display(f"\n{bundle.shown(own, sizes)}\n")
    total = f"{place}: {len(own['files'])} files, {sum(sizes.values()) / 1e6:.0f} MB, for {architecture}"
    return summary(changed or bool(pruned), f"{total}; fetched {len(fetched)}, removed {len(pruned)}", fetched, pruned)


class ActionModule(ControllerAction):
    """Runs on the controller alone."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        arguments = plain(arguments)
        try:
            if problem := place_problem(arguments["path"]):
                raise BundleError(problem)
            return pack(arguments, self._logins(arguments["registries"], variables), self._task.check_mode)
        except (Busy, BundleError, LockError, UpstreamError, wheels.WheelError, OSError) as error:
            return {"failed": True, "msg": str(error)}

    def _logins(self, registries: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """The registries' logins whose passwords there are; read here, so that no value is an argument of the task."""
        secrets = self._templar.template(variables["platform_secrets"]) if registries and "platform_secrets" in variables else {}
        known = (secrets or {}).get("registries") or {}
        return {host: (given["username"], "".join(known[given["password"]])) for host, given in registries.items() if given["password"] in known}
