# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The releases of an application, kept in the cluster: one record for each, the newest last. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict, cast

CONFIG_MAP = "releases"  # of each environment's namespace; a key for each application
KEPT = 50
UNDERWAY, SUCCEEDED, UNDONE, BROKEN, INTERRUPTED = "underway", "succeeded", "undone", "broken", "interrupted"
STATES = {
    UNDERWAY: "under way, or killed",
    SUCCEEDED: "succeeded",
    UNDONE: "undone",
    BROKEN: "could not be undone",
    INTERRUPTED: "killed, and undone",
}  # state -> in the table
DEPLOY, ROLLBACK = "deploy", "rollback"
COLUMNS = ["release", "when", "what", "image", "strategy", "migration", "config", "by", "result"]


class Record(TypedDict):
    """One release. `previous`: the image that ran before; `migration`: `none`, `done` or `begun`; `reason`: why it did not succeed."""

    number: int
    kind: str
    image: str
    previous: str
    config_hash: str
    strategy: str
    migration: str
    by: str
    started: str
    finished: str
    state: str
    reason: str


class NoRelease(ValueError):
    """There is no such release to go back to; the text says which there are."""


def load(text: str) -> list[Record]:
    """The records of a ConfigMap's value. Raises ValueError for text that is not theirs."""
    found = json.loads(text or "[]")
    if not isinstance(found, list) or not all(isinstance(each, dict) and each.keys() >= Record.__annotations__.keys() for each in found):
        raise ValueError("is not a list of releases")
    return cast("list[Record]", found)


def dump(records: Sequence[Record]) -> str:
    return json.dumps(list(records)[-KEPT:], indent=1)


def begun(records: Sequence[Record], kind: str, image: str, previous: str, config_hash: str, strategy: str, by: str, now: str) -> list[Record]:
    """With a new record that is under way."""
    number = records[-1]["number"] + 1 if records else 1
    new: Record = {
        "number": number, "kind": kind, "image": image, "previous": previous, "config_hash": config_hash, "strategy": strategy, "migration": "none",
        "by": by, "started": now, "finished": "", "state": UNDERWAY, "reason": "",
    }  # fmt: skip
    return [*records, new]


def settled(records: Sequence[Record], running: str, now: str) -> list[Record]:
    """With an end for a release that was killed: it succeeded if what it brought runs, now that the pods are as the inventory has them."""
    last = underway(records)
    if last is None:
        return list(records)
    return changed(records, state=SUCCEEDED if last["image"] == running else INTERRUPTED, finished=now)


def changed(records: Sequence[Record], **values: str) -> list[Record]:
    """With other values in the newest record."""
    return [*records[:-1], cast("Record", {**records[-1], **values})]


def underway(records: Sequence[Record]) -> Record | None:
    """The newest record, if it has no end: its run goes on, or was killed."""
    return records[-1] if records and records[-1]["state"] == UNDERWAY else None


def target(records: Sequence[Record], running: str, to: str) -> Record:
    """The record whose image a rollback brings back.

    :arg to: its number, or seven or more digits of its digest; empty is the release before the running one. A second rollback goes back one further.
    :raises NoRelease: there is none.
    """
    good = [record for record in records if record["state"] == SUCCEEDED]
    known = ", ".join(f"{record['number']} ({short(record['image'])})" for record in good[-10:]) or "none"
    if to:
        digest = to.removeprefix("sha256:")
        named = [record for record in good if str(record["number"]) == to or (len(digest) > 6 and f"@sha256:{digest}" in record["image"])]
        if not named:
            raise NoRelease(f"rollback_to: '{to}' is not a release that succeeded; known: {known}")
        found = named[-1]
    else:
        # a deploy of what ran already brought nothing, and there is nothing before it to go back to
        own = [record for record in good if record["image"] == running != record["previous"] and record["kind"] == DEPLOY]
        if not own:
            raise NoRelease(
                f"what runs ({short(running)}) was not brought by a deploy that is recorded; name a release with -e rollback_to=N; known: {known}"
            )
        before = own[-1]["previous"]
        earlier = [record for record in good if record["image"] == before]
        if not before:
            raise NoRelease("nothing is known of what ran before the first release")
        found = earlier[-1] if earlier else cast("Record", {**own[-1], "number": 0, "image": before, "migration": "none"})
    if found["image"] == running:
        raise NoRelease(f"release {found['number']} ({short(running)}) is what runs")
    return found


def migrations_since(records: Sequence[Record], image: str) -> list[int]:
    """Numbers of the releases after that image's last one that succeeded whose migration ran, also of those that did not: the database is theirs."""
    good = [index for index, record in enumerate(records) if record["image"] == image and (record["kind"], record["state"]) == (DEPLOY, SUCCEEDED)]
    last = max(good, default=-1)
    return [record["number"] for record in records[last + 1 :] if record["migration"] != "none"]


def short(image: str) -> str:
    """An image for a table: its name, and the beginning of its digest."""
    name, _at, digest = image.partition("@sha256:")
    return f"{name.rsplit('/', 1)[-1]}@{digest[:12]}" if digest else name.rsplit("/", 1)[-1]


def rows(records: Sequence[Record], running: str) -> list[list[str]]:
    """For a table, the newest first."""
    own = max((index for index, record in enumerate(records) if record["image"] == running and record["state"] == SUCCEEDED), default=-1)
    return [
        [
            str(record["number"]),
            record["started"],
            record["kind"],
            short(record["image"]),
            record["strategy"],
            record["migration"],
            record["config_hash"][:8],
            record["by"],
            f"{STATES[record['state']]}{', runs' if index == own else ''}{': ' + record['reason'].splitlines()[0][:80] if record['reason'] else ''}",
        ]
        for index, record in reversed(list(enumerate(records)))
    ]
