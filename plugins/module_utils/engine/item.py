# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The objects of a call with their state, and the refusal that ends the call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .discovery import Resource
from .identity import Key, key_of
from .ordering import rank


class Refused(Exception):
    """Nothing or not everything could be applied; one text per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass
class Item:
    """One object: what is desired, what was there before, and what has been done."""

    set: str
    desired: dict[str, Any]
    source: str = ""
    resource: Resource | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    action: str = ""
    fields: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def key(self) -> Key:
        return key_of(self.desired)

    @property
    def rank(self) -> int:
        return rank(self.desired)

    @property
    def path(self) -> str:
        """Where the object is, once its resource is known."""
        if self.resource is None:
            raise AssertionError(f"{self.key} has no known resource")
        return self.resource.path(self.key.namespace, self.key.name)


@dataclass
class Plan:
    """Every object of the call. `complete` is false when check mode found a manifest that is not on the server yet; the notes say so."""

    items: list[Item]
    notes: list[str]
    complete: bool = True
    sensitive: list[str] = field(default_factory=list)  # texts that contain secret values
