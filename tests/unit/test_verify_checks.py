"""What verify concludes from what the API says."""

from __future__ import annotations

from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.verify.checks import Check, Limits, drill_check, evaluate, no_cluster, quantity
from ansible_collections.shaka.platform.plugins.module_utils.verify.probes import LISTS, Facts, HostState, Https, PostgresAnswer, ProbeAnswer
from ansible_collections.shaka.platform.plugins.module_utils.verify.stored_backups import StoredDumps

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
DAY = 86400
BACKUP: dict[str, Any] = {"schedule": "0 2 * * *", "time_zone": "Etc/UTC", "s3": {"endpoint": "https://s3.example.org", "prefix": "shaka"}}
PATH = "platform_environments.prod.api"
EDGE: dict[str, Any] = {"basic_auth": "", "allow": [], "maintenance": {"enabled": False}}
APP = {"name": "shaka-api", "path": PATH, "hosts": ["api.example.org"], "served": True, "asks_readiness": True, "edge": EDGE}
ASKED = f"{PATH} api.example.org"
MODEL: Any = {
    "name": "shaka",
    "environments": {"prod": {"namespace": "shaka-prod", "apps": {"api": APP}, "backup": BACKUP}},
    "namespaces": {"shared": {"namespace": "shaka-shared"}},
    "server": {"reserved": {"memory": "560Mi"}},
}


def pod(name: str = "api-1", namespace: str = "shaka-prod", ready: bool = True, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "reason": "" if ready else "ContainersNotReady"}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"nodeName": "server", "containers": [{"resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}]},
        "status": {"phase": "Running", "conditions": conditions, **status},
    }


def certificate(ready: str = "True", until: str = "2027-04-15T08:00:00Z") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "message": "waiting for the order"}]
    return {"metadata": {"name": "shaka-api-tls", "namespace": "shaka-prod"}, "status": {"conditions": conditions, "notAfter": until}}


def cron(created: str = "2026-12-01T00:00:00Z", **status: str) -> dict[str, Any]:
    return {"metadata": {"name": "postgres-backup", "namespace": "shaka-prod", "creationTimestamp": created}, "status": status}


SYSTEM = [pod(name, name) for name in ("kube-system", "cert-manager", "traefik")]


def facts(**changes: Any) -> Facts:
    """A platform without a fault, and what a test changes of it."""
    node_status = {"conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}]}
    node_status["allocatable"] = {"cpu": "2", "memory": "1600Mi", "pods": "110"}  # type: ignore[assignment]
    lists: dict[str, list[dict[str, Any]] | None] = {
        **dict.fromkeys(LISTS),
        "nodes": [{"metadata": {"name": "server"}, "status": node_status}],
        "pods": [pod(), pod("postgres-0"), pod("redis-0", "shaka-shared"), *SYSTEM],
        "deployments": [],
        "cronjobs": [cron(lastSuccessfulTime="2027-01-15T02:00:09Z")],
        "jobs": [],
        "certificates": [certificate()],
        "pod_metrics": [{"metadata": {"name": "api-1", "namespace": "shaka-prod"}, "containers": [{"usage": {"memory": "20480Ki"}}]}],
    }
    lists.update({key: changes.pop(key) for key in list(changes) if key in lists})
    values: dict[str, Any] = {
        "now": NOW,
        "lists": lists,
        "postgres": {"prod": PostgresAnswer(ProbeAnswer(True, "login by postgres-prod in 9 ms"), "7")},
        "redis": {"prod": ProbeAnswer(True, "PING in 9 ms")},
        "https": {ASKED: Https(200, True, "HTTP 200", "R3")},
        "stored": {"prod": StoredDumps(unseen="the bucket was not looked at: no keys")},
        "host": HostState({"/tls/client-admin.crt": int(NOW) + 200 * DAY, "/tls/server-ca.crt": int(NOW) + 3000 * DAY}),
        "service_memory": 500 * 2**20,
        "archives": {"prod": (None, "")},
        "strangers": {"prod": "Could not connect to Redis at postgres-prod.shaka-prod.svc:5432: Connection refused"},
    }
    return Facts(**{**values, **changes})


def verdict(**changes: Any) -> dict[tuple[str, str], Check]:
    return {(check.scope, check.name): check for check in evaluate(MODEL, facts(**changes), Limits(7), {}).checks}


def test_a_sound_platform_passes_everything() -> None:
    found = evaluate(MODEL, facts(), Limits(7), {})
    assert found.findings == []
    told = {(check.scope, check.name): check.detail for check in found.checks}
    assert told["prod", "https"] == "200 api.example.org"
    assert told["prod", "certificate"] == "90 d, R3"
    assert told["prod", "pods"] == "2/2"
    assert told["prod", "backup"] == "2027-01-15 02:00Z (6 h ago); the bucket was not looked at: no keys"
    assert told["server", "K3s certificates"] == "200 d (client-admin.crt ends first)"
    assert told["server", "reboot"] == "not asked for"
    assert told["server", "requests"] == "cpu 1500m of 2000m, memory 384 MiB of 1.6 GiB, pods 6 of 110"


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({}, ""),
        ({"prod": "no answer"}, ""),
        ({"prod": "Error: Server closed the connection"}, "NetworkPolicies are not enforced"),
        ({"prod": "Could not connect to Redis at x:5432: Temporary failure in name resolution"}, "DNS is open to it"),
        ({"prod": "not asked: pod redis-0 not found"}, "redis-0 not found"),
    ],
)
def test_policies_that_are_not_enforced_are_a_finding(answers: dict[str, str], says: str) -> None:
    found = verdict(strangers=answers)["network", "policies"]
    assert found.ok is not bool(says) and says in found.detail


def test_tables_read_by_a_person() -> None:
    environments, server, memory = evaluate(MODEL, facts(postgres={"prod": PostgresAnswer(ProbeAnswer(False, "gone"))}), Limits(7), {}).tables
    assert environments.failed == [0]
    assert environments.columns[:5] == ["environment", "namespace", "postgres", "redis", "https"] and len(environments.columns) == len(
        environments.rows[0]
    )
    assert environments.rows[0][2] == "FAILED"
    assert server.failed == []
    assert memory.rows == [["shaka-prod/api-1", "1", "20 MiB"], ["k3s.service (PSS)", "", "500 MiB"]]


def oom(finished: str) -> dict[str, Any]:
    return {"containerStatuses": [{"restartCount": 1, "lastState": {"terminated": {"reason": "OOMKilled", "finishedAt": finished}}}]}


LACKING = {"metadata": {"name": "shaka-api", "namespace": "shaka-prod"}, "spec": {"replicas": 2}, "status": {"readyReplicas": 1}}

FAULTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("prod", "postgres", {"postgres": {"prod": PostgresAnswer(ProbeAnswer(False, "login: no route"))}}, "no route"),
    ("k3s.service", "memory", {"service_memory": 900 * 2**20}, "900 MiB of 560 MiB reserved"),
    ("k3s.service", "memory", {"service_memory": 900 * 2**20}, "set platform_server.reserved.memory to 1050Mi"),
    ("prod", "redis", {"redis": {"prod": ProbeAnswer(False, "PING: WRONGPASS")}}, "WRONGPASS"),
    ("prod", "https", {"https": {ASKED: Https(503, True, "HTTP 503")}}, "503 api.example.org"),
    ("prod", "https", {"https": {ASKED: Https(0, False, "Connection refused")}}, "Connection refused"),
    ("prod", "certificate", {"https": {ASKED: Https(200, False, "self-signed certificate")}}, "self-signed certificate"),
    ("prod", "certificate", {"certificates": [certificate("False")]}, "waiting for the order"),
    ("prod", "certificate", {"certificates": [certificate(until="2027-01-20T08:00:00Z")]}, "5 days left, at least 7"),
    ("prod", "certificate", {"certificates": None}, "no Certificate shaka-api-tls"),
    ("prod", "pods", {"pods": [pod(), pod("b", ready=False)]}, "1/2: b ContainersNotReady"),
    (
        "prod",
        "pods",
        {"pods": [pod("b", ready=False, containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff"}}}])]},
        "ImagePullBackOff",
    ),
    ("prod", "pods", {"pods": [pod(**oom("2027-01-15T07:00:00Z"))]}, "1/1, 1 restart: api-1 OOM-killed"),
    ("prod", "pods", {"pods": []}, "no pods"),
    ("traefik", "pods", {"pods": []}, "no pods"),
    ("prod", "pods", {"deployments": [LACKING]}, "2/2: shaka-api has 1 of 2 ready"),
    ("shared", "pods", {"pods": [pod("redis-0", "shaka-shared", ready=False)]}, "0/1: redis-0"),
    ("prod", "backup", {"cronjobs": []}, "no CronJob"),
    ("prod", "backup", {"cronjobs": [cron()]}, "never; one was due at 2027-01-15 02:00Z ('0 2 * * *', Etc/UTC) and is not there"),
    ("prod", "point in time", {"archives": {"prod": (None, "postgres-wal does not answer: not found")}}, "not found"),
    ("prod", "backup", {"cronjobs": [cron(lastSuccessfulTime="2027-01-12T02:00:00Z")]}, "(3 d ago); one was due at 2027-01-15 02:00Z"),
    ("server", "K3s certificates", {"host": HostState({"/tls/client-admin.crt": int(NOW) + 3 * DAY})}, "3 days left, at least 7 required; restart"),
    ("server", "K3s certificates", {"host": HostState({"/tls/server-ca.crt": int(NOW) - 3 * DAY})}, "-3 days left, at least 7 required; renew"),
    ("server", "K3s certificates", {"host": HostState({}, "a certificate of K3s cannot be read")}, "cannot be read"),
    ("server", "reboot", {"host": HostState({}, "", NOW - 9 * DAY, "linux-image-amd64")}, "9 d ago by linux-image-amd64, at most 7 days"),
    (
        "server",
        "node",
        {"nodes": [{"metadata": {"name": "server"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}]},
        "Ready is Unknown",
    ),
]


@pytest.mark.parametrize(("scope", "name", "changes", "told"), FAULTS)
def test_a_fault_is_found_and_named(scope: str, name: str, changes: dict[str, Any], told: str) -> None:
    check = verdict(**changes)[scope, name]
    assert not check.ok
    assert told in check.detail


SECOND = {**APP, "name": "shaka-web", "path": "platform_environments.prod.apps.web", "hosts": ["w.example.org"], "asks_readiness": False}


@pytest.mark.parametrize(
    ("apps", "status", "ok", "told"),
    [
        ([], 0, True, "no application with a host"),
        ([APP, SECOND], 302, True, "200 api.example.org, 302 w.example.org"),
        ([APP, SECOND], 404, False, "404 w.example.org"),
        ([APP, {**SECOND, "asks_readiness": True}], 302, False, "302 w.example.org"),
        ([APP, {**SECOND, "served": False}], 0, True, "200 api.example.org"),
    ],
)
def test_each_host_of_each_application_is_asked(apps: list[dict[str, Any]], status: int, ok: bool, told: str) -> None:
    prod = {**MODEL["environments"]["prod"], "apps": {app["name"]: app for app in apps}}
    answers = {ASKED: Https(200, True, "HTTP 200"), f"{SECOND['path']} w.example.org": Https(status, True, f"HTTP {status}")}
    second = {**certificate(), "metadata": {"name": "shaka-web-tls", "namespace": "shaka-prod"}}
    seen = facts(https=answers, certificates=[certificate(), second])
    checks = {
        check.name: check
        for check in evaluate(cast(Any, {**MODEL, "environments": {"prod": prod}}), seen, Limits(7), {}).checks
        if check.scope == "prod"
    }
    assert (checks["https"].ok, checks["https"].detail) == (ok, told) and checks["certificate"].ok


HARMLESS: list[tuple[str, dict[str, Any], str]] = [
    (
        "pods",
        {"pods": [pod(), {**pod("job", ready=False), "metadata": {"name": "j", "namespace": "shaka-prod", "ownerReferences": [{"kind": "Job"}]}}]},
        "1/1",
    ),
    ("pods", {"pods": [pod(**oom("2027-01-13T07:00:00Z"))]}, "1/1, 1 restart"),
    ("backup", {"cronjobs": [cron("2027-01-15T07:30:00Z")]}, "never; the bucket was not looked at: no keys"),
]


@pytest.mark.parametrize(("name", "changes", "told"), HARMLESS)
def test_what_is_no_fault(name: str, changes: dict[str, Any], told: str) -> None:
    check = verdict(**changes)["prod", name]
    assert check.ok
    assert check.detail == told


def test_a_backup_made_by_hand_counts() -> None:
    labels = {"template": {"metadata": {"labels": {"app": "postgres-backup"}}}}
    job = {
        "metadata": {"name": "now", "namespace": "shaka-prod"},
        "spec": labels,
        "status": {"succeeded": 1, "completionTime": "2027-01-15T07:58:00Z"},
    }
    assert verdict(cronjobs=[cron()], jobs=[job])["prod", "backup"].detail.startswith("2027-01-15 07:58Z (2 min ago)")


def test_an_inventory_without_a_bucket_is_a_finding_that_stops_no_run() -> None:
    model: Any = {**MODEL, "environments": {"prod": {**MODEL["environments"]["prod"], "backup": {"schedule": "", "s3": {"endpoint": ""}}}}}
    found = evaluate(model, facts(), Limits(7), {})
    assert found.findings == ["prod: backup: there are no backups: platform_s3.endpoint is not filled in"]
    assert found.failures == []


def test_a_further_namespace_may_be_empty() -> None:
    check = verdict(pods=[pod(), *SYSTEM])["shared", "pods"]
    assert check.ok and check.detail == "none"


def test_no_cluster_is_one_finding() -> None:
    assert no_cluster("connection refused").findings == ["server: cluster: the Kubernetes API does not answer: connection refused"]


@pytest.mark.parametrize(
    ("text", "number"), [("250m", 0.25), ("2", 2), ("64Mi", 64 * 2**20), ("1500k", 1.5e6), (None, 0), ("123456789n", 0.123456789)]
)
def test_quantity(text: str | None, number: float) -> None:
    assert quantity(text) == pytest.approx(number)


@pytest.mark.parametrize(
    ("finished", "days", "ok", "words"),
    [
        ("", 0, True, "never"),
        ("", 7, False, "no restore was ever drilled"),
        ("20260101T000000Z", 0, True, "ago, 64 s"),
        ("20260101T000000Z", 7, False, "at most 7 days allowed"),
    ],
)
def test_the_last_drill(finished: str, days: int, ok: bool, words: str) -> None:
    env: Any = {"namespace": "shaka-prod", "backup": {"s3": {"endpoint": "https://s3.test"}}}
    record = {"metadata": {"namespace": "shaka-prod", "name": "backup-drill"}, "data": {"finished": finished, "seconds": "64"}}
    seen = facts(now=1_790_000_000.0, lists={"drills": [record] if finished else []})
    check = drill_check("prod", env, seen, days)
    assert (check.ok, words in check.detail) == (ok, True), check.detail


def test_a_drill_that_failed_is_a_finding_whatever_its_age() -> None:
    env: Any = {"namespace": "shaka-prod", "backup": {"s3": {"endpoint": "https://s3.test"}}}
    data = {"failed": "20260101T000000Z", "problem": "the dump was changed after it was written"}
    record = {"metadata": {"namespace": "shaka-prod", "name": "backup-drill"}, "data": data}
    check = drill_check("prod", env, facts(now=1_790_000_000.0, lists={"drills": [record]}), 0)
    assert not check.ok and "was changed after it was written" in check.detail


@pytest.mark.parametrize(
    ("edge", "status", "ok"),
    [
        ({}, 200, True),
        ({}, 401, False),
        ({"basic_auth": "USERS"}, 401, True),
        ({"basic_auth": "USERS"}, 403, False),
        ({"allow": ["10.0.0.0/8"]}, 403, True),
        ({"maintenance": {"enabled": True}}, 503, True),
        ({"maintenance": {"enabled": False}}, 503, False),
        ({"basic_auth": "USERS"}, 0, False),
    ],
)
def test_a_door_that_the_inventory_closes_is_no_fault(edge: dict[str, Any], status: int, ok: bool) -> None:
    env = {**MODEL["environments"]["prod"], "apps": {"api": {**APP, "edge": {**EDGE, **edge}}}}
    model: Any = {**MODEL, "environments": {"prod": env}}
    verdict = evaluate(model, facts(https={ASKED: Https(status, True, "HTTP")}), Limits(14), {})
    assert [check.ok for check in verdict.checks if check.name == "https"] == [ok]


@pytest.mark.parametrize(
    ("cronjobs", "jobs", "ok", "says"),
    [
        (["redis-backup"], [], True, "2027-01-15 02:00Z"),
        (["postgres-backup"], [], False, "no CronJob redis-backup"),
        (["redis-backup"], ["Redis does not answer at redis"], False, "the last job failed 2 h ago: Redis does not answer at redis"),
    ],
)
def test_copies_of_a_redis_are_looked_at_as_backups_are(cronjobs: list[str], jobs: list[str], ok: bool, says: str) -> None:
    copies = {
        "name": "shared",
        "namespace": "shaka-shared",
        "service": "redis",
        "backup": {**BACKUP, "schedule": "0 2 * * *", "time_zone": "Etc/UTC"},
    }
    crons = [cron(lastSuccessfulTime="2027-01-15T02:00:09Z")]
    crons += [{**crons[0], "metadata": {**crons[0]["metadata"], "name": name, "namespace": "shaka-shared"}} for name in cronjobs]
    failed = [{"type": "Failed", "status": "True", "lastTransitionTime": "2027-01-15T06:00:00Z", "message": reason} for reason in jobs]
    made = [{"metadata": {"namespace": "shaka-shared", "labels": {"app": "redis-backup"}}, "status": {"conditions": [each]}} for each in failed]
    seen = facts(cronjobs=crons, jobs=made, cluster="abc")
    seen = seen._replace(stored={**seen.stored, "shared/redis": StoredDumps(unseen="the bucket was not looked at: no keys")})
    model: Any = {**MODEL, "redis_copies": {"shared": copies}}
    checks = evaluate(model, seen, Limits(7), {}).checks
    found = {(check.scope, check.name): check for check in checks}
    assert found["shared/redis", "backup"].ok is ok and says in found["shared/redis", "backup"].detail
    assert found["prod", "backup"].ok
