# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the owner wrote in the inventory, where YAML read it as something else: `0123` as 83, `1.10` as 1.1, `on` as true, a name as a number."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model.rules import as_text

try:
    from ansible._internal._datatag._tags import Origin
except ImportError:  # an ansible-core that keeps it elsewhere: what was written is not known, and nothing is refused for it
    Origin = None

_QUOTE = "quote it"
# A scalar without quotes, as far as numbers, dates and the words for true, false and null go.
# Ansible's !unsafe resolves a scalar again, also one with quotes.
_PLAIN = r"(?:!unsafe\s+[\"']?)?([^\s\"'{}\[\],|>&*!%@`#][^\s\"'{}\[\],#]*)"

# YAML 1.1 reads 0123 by eights and 12:30 by sixties, which is never what was meant.
_OTHER_BASE = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9]+(:[0-9]+)+")
# Further ways to write a whole number, which are right where one is wanted; a name would be another one.
_OTHER_WRITING = re.compile(rf"{_OTHER_BASE.pattern}|[-+]?0[xb][0-9a-fA-F_]+|[-+]?[1-9][0-9]*_[0-9_]*|\+[0-9]+")


@lru_cache(maxsize=64)
def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []


def _rest_of_line(value: Any) -> str:
    """The line of the inventory from where a value begins; '' where that is not known, or cannot be read, as in a file of Ansible Vault."""
    origin = Origin.get_tag(value) if Origin else None
    if origin is None or not origin.path or not origin.line_num or not origin.col_num:
        return ""
    lines = _lines(str(origin.path))
    encrypted = bool(lines) and lines[0].startswith("$ANSIBLE_VAULT")
    return "" if encrypted or origin.line_num > len(lines) else lines[origin.line_num - 1][origin.col_num - 1 :]


def source(key: Any, value: Any) -> str | None:
    """How a value that is not text is written in the inventory; None where that is not known. True, false and null are found by their key."""
    if match := re.match(_PLAIN, _rest_of_line(value)):
        return match[1]
    if isinstance(value, bool) or value is None:
        match = re.match(rf"[\"']?{re.escape(str(key))}[\"']?\s*:\s+{_PLAIN}", _rest_of_line(key))
        return match[1] if match else None
    return None


def _unlike(config: Mapping[Any, Any], path: str) -> Iterator[tuple[str, str]]:
    """Values of an environment's `config` that the application would get in another spelling."""
    for key, value in config.items():
        if isinstance(value, (str, Mapping, list)):
            continue
        written = source(key, value)
        if written is not None and written != as_text(value) and not _OTHER_BASE.fullmatch(written):
            yield f"{path}.{key}", f"is written {written} and read by YAML as {as_text(value) or 'nothing'}; {_QUOTE}, without !unsafe"


def _another_number(key: Any, item: Any, path: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """A whole number that is written in a way that cannot be meant."""
    if isinstance(item, int) and (written := source(key, item)) and pattern.fullmatch(written):
        yield path, f"is written {written} and read by YAML as {item}; {_QUOTE}, or write the number that you mean"


def misread(value: Any, path: str, *, hidden: bool = False, texts: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) for each name that is not text, and each value of `config` that would arrive in another spelling, in a variable.

    :arg hidden: whether values are secrets, so that only names are looked at.
    :arg texts: keys whose values are text wherever they are, or lists of texts.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                name = _rest_of_line(key).partition(":")[0].strip()
                kind = "true or false" if isinstance(key, bool) else "nothing" if key is None else "a number or a date"
                shown = f"'{name}' " if name and name != str(key) else ""
                also = ", as it does on, off, yes and no" if isinstance(key, bool) else ""
                yield f"{path}.{key}", f"has a name {shown}that YAML reads as {kind}{also}; {_QUOTE}"
            if not hidden:
                pattern = _OTHER_WRITING if str(key) in texts else _OTHER_BASE
                yield from _another_number(key, item, f"{path}.{key}", pattern)
                for index, entry in enumerate(item if isinstance(item, (list, tuple)) else ()):
                    yield from _another_number(None, entry, f"{path}.{key}[{index}]", pattern)
            yield from misread(item, f"{path}.{key}", hidden=hidden, texts=texts)
        config = value.get("config")
        if isinstance(config, Mapping) and not hidden:
            yield from _unlike(config, f"{path}.config")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from misread(item, f"{path}[{index}]", hidden=hidden, texts=texts)
