# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A connection beside the one that Ansible runs its tasks over, with the same options."""

from __future__ import annotations

import copy
from typing import Any


def beside(first: Any) -> Any:
    """A copy of a connection, whose options can be set without touching the first one's."""
    second = copy.copy(first)
    second._options = dict(first._options)
    return second
