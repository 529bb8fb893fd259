# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Redis and its volume, as a restore finds and leaves them.

restore-STAMP    is being filled; only an interrupted restore leaves one behind
restored-STAMP   takes the place of what is there when Redis starts within minutes; it is restoring-STAMP for that moment
before-STAMP     what was there until that restore, kept until somebody drops it by name
...-undone       the same two when Redis did not start with the copy: what was there, put back; and the copy
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.module_utils.data.redis_instance import POD
from ansible_collections.shaka.platform.plugins.module_utils.engine.readiness import condition
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.restore import pod
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import RestoreJobs
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import amount

CALL_SECONDS = 5
FILLED, ARMED, BEFORE = "restore", "restored", "before"
UNDONE = "-undone"
_NAME = re.compile(rf"({FILLED}|{ARMED}|{BEFORE})-[0-9]{{8}}t[0-9]{{6}}z({UNDONE})?")
_UNFINISHED = re.compile(rf"({FILLED}|{ARMED})-[^-]+")
# a start of Redis must not find half of one
_DROP = f'cd /data; for each; do new={FILLED}-${{each#*-}}; [ "$each" = "$new" ] || mv "$each" "$new"; rm -rf "$new"; done'
_LIST = f"cd /data && du -sk {FILLED}-* {ARMED}-* {BEFORE}-* 2>/dev/null; true"


@dataclass(frozen=True)
class RedisNow:
    """What a Redis holds. `keys`: of each database that has some; `problem`: why nothing is known."""

    keys: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return "unknown"
        spread = ", ".join(f"{count} in {name}" for name, count in self.keys.items())
        return f"{sum(self.keys.values())} keys{f' ({spread})' if len(self.keys) > 1 else ''}, {amount(self.bytes)} in memory"


def look(kubectl: Kubectl, namespace: str) -> RedisNow:
    """What is in it now."""
    ok, output = kubectl.execute(namespace, POD, "redis-cli", text="INFO memory\nINFO keyspace\n")
    used = re.search(r"^used_memory:(\d+)", output, re.MULTILINE)
    if not ok or used is None:
        return RedisNow(problem=(output.strip().splitlines() or ["no answer"])[-1])
    return RedisNow({name: int(count) for name, count in re.findall(r"^(db\d+):keys=(\d+)", output, re.MULTILINE)}, int(used[1]))


@dataclass(frozen=True)
class RedisTraces(RestoreJobs):
    """What restores left. `folders`: on Redis's volume, with their bytes."""

    folders: Mapping[str, int]

    @property
    def unfinished(self) -> list[str]:
        """Folders that no restore fills or puts in place any more."""
        return [] if self.running else [name for name in self.folders if _UNFINISHED.fullmatch(name)]

    @property
    def kept(self) -> dict[str, int]:
        return {name: size for name, size in self.folders.items() if not _UNFINISHED.fullmatch(name)}

    def lines(self, name: str) -> list[str]:
        """What is cleared, one line each."""
        found = [f"Redis {name}: Job {job}, left of a restore that did not end" for job in self.ended]
        return found + [f"Redis {name}: {folder} on its volume, left of a restore that did not end" for folder in self.unfinished]

    def kept_text(self, name: str) -> str:
        """The reminder of what is kept; '' when nothing is."""
        if not self.kept:
            return ""
        shown = ", ".join(f"{folder} ({amount(size)})" for folder, size in sorted(self.kept.items()))
        stamps = " or ".join(sorted(folder.partition("-")[2].removesuffix(UNDONE).upper() for folder in self.kept))
        how = f"ansible-playbook shaka.platform.restore -e restore_redis={name} -e restore_drop_before={stamps}"
        return f"Redis {name} keeps on its volume what was there before a restore: {shown}; to drop it: {how}"


def find(kubectl: Kubectl, namespace: str) -> RedisTraces:
    """Raises Unanswered."""
    found = tuple(pod.jobs(kubectl, namespace, pod.REDIS))
    ok, output = kubectl.execute(namespace, POD, "sh", "-c", _LIST)
    if not ok:
        raise Unanswered(output)
    listed = (line.split("\t") for line in output.splitlines())
    return RedisTraces(found, {name: int(size) * 1024 for size, name in listed if _NAME.fullmatch(name)})


def clear(kubectl: Kubectl, namespace: str, traces: RedisTraces) -> None:
    """Remove what is left of restores that did not end. Raises Unanswered."""
    pod.delete(kubectl, namespace, traces.ended)
    drop(kubectl, namespace, traces.unfinished)


def drop(kubectl: Kubectl, namespace: str, folders: list[str]) -> None:
    """Remove folders that `find` names. Raises Unanswered."""
    if folders:
        kubectl.must("exec", f"--namespace={namespace}", POD, "--", "sh", "-ec", _DROP, "sh", *folders)


def restart(kubectl: Kubectl, namespace: str) -> None:
    """A new pod of it; `ready` waits for it. Raises Unanswered."""
    kubectl.must("delete", "pod", f"--namespace={namespace}", "--ignore-not-found", "--wait=false", POD)


def ready(kubectl: Kubectl, namespace: str, deadline: float, meanwhile: Callable[[], object]) -> str:
    """'' once it answers; why it does not when the deadline (of time.monotonic) has passed.

    :arg meanwhile: is called every few seconds.
    """
    called = 0.0
    while True:
        if time.monotonic() - called > CALL_SECONDS:
            meanwhile()
            called = time.monotonic()
        found, problem = kubectl.get(f"/api/v1/namespaces/{namespace}/pods/{POD}")
        if found and not found["metadata"].get("deletionTimestamp") and condition(found, "Ready").get("status") == "True":
            return ""
        if time.monotonic() > deadline:
            ok, output = kubectl.run("logs", f"--namespace={namespace}", POD, "--tail=1")
            return (output.strip() if ok else "") or problem or "it is not ready"
        time.sleep(PAUSE)
