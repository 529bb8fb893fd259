# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The secrets of previews, which no inventory has: each follows from the platform's HASH_KEY and its own name. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

HASH_KEY = "HASH_KEY"


def with_previews(secrets: Mapping[str, Any], environments: Mapping[str, Any]) -> dict[str, Any]:
    """platform_secrets with a group for each preview. What others have issued to its parent is the same in it.

    :arg environments: by their names; a preview has the key `preview`.
    """
    key = str((secrets.get("shared") or {}).get(HASH_KEY) or "")
    found = dict(secrets)
    for name, env in environments.items():
        if preview := env.get("preview"):
            parent = secrets.get(preview["of"]) or {}
            names = dict.fromkeys([*env["secrets"], *preview["parents"]])
            found[name] = {each: parent.get(each) or "" if each in preview["parents"] else derived(key, name, each) for each in names}
    return found


def derived(key: str, preview: str, name: str) -> str:
    """The value of a preview's secret, 256 bits in hexadecimal; '' without a key."""
    return hmac.new(key.encode(), f"preview {preview} {name}".encode(), hashlib.sha256).hexdigest() if key else ""
