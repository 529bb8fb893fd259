# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the cluster says of a release's pods: their state, warnings and last log lines, without the secrets that a pod could print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from ansible_collections.shaka.platform.plugins.module_utils.engine.readiness import pod_problems
from ansible_collections.shaka.platform.plugins.module_utils.engine.references import Scrubber, values_of
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl

LINES = 8
PODS = 2  # of those that have something to say


def of_pods(kubectl: Kubectl, namespace: str, app: str) -> list[str]:
    """Lines for a person; none when nothing is found. A question that fails must not hide why it was asked."""
    pods = _items(kubectl, f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"app={app}")
    scrubber = Scrubber(values_of(_items(kubectl, f"/api/v1/namespaces/{namespace}/secrets")))
    return [line for pod in sorted(pods, key=restarts, reverse=True)[:PODS] for line in _of_pod(kubectl, pod, scrubber)]


def restarts(pod: Mapping[str, Any]) -> int:
    return sum(int(each.get("restartCount") or 0) for each in (pod.get("status") or {}).get("containerStatuses") or [])


def _of_pod(kubectl: Kubectl, pod: Mapping[str, Any], scrubber: Scrubber) -> Iterator[str]:
    meta, status = pod["metadata"], pod.get("status") or {}
    found = "".join(f", {problem.reason}" for problem in pod_problems(pod))
    again = f", {restarts(pod)} restarts" if restarts(pod) else ""
    yield f"  pod {meta['name']}: {status.get('phase')}{found}{again}"
    selector = f"involvedObject.uid={meta['uid']},type=Warning"
    for event in _items(kubectl, f"/api/v1/namespaces/{meta['namespace']}/events", fieldSelector=selector)[-3:]:
        yield f"    event: {event.get('reason')}: {scrubber.log(str(event.get('message')))}"
    for previous in (["--previous"], []) if restarts(pod) else ([],):
        ok, text = kubectl.run("logs", f"--namespace={meta['namespace']}", meta["name"], f"--tail={LINES}", *previous)
        lines = [line for line in text.splitlines() if line.strip()]
        if ok and lines:
            yield from (f"    log: {scrubber.log(line)}" for line in lines)
            return


def _items(kubectl: Kubectl, path: str, **query: str) -> list[dict[str, Any]]:
    answer, _problem = kubectl.get(f"{path}?{urlencode(query)}" if query else path)
    return list((answer or {}).get("items") or [])
