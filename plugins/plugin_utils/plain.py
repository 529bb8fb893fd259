# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values without what Ansible adds to them, which neither YAML's writer nor JMESPath knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(value: Any, *, typed: bool = False) -> Any:
    """A copy in Python's own types: no lazy templates, tags or undecrypted vault text. Keys and dates are text, as in JSON, unless `typed`."""
    if isinstance(value, Mapping):
        return {plain(key, typed=True) if typed else str(key): plain(item, typed=typed) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, typed=typed) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value + 0
    return value if typed and not isinstance(value, str) else "".join(str(value))
