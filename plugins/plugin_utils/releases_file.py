# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory's file of releases with another image in it; what else is in the file stays as it is written. Pure."""

from __future__ import annotations

import re
from typing import Any

import yaml

VARIABLE = "platform_releases"
# the variable's line, and all lines below it that are indented, empty, or a comment in between
BLOCK = re.compile(rf"^[\"']?{VARIABLE}[\"']?[ \t]*:.*(?:\n(?:[ \t]+.*|#.*(?=\n[ \t])|[ \t]*(?=\n[ \t])))*", re.MULTILINE)
START = f"""---
# What was deployed last, per environment. Written by the playbooks deploy and rollback; committed with the rest of the inventory.
{VARIABLE}: {{}}
"""


class UnreadableReleases(ValueError):
    """The file is not one that a release can be written into; the text says why."""


def with_release(text: str, environment: str, app: str, image: str) -> str:
    """The file's text with that image for an environment's application. Raises UnreadableReleases."""
    text = text or START
    before = _content(text)
    releases = before.get(VARIABLE) or {}
    if not isinstance(releases, dict) or not isinstance(releases.get(environment) or {}, dict):
        raise UnreadableReleases(f"{VARIABLE} in it is not a dictionary (environment: {{apps: {{application: {{image: ...}}}}}})")
    own = {key: value for key, value in (releases.get(environment) or {}).items() if not (key == "image" and app == "api")}
    apps = own.get("apps") or {}
    if not isinstance(apps, dict):
        raise UnreadableReleases(f"{VARIABLE}.{environment}.apps in it is not a dictionary (application: {{image: ...}})")
    after = {**releases, environment: {**own, "apps": {**apps, app: {"image": image}}}}
    block = yaml.safe_dump({VARIABLE: after}, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1000).rstrip("\n")
    written = BLOCK.sub(lambda _found: block, text, count=1) if BLOCK.search(text) else f"{text.rstrip()}\n{block}\n"
    if _content(written) != {**before, VARIABLE: after}:
        raise UnreadableReleases(f"{VARIABLE} in it is written in a way that cannot be changed in place; write it as in the collection's inventory")
    return written


def _content(text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UnreadableReleases(f"it is not plain YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UnreadableReleases("it is not a file of variables")
    return content
