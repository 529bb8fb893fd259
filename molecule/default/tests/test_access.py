"""Who may do what with the Kubernetes API: the groups of an environment, and the pods themselves."""

from __future__ import annotations

import pytest
from conftest import Server

Ask = tuple[str, str, str]


def answers(server: Server, group: str, asks: list[Ask]) -> list[bool]:
    """May a member of the group? Each ask is a verb, a resource (with its subresource) and a namespace."""
    commands = []
    for verb, resource, namespace in asks:
        kind, _slash, part = resource.partition("/")
        subresource = f" --subresource={part}" if part else ""
        subject = f"--as=somebody --as-group=shaka:{group} --as-group=system:authenticated"
        commands.append(f"kubectl auth can-i {verb} {kind}{subresource} -n {namespace} {subject}")
    said = server.run(" ; ".join(commands), check=False).split()
    assert len(said) == len(asks) and set(said) <= {"yes", "no"}, said
    return [answer == "yes" for answer in said]


VIEWERS = [("get", "pods"), ("list", "events"), ("get", "configmaps"), ("list", "deployments.apps"), ("list", "networkpolicies.networking.k8s.io")]
OPERATORS = [
    ("get", "pods/log"), ("create", "pods/exec"), ("delete", "pods"), ("patch", "deployments.apps"), ("patch", "statefulsets.apps"),
    ("create", "jobs.batch"),
]  # fmt: skip
NOBODY = [
    ("get", "secrets"), ("list", "secrets"), ("create", "secrets"), ("create", "pods"), ("delete", "persistentvolumeclaims"),
    ("delete", "networkpolicies.networking.k8s.io"), ("patch", "resourcequotas"), ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("create", "serviceaccounts/token"),
]  # fmt: skip


def test_viewers_and_operators_may_what_they_are_for_and_only_in_their_environment(server: Server) -> None:
    wrong = []
    for group, allowed in (("viewers", VIEWERS), ("operators", VIEWERS + OPERATORS)):
        asks = [(*ask, "shaka-prod") for ask in [*VIEWERS, *OPERATORS, *NOBODY]] + [(*VIEWERS[0], "shaka-staging")]
        wanted = [ask[:2] in allowed and ask[2] == "shaka-prod" for ask in asks]
        found = answers(server, f"prod:{group}", asks)
        wrong += [f"{group}: {' '.join(ask)}: {is_so}" for ask, is_so, should in zip(asks, found, wanted, strict=True) if is_so != should]
    assert wrong == []


@pytest.mark.parametrize("namespace", ["shaka-dev", "shaka-staging", "shaka-prod", "shaka-shared"])
def test_no_pod_has_a_token_or_rights(server: Server, namespace: str) -> None:
    for pod in server.json(f"pods -n {namespace}")["items"]:
        mounts = [mount["mountPath"] for container in pod["spec"]["containers"] for mount in container.get("volumeMounts", [])]
        assert "/var/run/secrets/kubernetes.io/serviceaccount" not in mounts, pod["metadata"]["name"]
    accounts = server.run(f"kubectl get serviceaccounts -n {namespace} -o jsonpath='{{.items[*].metadata.name}}'").split()
    user = f"system:serviceaccount:{namespace}"
    said = server.run(" ; ".join(f"kubectl auth can-i list pods -n {namespace} --as={user}:{account}" for account in accounts), check=False)
    assert said.split() == ["no"] * len(accounts)


def test_a_privileged_pod_is_refused(server: Server) -> None:
    over = '{"spec": {"containers": [{"name": "p", "image": "lab.local/redis:7", "securityContext": {"privileged": true}}]}}'
    asked = server.run(f"kubectl run p -n shaka-dev --image=lab.local/redis:7 --overrides='{over}' 2>&1", check=False)
    assert "violates PodSecurity" in asked, asked
