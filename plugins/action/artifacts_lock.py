# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Completes the artifacts lock once and keeps it with the inventory; see the module of the same name for its documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.lock import (
    LockError,
    Missing,
    merged,
    missing,
    missing_from,
    read,
    references,
    text,
    with_sum,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.registry import Registry
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.upstream import Upstream, UpstreamError, each
from ansible_collections.shaka.platform.plugins.plugin_utils.controller_action import ControllerAction
from ansible_collections.shaka.platform.plugins.plugin_utils.whole_file import replace_file

display = Display()
ARGUMENT_SPEC: dict[str, Any] = {
    "shipped": {"type": "path", "required": True},
    "path": {"type": "path", "required": True},
    "images": {"type": "list", "elements": "str", "default": []},
    "overrides": {"type": "dict", "default": {}},
    "mirrors": {"type": "dict", "default": {}},
    "locked": {"type": "bool", "default": False},
    "bundled": {"type": "bool", "default": False},
    "architecture": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 30},
}


def sum_of(item: Missing, upstream: Upstream) -> str:
    """The sum of one artifact: of an image its digest, of a file the published one, else that of its content."""
    if item.kind == "images":
        return Registry(upstream).image_digest(item.label, item.source)
    if item.sums:
        return upstream.published_sum(item.label, item.sums, item.source.rsplit("/", 1)[-1])
    return upstream.content_sum(item.label, item.source)


def with_sums(lock: dict[str, Any], lacking: list[Missing], upstream: Upstream) -> dict[str, Any]:
    """The lock with all of `lacking`; one UpstreamError with every problem."""
    sums = each(lambda item: sum_of(item, upstream), lacking, "nothing was changed; the artifacts lock cannot be completed")
    for item, value in zip(lacking, sums, strict=True):
        lock = with_sum(lock, item, value)
    return lock


class ActionModule(ControllerAction):
    """Runs on the controller alone."""

    argument_spec = ARGUMENT_SPEC

    def answer(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._complete(arguments)
        except (LockError, UpstreamError, OSError) as error:
            return {"failed": True, "msg": str(error)}

    def _complete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        path, mirrors = Path(arguments["path"]), arguments["mirrors"]
        shipped = read(Path(arguments["shipped"]))
        lock = merged(shipped, read(path), str(path))
        lacking = missing(lock, arguments["overrides"], arguments["bundled"], arguments["architecture"])
        names = [item.label for item in lacking]
        if lacking and arguments["locked"]:
            raise LockError(
                f"refused before anything was changed, as platform_artifacts_locked is true and the lock has no sum of: {', '.join(names)}. "
                f"From a controller with internet: ansible-playbook shaka.platform.artifacts -i {path.parent}; "
                f"look at what it adds to {path}, and commit it"
            )
        if lacking:
            display.display(f"  asking the upstreams for {len(lacking)} sums that the lock lacks: {', '.join(names)}")
            lock = with_sums(lock, lacking, Upstream(mirrors, arguments["timeout"]))
            if not self._task.check_mode:
                replace_file(path, text(missing_from(shipped, lock)), 0o644)
        message = f"the lock has all sums ({path} adds to it)" if path.exists() else "the lock has all sums"
        if lacking:
            done = "would be resolved and written" if self._task.check_mode else "were resolved and written"
            message = f"{len(lacking)} artifacts {done} to {path}: commit it"
            display.display(f"  {message}")
        return {
            "changed": bool(lacking),
            "msg": message,
            "resolved": names,
            "lock": lock,
            "references": references(lock, arguments["overrides"], arguments["images"]),
        }
