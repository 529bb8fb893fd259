# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be changed in an inventory: a list of paths with the value there, the rule it breaks and what to do."""

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
    """Collects; nothing is raised, so that one run says all there is to change."""

    def add(self, path: str, text: str | None, value: object = None) -> None:
        """Record a rule's answer unless it is None; the value is shown when there is one (never give a secret's)."""
        if text is not None:
            self.append(Problem(path, f"{shown(value)} {text}" if value not in (None, "") else text))


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean x?', or the known names."""
    names = [str(item) for item in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.55)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(sorted(names))}" if names else "there is none"
