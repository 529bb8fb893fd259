# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which backup a restore takes, of those that are in the bucket. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, manifest
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Found, Origin
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import LATEST

BEFORE_RESTORE = "before-restore"


class NoChoice(Exception):
    """There is no such backup, or it must not be taken; the text says why and what to do."""


@dataclass(frozen=True)
class StoredBackup:
    """A backup in the bucket. `problem`: why it must not be restored; '' when it may."""

    origin: Origin
    stamp: str
    manifest: manifest.Manifest | None
    problem: str = ""


def stored(objects: Mapping[str, int], manifests: Mapping[str, bytes], prefix: str, environment: str, key: str) -> list[StoredBackup]:
    """The environment's backups, of every origin, the newest first.

    :arg objects: path in the bucket -> bytes.
    :arg manifests: path in the bucket -> content.
    :arg key: the environment's BACKUP_KEY.
    """
    found = []
    sizes = {_place(place): size for path, size in objects.items() if (place := layout.read(path, prefix))}
    for path, content in manifests.items():
        place = layout.read(path, prefix)
        if place is None or place.kind not in layout.COPIES or place.name != layout.MANIFEST or place.origin.environment != environment:
            continue
        found.append(_judged(place, content, key, sizes))
    return sorted(found, key=lambda backup: (backup.stamp, backup.origin), reverse=True)


def _place(found: Found) -> tuple[Origin, str, str]:
    return found.origin, found.stamp, found.name


def _judged(place: Found, content: bytes, key: str, sizes: Mapping[tuple[Origin, str, str], int]) -> StoredBackup:
    try:
        read = manifest.read(content, key, place.origin, place.stamp)
    except manifest.Unusable as error:
        return StoredBackup(place.origin, place.stamp, None, str(error))
    for dump in read.databases:
        size = sizes.get((place.origin, place.stamp, dump.object.rpartition("/")[2]))
        if size != dump.bytes:
            text = f"the dump of {dump.name} is not there" if size is None else f"the dump of {dump.name} has {size} bytes in place of {dump.bytes}"
            return StoredBackup(place.origin, place.stamp, read, text)
    return StoredBackup(place.origin, place.stamp, read)


def choose(backups: Sequence[StoredBackup], wanted: str, origin: str, where: str) -> StoredBackup:
    """The backup of that stamp; or the newest that is good, leaving out what was taken before a restore: that is what a restore replaced.

    :arg origin: SERVER/SYSTEM_IDENTIFIER, or '' for any.
    :arg where: what was searched, for the message.
    :raises NoChoice:
    """
    mine = [backup for backup in backups if origin in ("", backup.origin.name)]
    if wanted == LATEST:
        good = (backup for backup in mine if not backup.problem and backup.manifest and backup.manifest.kind != BEFORE_RESTORE)
        newest = next(good, None)
        if newest is None:
            bad = "; ".join(f"{backup.stamp}: {backup.problem}" for backup in mine if backup.problem)
            raise NoChoice(f"{where} has no backup that could be restored{f' from {origin}' if origin else ''}{': ' + bad if bad else ''}")
        return newest
    named = [backup for backup in mine if backup.stamp == wanted]
    if len(named) > 1:
        places = ", ".join(backup.origin.name for backup in named)
        raise NoChoice(f"there are {len(named)} backups {wanted}: add -e restore_origin=... with one of {places}")
    if not named:
        there = ", ".join(backup.stamp for backup in mine[:10]) or "none"
        raise NoChoice(f"{where} has no backup {wanted}{f' from {origin}' if origin else ''}; the newest are: {there}")
    if named[0].problem:
        raise NoChoice(f"the backup {wanted} is not restored: {named[0].problem}")
    return named[0]


def own_instead(backups: Sequence[StoredBackup], chosen: StoredBackup, identifier: str) -> str:
    """A word on the newest backup of the Postgres that runs, where another one's was newer; '' where there is none.

    :arg identifier: of the Postgres that runs now; '' where that is not known.
    """
    mine = [backup for backup in backups if backup.origin.system_identifier == identifier and not backup.problem]
    if not mine or chosen.origin.system_identifier == identifier:
        return ""
    return (
        f"{chosen.stamp} is of another Postgres ({chosen.origin.name}) than the one that runs here, whose newest is {mine[0].stamp}: "
        f"for that one -e restore_origin={mine[0].origin.name}"
    )


def only(backup: StoredBackup, databases: Iterable[str]) -> StoredBackup:
    """The same backup, of some of its databases; without any named, of all. Raises NoChoice."""
    wanted, read = set(databases), backup.manifest
    if read is None or not wanted:
        return backup
    there = {dump.name for dump in read.databases}
    if missing := wanted - there:
        raise NoChoice(f"the backup {backup.stamp} has no database {', '.join(sorted(missing))}; it has {', '.join(sorted(there))}")
    return replace(backup, manifest=replace(read, databases=tuple(dump for dump in read.databases if dump.name in wanted)))
