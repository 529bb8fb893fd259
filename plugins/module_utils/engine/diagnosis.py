# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Explains why an object is not ready, from its pods, their events and their last log lines. Secrets are removed from all of it."""

from __future__ import annotations

from typing import Any

from .client import Api, ApiError, segment
from .identity import describe, group_of, inventory_of
from .readiness import PULLS, TRIED_PULL, WORKLOADS, PodProblem, condition, pod_problems
from .references import Scrubber, values_of

LOG_LINES = 8
# cert-manager looks itself for its answer at the host before it asks the authority, whose limits count failures.
UNREACHED = (
    "the server does not reach its own host name; if others do, its router lacks hairpin NAT: add the public address to the server's loopback"
    " (ip address add ADDRESS/32 dev lo), or set platform_acme.challenge: dns01 (docs/edge.md)"
)


class Diagnosis:
    """Asks the cluster about an object that is not ready."""

    def __init__(self, api: Api, scrubber: Scrubber) -> None:
        self.api, self.scrubber = api, scrubber

    def pods(self, obj: dict[str, Any]) -> list[dict[str, Any]]:
        """The pods of a workload; for a Deployment only those of its current revision, since the others are going away."""
        labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        if not labels:
            return []
        space = f"/namespaces/{segment(obj['metadata']['namespace'])}"
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
        pods = [p for p in (self.api.get(f"/api/v1{space}/pods", query) or {}).get("items") or [] if not p["metadata"].get("deletionTimestamp")]
        if obj["kind"] == "Deployment":
            revision = (obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
            sets = (self.api.get(f"/apis/apps/v1{space}/replicasets", query) or {}).get("items") or []
            current = [
                s["metadata"]["uid"] for s in sets if (s["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision") == revision
            ]
            pods = [p for p in pods if any(owner.get("uid") in current for owner in p["metadata"].get("ownerReferences") or [])]
        return pods

    def events(self, obj: dict[str, Any]) -> list[dict[str, Any]]:
        """Warnings about an object, the latest one last."""
        meta = obj["metadata"]
        query = {"fieldSelector": f"involvedObject.uid={meta['uid']},type=Warning"}
        found = (self.api.get(f"/api/v1/namespaces/{segment(meta.get('namespace') or 'default')}/events", query) or {}).get("items") or []
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))

    def is_pulling(self, pod: dict[str, Any]) -> bool:
        """Whether the kubelet is at work on an image of the pod. The container runtime itself gives up a download that stands still."""
        if any(problem.reason in PULLS and problem.grace == TRIED_PULL for problem in pod_problems(pod)):
            return True
        meta = pod["metadata"]
        query = {"fieldSelector": f"involvedObject.uid={meta['uid']}"}
        events = (self.api.get(f"/api/v1/namespaces/{segment(meta['namespace'])}/events", query) or {}).get("items") or []
        last: dict[str, str] = {}
        for event in events:
            reason, when = str(event.get("reason")), str(event.get("lastTimestamp") or event.get("eventTime") or "")
            last[reason] = max(last.get(reason, ""), when)
        return last.get("Pulling", "") > max(last.get("Pulled", ""), last.get("Failed", ""))

    def paragraph(self, obj: dict[str, Any], reason: str) -> str:
        """The reason, followed by what the cluster says about it. A failing question here must not hide the reason."""
        lines = [f"{describe(obj)}{f' (inventory: {inventory_of(obj)})' if inventory_of(obj) else ''}: {reason}"]
        try:
            scrubber = Scrubber([*self.scrubber.values, *self._secrets_of(obj["metadata"].get("namespace"))])
            place = (group_of(obj["apiVersion"]), obj["kind"])
            lines += [f"  event: {event.get('reason')}: {scrubber.log(str(event.get('message')))}" for event in self.events(obj)[-2:]]
            lines += [f"  {line}" for line in self._challenges(obj)] if place == ("cert-manager.io", "Certificate") else []
            for pod in ([obj] if place == ("", "Pod") else self.pods(obj) if place in WORKLOADS else [])[:3]:
                problems = list(pod_problems(pod))
                if not problems and condition(pod, "Ready").get("status") == "True":
                    continue
                name = pod["metadata"]["name"]
                lines.append(
                    f"  pod {name}: {(pod.get('status') or {}).get('phase')}"
                    + "".join(f", {p.container + ' ' if p.container else ''}{p.reason}" for p in problems)
                )
                if obj["kind"] == "StatefulSet" and problems and old_revision(obj, pod):
                    remedy = f"kubectl -n {pod['metadata']['namespace']} delete pod {name}"
                    lines.append(f"    this pod is of the old revision, and its controller waits for it: {remedy}")
                if place != ("", "Pod"):
                    lines += [f"    event: {event.get('reason')}: {scrubber.log(str(event.get('message')))}" for event in self.events(pod)[-3:]]
                for problem in problems or [PodProblem("", "", None, container["name"]) for container in (pod["spec"].get("containers") or [])[:1]]:
                    if problem.container:
                        lines += [f"    log of {problem.container}: {scrubber.log(line)}" for line in self._log(pod, problem)]
        except Exception as error:  # whatever fails here, the reason above is what the user needs
            lines.append(f"  (could not look further: {type(error).__name__})")
        return "\n".join(lines)

    def _challenges(self, certificate: dict[str, Any]) -> list[str]:
        """What the open questions of the authority wait for."""
        space = f"/namespaces/{segment(certificate['metadata']['namespace'])}"
        names, lines = certificate["spec"].get("dnsNames") or [], []
        for challenge in (self.api.get(f"/apis/acme.cert-manager.io/v1{space}/challenges") or {}).get("items") or []:
            name, reason = challenge["spec"].get("dnsName"), str((challenge.get("status") or {}).get("reason") or "")
            if name in names and reason:
                lines.append(f"challenge of {name}: {reason}")
                lines += [UNREACHED] if "self check" in reason and ("dial tcp" in reason or "Timeout" in reason) else []
        return lines

    def _log(self, pod: dict[str, Any], problem: PodProblem) -> list[str]:
        """The last log lines of a container; those of its previous run when it crashed."""
        path = f"/api/v1/namespaces/{segment(pod['metadata']['namespace'])}/pods/{segment(pod['metadata']['name'])}/log"
        for previous in ("true", "false") if problem.crashed else ("false",):
            try:
                text = self.api.request("GET", path, {"container": problem.container, "tailLines": str(LOG_LINES), "previous": previous})
            except ApiError:
                continue
            lines = [line for line in str(text).splitlines() if line.strip()][-LOG_LINES:]
            if lines and not lines[0].startswith("unable to retrieve container logs"):  # the kubelet's answer, with status 200, once they are gone
                return lines
        return []

    def _secrets_of(self, namespace: str | None) -> list[str]:
        """Every secret value that a pod of the namespace could print."""
        if not namespace:
            return []
        found = (self.api.get(f"/api/v1/namespaces/{segment(namespace)}/secrets") or {}).get("items") or []
        return values_of(found)


def old_revision(obj: dict[str, Any], pod: dict[str, Any]) -> bool:
    """True for a pod of a StatefulSet or DaemonSet that its controller still has to replace."""
    labels = pod["metadata"].get("labels") or {}
    if obj["kind"] == "StatefulSet":
        return labels.get("controller-revision-hash") != (obj.get("status") or {}).get("updateRevision")
    current = (obj["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation")
    return obj["kind"] == "DaemonSet" and labels.get("pod-template-generation") != current
