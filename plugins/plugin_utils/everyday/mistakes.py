# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a command line asks for and cannot have. Standard library only, as everything in this folder: it runs without Ansible's own Python, too."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Mistake(Exception):
    """The command cannot be carried out; the text says why, and what to do. `code`: what the program ends with."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


def chosen(what: str, name: str, known: Iterable[str]) -> str:
    """The name, when it is one of the known.

    :arg what: what it names, such as 'an environment'.
    """
    names = list(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise Mistake(f"{name!r} is not {what}; {hint}known: {', '.join(names) or 'none'}")
