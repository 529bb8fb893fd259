# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One object brought from what it is to what is wanted, whoever else writes to it meanwhile; or what would come of it, by a dry run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

from .additions import Pointer, added, removal, without
from .client import Api, ApiError, Unreachable
from .content import content, differing
from .errors import explain
from .identity import MANAGER, describe
from .item import Item
from .ordering import CUSTOM
from .patches import merge

CONFLICTS = 8  # another writer between our reading and our patch; each time the object is read again
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


class Change:
    """One item's way. `deadline` bounds what it waits for; what limits the answer is added to `notes`."""

    def __init__(self, api: Api, item: Item, dry: bool, controllers: Iterable[str], deadline: float, notes: list[str]) -> None:
        self.api, self.item, self.dry, self.controllers = api, item, dry, controllers
        self.deadline, self.notes = deadline, notes
        self.fields: set[str] = set()  # what differed already before the patch
        self.tidy = item.before  # the state without the fields that others added,
        self.gone: list[Pointer] = []  # and where these were

    def make(self) -> None:
        """Sets the item's action and its states before and after, or its error."""
        item, first = self.item, self.item.before
        if item.resource is None:  # in a dry run: its kind comes with the real one
            item.action, item.after = "created", item.desired
            return
        try:
            after = self._write()
        except (ApiError, Unreachable) as error:
            if not (self.dry and isinstance(error, ApiError) and self._untold(error)):
                item.error = explain(item.desired, error, item.source)
                return
            after = merge(self.tidy, item.desired)
        if item.before:
            self.fields |= set(differing(content(item.before), content(after)))
        item.action = "created" if first is None else "changed" if self.fields else "unchanged"
        item.before, item.after = first, without(after, self.gone) if self.dry and self.gone else after
        item.fields = sorted(self.fields) if first else []

    def _write(self) -> dict[str, Any]:
        """The object after the patch; a conflict with another writer starts it anew."""
        for attempt in itertools.count(1):
            try:
                self._out_of_the_way()
                self._tidy()
                return self._patch()
            except ApiError as error:
                if attempt > CONFLICTS or not (error.status == 409 or (error.status == 404 and self.item.before)):
                    raise
            self.item.before = self.api.get(self.item.path)
        raise AssertionError  # counting has no end

    def _untold(self, error: ApiError) -> bool:
        """What a dry run cannot tell, because a step of the real run is missing.

        That may be what is in the way and goes first, a namespace, a kind, a webhook that answers, a larger quota.
        """
        if self.fields or (error.status == 404 and self.item.before is None):
            return True
        quota = "exceeded quota" in error.message
        if quota or ("failed calling webhook" in error.message and self.item.before):
            self.notes.append(f"{describe(self.item.desired)} was compared without the server, which says: {error.message}")
        return quota or "failed calling webhook" in error.message

    def _out_of_the_way(self) -> None:
        """An object that is being deleted would vanish after our patch: wait until it is gone, and make it anew."""
        going = self.item.before
        if not (going and going["metadata"].get("deletionTimestamp")):
            return
        while not self.dry:
            self.item.before = self.api.get(self.item.path)
            if not self.item.before or self.item.before["metadata"]["uid"] != going["metadata"]["uid"]:
                break
            if time.monotonic() > self.deadline:
                meta = self.item.before["metadata"]
                waits = ", ".join(meta.get("finalizers") or (self.item.before.get("spec") or {}).get("finalizers") or [])
                raise ApiError(
                    409, {"message": f"it is being deleted since {meta['deletionTimestamp']}" + (f" and waits for {waits}" if waits else "")}
                )
            time.sleep(0.5)
        self.fields.add("metadata.deletionTimestamp")

    def _tidy(self) -> None:
        """Takes out the fields that others added. What cannot be taken out is noted and stays."""
        before = self.tidy = self.item.before
        self.gone = []
        paths = added(before, self.item.desired, self.controllers) if before else []
        if not before or not paths:
            return
        if self._remove(before, paths):
            for path in paths:  # one of them may not go: the others must
                if refused := self._remove(before, [path]):
                    where = ".".join(str(step) for step in path)
                    text = f"{where} was added by others and cannot be taken out: {refused}"
                    self.notes.append(explain(self.item.desired, Exception(text)))
        self.fields |= set(differing(content(before), content(self.tidy or before)))

    def _remove(self, before: dict[str, Any], paths: list[Pointer]) -> str:
        """Takes fields out of exactly the state that was read (anything else is a conflict); what the server says when it refuses."""
        version = ((not self.dry and self.tidy) or before)["metadata"]["resourceVersion"]
        patch = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *removal(paths)]
        query = {"fieldManager": MANAGER, **({"dryRun": "All"} if self.dry else {})}
        try:
            answer = self.api.request("PATCH", self.item.path, query, patch, JSON_PATCH)
        except ApiError as error:
            if error.status != 422:
                raise
            return error.message
        self.gone += paths
        # A dry run has taken out only these.
        self.tidy = without(before, self.gone) if self.dry and len(self.gone) > len(paths) else answer
        return ""

    def _patch(self) -> dict[str, Any]:
        """Server-side apply on exactly the state that was read: the resourceVersion makes any other writer in between a conflict.

        Without it, a controller's change since the reading would be reported as ours.
        """
        base, obj, delay = self.item.before if self.dry else self.tidy, self.item.desired, 0.2
        if base:
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": base["metadata"]["resourceVersion"]}}
        while True:
            try:
                return self.api.apply(self.item.path, obj, MANAGER, self.dry)
            except ApiError as error:
                if self.dry or not self._passing(error) or time.monotonic() > self.deadline:
                    raise
            time.sleep(delay)
            delay = min(2.0, delay * 1.6)

    def _passing(self, error: ApiError) -> bool:
        """What passes once a webhook has its certificate and endpoints, or the API server serves a new kind."""
        return "failed calling webhook" in error.message or (error.status == 404 and self.item.rank == CUSTOM and "namespaces" not in error.message)
