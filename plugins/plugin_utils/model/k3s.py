# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Role k3s's variables: values with which K3s would not start, beyond their types, and what the fit plan counts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Reserved, Server
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems

LEAST = {"k3s_max_pods": 1, "k3s_start_timeout": 1, "k3s_datastore_copies": 0, "k3s_certificate_days": 0}
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")  # a certificate has ASCII alone
_GROUP = re.compile(r"|\*|[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def check(values: Mapping[str, Any], problems: Problems) -> None:
    """The role's variables, as far as the inventory sets them."""
    if node := values.get("k3s_node_name"):
        problems.check("k3s_node_name", rules.node_name(str(node)), node)
    for name, least in LEAST.items():
        if name in values and values[name] < least:
            problems.add(name, f"must be {least} or more", values[name])
    for name in values.get("k3s_tls_san") or []:
        if not rules.is_ip(name) and not _NAME.fullmatch(name):
            problems.add("k3s_tls_san", "is not a name or an address of the API server; write it in letters of DNS, without https:// and port", name)
    exempt: Sequence[str] = values.get("k3s_pod_security_exempt") or []
    for name in dict.fromkeys(exempt):
        flaw = rules.label(name) or ("is named twice, with which the API server does not start; name it once" if exempt.count(name) > 1 else None)
        problems.check("k3s_pod_security_exempt", flaw, name)
    for name, value in (values.get("k3s_environment") or {}).items():
        if str(name).startswith("K3S_") or rules.variable_name(str(name)):
            problems.add(f"k3s_environment.{name}", "use a name of letters, digits and _; the K3S_ ones belong in k3s_config")
        elif isinstance(value, bool) or not isinstance(value, (str, int)):
            problems.add(f"k3s_environment.{name}", "must be a text; quote it, or leave it out")  # not shown: a proxy's URL has a password
    for name, size in (values.get("k3s_eviction") or {}).items():
        if not re.fullmatch(r"[0-9]+(Ki|Mi|Gi|Ti)?", str(size)):
            problems.add(f"k3s_eviction.{name}", "must be a quantity such as 100Mi", size)
    for number, rule in enumerate(values.get("k3s_audit_rules") or []):
        for key, text in _audit_rule(rule):
            problems.add(f"k3s_audit_rules[{number}].{key}", f"{text}; the API server does not start with it")


def settle(server: Server, values: Mapping[str, Any]) -> None:
    """Where the role's own variables say what the kubelet gets, the fit plan counts that."""
    server["pods"] = values.get("k3s_max_pods") or server["pods"]
    given = {name: size for name, size in (values.get("k3s_system_reserved") or {}).items() if size}
    server["reserved"] = cast(Reserved, {**server["reserved"], **given})


def _audit_rule(rule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) as ValidatePolicy has it (apiserver's pkg/apis/audit/validation)."""
    paths = rule.get("nonResourceURLs") or []
    if paths and (rule.get("resources") or rule.get("namespaces")):
        yield "nonResourceURLs", "stands beside resources or namespaces; make two rules of it"
    for path in paths:
        if path != "*" and not re.fullmatch(r"/[^*]*\*?", path):
            yield "nonResourceURLs", f"has {rules.shown(path)}; write a path that begins with /, and * at its end only"
    for stage in rule.get("omitStages") or []:
        if stage not in STAGES:
            yield "omitStages", f"has {rules.shown(stage)}; known: {', '.join(STAGES)}"
    for resource in rule.get("resources") or []:
        if not _GROUP.fullmatch(resource.get("group") or ""):
            yield "resources", f"has the group {rules.shown(resource['group'])}; write it without a version, such as apps, and '' for the core one"
        if resource.get("resourceNames") and not resource.get("resources"):
            yield "resources", "names objects by resourceNames without their resources; add these"
