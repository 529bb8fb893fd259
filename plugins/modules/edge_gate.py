#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges a release by real requests through the edge."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: edge_gate
short_description: Judge a release by real requests through the edge
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Asks the server's own edge over HTTPS, ten times a second, by a route that only these requests have, and fails when too many requests fail or take
    too long. Then the message has the events and the last log lines of the release's pods, without secrets.
  - A candidate and the running release are asked in turn, so that both are measured under the same conditions.
attributes:
  check_mode: {support: none, description: A release is not begun in check mode.}
  diff_mode: {support: none, description: It changes nothing.}
options:
  host: {description: Host name that is asked for., type: str, required: true}
  path: {description: Path that is asked for. An answer of 4xx or 5xx is a failure., type: str, required: true}
  address: {description: "Address of the edge. Empty means the node's own.", type: str, default: ""}
  port: {description: Its TCP port., type: int, default: 443}
  token: {description: What names this release in the header of the requests., type: str, required: true}
  release: {description: Which of the two is judged., type: str, choices: [next, running], required: true}
  seconds: {description: For how long it is asked. At 0 nothing is., type: int, required: true}
  max_errors: {description: Percent of the requests that may fail., type: int, default: 0}
  p95_factor: {description: "How many times as long as the running release's the 95th percentile may be.", type: float, default: 3.0}
  reference_ms:
    description: The running release's 95th percentile, where it was measured before. 0 with O(release=next) measures it.
    type: float
    default: 0.0
  namespace: {description: Namespace of the pods., type: str, required: true}
  app: {description: Their label C(app)., type: str, required: true}
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Judge the candidate
  shaka.platform.edge_gate:
    host: api.example.com
    path: /readyz
    token: 4f1c9a
    release: next
    seconds: 15
    namespace: shaka-prod
    app: shaka-api-next
"""

RETURN = r"""
requests: {description: How many were made of the judged release., returned: success, type: int}
failed_requests: {description: How many of them failed., returned: success, type: int}
p95_ms: {description: Its 95th percentile in milliseconds., returned: success, type: float}
reference_ms: {description: "The running release's.", returned: success, type: float}
msg: {description: All of it in one line., returned: always, type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.by_host import node_address
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.release import explain, gate


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 443},
            "token": {"type": "str", "required": True, "no_log": False},
            "release": {"type": "str", "required": True, "choices": ["next", "running"]},
            "seconds": {"type": "int", "required": True},
            "max_errors": {"type": "int", "default": 0},
            "p95_factor": {"type": "float", "default": 3.0},
            "reference_ms": {"type": "float", "default": 0.0},
            "namespace": {"type": "str", "required": True},
            "app": {"type": "str", "required": True},
            **ARGUMENTS,
        },
    )
    given = module.params
    kubectl = Kubectl(given["kubectl"], 10)
    if not given["seconds"]:
        module.exit_json(changed=False, requests=0, failed_requests=0, p95_ms=0.0, reference_ms=0.0, msg="left out, as gate.seconds is 0")
    nodes = (kubectl.get("/api/v1/nodes")[0] or {}).get("items") or []
    edge = gate.Edge(given["address"] or node_address(nodes), given["port"], given["host"], given["path"])
    judged, running = f"{given['token']}-{given['release']}", f"{given['token']}-running"
    asked = [judged, *([running] if given["release"] == "next" and not given["reference_ms"] else [])]
    problem = next((found for release in asked if (found := gate.route_problem(edge.ask, release))), "")
    if not problem:
        allowed = gate.allowed_failures(given["seconds"], given["max_errors"])
        first, *others = gate.measure(edge.ask, asked, given["seconds"], allowed)
        reference = others[0].p95 if others else given["reference_ms"] / 1000
        problem = gate.verdict(first, reference, allowed, given["p95_factor"])
    if problem:
        lines = [
            f"the health gate of https://{given['host']}{given['path']} failed: {problem}",
            *explain.of_pods(kubectl, given["namespace"], given["app"]),
        ]
        module.fail_json(msg="\n".join(lines))
    p95, usual = round(first.p95 * 1000, 1), round(reference * 1000, 1)
    compared = f", {usual} ms with the running release" if usual else ""
    module.exit_json(
        changed=False, requests=len(first.replies), failed_requests=len(first.failed), p95_ms=p95, reference_ms=usual,
        msg=f"{len(first.replies)} requests in {given['seconds']} s, {len(first.failed)} failed, 95 % within {p95} ms{compared}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
