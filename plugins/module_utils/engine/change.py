# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes one object from its present to its desired state, even while others write to it; a dry run tells what would change."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

from .additions import Pointer, added, removal, without
from .applied import as_applied
from .client import Api, ApiError, Unreachable
from .content import content, differing
from .errors import explain
from .identity import MANAGER, describe
from .item import Item
from .ordering import CUSTOM
from .patches import merge

CONFLICTS = 8  # how often another writer may change the object between our reading and our patch; it is read again each time
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


class Change:
    """The change of one item. `deadline` bounds every wait; whatever makes the answer less certain is added to `notes`.

    :arg judged: whether a webhook or policy looks at the object when it is written, so that only the server can say what a write would do.
    """

    def __init__(self, api: Api, item: Item, dry: bool, controllers: Iterable[str], deadline: float, notes: list[str], judged: bool = True) -> None:
        self.api, self.item, self.dry, self.controllers, self.judged = api, item, dry, controllers, judged
        self.deadline, self.notes = deadline, notes
        self.fields: set[str] = set()  # paths that differed already before the patch
        self.without_additions = item.before  # the state without the fields that others added
        self.removed: list[Pointer] = []  # the paths of those fields

    def make(self) -> None:
        """Sets the item's action and its states before and after, or its error."""
        item, first = self.item, self.item.before
        if item.resource is None:  # a dry run, and only the real run brings its kind
            item.action, item.after = "created", item.desired
            return
        if self.dry and first and not self.judged and as_applied(first, item.desired) and not added(first, item.desired, self.controllers):
            item.action, item.after = "unchanged", first
            return
        try:
            after = self._write()
        except (ApiError, Unreachable) as error:
            if not (self.dry and isinstance(error, ApiError) and self._unknowable_in_dry_run(error)):
                item.error = explain(item.desired, error, item.source)
                return
            after = merge(self.without_additions, item.desired)
        if item.before:
            self.fields |= set(differing(content(item.before), content(after)))
        item.action = "created" if first is None else "changed" if self.fields else "unchanged"
        item.before, item.after = first, without(after, self.removed) if self.dry and self.removed else after
        item.fields = sorted(self.fields) if first else []

    def _write(self) -> dict[str, Any]:
        """The object after the patch. After a conflict with another writer everything starts again from a fresh reading."""
        for attempt in itertools.count(1):
            try:
                self._wait_until_deleted()
                self._remove_additions()
                return self._patch()
            except ApiError as error:
                if attempt > CONFLICTS or not (error.status == 409 or (error.status == 404 and self.item.before)):
                    raise
            self.item.before = self.api.get(self.item.path)
        raise AssertionError  # the loop above has no end

    def _unknowable_in_dry_run(self, error: ApiError) -> bool:
        """Whether the error only says that an earlier step of the real run is missing.

        That step may remove an addition or an object that is being deleted, make a namespace or a kind, start a webhook, or raise a quota.
        """
        if self.fields or (error.status == 404 and self.item.before is None):
            return True
        quota = "exceeded quota" in error.message
        if quota or ("failed calling webhook" in error.message and self.item.before):
            self.notes.append(f"{describe(self.item.desired)} was compared without the server, which says: {error.message}")
        return quota or "failed calling webhook" in error.message

    def _wait_until_deleted(self) -> None:
        """An object that is being deleted would vanish after our patch: wait until it is gone, so that the patch creates it again."""
        deleted = self.item.before
        if not (deleted and deleted["metadata"].get("deletionTimestamp")):
            return
        while not self.dry:
            self.item.before = self.api.get(self.item.path)
            if not self.item.before or self.item.before["metadata"]["uid"] != deleted["metadata"]["uid"]:
                break
            if time.monotonic() > self.deadline:
                meta = self.item.before["metadata"]
                finalizers = ", ".join(meta.get("finalizers") or (self.item.before.get("spec") or {}).get("finalizers") or [])
                raise ApiError(
                    409,
                    {
                        "message": f"it has been in deletion since {meta['deletionTimestamp']}"
                        + (f" and waits for {finalizers}" if finalizers else "")
                    },
                )
            time.sleep(0.5)
        self.fields.add("metadata.deletionTimestamp")

    def _remove_additions(self) -> None:
        """Removes the fields that others added. One that cannot be removed stays, and a note says so."""
        before = self.without_additions = self.item.before
        self.removed = []
        paths = added(before, self.item.desired, self.controllers) if before else []
        if not before or not paths:
            return
        if self._remove(before, paths):
            for path in paths:  # one of them cannot be removed: remove the others
                if refused := self._remove(before, [path]):
                    where = ".".join(str(step) for step in path)
                    text = f"{where} was added by others and cannot be removed: {refused}"
                    self.notes.append(explain(self.item.desired, Exception(text)))
        self.fields |= set(differing(content(before), content(self.without_additions or before)))

    def _remove(self, before: dict[str, Any], paths: list[Pointer]) -> str:
        """Removes fields from exactly the state that was read (anything else is a conflict); returns the server's message when it refuses."""
        version = ((not self.dry and self.without_additions) or before)["metadata"]["resourceVersion"]
        patch = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *removal(paths)]
        query = {"fieldManager": MANAGER, **({"dryRun": "All"} if self.dry else {})}
        try:
            answer = self.api.request("PATCH", self.item.path, query, patch, JSON_PATCH)
        except ApiError as error:
            if error.status != 422:
                raise
            return error.message
        self.removed += paths
        # The answer of a dry run lacks only these paths, not those of earlier calls.
        self.without_additions = without(before, self.removed) if self.dry and len(self.removed) > len(paths) else answer
        return ""

    def _patch(self) -> dict[str, Any]:
        """Server-side apply on exactly the state that was read: the resourceVersion makes any other writer in between a conflict.

        Without it, a controller's change since the reading would be reported as ours.
        """
        base, obj, delay = self.item.before if self.dry else self.without_additions, self.item.desired, 0.2
        if base:
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": base["metadata"]["resourceVersion"]}}
        while True:
            try:
                return self.api.apply(self.item.path, obj, MANAGER, self.dry)
            except ApiError as error:
                if self.dry or not self._is_transient(error) or time.monotonic() > self.deadline:
                    raise
            time.sleep(delay)
            delay = min(2.0, delay * 1.6)

    def _is_transient(self, error: ApiError) -> bool:
        """Whether the error ends by itself: once a webhook has its certificate and endpoints, or the API server serves a new kind."""
        return "failed calling webhook" in error.message or (error.status == 404 and self.item.rank == CUSTOM and "namespaces" not in error.message)
