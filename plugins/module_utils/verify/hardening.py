# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks that K3s's hardening is in force. Each check asks the running server and yields a sentence for each thing that is wrong.

It needs only the system's Python and the administrator's certificate: the verdict must depend neither on the engine's venv nor on kubectl.
"""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

API, KUBELET, READ_ONLY = 6443, 10250, 10255  # TCP ports
TIMEOUT = 10  # seconds for one question
LOG_TAIL = 1 << 20  # bytes at the end of the audit log, among which the check's own request must be
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"  # taint of a node that the cloud provider has not seen yet
# Field of the kubelet's configuration -> its flag, where the names differ.
FLAGS = {"podPidsLimit": "pod-max-pids"}


class NotReady(Exception):
    """The node is not Ready; the text says why."""


class HttpAnswer(NamedTuple):
    status: int
    body: Any

    @property
    def message(self) -> str:
        return str(self.body.get("message", "") if isinstance(self.body, Mapping) else self.body)


class ApiProbe:
    """Asks the API server and the kubelet on this machine, as the administrator or anonymously."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def ask(
        self, path: str, method: str = "GET", body: Any = None, *, anonymous: bool = False, port: int = API, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """One request over TLS. Raises NotReady when there is no answer."""
        tls = self.state / "server/tls"
        try:
            context = ssl.create_default_context(cafile=str(tls / "server-ca.crt"))
            if not anonymous:
                context.load_cert_chain(tls / "client-admin.crt", tls / "client-admin.key")
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context)
            try:
                text = None if body is None else json.dumps(body)
                connection.request(method, path, text, {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})})
                response = connection.getresponse()
                content = response.read().decode("utf-8", "replace")
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise NotReady(f"K3s does not answer on port {port}: {error}") from error
        try:
            return HttpAnswer(response.status, json.loads(content))
        except ValueError:
            return HttpAnswer(response.status, content)


def wait_until_ready(api: ApiProbe, node: str, seconds: float, pause: float) -> None:
    """Return once the node is Ready. Raises NotReady with the last reason when it is not Ready in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            reason = not_ready(api.ask(f"/api/v1/nodes/{node}"), node)
        except NotReady as error:
            reason = str(error)
        if not reason:
            return
        if time.monotonic() >= deadline:
            raise NotReady(f"node {node} is not Ready after {seconds:.0f} s: {reason}" if seconds else f"node {node} is not Ready: {reason}")
        time.sleep(pause)


def not_ready(answer: HttpAnswer, node: str) -> str:
    """Why pods cannot start on a node yet; empty when it is Ready and K3s's cloud provider has named its addresses, which a slow disk delays."""
    if answer.status != http.client.OK:
        return f"{answer.status} {answer.message}"
    ready: Mapping[str, Any] = next((entry for entry in answer.body.get("status", {}).get("conditions", ()) if entry["type"] == "Ready"), {})
    if ready.get("status") != "True":
        return str(ready.get("message") or "it says nothing yet")
    starting = any(taint["key"] == UNINITIALIZED for taint in answer.body.get("spec", {}).get("taints") or ())
    return f"K3s's cloud provider has not taken the taint {UNINITIALIZED} away yet" if starting else ""


def findings(api: ApiProbe, expected: Mapping[str, Any], *, may_write: bool) -> list[str]:
    """The findings of all checks; a check that gets no answer is a finding, too."""
    checks: list[Callable[[], Iterator[str]]] = [
        lambda: anonymous_access(api),
        lambda: authorization(api),
        lambda: node_labels(api, expected["node"], expected["labels"]),
        lambda: kubelet_settings(api, expected["node"], expected["kubelet"], expected["kubelet_arguments"]),
        lambda: pod_security(api, expected["pod_security"]),
        lambda: node_restriction(api, expected["node"]),
        lambda: encryption(api, expected["encryption"], may_write),
        lambda: audit_log(api, Path(expected["audit_log"])),
    ]
    result: list[str] = []
    for check in checks:
        try:
            result += check()
        except NotReady as error:
            result.append(str(error))
    return result


def anonymous_access(api: ApiProbe) -> Iterator[str]:
    """CIS 1.2.1, 4.2.1 and 4.2.4: requests without a certificate are refused, and the kubelet's port without TLS is closed."""
    for name, port, path in (("API server", API, "/api/v1/namespaces"), ("kubelet", KUBELET, "/pods")):
        status = api.ask(path, anonymous=True, port=port).status
        if status != http.client.UNAUTHORIZED:
            yield f"the {name} answers anonymous requests ({status}, not 401): take anonymous-auth out of k3s_config"
    with socket.socket() as probe:
        probe.settimeout(TIMEOUT)
        if probe.connect_ex(("127.0.0.1", READ_ONLY)) == 0:
            yield f"the kubelet's read-only port {READ_ONLY} is open: take read-only-port out of k3s_config"


def authorization(api: ApiProbe) -> Iterator[str]:
    """CIS 1.2.6 to 1.2.8: an account without any right has none, so RBAC is in force."""
    wanted = {"user": "shaka-probe-nobody", "resourceAttributes": {"namespace": "kube-system", "verb": "get", "resource": "secrets"}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": wanted}
    answer = api.ask("/apis/authorization.k8s.io/v1/subjectaccessreviews", "POST", review)
    if answer.status != http.client.CREATED:
        yield f"the API server does not say what an account without rights may do: {answer.status} {answer.message[:200]}"
    elif answer.body["status"].get("allowed"):
        yield "an account without rights may read Secrets: take authorization-mode out of kube-apiserver-arg, or delete a binding for all users"


def node_labels(api: ApiProbe, node: str, labels: Sequence[str]) -> Iterator[str]:
    has = api.ask(f"/api/v1/nodes/{node}").body.get("metadata", {}).get("labels", {})
    for label in labels:
        name, _equals, value = label.partition("=")
        if has.get(name) != value:
            yield f"the node lacks the label {label}: kubectl label node {node} --overwrite {label}"


def kubelet_settings(api: ApiProbe, node: str, fields: Mapping[str, Any], arguments: Sequence[str]) -> Iterator[str]:
    """The running kubelet has the configured values. A field that one of the user's flags overrides is not checked."""
    flags = {argument.removeprefix("--").partition("=")[0] for argument in arguments}
    answer = api.ask(f"/api/v1/nodes/{node}/proxy/configz")
    if answer.status != http.client.OK:
        yield f"the kubelet's settings cannot be read: {answer.status} {answer.message}"
        return
    running = answer.body.get("kubeletconfig", {})
    if (mode := running.get("authorization", {}).get("mode")) != "Webhook":
        yield f"the kubelet authorizes by {mode}, so that any certificate may execute in every pod: take authorization-mode out of kubelet-arg"
    for name, value in fields.items():
        if running.get(name) != value and not any(overrides(flag, name) for flag in flags):
            yield f"the kubelet runs with {name} {running.get(name)!r}, not {value!r}"


def overrides(flag: str, field: str) -> bool:
    """Whether a flag of the kubelet sets a field of its configuration: image-gc-high-threshold is imageGCHighThresholdPercent."""
    return field.lower().startswith(flag.replace("-", "")) or FLAGS.get(field) == flag


def pod_security(api: ApiProbe, standard: str) -> Iterator[str]:
    """A privileged pod is refused in a namespace without a label of its own."""
    if standard == "privileged":
        return
    container = {"name": "main", "image": "none.invalid/none", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shaka-probe"}, "spec": {"containers": [container]}}
    answer = api.ask("/api/v1/namespaces/default/pods?dryRun=All", "POST", pod)
    if answer.status != http.client.FORBIDDEN or f'violates PodSecurity "{standard}:' not in answer.message:
        yield f"a privileged pod in the namespace default is not refused by Pod Security ({answer.status} {answer.message[:200]})"


def node_restriction(api: ApiProbe, node: str) -> Iterator[str]:
    """One node's credentials cannot change another node."""
    headers = {"Impersonate-User": "system:node:shaka-probe", "Impersonate-Group": "system:nodes", "Content-Type": "application/merge-patch+json"}
    answer = api.ask(f"/api/v1/nodes/{node}?dryRun=All", "PATCH", {"metadata": {"labels": {"shaka-probe": "x"}}}, headers=headers)
    if answer.status != http.client.FORBIDDEN or "not allowed to modify node" not in answer.message:
        yield f"another node's credentials may change node {node} ({answer.status} {answer.message[:200]}): NodeRestriction is not in force"


def encryption(api: ApiProbe, provider: str, may_write: bool) -> Iterator[str]:
    """Every Secret in the datastore is encrypted, and by this provider."""
    database, probe = api.state / "server/db/state.db", ""
    rows = stored_secrets(database)
    if not rows and may_write:
        probe = f"shaka-probe-{secrets.token_hex(4)}"
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": probe}, "stringData": {"probe": secrets.token_hex(16)}}
        api.ask("/api/v1/namespaces/kube-system/secrets", "POST", secret)
        rows = stored_secrets(database)
        api.ask(f"/api/v1/namespaces/kube-system/secrets/{probe}", "DELETE")
        if not rows:
            yield "a new Secret is not in the datastore"
    prefix = f"k8s:enc:{provider}:".encode()
    wrong = [name.removeprefix("/registry/secrets/") for name, start in rows if not start.startswith(prefix)]
    if wrong:
        yield (
            f"{len(wrong)} of {len(rows)} Secrets are not encrypted by {provider} (such as {wrong[0]}): "
            "k3s secrets-encrypt rotate-keys (https://docs.k3s.io/cli/secrets-encrypt)"
        )


def stored_secrets(database: Path) -> list[tuple[str, bytes]]:
    """Key and first bytes of each Secret, as stored in K3s's SQLite datastore."""
    query = """
        SELECT name, CAST(substr(value, 1, 64) AS BLOB) FROM kine AS k
        WHERE name >= '/registry/secrets/' AND name < '/registry/secrets0' AND deleted = 0 AND id = (SELECT max(id) FROM kine WHERE name = k.name)"""
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=TIMEOUT)
        try:
            rows: list[tuple[str, bytes]] = connection.execute(query).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise NotReady(f"K3s's datastore {database} cannot be read: {error}") from error
    return rows


def audit_log(api: ApiProbe, path: Path) -> Iterator[str]:
    """The audit log records who reads Secrets, but not their content."""
    agent = f"shaka-probe/{secrets.token_hex(8)}"
    api.ask("/api/v1/namespaces/kube-system/secrets?limit=1", headers={"User-Agent": agent})
    for _attempt in range(20):
        event = logged(path, agent)
        if event is not None:
            break
        time.sleep(0.1)
    if event is None:
        yield f"reading Secrets leaves no trace in {path}"
    elif event.get("level") != "Metadata":
        yield f"the audit log keeps Secrets at level {event.get('level')}, not Metadata: correct k3s_audit_rules"
    for folder in (path.parent, api.state / "server") if path.exists() else ():
        if folder.stat().st_mode & 0o077:
            yield f"{folder} is open to others: chmod 0700 {folder}"


def logged(path: Path, agent: str) -> Mapping[str, Any] | None:
    """The event of one user agent, from the end of the log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - LOG_TAIL))
            line = next((line for line in log if agent.encode() in line), None)
        event: dict[str, Any] | None = json.loads(line) if line else None
    except (FileNotFoundError, ValueError):
        return None
    return event
