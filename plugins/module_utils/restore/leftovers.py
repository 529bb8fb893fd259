# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What restores leave in an environment: the rest of one that did not end, which the next run clears; what was live before, which a person drops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.restore import cpu_limit, databases, names, pod
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import RestoreJobs
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import amount
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import Superuser


@dataclass(frozen=True)
class RestoreTraces(RestoreJobs):
    """What there is. `databases`: the server's, as `databases.SERVER` answers; None when Postgres was not asked.

    `limit`: the CPU limit that Postgres had before it was raised for a restore; '' where it is not raised.
    """

    databases: Mapping[str, Any] | None
    limit: str = ""

    @property
    def unfinished(self) -> list[str]:
        """Databases that no restore fills any more."""
        going_on = {job.name.rpartition("-")[2] for job in self.running}
        mine = {name: names.read(name) for name in self.databases or ()}
        return [name for name, found in mine.items() if found and names.unfinished(name) and found.stamp not in going_on]

    @property
    def kept(self) -> dict[str, int]:
        """Databases from before a restore, and their bytes."""
        return {name: int(each["bytes"]) for name, each in (self.databases or {}).items() if names.kept(name)}

    def lines(self, environment: str) -> list[str]:
        """What is cleared, one line each."""
        found = [f"{environment}: Job {name}, left of a restore that did not end" for name in self.ended]
        found += [f"{environment}: database {name}, left of a restore that did not end" for name in self.unfinished]
        raised = f"{environment}: Postgres's CPU limit, raised from {self.limit} for a restore that did not end"
        return found + ([raised] if self.limit_raised else [])

    @property
    def limit_raised(self) -> bool:
        """Whether it still is, and for no restore any more."""
        return bool(self.limit) and not self.running

    def kept_text(self, environment: str) -> str:
        """The reminder of what is kept; '' when nothing is."""
        if not self.kept:
            return ""
        shown = ", ".join(f"{name} ({amount(size)})" for name, size in sorted(self.kept.items()))
        stamps = " or ".join(sorted({found.stamp.upper() for name in self.kept if (found := names.read(name))}))
        how = f"ansible-playbook shaka.platform.restore -e restore_environment={environment} -e restore_drop_before={stamps}"
        return f"{environment} keeps what was live before a restore: {shown}; to drop it: {how}"


def find(kubectl: Kubectl, namespace: str) -> RestoreTraces:
    """Raises Unanswered."""
    found = tuple(pod.jobs(kubectl, namespace))
    return RestoreTraces(found, Superuser(kubectl, namespace).ask(databases.SERVER)["databases"], cpu_limit.find(kubectl, namespace))


def clear(kubectl: Kubectl, namespace: str, traces: RestoreTraces) -> None:
    """Remove what is left of restores that did not end. Raises Unanswered, RefusedStatement."""
    pod.delete(kubectl, namespace, traces.ended)
    if traces.unfinished:
        Superuser(kubectl, namespace).run(databases.drop(traces.unfinished))
    if traces.limit_raised:
        cpu_limit.set_back(kubectl, namespace)
