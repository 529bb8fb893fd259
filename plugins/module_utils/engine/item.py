# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a call is about: its objects on their way, and the refusal that ends it."""

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
    """One object on its way."""

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
    """Every object of the call; `complete` unless check mode found a manifest not yet on the server, which the notes say."""

    items: list[Item]
    notes: list[str]
    complete: bool = True
    sensitive: list[str] = field(default_factory=list)  # texts made with secret values
