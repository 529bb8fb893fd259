# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judges what verify's probes saw: checks that passed or failed, and tables for a person. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils import k3s_certificates
from ansible_collections.shaka.platform.plugins.module_utils.backup import layout
from ansible_collections.shaka.platform.plugins.module_utils.backup.overview import shown_size
from ansible_collections.shaka.platform.plugins.module_utils.conventions import POSTGRES_BACKUP, REDIS_BACKUP
from ansible_collections.shaka.platform.plugins.module_utils.model_types import App, Environment, Model, RedisCopies
from ansible_collections.shaka.platform.plugins.module_utils.quantities import QuantityError, exact
from ansible_collections.shaka.platform.plugins.module_utils.verify import backups, wal_archive
from ansible_collections.shaka.platform.plugins.module_utils.verify.backups import age, seconds
from ansible_collections.shaka.platform.plugins.module_utils.verify.probes import Facts, HostState, host_question, hosts_of, is_backup

DAY = 86400
SYSTEM_NAMESPACES = ("kube-system", "cert-manager", "traefik")


class Check(NamedTuple):
    """One check; `scope` is an environment, a namespace or the node. One that does not block is a finding that no run of the site fails for."""

    name: str
    scope: str
    ok: bool
    detail: str
    blocks: bool = True


class Table(NamedTuple):
    """A table for the callback progress to print; `failed` are the positions of rows with a failed check."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    failed: Sequence[int] = ()


class Limits(NamedTuple):
    """What verify accepts."""

    certificate_days: int
    backup_smaller_percent: int = 50
    drill_days: int = 0  # 0: any age
    reboot_days: int = 7


class Verdict(NamedTuple):
    """All checks and tables of one look at the platform."""

    checks: list[Check]
    tables: list[Table]

    @property
    def findings(self) -> list[str]:
        return [_told(check) for check in self.checks if not check.ok]

    @property
    def failures(self) -> list[str]:
        """The findings that a run of the site fails for."""
        return [_told(check) for check in self.checks if not check.ok and check.blocks]


def _told(check: Check) -> str:
    return f"{check.scope}: {check.name}: {check.detail}"


def no_cluster(why: str) -> Verdict:
    """The verdict when the Kubernetes API does not answer."""
    return Verdict([Check("cluster", "server", False, f"the Kubernetes API does not answer: {why}")], [])


def evaluate(model: Model, facts: Facts, limits: Limits, keys: Mapping[str, str]) -> Verdict:
    """All checks of the platform `model` (fact platform_model). :arg keys: environment to its BACKUP_KEY."""
    environments = {name: environment_checks(name, env, facts, limits, keys.get(name, "")) for name, env in model["environments"].items()}
    checks = [check for own in environments.values() for check in own]
    tables = [checks_table("environment", "namespace", {name: env["namespace"] for name, env in model["environments"].items()}, environments)]
    previews = model.get("previews") or {}
    seen = {name: preview_checks(name, env, facts, limits) for name, env in previews.items()}
    tables += [checks_table("preview", "of", {name: env["preview"]["of"] for name, env in previews.items()}, seen)] if seen else []
    checks += [*(check for own in seen.values() for check in own), *over_checks(model, facts)]

    others = {name: spec["namespace"] for name, spec in model["namespaces"].items()}
    others.update({name: name for name in SYSTEM_NAMESPACES})
    # a namespace of the inventory's own may still be empty
    shared = [pods_check(name, namespace, facts, namespace in SYSTEM_NAMESPACES) for name, namespace in others.items()]
    shared += [*node_checks(facts), k3s_certificates_check(facts.host, facts.now, limits.certificate_days)]
    shared += reserve_check(facts, quantity(model["server"]["reserved"]["memory"]))
    shared.append(reboot_check(facts.host, facts.now, limits.reboot_days))
    shared.append(policies_check(facts))
    shared += [redis_copies_check(copy, facts, keys.get(name, "")) for name, copy in (model.get("redis_copies") or {}).items()]
    checks += shared
    rows = [[check.scope, check.name, check.detail if check.ok else f"FAILED {check.detail}"] for check in shared]
    tables.append(Table("server", ["scope", "check", "result"], rows, [position for position, check in enumerate(shared) if not check.ok]))
    tables.append(Table("memory by component", ["component", "pods", "used"], memory_rows(facts)))
    return Verdict(checks, tables)


def preview_checks(name: str, env: Environment, facts: Facts, limits: Limits) -> list[Check]:
    """What people see of a preview, and how long it lasts. What is wrong with one stops no run of the site."""
    served = [app for app in env["apps"].values() if app["served"]]
    left = env["preview"]["expires"] - facts.now
    checks = [
        Check("postgres", name, facts.postgres[name].answer.ok, facts.postgres[name].answer.detail),
        Check("redis", name, facts.redis[name].ok, facts.redis[name].detail),
        joined("https", name, [https_check(name, app, host, facts) for app in served for host in app["hosts"]]),
        joined("certificate", name, [certificate_check(name, env["namespace"], app, facts, limits.certificate_days) for app in served]),
        pods_check(name, env["namespace"], facts),
        Check("left", name, left > 0, age(left) if left > 0 else "is over"),
    ]
    return [check._replace(blocks=False) for check in checks]


def checks_table(kind: str, about: str, said: Mapping[str, str], seen: Mapping[str, Sequence[Check]]) -> Table:
    """A row for each environment or preview, with a column for each of its checks; `said` is its column `about`."""
    names = [check.name for check in next(iter(seen.values()), ())]
    # the findings say why one failed
    rows = [[name, said[name], *(check.detail if check.ok else "FAILED" if check.blocks else "NONE" for check in own)] for name, own in seen.items()]
    failed = [position for position, own in enumerate(seen.values()) if not all(check.ok for check in own)]
    return Table(f"{kind}s", [kind, about, *names], rows, failed)


def over_checks(model: Model, facts: Facts) -> list[Check]:
    """Previews that are over and still run."""
    running = {pod["metadata"]["namespace"] for pod in facts.lists["pods"] or () if not _is_temporary(pod)}
    over = [name for name in model.get("ended_previews") or () if f"{model['name']}-{name}" in running]
    return [Check("left", name, False, "is over and still runs: ansible-playbook shaka.platform.preview_end", blocks=False) for name in over]


def environment_checks(name: str, env: Environment, facts: Facts, limits: Limits, key: str) -> list[Check]:
    namespace = env["namespace"]
    served = [app for app in env["apps"].values() if app["served"]]
    return [
        Check("postgres", name, facts.postgres[name].answer.ok, facts.postgres[name].answer.detail),
        Check("redis", name, facts.redis[name].ok, facts.redis[name].detail),
        joined("https", name, [https_check(name, app, host, facts) for app in served for host in hosts_of(app)]),
        joined("certificate", name, [certificate_check(name, namespace, app, facts, limits.certificate_days) for app in served]),
        pods_check(name, namespace, facts),
        backup_check(name, env, facts, limits.backup_smaller_percent, key),
        drill_check(name, env, facts, limits.drill_days),
        Check("point in time", name, *wal_archive.verdict(env, *facts.archives[name], facts.now)),
    ]


def _as_meant(app: App, status: int) -> bool:
    """Whether the edge refuses for a reason that the inventory has."""
    edge = app["edge"]
    return bool({401: edge["basic_auth"], 403: edge["allow"], 503: edge["maintenance"]["enabled"]}.get(status))


def joined(name: str, scope: str, checks: Sequence[Check]) -> Check:
    """One check for all applications: what is wrong with any, or what each says."""
    wrong = [check for check in checks if not check.ok]
    return Check(name, scope, not wrong, ", ".join(dict.fromkeys(check.detail for check in wrong or checks)) or "no application with a host")


def https_check(scope: str, app: App, host: str, facts: Facts) -> Check:
    """An application answers by its host: its readiness path with 200, and where it has none there with anything but `not found` and errors."""
    answer = facts.https[host_question(app, host)]
    right = answer.status == 200 if app["asks_readiness"] else 0 < answer.status < 500 and answer.status != 404
    return Check("https", scope, right or _as_meant(app, answer.status), f"{answer.status} {host}" if answer.status else f"{host}: {answer.detail}")


def certificate_check(scope: str, namespace: str, app: App, facts: Facts, least: int) -> Check:
    """The served certificate is trusted, and cert-manager's Certificate is Ready and valid for long enough."""
    name, answers = f"{app['name']}-tls", [facts.https[host_question(app, host)] for host in hosts_of(app)]
    answer = next((each for each in answers if not each.trusted), answers[0])
    stored = next(iter(_named(facts.lists["certificates"], namespace, name)), None)
    if stored is None:
        return Check("certificate", scope, False, f"no Certificate {name}")
    status = stored.get("status", {})
    ready: Mapping[str, str] = next((entry for entry in status.get("conditions", ()) if entry["type"] == "Ready"), {})
    days = int((seconds(status["notAfter"]) - facts.now) // DAY) if status.get("notAfter") else None
    if ready.get("status") != "True":
        return Check("certificate", scope, False, f"not Ready: {ready.get('message') or ready.get('reason') or 'not issued yet'}")
    if days is None or days < least:
        return Check("certificate", scope, False, f"{days} days left, at least {least} required")
    if not answer.trusted:
        return Check("certificate", scope, False, f"the served certificate is not trusted: {answer.detail}")
    return Check("certificate", scope, True, f"{days} d, {answer.issuer}" if answer.issuer else f"{days} d")


def pods_check(scope: str, namespace: str, facts: Facts, needed: bool = True) -> Check:
    """Pods and workloads are ready, and no pod was killed for lack of memory within a day. Pods of Jobs and pods being deleted do not count."""
    mine = [pod for pod in facts.lists["pods"] or () if pod["metadata"]["namespace"] == namespace and not _is_temporary(pod)]
    ready = [pod for pod in mine if _is_ready(pod)]
    statuses = [status for pod in mine for status in pod.get("status", {}).get("containerStatuses", ())]
    restarts = sum(status.get("restartCount", 0) for status in statuses)
    problems = [f"{pod['metadata']['name']} {_reason(pod)}" for pod in mine if pod not in ready]
    problems += [f"{pod['metadata']['name']} OOM-killed" for pod in mine if _oom_killed(pod, facts.now)]
    problems += _lacking(facts, namespace)
    problems += ["no pods"] if needed and not mine and not problems else []
    counted = f"{len(ready)}/{len(mine)}" + (f", {restarts} restart{'' if restarts == 1 else 's'}" if restarts else "")
    return Check("pods", scope, not problems, f"{counted}: {'; '.join(problems)}" if problems else counted if mine else "none")


def backup_check(scope: str, env: Environment, facts: Facts, smaller: int, key: str) -> Check:
    """What lies in the bucket, the last jobs, and the schedule."""
    crons = _named(facts.lists["cronjobs"], env["namespace"], POSTGRES_BACKUP)
    jobs = _jobs_of(facts, env["namespace"], POSTGRES_BACKUP)
    running = facts.postgres[scope].identifier
    return Check("backup", scope, *backups.judge(env, crons, jobs, facts.stored[scope], key, running, facts.now, smaller))


def _jobs_of(facts: Facts, namespace: str, cronjob: str) -> list[dict[str, Any]]:
    return [job for job in facts.lists["jobs"] or () if is_backup(job, (cronjob,)) and job["metadata"]["namespace"] == namespace]


def redis_copies_check(copy: RedisCopies, facts: Facts, key: str) -> Check:
    """The same of a Redis that is copied; how much it holds may well be much less than it was."""
    scope = layout.redis_scope(copy["name"])
    crons = _named(facts.lists["cronjobs"], copy["namespace"], REDIS_BACKUP)
    jobs = _jobs_of(facts, copy["namespace"], REDIS_BACKUP)
    return Check("backup", scope, *backups.judge(copy, crons, jobs, facts.stored[scope], key, facts.cluster, facts.now, smaller=0))


def drill_check(scope: str, env: Environment, facts: Facts, days: int) -> Check:
    """When a restore was last tried (playbooks/drill.yml); that it is too long ago is a finding where the inventory sets a limit."""
    if not env["backup"]["s3"]["endpoint"]:
        return Check("drill", scope, True, "nothing to drill")
    record = next((item.get("data") or {} for item in _named(facts.lists["drills"], env["namespace"], layout.DRILL)), None)
    if record is None:
        return Check(
            "drill", scope, days == 0, "never" if days == 0 else f"no restore was ever drilled, and {days} days are allowed: playbooks/drill.yml"
        )
    if problem := record.get("problem"):
        return Check("drill", scope, False, f"the last one failed, {record.get('failed', 'some time ago')}: {problem}")
    passed = facts.now - layout.moment(record["finished"]).timestamp()
    text = f"{age(passed)} ago, {record.get('seconds', '?')} s"
    if days and passed > days * DAY:
        return Check("drill", scope, False, f"{text}, at most {days} days allowed: playbooks/drill.yml")
    return Check("drill", scope, True, text)


def policies_check(facts: Facts) -> Check:
    """NetworkPolicies are enforced: a connection that none allows is refused. That allowed ones open is seen by `https`: the API reaches its data."""
    refused = ("Could not connect", "no answer")
    unresolved = re.compile("resol|not known|No address", re.IGNORECASE)
    wrong = []
    for name, answer in facts.strangers.items():
        if answer.startswith("not asked"):
            wrong.append(f"{name} {answer}")
        elif not answer.startswith(refused):
            wrong.append(f"Redis's pod reaches the Postgres of {name}, which no policy allows: NetworkPolicies are not enforced (journalctl -u k3s)")
        elif unresolved.search(answer):
            wrong.append(f"Redis's pod finds no address of the Postgres of {name}, though DNS is open to it: {answer}")
    closed = ", ".join(facts.strangers)
    return Check("policies", "network", not wrong, "; ".join(wrong) or f"{closed or 'no environment'} refuse{'' if ',' in closed else 's'} strangers")


def node_checks(facts: Facts) -> list[Check]:
    """Each node is ready and under no pressure. Also shows how much of its resources the pods request; that never fails."""
    checks = []
    for node in facts.lists["nodes"] or ():
        name, status = node["metadata"]["name"], node.get("status", {})
        conditions = {entry["type"]: entry["status"] for entry in status.get("conditions", ())}
        healthy = {**dict.fromkeys(conditions, "False"), "Ready": "True"}
        wrong = [f"{kind} is {conditions.get(kind, 'missing')}" for kind, state in healthy.items() if conditions.get(kind) != state]
        checks.append(Check("node", name, not wrong, ", ".join(wrong) or "Ready"))
        pods = [pod for pod in facts.lists["pods"] or () if pod["spec"].get("nodeName") == name and not _finished(pod)]
        able = status.get("allocatable", {})
        cpu, memory = (sum(_requested(pod, resource) for pod in pods) for resource in ("cpu", "memory"))
        shares = [
            f"cpu {round(cpu * 1000)}m of {round(quantity(able.get('cpu')) * 1000)}m",
            f"memory {shown_size(memory)} of {shown_size(quantity(able.get('memory')))}",
            f"pods {len(pods)} of {able.get('pods', '?')}",
        ]
        checks.append(Check("requests", name, True, ", ".join(shares)))
    return checks


def reserve_check(facts: Facts, reserved: float) -> list[Check]:
    """K3s, its containerd and their shims stay within what is reserved for them; beyond it they take what pods were promised."""
    used = facts.service_memory
    if used is None:
        return []
    text = f"{shown_size(used)} of {shown_size(reserved)} reserved"
    if used > reserved:
        enough = -(-used * 1.15 // (50 * 2**20)) * 50
        text += f", so that pods are promised memory that is not there: set platform_server.reserved.memory to {enough:.0f}Mi"
    return [Check("memory", "k3s.service", used <= reserved, text, blocks=False)]


def k3s_certificates_check(host: HostState, now: float, least: int) -> Check:
    """Those that K3s uses itself; it renews them when it starts, in the last 120 days."""
    if not host.ends:
        return Check("K3s certificates", "server", False, host.problem or "there are none in /var/lib/rancher/k3s")
    path, end = min(host.ends.items(), key=lambda pair: pair[1])
    days = int((end - now) // DAY)
    if days < least:
        advice = "renew it with k3s certificate rotate-ca" if k3s_certificates.is_authority(path) else "restart K3s, which renews it"
        return Check("K3s certificates", "server", False, f"{path}: {days} days left, at least {least} required; {advice}")
    return Check("K3s certificates", "server", True, f"{days} d ({Path(path).name} ends first)")


def reboot_check(host: HostState, now: float, days: int) -> Check:
    """Whether updates wait for a reboot; for too long is a finding that no run of the site fails for."""
    if not host.reboot_since:
        return Check("reboot", "server", True, "not asked for")
    passed = now - host.reboot_since
    text = f"asked for {age(passed)} ago" + (f" by {host.reboot_for}" if host.reboot_for else "")
    if passed <= days * DAY:
        return Check("reboot", "server", True, text)
    return Check("reboot", "server", False, f"{text}, at most {days} days allowed: restart the server, or set host_updates_reboot", blocks=False)


def memory_rows(facts: Facts) -> list[list[str]]:
    """The components by the memory that they use, most first: pods from metrics.k8s.io, the K3s service as the sum of its processes' PSS."""
    used: dict[str, tuple[int, float]] = {}
    labels = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod["metadata"].get("labels") or {} for pod in facts.lists["pods"] or ()}
    for entry in facts.lists["pod_metrics"] or ():
        namespace, name = entry["metadata"]["namespace"], entry["metadata"]["name"]
        mine = labels.get((namespace, name), {})
        component = f"{namespace}/{mine.get('app.kubernetes.io/name') or mine.get('app') or mine.get('k8s-app') or name}"
        count, total = used.get(component, (0, 0.0))
        used[component] = count + 1, total + sum(quantity(container["usage"].get("memory")) for container in entry.get("containers", ()))
    rows = [[component, str(count), shown_size(total)] for component, (count, total) in sorted(used.items(), key=lambda row: -row[1][1])]
    if facts.lists["pod_metrics"] is None:
        rows.append(["pods", "", "not measured: metrics.k8s.io does not answer (yet)"])
    if facts.service_memory is not None:
        rows.append(["k3s.service (PSS)", "", shown_size(facts.service_memory)])
    return rows


def quantity(text: Any) -> float:
    """A Kubernetes quantity as a number of cores or bytes, for a table; 0 where there is none."""
    try:
        return float(exact(str(text or "0")))
    except QuantityError:
        return 0.0


def _lacking(facts: Facts, namespace: str) -> list[str]:
    """Workloads with fewer ready pods than they should have, also where no pod could be made (because of a quota, say)."""
    lacking = []
    for item in [*(facts.lists["deployments"] or ()), *(facts.lists["statefulsets"] or ())]:
        ready, replicas = item.get("status", {}).get("readyReplicas") or 0, item["spec"].get("replicas", 1)
        if item["metadata"]["namespace"] == namespace and ready < replicas:
            lacking.append(f"{item['metadata']['name']} has {ready} of {replicas} ready")
    return lacking


def _requested(pod: Mapping[str, Any], resource: str) -> float:
    """A pod's request as the scheduler counts it: containers add up, with init containers that keep running; another init container counts alone."""
    spec = pod["spec"]
    together = sum(_request(container, resource) for container in spec.get("containers", ()))
    alone = 0.0
    for container in spec.get("initContainers", ()):
        if container.get("restartPolicy") == "Always":
            together += _request(container, resource)
        else:
            alone = max(alone, _request(container, resource))
    return max(together, alone)


def _request(container: Mapping[str, Any], resource: str) -> float:
    return quantity((container.get("resources", {}).get("requests") or {}).get(resource))


def _finished(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _is_temporary(pod: Mapping[str, Any]) -> bool:
    owners = [owner.get("kind") for owner in pod["metadata"].get("ownerReferences") or ()]
    return "Job" in owners or bool(pod["metadata"].get("deletionTimestamp")) or pod.get("status", {}).get("phase") == "Succeeded"


def _is_ready(pod: Mapping[str, Any]) -> bool:
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in pod.get("status", {}).get("conditions") or ())


def _reason(pod: Mapping[str, Any]) -> str:
    """Why a pod is not ready, in the words of its first container that waits, else of its first unmet condition."""
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting["reason"])
    unmet: Iterable[Mapping[str, Any]] = (entry for entry in status.get("conditions") or () if entry["status"] != "True" and entry.get("reason"))
    return str(next((entry["reason"] for entry in unmet), status.get("phase") or "unknown"))


def _oom_killed(pod: Mapping[str, Any], now: float) -> bool:
    for status in pod.get("status", {}).get("containerStatuses", ()):
        for state in ("state", "lastState"):
            ended = (status.get(state) or {}).get("terminated") or {}
            if ended.get("reason") == "OOMKilled" and now - seconds(ended.get("finishedAt") or "") < DAY:
                return True
    return False


def _named(items: Iterable[dict[str, Any]] | None, namespace: str, name: str) -> list[dict[str, Any]]:
    return [item for item in items or () if item["metadata"]["namespace"] == namespace and item["metadata"]["name"] == name]
