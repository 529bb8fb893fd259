# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server of a move remembers in its cluster, so that a run that was interrupted is completed by the next one."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl

NAMESPACE, NAME = "kube-system", "platform-move"  # ConfigMap
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"

# Its keys
REPLICAS = "replicas"  # JSON: what writers.workloads names -> how many it had before it was stopped
STOPPED = "stopped"  # ISO 8601 in UTC: when
COMPLETE = "complete"  # the same: when this server had all that the other one had
COUNTED = "counted"  # JSON: ENVIRONMENT/DATABASE -> since when Postgres counts what is written


def read(kubectl: Kubectl) -> dict[str, str]:
    """Empty where there is none. Raises Unanswered."""
    return dict((kubectl.find(PATH) or {}).get("data") or {})


def write(kubectl: Kubectl, data: Mapping[str, str]) -> None:
    """Replace what is there; remove it where there is nothing to remember. Raises Unanswered."""
    if not data:
        kubectl.must("delete", "configmap", NAME, f"--namespace={NAMESPACE}", "--ignore-not-found")
        return
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": NAMESPACE}, "data": dict(data)}
    kubectl.keep(content, "shaka.platform-move")
