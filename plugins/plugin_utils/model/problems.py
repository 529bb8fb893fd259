# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collects the problems of an inventory: for each its path, the value there, the rule that it breaks and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.shaka.platform.plugins.plugin_utils.model.rules import shown


@dataclass(frozen=True)
class Problem:
    """One value to change."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}\n      {self.text}"


class Problems(list[Problem]):
    """Nothing is raised, so that one run reports everything that has to change."""

    def add(self, path: str, text: str, value: object = None) -> None:
        """Report a problem. The message shows the value, if any: never pass a secret's."""
        self.append(Problem(path, f"{shown(value)} {text}" if value not in (None, "") else text))

    def check(self, path: str, flaw: str | None, value: object = None) -> None:
        """Report what a rule of rules.py found wrong; None means that the value is right."""
        if flaw is not None:
            self.add(path, flaw, value)


def check_unique(values: Iterable[tuple[str, object]], why: str, problems: Problems) -> None:
    """Of (path, value) pairs: no value is there twice."""
    first: dict[object, str] = {}
    for path, value in values:
        if value in first:
            problems.add(path, f"is also {first[value]}; {why}", value)
        first.setdefault(value, path)


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean x?', or the known names."""
    names = [str(item) for item in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.55)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(sorted(names))}" if names else "there is none"
