"""Two servers, or a server before and after, told apart by what matters: what is random or dated is left out, and named here with its reason."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from prove.practice import Practice

# Files that hold keys, identities, times or data: there, with their rights, is all that two servers share.
RANDOM_FILES = re.compile(
    r"""^(
    /etc/ssh/ssh_host_.*|/etc/machine-id|/etc/host(s|name)|/etc/resolv\.conf|/root/\.ssh/.*    # the server's own
    |/etc/(passwd|group|shadow|gshadow|subuid|subgid)-                                          # backups of account files: their order of making
    |/etc/ld\.so\.cache|/etc/shadow                                                             # dated
    |/etc/rancher/(k3s/k3s\.yaml|node/.*)                                                       # certificates
    |/var/lib/rancher/k3s/server/(tls|cred|token|node-token|db|agent-token)(/.*)?               # keys and the datastore
    |/var/lib/rancher/k3s/agent/(.*\.(crt|key|kubeconfig)|images/\.cache\.json)
    |/home/[^/]+/(\.kube/config|\.ssh/authorized_keys)                                         # the operator's token; each lab's own key
    |/var/lib/rancher/k3s/server/logs/audit\.log
    |/var/lib/shaka/artifacts\.json|/var/lib/shaka/(.*/)?checked.*                              # times of files
    )$""",
    re.VERBOSE,
)
# Files whose presence depends on when something ran.
PASSING_FILES = re.compile(
    r"""^(
    /root/\.kube/cache(/.*)?|/var/lib/rancher/k3s/server/db/state\.db-(wal|shm)
    |/var/lib/rancher/k3s/server/logs/audit-.*|.*/\.(lock|pwd\.lock)
    |/var/lib/(dbus|private|misc|pam|sudo|logrotate|ucf|chrony|unattended-upgrades|cni)(/.*)?|/var/spool/.*
    |/var/lib/rancher/k3s/server/tls/dynamic-cert\.json|/var/lib/rancher/k3s/server/tls/temporary-certs(/.*)?
    )$""",
    re.VERBOSE,
)
PASSING_UNITS = re.compile(r"^(apt-daily|dpkg-db|e2scrub|fstrim|getty|modprobe@|run-|session-|systemd-(hostnamed|localed|timedated|tmpfiles))")
RUNNING_TIMER = re.compile(r"(?<=\.timer active )running$")  # for as long as what it has started runs
# Kinds that tell of events, leases, measurements and addresses, or that a controller makes and drops on its way.
PASSING_KINDS = frozenset(
    "Event Lease Endpoints EndpointSlice PodMetrics NodeMetrics IPAddress ComponentStatus CertificateRequest Order Challenge CSINode"
    " VolumeAttachment".split()
)
METADATA = frozenset("uid resourceVersion generation creationTimestamp managedFields generateName selfLink deletionTimestamp finalizers".split())
ANNOTATIONS = re.compile(r"leader$|^k3s\.io/|^node\.alpha\.|last-applied|private-key-secret-name|etcd|rotat")
UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\n?", re.DOTALL)
TIME = re.compile(r"\d{4}-\d\d-\d\d(T[\d:.]+Z)?")
GIVEN = frozenset("clusterIP clusterIPs nodePort healthCheckNodePort".split())


def cluster(practice: Practice) -> dict[str, Any]:
    """Every object of every kind that can be listed, by a name that two clusters share."""
    kinds = practice.run("kubectl api-resources --verbs=list -o name").split()
    wanted = ",".join(
        kind for kind in kinds if not kind.endswith(("metrics.k8s.io", ".events.k8s.io")) and kind not in ("events", "componentstatuses")
    )
    items = json.loads(practice.run(f"kubectl get {wanted} --all-namespaces -o json"))["items"]
    return normalised(items)


def normalised(items: list[dict[str, Any]]) -> dict[str, Any]:
    objects: dict[str, Any] = {}
    pods: dict[str, list[str]] = {}
    for item in items:
        metadata, kind = item["metadata"], item["kind"]
        owners = [f"{owner['kind']}/{owner['name']}" for owner in metadata.get("ownerReferences", ())]
        place = metadata.get("namespace", "")
        if kind in PASSING_KINDS or (kind == "Job" and owners):
            continue
        if kind == "Pod":
            pods.setdefault(f"Pods {place} of {owners[0] if owners else metadata['name']}", []).append(pod(item))
            continue
        name = metadata["name"]
        if kind == "PersistentVolume":
            claim = item["spec"].get("claimRef", {})
            name = f"of {claim.get('namespace')}/{claim.get('name')}"
        objects[f"{kind} {place}/{name}"] = content(item)
    return {**objects, **{key: sorted(states) for key, states in pods.items()}}


def pod(item: Mapping[str, Any]) -> str:
    """What a pod is, without its name: its images, and whether it runs."""
    images = ", ".join(container["image"] for container in item["spec"]["containers"])
    ready = all(container.get("ready") for container in item["status"].get("containerStatuses", ()))
    return f"{images}: {item['status'].get('phase')}, {'ready' if ready else 'not ready'}"


def content(item: Mapping[str, Any]) -> Any:
    """An object without what only this cluster can know."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in METADATA}
    metadata["annotations"] = {key: value for key, value in metadata.get("annotations", {}).items() if not ANNOTATIONS.search(key)}
    metadata["ownerReferences"] = [{"kind": owner["kind"], "name": owner["name"]} for owner in metadata.get("ownerReferences", ())]
    rest = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    if item["kind"] == "Node":
        rest["allocatable"] = item["status"]["allocatable"]
    if item["kind"] == "Secret":
        generated = item["metadata"]["name"].endswith(".node-password.k3s")
        rest["data"] = {key: "<generated>" if generated else secret(value) for key, value in (item.get("data") or {}).items()}
    return plain({"metadata": metadata, **rest})


def secret(value: str) -> str:
    """A Secret's value: itself, unless it is a key or certificate."""
    try:
        text = base64.b64decode(value, validate=True)
    except binascii.Error:
        return value
    return "<pem>" if b"-----BEGIN" in text else value


def plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        given = {key: "<given>" for key, each in value.items() if key in GIVEN and each not in ("None", ["None"])}
        return {key: given.get(key) or plain(each) for key, each in value.items() if key != "resourceVersion"}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str):
        if value.startswith("LS0tLS1CRUdJTi"):  # base64 of -----BEGIN
            return "<pem>"
        return TIME.sub("<time>", UID.sub("<uid>", PEM.sub("<pem>", value)))
    return value


def server(state: Mapping[str, Any]) -> dict[str, Any]:
    """The comparable part of what server_state.py says."""
    files = {
        path: (" ".join(text.split()[:3]) if RANDOM_FILES.match(path) else text)
        for path, text in state["files"].items()
        if not PASSING_FILES.match(path)
    }
    tables = sorted(line.rstrip(" {") for line in state["nft"].splitlines() if line.startswith("table "))
    return {
        "files": files,
        "shaka table": state["shaka table"].splitlines(),
        "nft tables": tables,
        "units": [line for line in state["units"] if not PASSING_UNITS.match(line)],
        "active": [RUNNING_TIMER.sub("waiting", line) for line in state["active"] if not PASSING_UNITS.match(line)],
        "sysctls": state["sysctls"],
        "packages": state["packages"],
    }


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Each place where two states differ, in words."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            where = f"{path} > {key}" if path else str(key)
            if key not in after:
                yield f"{where}: is missing"
            elif key not in before:
                yield f"{where}: is additional"
            else:
                yield from differences(before[key], after[key], where)
    elif isinstance(before, list) and isinstance(after, list) and all(isinstance(each, str) for each in [*before, *after]):
        yield from (f"{path}: {each!r} is missing" for each in before if each not in after)
        yield from (f"{path}: {each!r} is additional" for each in after if each not in before)
    elif before != after:
        yield f"{path}: {short(before)} became {short(after)}"


def short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) < 160 else f"{text[:100]}...{text[-50:]}"
