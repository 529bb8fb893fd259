"""Where the lab keeps things: everything that is expensive lies in one cache outside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "lab"


def cache() -> Path:
    """The cache's root: $SHAKA_CACHE, else shaka-platform in the user's cache directory."""
    configured = os.environ.get("SHAKA_CACHE")
    base = Path(configured) if configured else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shaka-platform"
    base.mkdir(parents=True, exist_ok=True)
    return base
