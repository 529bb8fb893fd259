"""Where a secret's value must not be: every secret in every form that a program may give it, searched for in texts, on disks and in process lists."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

SEARCH = Path(__file__).with_name("server_search.py")
SHORTEST = 10  # characters below which a part of a value is no evidence
# Where a value belongs on the server's disk, and why. None of it may be readable by others.
BELONGS = re.compile(
    r"""^(
    /var/lib/kubelet/pods/[^/]+/volumes/kubernetes\.io~(secret|projected)/.*           # Secrets mounted into their pods, in memory
    |/run/k3s/containerd/.*/config\.json|/run/containerd/.*/config\.json               # a container's environment, in memory
    |/var/lib/rancher/k3s/agent/containerd/io\.containerd\.metadata\.v1\.bolt/meta\.db  # the same, as containerd keeps it
    |/var/lib/rancher/k3s/agent/containerd/io\.containerd\.(grpc\.v1\.cri|sandbox\.controller\.v1\.shim)/.*
    |/var/lib/rancher/k3s/server/(token|node-token)                                    # the cluster's token itself
    )$""",
    re.VERBOSE,
)

Runs = Callable[[str, str], str]  # command, stdin -> output, on the server


def forms(value: str) -> set[str]:
    """How a value may appear: as it is, in base64 (also in the middle of a longer text), in hex, URL-encoded, as a JSON string."""
    raw = value.encode()
    found = {value, raw.hex(), raw.hex().upper(), quote(value, safe=""), json.dumps(value)[1:-1]}
    for shift in range(3):
        # the characters that depend on the neighbours are left out
        coded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        core = coded[(0, 2, 3)[shift] :]
        core = core[: len(core) - (0 if (len(raw) + shift) % 3 == 0 else 1)]
        found |= {core, core.translate(str.maketrans("+/", "-_"))}
    return {form for form in found if len(form) >= SHORTEST}


def needles(values: Mapping[str, str]) -> dict[str, str]:
    """Form -> name of the secret."""
    return {form: name for name, value in values.items() for form in forms(value)}


def secrets_of(lab: Mapping[str, Any], token: str) -> dict[str, str]:
    """Every secret of a lab's platform by its name."""
    found = {f"{place}/{name}": value for place, entries in lab["secrets"].items() for name, value in entries.items()}
    identity = Path(lab["backup_identity_file"]).read_text()
    found["age identity"] = next(line for line in identity.splitlines() if line.startswith("AGE-SECRET-KEY"))
    found["K3s token"] = token.strip().rpartition(":")[2]
    return found


def in_text(text: str, wanted: Mapping[str, str]) -> list[str]:
    """The names of the secrets that a text gives away."""
    return sorted({name for form, name in wanted.items() if form in text})


def in_files(folders: Iterable[Path], wanted: Mapping[str, str], since: float) -> list[str]:
    """The same for the controller's files that are younger than a moment."""
    found = []
    for folder in folders:
        for path in folder.rglob("*") if folder.is_dir() else [folder] if folder.exists() else ():
            try:
                if path.is_file() and not path.is_symlink() and path.stat().st_mtime >= since:
                    found += [f"{path}: {name}" for name in in_text(path.read_bytes().decode("utf-8", "replace"), wanted)]
            except OSError:
                continue  # it went while we looked
    return found


def on_server(run: Runs, wanted: Mapping[str, str]) -> list[str]:
    """Search the server's whole disk, journal and process list; the values go there by stdin."""
    program = SEARCH.read_text()
    answer = json.loads(run(f"python3 -c '{program}'", json.dumps(wanted)))
    findings = [f"{place}: {name}" for place, name in answer["findings"]]
    for path, name, readable in answer["files"]:
        if readable:
            findings.append(f"{path}, which everybody can read: {name}")
        elif not BELONGS.match(path):
            findings.append(f"{path}: {name}")
    assert answer["bytes"] > 1 << 20, "the search read next to nothing"
    return findings


def in_cluster(run: Runs, wanted: Mapping[str, str]) -> list[str]:
    """Search all objects but Secrets, with their managed fields and events, and every container's log."""
    kinds = run("kubectl api-resources --verbs=list -o name", "").split()
    readable = ",".join(kind for kind in kinds if kind != "secrets" and not kind.endswith("metrics.k8s.io"))
    findings = [f"objects: {name}" for name in in_text(run(f"kubectl get {readable} -A -o yaml --show-managed-fields", ""), wanted)]
    metadata = "jsonpath={range .items[*]}{.metadata}{end}"
    findings += [f"Secrets' metadata: {name}" for name in in_text(run(f"kubectl get secrets -A -o '{metadata}'", ""), wanted)]
    pods = run("kubectl get pods -A --no-headers -o custom-columns=N:.metadata.namespace,P:.metadata.name", "").split("\n")
    script = "".join(f"kubectl logs -n {' '.join(pod.split())} --all-containers --prefix;" for pod in pods if pod)
    return findings + [f"container logs: {name}" for name in in_text(run(f"{script} true", ""), wanted)]


def command_lines(pids: Iterable[int]) -> str:
    """The command lines of processes of this machine."""
    texts = []
    for pid in pids:
        try:
            texts.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(texts)


def sampler(ssh: list[str], wanted: Mapping[str, str]) -> subprocess.Popen[str]:
    """Look at the server's process list all the time, until `stop_sampler`."""
    process = subprocess.Popen([*ssh, f"python3 -c '{SEARCH.read_text()}' sample"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    process.stdin.write(json.dumps(wanted) + "\n")
    process.stdin.flush()
    return process


def stop_sampler(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """How many command lines it saw, and which secrets in them."""
    out, _err = process.communicate("stop\n", timeout=60)
    answer = json.loads(out)
    return int(answer["seen"]), [f"{place}: {name}" for place, name in answer["findings"]]
