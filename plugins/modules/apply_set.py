#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Applies a role's Kubernetes objects as one unit."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: apply_set
short_description: Apply a role's Kubernetes objects as one unit
version_added: "0.1.0"
description:
  - Renders the templates of the calling role and brings the cluster to exactly these objects, with server-side apply (field manager
    C(shaka.platform)), in the order their kinds need, pruning what the role rendered earlier and no longer does.
  - The action plugin renders on the controller. C(templates/cluster/*.yaml.j2) once, as the set C(<role>);
    C(templates/environment/*.yaml.j2) once per environment with the variable C(env), as C(<role>.<environment>);
    C(templates/namespace/*.yaml.j2) once per environment and per extra namespace with the variable C(ns), as C(<role>.<name>).
    A file may hold several documents or none. The fact C(platform_model) says which environments and namespaces there are.
  - C(templates/cluster/patches.yaml.j2) holds partial objects merged over the objects of O(manifests). Mappings merge deeply, lists of
    mappings with C(name) merge by name, null deletes a key, anything else replaces. A patch that matches no object is an error.
  - C(@{scope/NAME}) inside the C(stringData) of a Secret stands for C(platform_secrets.scope.NAME). The value is sent to the server in
    an argument that is never logged, and put into the object there. Templates do not see C(platform_secrets) itself.
    In a template of an environment it is written C("{{ '@{' ~ env.name ~ '/DB_PASSWORD}' }}").
  - An object is this role's by its labels (C(app.kubernetes.io/managed-by), C(app.kubernetes.io/part-of), C(shaka.platform/role),
    C(shaka.platform/set)), and pruned only when this module applied it and it has no owner. PersistentVolumeClaims, Namespaces and
    CustomResourceDefinitions are kept unless O(delete) names them, and a kept namespace keeps its network policies, quota and limits. When
    C(platform_model.complete) is false, only the environment and namespace sets that were rendered are pruned.
  - An object of the same name that is not this platform's (somebody made it by hand, Helm or another platform has it) is an error before anything
    is changed. The error says how to hand it over, with two labels. Objects without our labels are never read, reported or touched otherwise.
  - C(replicas) of a workload is left to a HorizontalPodAutoscaler that targets it, rendered or in the cluster.
  - Fields of our objects that somebody added by hand (a C(kubectl edit), say) are differences too, and taken out again. See O(controllers).
  - An object that is being deleted is awaited, and made again. A run that was killed at any point is completed by the next one.
  - C(changed) means that the object's content differs after the patch. C(metadata.managedFields), C(resourceVersion), C(generation), C(uid),
    C(creationTimestamp) and C(status) are not content.
  - In check mode everything is a server-side dry run. Where the cluster, a namespace, a kind or the Python client is not there yet,
    the objects count as created.
options:
  sets:
    description: The rendered sets. Filled in by the action plugin, not given in a task.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the set, C(<role>) or C(<role>.<environment>).
        type: str
        required: true
      objects:
        description: The objects.
        type: list
        elements: dict
        default: []
      sources:
        description: The template each object came from, in the order of the objects.
        type: list
        elements: str
        default: []
      patches:
        description: Partial objects merged over those of the manifests.
        type: list
        elements: dict
        default: []
      wait:
        description: Whether its objects are waited for.
        type: bool
        default: true
  manifests:
    description: Upstream's YAML manifests, paths below C(/var/lib/shaka) on the server, whose objects belong to the set C(<role>).
    type: list
    elements: path
    default: []
  role:
    description: The role the objects belong to. Filled in by the action plugin.
    type: str
  part_of:
    description: The platform's name. Filled in by the action plugin.
    type: str
  complete:
    description: Whether all environments were rendered. Filled in by the action plugin.
    type: bool
    default: false
  states:
    description:
      - Whether each object that differs comes with its content before and after, Secrets' values as short digests.
      - Filled in by the action plugin, which needs it for the rules of C(platform_drift_ignore) and does not pass it on.
    type: bool
    default: false
  secrets:
    description:
      - Secrets of this task alone, C(scope/NAME) to value, beside those of C(platform_secrets).
      - The action plugin passes on those that an object refers to.
    type: dict
    default: {}
  kubeconfig:
    description: Kubeconfig on the server.
    type: path
    default: /etc/rancher/k3s/k3s.yaml
  python:
    description: Interpreter on the server that has urllib3 and PyYAML, used when the module's own has not.
    type: path
    default: /var/lib/shaka/venv/bin/python
  wait:
    description: Whether to wait until the objects that changed, or are not ready, are ready.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait for all objects together, up to four times as long while the kubelet pulls their images. Also bounds the retries of custom
        resources whose webhook does not answer yet.
    type: int
    default: 300
  prune:
    description: Whether to delete this role's objects that are no longer rendered.
    type: bool
    default: true
  delete:
    description:
      - What holds data and may be deleted once it is no longer rendered, as C(persistentvolumeclaims/NAMESPACE/NAME), C(namespaces/NAME) or
        C(customresourcedefinitions/NAME). Anything else of these kinds is kept, and reported so.
      - A namespace goes only when every PersistentVolumeClaim in it is named too.
      - By default the inventory's C(platform_delete).
    type: list
    elements: str
    default: []
  controllers:
    description:
      - Further field managers whose additions to our objects are left alone. A name ending in C(*) is a prefix.
      - By default the inventory's C(platform_controllers).
      - "Known are: C(shaka.platform*), C(k3s*), C(kube-controller-manager), C(kube-scheduler), C(kube-apiserver), C(kubelet),
        C(cloud-controller-manager), C(cert-manager*), C(cainjector*), C(local-path-provisioner)."
      - "Of anybody's are left: finalizers, owner references, status, the address and node ports of a Service, a claim's volume, CA bundles, and the
        annotations C(kubectl.kubernetes.io/restartedAt), C(deployment.kubernetes.io/*), C(pv.kubernetes.io/*), C(volume.kubernetes.io/*)
        and C(cert-manager.io/*)."
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: A server-side dry run; succeeds before there is a cluster.
  diff_mode:
    support: full
    description: YAML before and after of each changed object; values of Secrets as short digests.
requirements:
  - urllib3 and PyYAML on the server (they come with the Kubernetes client), in the module's own interpreter or in O(python)
author: The shaka.platform founders (@shaka-platform)
"""

EXAMPLES = r"""
- name: Ensure each environment has its Postgres
  shaka.platform.apply_set:
    wait_timeout: 300 # seconds

- name: Ensure cert-manager runs, from its upstream manifest
  shaka.platform.apply_set:
    manifests: [manifests/cert-manager.yaml]

- name: Ensure the environments that left the inventory are gone with their data
  shaka.platform.apply_set:
    delete: [namespaces/shaka-staging, persistentvolumeclaims/shaka-staging/data-postgres-0]
"""

RETURN = r"""
msg:
  description: What was done in one line, or every error.
  type: str
  returned: always
  sample: "24 objects: 2 created, 1 changed, 21 unchanged; 0 pruned"
objects:
  description: Every object of the call.
  type: list
  elements: dict
  returned: always
  contains:
    set: {description: Name of the set, type: str, sample: postgres.prod}
    kind: {description: Kind, type: str, sample: StatefulSet}
    namespace: {description: "Namespace, empty for cluster-wide objects", type: str, sample: shaka-prod}
    name: {description: Name, type: str, sample: postgres}
    action: {description: "created, changed, unchanged, pruned, or kept (no longer rendered, but holding data)", type: str, sample: changed}
    fields: {description: The paths that changed, type: list, elements: str, sample: ["spec.hard.pods"]}
    ignored:
      description:
        - In check mode, which of the paths the rules of C(platform_drift_ignore) cover, with each rule's number, C(reason) and C(until).
        - The drift report shows them and does not count them; a real run puts them right like all others.
      type: list
      elements: dict
      returned: when a rule covers one
counts:
  description: Number of objects by action.
  type: dict
  returned: always
notes:
  description: What limits the answer, for instance that there was no cluster to compare with.
  type: list
  elements: str
  returned: always
errors:
  description: Every problem, with the object, the field, the inventory path and the reason.
  type: list
  elements: str
  returned: on failure
diff:
  description: YAML before and after of each changed object.
  type: list
  elements: dict
  returned: in diff mode
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.engine.worker import apply_sets

SET = {
    "name": {"type": "str", "required": True},
    "objects": {"type": "list", "elements": "dict", "default": []},
    "sources": {"type": "list", "elements": "str", "default": []},
    "patches": {"type": "list", "elements": "dict", "default": []},
    "wait": {"type": "bool", "default": True},
}
ARGUMENTS = {
    "sets": {"type": "list", "elements": "dict", "default": [], "options": SET},
    "manifests": {"type": "list", "elements": "path", "default": []},
    "role": {"type": "str"},
    "part_of": {"type": "str"},
    "complete": {"type": "bool", "default": False},
    "states": {"type": "bool", "default": False},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "kubeconfig": {"type": "path", "default": "/etc/rancher/k3s/k3s.yaml"},
    "python": {"type": "path", "default": "/var/lib/shaka/venv/bin/python"},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 300},
    "prune": {"type": "bool", "default": True},
    "delete": {"type": "list", "elements": "str", "default": []},
    "controllers": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    # no_log of the whole module concerns the server's journal only: hundreds of objects are no use there.
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, no_log=True)
    params = {name: module.params[name] for name in ARGUMENTS}
    # At -vvv the invocation is printed and, over SSH, sent back: names are enough.
    module.params["sets"] = [f"{part['name']}: {len(part['objects'])} objects, {len(part['patches'])} patches" for part in params["sets"]]
    if not params["role"] or not params["part_of"]:
        module.fail_json(msg="role and part_of are missing: apply_set is called from a role, whose templates its action plugin renders")
    try:
        result = apply_sets(params["python"], params, module.check_mode, module._diff)
    except (OSError, RuntimeError, ValueError) as error:
        module.fail_json(msg=f"apply_set could not run: {error}")
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
