"""Images of a registry that asks for a login: pods of the platform's namespaces have it, with the inventory's password, and nothing else does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import Server

from lab import registry as registries

CONVERGE = "molecule/environments/converge.yml"
DATA = ("-e", "@molecule/environments/vars/data.yml", "-e", "platform_only=dev")
LOGIN, PASSWORD = "puller", "pulls-images-7Qx"
HTPASSWD = f"{LOGIN}:$2b$04$Ugm4FkXp3h5WLxE.KFUcTOTNOLzYaBT5HKpAuziJZ3ZyVgIfIBfIq\n"  # of that password
SECRETS = "{{ lab.secrets | combine(__secrets, {'registries': {'lab': given_password}}, recursive=true) }}"
LOOPBACK = "127.0.0.1"  # a container runtime speaks HTTP without TLS there only


@contextmanager
def tunnel(server: Server, port: int) -> Iterator[None]:
    """The server's own port leads to this machine's."""
    forward = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{LOOPBACK}:{port}:{LOOPBACK}:{port}"]
    process = subprocess.Popen(["ssh", *server.ssh_options, *forward, f"root@{server.lab['address']}"])
    try:
        server.run(f"for i in $(seq 40); do curl -s -o /dev/null http://{LOOPBACK}:{port}/v2/ && exit; sleep 0.5; done; exit 1")
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def image(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image that nobody gets without the login."""
    with registries.serving(LOOPBACK, tmp_path_factory.mktemp("private") / "registry", HTPASSWD) as registry:
        source = f"docker-archive:{server.lab['bundle']}/images/platform.tar.zst:lab.local/api:1"
        registries.push(source, f"{registry}/private/api:1", "--dest-creds", f"{LOGIN}:{PASSWORD}")
        with tunnel(server, int(registry.rpartition(":")[2])):
            yield f"{registry}/private/api:1"


def converge(server: Server, image: str, password: str) -> str:
    """The platform with the registry in its inventory; what the run said."""
    given = {"platform_registries": {image.partition("/")[0]: {"username": LOGIN, "password": "lab"}}, "platform_secrets": SECRETS}
    done = server.playbook(CONVERGE, "--tags", "tenancy,config,postgres", *DATA, "-e", json.dumps({**given, "given_password": password}))
    assert done.returncode == 0, done.stdout
    return done.stdout


def state(server: Server, image: str, account: str) -> str:
    """What becomes of a pod of dev that always pulls the image, under a ServiceAccount: the reason why its container waits, or that it started."""
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container: dict[str, Any] = {"name": "main", "image": image, "imagePullPolicy": "Always", "securityContext": locked}
    context = {"runAsUser": 1000, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"serviceAccountName": account, "automountServiceAccountToken": False, "restartPolicy": "Never"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pulls"}, "spec": {**spec, "securityContext": context, "containers": [container]}}
    server.run(f"kubectl apply -n shaka-dev -f - <<'EOF'\n{json.dumps(pod)}\nEOF")
    told = "{.status.containerStatuses[0].state.waiting.reason} {.status.containerStatuses[0].imageID}"
    look = f"kubectl get pod pulls -n shaka-dev -o jsonpath='{told}'"
    ended = "*ErrImage* | *BackOff* | *sha256:*"
    try:
        said = server.run(f"for i in $(seq 60); do said=$({look}); case $said in {ended}) break ;; esac; sleep 0.5; done; echo $said")
        return "started" if "sha256:" in said else said.strip()
    finally:
        server.run("kubectl delete pod pulls -n shaka-dev --grace-period=0 --force", check=False)


def test_the_platform_s_pods_pull_with_the_login_others_do_not_and_it_goes_with_the_registry(server: Server, image: str) -> None:
    converge(server, image, "another-token-9Zk")
    assert state(server, image, "postgres") in ("ErrImagePull", "ImagePullBackOff")
    said = converge(server, image, PASSWORD)
    assert PASSWORD not in said
    assert state(server, image, "postgres") == "started"
    server.run("kubectl create serviceaccount stranger -n shaka-dev")
    try:
        assert state(server, image, "stranger") in ("ErrImagePull", "ImagePullBackOff")
    finally:
        server.run("kubectl delete serviceaccount stranger -n shaka-dev")
    gone = server.playbook(CONVERGE, "--tags", "tenancy,config,postgres", *DATA)
    assert gone.returncode == 0, gone.stdout
    assert server.run("kubectl get secret registries -n shaka-dev --ignore-not-found -o name") == ""
    accounts = server.json("serviceaccounts -n shaka-dev")["items"]
    assert not any(account.get("imagePullSecrets") for account in accounts)
