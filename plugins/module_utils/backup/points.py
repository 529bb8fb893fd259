# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a bucket holds of an environment's points in time, of every Postgres that it has had, and the choice for one moment."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, manifest, wal
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket, Listed

LATEST = "latest"
BESIDE = datetime.timedelta(minutes=10)  # two whose WAL ends within it are both running: nothing new is said every five
_MOMENT = "%Y-%m-%dT%H:%M:%S%z"


@dataclass
class WalStore:
    """Base backups (by their stamps) and WAL of one Postgres. `flaws`: manifests that cannot be trusted."""

    origin: layout.Origin
    manifests: dict[str, manifest.Manifest] = field(default_factory=dict)
    bases: list[wal.BaseBackup] = field(default_factory=list)
    pieces: list[wal.WalPiece] = field(default_factory=list)
    flaws: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ChosenPoint:
    """What recovers a moment."""

    store: WalStore
    way: wal.WalReach
    moment: datetime.datetime

    @property
    def base(self) -> manifest.Manifest:
        return self.store.manifests[self.way.base.stamp]


def requested(text: str) -> datetime.datetime | None:
    """The moment that a user names, in ISO 8601 with its zone; None is the latest. Raises ValueError."""
    if text == LATEST:
        return None
    try:
        return datetime.datetime.strptime(text.replace("Z", "+0000"), _MOMENT)
    except ValueError:
        raise ValueError(f"'{text}' is not a moment such as 2026-11-24T10:00:00Z or 2026-11-24T07:00:00-0300, nor '{LATEST}'") from None


def stores(bucket: Bucket, origin: str, prefix: str, environment: str, key: str) -> list[WalStore]:
    """All of an environment's. Raises StoreError.

    :arg origin: SERVER/SYSTEM_IDENTIFIER where it is to be that one alone.
    :arg key: the environment's BACKUP_KEY.
    """
    return sorted_out(bucket, bucket.list(prefix), origin, prefix, environment, key)


def sorted_out(bucket: Bucket, listed: Iterable[Listed], origin: str, prefix: str, environment: str, key: str) -> list[WalStore]:
    """The same, of a list that is there already."""
    found: dict[layout.Origin, WalStore] = {}
    for entry in listed:
        item = layout.read(entry.path, prefix)
        if item is None or item.origin.environment != environment or item.kind not in (layout.BASE, layout.WAL):
            continue
        if origin not in ("", item.origin.name):
            continue
        store = found.setdefault(item.origin, WalStore(item.origin))
        if item.kind == layout.WAL and (piece := wal.piece(item.name)):
            store.pieces.append(piece)
        elif item.kind == layout.BASE and item.name == layout.MANIFEST:
            try:
                read = manifest.read(bucket.read(entry.path, manifest.LARGEST + 1), key, item.origin, item.stamp)
                store.bases.append(wal.base(read))
                store.manifests[item.stamp] = read
            except manifest.Unusable as error:
                store.flaws.append(f"{entry.path}: {error}")
    return list(found.values())


def choose(found: Iterable[WalStore], when: datetime.datetime | None) -> ChosenPoint:
    """What recovers that moment, or the latest that can be; raises Unrecoverable, also where several Postgres were archived at that moment."""
    found = list(found)
    spans = {store.origin: wal.windows(store.bases, store.pieces) for store in found}
    if when is None and (latest := {store.origin: ends[-1][1] for store in found if (ends := spans[store.origin])}):
        when = max(latest.values())
        running = [store for store in found if latest.get(store.origin, wal.NEVER) >= when - BESIDE]
        _require_one(running, when)
        return ChosenPoint(running[0], wal.recovery(when, running[0].bases, running[0].pieces), when)
    when = when or datetime.datetime.now(layout.UTC)
    able: list[ChosenPoint] = []
    for store in found:
        with contextlib.suppress(wal.Unrecoverable):
            able.append(ChosenPoint(store, wal.recovery(when, store.bases, store.pieces), when))
    if able:
        _require_one([each.store for each in able], when)
        return able[0]
    known = [f"{origin.name} {wal.shown(ends)}" for origin, ends in spans.items() if ends]
    flaws = [flaw for store in found for flaw in store.flaws]
    text = f"what can be: {'; '.join(known)}" if known else "there is no base backup with WAL after it"
    raise wal.Unrecoverable("; ".join([f"{when:{wal.SHOWN}} cannot be recovered, {text}", *flaws]))


def _require_one(stores: Sequence[WalStore], when: datetime.datetime) -> None:
    """After a move, say, the old server goes on archiving what nobody writes into any more."""
    if len(stores) > 1:
        places = ", ".join(store.origin.name for store in stores)
        text = f"{len(stores)} Postgres were archived at {when:{wal.SHOWN}}: add -e restore_origin=... with one of {places}"
        raise wal.Unrecoverable(text)


def retired(store: WalStore, keep: int) -> tuple[list[str], list[str]]:
    """(stamps of the base backups, names of the WAL) that go when the newest so many base backups stay. Where one cannot be trusted, nothing goes."""
    newest = sorted(store.bases, key=lambda each: each.stamp)[-max(keep, 1) :]
    if store.flaws or not newest or not all(wal.reach(each, store.pieces).usable for each in newest):
        return [], []
    return sorted(set(store.manifests) - {each.stamp for each in newest}), wal.superseded(newest, store.pieces)
