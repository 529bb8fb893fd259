# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the controller keeps what it made or downloaded once."""

from __future__ import annotations

import os
from pathlib import Path


def folder(concern: str) -> Path:
    """The directory of one concern: shaka-platform/<concern> in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shaka-platform" / concern
