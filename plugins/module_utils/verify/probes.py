# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Verify's questions to the server: the Kubernetes API, Postgres and Redis by their Services, each API's host name over HTTPS.

It uses kubectl and the system's Python on purpose: a verdict on the platform must not depend on the client that built it, nor on its venv.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils import by_host, k3s_certificates
from ansible_collections.shaka.platform.plugins.module_utils.backup import cluster
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import DRILL, redis_scope
from ansible_collections.shaka.platform.plugins.module_utils.conventions import LOCALE, POSTGRES_BACKUP, REDIS_BACKUP, WORKERS
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.model_types import App, Environment, Model
from ansible_collections.shaka.platform.plugins.module_utils.verify.postgres_login import LoginRefused, open_session
from ansible_collections.shaka.platform.plugins.module_utils.verify.redis_login import ping
from ansible_collections.shaka.platform.plugins.module_utils.verify.stored_backups import StoredDumps
from ansible_collections.shaka.platform.plugins.module_utils.verify.wal_archive import ArchiveState, ask

# fact -> path; the fact is None where the API has no such list (a CRD that is not there yet, metrics that are not served yet)
LISTS = {
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "deployments": "/apis/apps/v1/deployments",
    "statefulsets": "/apis/apps/v1/statefulsets",
    "cronjobs": "/apis/batch/v1/cronjobs",
    "jobs": "/apis/batch/v1/jobs",
    "drills": f"/api/v1/configmaps?fieldSelector=metadata.name%3D{DRILL}",
    "certificates": "/apis/cert-manager.io/v1/certificates",
    "pod_metrics": "/apis/metrics.k8s.io/v1beta1/pods",
}
REDIS_SERVICE = "redis"  # of the shared one
REBOOT = "/run/reboot-required"  # Debian's packages leave it, and beside it in .pkgs their names


class ProbeAnswer(NamedTuple):
    """The answer to one question: whether it was the expected one, and in words."""

    ok: bool
    detail: str


class PostgresAnswer(NamedTuple):
    """The same of Postgres, and which one answered: its system identifier, '' where it does not say."""

    answer: ProbeAnswer
    identifier: str = ""


class HostState(NamedTuple):
    """What the server says of itself. `ends`: of K3s's certificates, in seconds since the epoch; `reboot_since`: 0 where none is asked for."""

    ends: Mapping[str, int]
    problem: str = ""
    reboot_since: float = 0.0
    reboot_for: str = ""


class Https(NamedTuple):
    """A request by host name at the server's address; status 0 when there was no answer."""

    status: int
    trusted: bool
    detail: str
    issuer: str = ""


class Facts(NamedTuple):
    """Everything seen at one moment (`now`, seconds since the epoch). Lists are the API's items; None where the API has no such list."""

    now: float
    lists: Mapping[str, list[dict[str, Any]] | None]
    postgres: Mapping[str, PostgresAnswer]
    redis: Mapping[str, ProbeAnswer]
    https: Mapping[str, Https]  # by an application's path in the inventory and one of its hosts, see question
    stored: Mapping[str, StoredDumps]
    host: HostState
    service_memory: int | None
    archives: Mapping[str, tuple[ArchiveState | None, str]]
    strangers: Mapping[str, str]  # see ask_policies
    cluster: str = ""  # as it is called in the paths of copies of Redis


def gather(
    kubectl: Kubectl, model: Model, address: str, port: int, ca_bundle: str, stored_of: Callable[[str], StoredDumps]
) -> tuple[Facts | None, str]:
    """Asks everything at once, on a few threads. (None, why not) when the API server does not answer.

    :arg stored_of: what the bucket of an environment holds.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        listed = {name: pool.submit(kubectl.get, path) for name, path in LISTS.items()}
        environments, previews = dict(model["environments"]), model.get("previews") or {}
        both = {**environments, **previews}
        secret = f"{model['name']}-api-secrets"
        postgres = {name: pool.submit(ask_postgres, kubectl, env, secret) for name, env in both.items()}
        redis = {name: pool.submit(ask_redis, kubectl, env, secret) for name, env in both.items()}
        archives = {name: pool.submit(ask, kubectl, env) for name, env in environments.items()}
        strangers = pool.submit(ask_policies, kubectl, list(environments.values()))
        nodes, problem = listed["nodes"].result()
        if not nodes:
            return None, problem
        ca_bundle = "\n".join(filter(None, [ca_bundle, own_root(kubectl, model)]))
        target = address or by_host.node_address(nodes["items"])
        served = [(app, host) for env in both.values() for app in env["apps"].values() for host in hosts_of(app)]
        https = {host_question(app, host): pool.submit(ask_https, app, host, target, port, ca_bundle, kubectl.timeout) for app, host in served}
        host = pool.submit(look_at_host)
        copies = [redis_scope(name) for name in model.get("redis_copies") or ()]
        stored = {name: pool.submit(stored_of, name) for name in (*environments, *copies)}
        return Facts(
            now=time.time(),
            lists={name: (future.result()[0] or {}).get("items") for name, future in listed.items()},
            postgres={name: future.result() for name, future in postgres.items()},
            redis={name: future.result() for name, future in redis.items()},
            https={name: future.result() for name, future in https.items()},
            stored={name: future.result() for name, future in stored.items()},
            host=host.result(),
            service_memory=service_memory(),
            archives={name: future.result() for name, future in archives.items()},
            strangers=strangers.result(),
            cluster=cluster.ask(kubectl) if copies else "",
        ), ""


def own_root(kubectl: Kubectl, model: Model) -> str:
    """The certificate of the platform's own authority, which no system trusts; '' where another one issues."""
    acme = model["acme"]
    if acme["kind"] == "self_signed":
        return _secret(kubectl, "cert-manager", acme["issuer"], "tls.crt")[0]
    return acme["certificate"] if acme["kind"] == "ca" else ""


def ask_postgres(kubectl: Kubectl, env: Environment, secret: str) -> PostgresAnswer:
    """As the application does: by its Service (PgBouncer's, where it is used), with the user and the password that it has."""
    started = time.monotonic()
    spec = env["postgres"]
    service = (spec["pgbouncer"] if spec["pgbouncer"]["enabled"] else spec)["service"]
    password, problem = _secret(kubectl, env["namespace"], secret, "DB_PASSWORD")
    found, missing = kubectl.get(f"/api/v1/namespaces/{spec['namespace']}/services/{service}")
    if not password or not found:
        return PostgresAnswer(ProbeAnswer(False, problem if not password else missing))
    why = ""
    try:
        session = open_session(_address(found), spec["app_user"] or spec["user"], spec["database"], password, kubectl.timeout)
        try:
            session.ask("SELECT 1")
            return PostgresAnswer(_answer(True, "", f"login by {service}", started), _identifier(session))
        finally:
            session.close()
    except LoginRefused as error:
        why = str(error)
    except OSError as error:
        why = _why(error)
    except (LookupError, TypeError, ValueError, struct.error) as error:
        why = f"it does not speak Postgres's protocol ({type(error).__name__})"
    return PostgresAnswer(_answer(False, why, f"login by {service}", started))


def _identifier(session: Any) -> str:
    """Which Postgres it is, where the user may ask."""
    try:
        return str(session.ask("SELECT system_identifier FROM pg_control_system()"))
    except LoginRefused:
        return ""


def _secret(kubectl: Kubectl, namespace: str, name: str, key: str) -> tuple[str, str]:
    """(value, '') or ('', why there is none)."""
    stored, problem = kubectl.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    encoded = (stored or {}).get("data", {}).get(key)
    return (base64.b64decode(encoded).decode(), "") if encoded else ("", problem or f"Secret {name} has no {key}")


def ask_redis(kubectl: Kubectl, env: Environment, secret: str) -> ProbeAnswer:
    """As the environment's own user, with the password that its applications have, at the Service of the Redis that it uses."""
    started = time.monotonic()
    redis = env["redis"]
    password, problem = _secret(kubectl, env["namespace"], secret, "REDIS_PASSWORD")
    service = redis["service"] if redis["dedicated"] else REDIS_SERVICE
    found, missing = kubectl.get(f"/api/v1/namespaces/{redis['namespace']}/services/{service}")
    if not password or not found:
        return ProbeAnswer(False, problem if not password else missing)
    try:
        answer = ping(_address(found), redis["user"], password, kubectl.timeout)
        return _answer(answer == "PONG", answer, "PING", started)
    except OSError as error:
        return _answer(False, _why(error), "PING", started)
    except (LookupError, TypeError, ValueError) as error:
        return _answer(False, f"it does not speak Redis's protocol ({type(error).__name__})", "PING", started)


def _address(service: Mapping[str, Any]) -> tuple[str, int]:
    return str(service["spec"]["clusterIP"]), int(service["spec"]["ports"][0]["port"])


# redis-cli is in that pod anyway; without its password, which is none of Postgres's business. By name, so that it needs DNS, which is open to all.
CONNECT = """
unset REDISCLI_AUTH
for target; do (answer=$(timeout 3 redis-cli -h "${target#*=}" -p 5432 PING 2>&1); echo "${target%%=*} ${answer:-no answer}") & done; wait
"""


def ask_policies(kubectl: Kubectl, environments: Sequence[Environment]) -> dict[str, str]:
    """What Redis's pod is told where no policy lets it: at the Postgres of each environment that denies by default. Environment -> the answer."""
    client = next((env["redis"]["namespace"] for env in environments), "")
    asked = {env["name"]: f"{env['postgres']['service']}.{env['namespace']}.svc" for env in environments if _denies(env, client)}
    if not asked:
        return {}
    ok, output = kubectl.execute(client, "redis-0", "sh", "-c", CONNECT, "sh", *(f"{name}={host}" for name, host in asked.items()))
    answers = {name: answer for name, _space, answer in (line.partition(" ") for line in output.splitlines())} if ok else {}
    return {name: answers.get(name, f"not asked: {output.strip()[-200:]}") for name in asked}


def _denies(env: Environment, client: str) -> bool:
    """Whether no pod of a namespace may reach this environment's."""
    granted = any(rule["namespace"] == client or rule["cidr"] for rule in env["ingress"])
    return env["network"] != "permissive" and env["namespace"] != client and not granted


def _answer(ok: bool, output: str, question: str, started: float) -> ProbeAnswer:
    if ok:
        return ProbeAnswer(True, f"{question} in {int((time.monotonic() - started) * 1000)} ms")
    lines = output.strip().splitlines()
    return ProbeAnswer(False, f"{question}: {lines[-1] if lines else 'no answer'}")


def hosts_of(app: App) -> list[str]:
    """The host names that an application answers to over HTTPS; of a wildcard nobody knows one."""
    return [host for host in app["hosts"] if not host.startswith("*.")] if app["served"] else []


def host_question(app: App, host: str) -> str:
    """The name of the question whether an application answers at one of its hosts."""
    return f"{app['path']} {host}"


def ask_https(app: App, host: str, address: str, port: int, ca_bundle: str, timeout: float) -> Https:
    """GET an application's path by host name at the server's address. Trusts the system's authorities and those in `ca_bundle`."""
    asked = {"User-Agent": "shaka.platform-verify"}
    try:
        context = ssl.create_default_context()
        if ca_bundle:
            context.load_verify_locations(cadata=ca_bundle)
        answer = by_host.get(address, port, host, app["asked"], context, timeout, asked)
        return Https(answer.status, True, f"HTTP {answer.status}", answer.issuer)
    except ssl.SSLCertVerificationError as error:
        untrusted = str(error.verify_message)
    except (OSError, http.client.HTTPException) as error:
        return Https(0, False, _why(error))
    try:
        answer = by_host.get(address, port, host, app["asked"], by_host.untrusting(), timeout, asked)
        return Https(answer.status, False, untrusted, answer.issuer)
    except (OSError, http.client.HTTPException) as error:
        return Https(0, False, _why(error))


def _why(error: Exception) -> str:
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__


def look_at_host(patterns: tuple[str, ...] = k3s_certificates.PATTERNS, reboot: str = REBOOT) -> HostState:
    """K3s's certificates, and whether a package asks for a reboot."""
    asked, packages = Path(reboot), Path(f"{reboot}.pkgs")
    try:
        since = asked.stat().st_mtime if asked.exists() else 0.0
        names = sorted(set(packages.read_text(encoding="utf-8", errors="replace").split())) if since and packages.exists() else []
        return HostState(k3s_certificates.ends(_execute, patterns), "", since, ", ".join(names))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return HostState({}, str(error))


def _execute(command: list[str]) -> tuple[int, str, str]:
    # pylint: disable-next=ansible-bad-function  # run_command would tie this to a module, and is not for threads
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=False, env={**os.environ, **LOCALE})
    return done.returncode, done.stdout, done.stderr


def is_backup(item: Mapping[str, Any], of: Sequence[str] = (POSTGRES_BACKUP, REDIS_BACKUP)) -> bool:
    """Whether a pod or Job belongs to a backup: it has the label of one of these CronJobs."""
    metadata = item["metadata"]
    template = item.get("spec", {}).get("template", {}).get("metadata", {})
    return any((labels.get("labels") or {}).get("app") in of for labels in (metadata, template))


def service_memory(service: str = "k3s.service", proc: str = "/proc") -> int | None:
    """Bytes that the service's own processes use, without its pods; shared pages are counted once (the sum of PSS). None when it does not run."""
    total, seen = 0, False
    for process in os.listdir(proc):  # noqa: PTH208 - names only, of thousands of entries
        if process.isdigit():
            try:
                with open(f"{proc}/{process}/cgroup") as cgroup:  # noqa: PTH123
                    # in its own cgroup or one below it, as with Delegate=yes
                    if not re.search(rf"/{re.escape(service)}(/|$)", cgroup.read(), re.MULTILINE):
                        continue
                with open(f"{proc}/{process}/smaps_rollup") as rollup:  # noqa: PTH123
                    match = re.search(r"^Pss:\s+(\d+) kB", rollup.read(), re.MULTILINE)
            except OSError:
                continue  # it ended meanwhile
            total, seen = total + int(match[1]) * 1024 if match else total, True
    return total if seen else None
