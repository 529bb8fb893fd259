"""Ten edits by hand, four and more of them additions: one drift run names all of them, one site run puts all of them back. And what may differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Server


@dataclass(frozen=True)
class Edit:
    """What somebody typed, the object that drift must name with the field, and how to see that it is as it was."""

    command: str
    title: str
    field: str
    look: str


SIDECAR = {"spec": {"template": {"spec": {"containers": [{"name": "debug", "image": "debug"}]}}}}
EDITS = [
    # added
    Edit(
        "-n shaka-dev set env deployment/shaka-api DEBUG=1",
        "Deployment shaka-dev/shaka-api",
        "spec.template.spec.containers[api].env",
        "-n shaka-dev deployment shaka-api -o jsonpath='{.spec.template.spec.containers}'",
    ),
    Edit(
        f"-n shaka-staging patch deployment shaka-api -p '{json.dumps(SIDECAR)}'",
        "Deployment shaka-staging/shaka-api",
        "spec.template.spec.containers[debug]",
        "-n shaka-staging deployment shaka-api -o jsonpath='{.spec.template.spec.containers[*].name}'",
    ),
    Edit(
        """-n shaka-prod patch configmap shaka-api-config --type merge -p '{"data": {"FEATURE_X": "on"}}'""",
        "ConfigMap shaka-prod/shaka-api-config",
        "data.FEATURE_X",
        "-n shaka-prod configmap shaka-api-config -o jsonpath='{.data}'",
    ),
    Edit(
        "label namespace shaka-monitoring pod-security.kubernetes.io/audit=privileged",
        "Namespace shaka-monitoring",
        "metadata.labels[pod-security.kubernetes.io/audit]",
        "namespace shaka-monitoring -o jsonpath='{.metadata.labels}'",
    ),
    # changed
    Edit(
        """-n shaka-prod patch resourcequota quota --type merge -p '{"spec": {"hard": {"pods": "30"}}}'""",
        "ResourceQuota shaka-prod/quota",
        "spec.hard.pods",
        "-n shaka-prod resourcequota quota -o jsonpath='{.spec}'",
    ),
    Edit(
        """-n shaka-dev patch secret shaka-api-secrets --type merge -p '{"stringData": {"SMTP_PASSWORD": "by-hand"}}'""",
        "Secret shaka-dev/shaka-api-secrets",
        "data.SMTP_PASSWORD",
        "-n shaka-dev secret shaka-api-secrets -o jsonpath='{.data}' | sha256sum",
    ),
    Edit(
        "-n shaka-prod scale deployment shaka-api --replicas=1",
        "Deployment shaka-prod/shaka-api",
        "spec.replicas",
        "-n shaka-prod deployment shaka-api -o jsonpath='{.spec.replicas} {.spec.template.spec.containers[*].image}'",
    ),
    Edit(
        "-n cert-manager set image deployment/cert-manager-cainjector cert-manager-cainjector=registry.invalid/other:1",
        "Deployment cert-manager/cert-manager-cainjector",
        "spec.template.spec.containers[cert-manager-cainjector].image",
        "-n cert-manager deployment cert-manager-cainjector -o jsonpath='{.spec.template.spec.containers[*].image}'",
    ),
    # deleted
    Edit(
        "-n shaka-prod delete service redis-prod",
        "Service shaka-prod/redis-prod",
        "",
        "-n shaka-prod service redis-prod -o jsonpath='{.spec.externalName}'",
    ),
    Edit(
        "-n shaka-prod delete networkpolicy default-deny",
        "NetworkPolicy shaka-prod/default-deny",
        "",
        "-n shaka-prod networkpolicy default-deny -o jsonpath='{.spec}'",
    ),
]
ROWS = "kubectl exec -n shaka-prod postgres-0 -- psql -XAt -U shaka_production -d shaka_production -c 'select count(*) from visits'"


def looks(server: Server) -> list[str]:
    """What each edit touches, in one connection."""
    answers = server.run("; echo ---; ".join(f"kubectl get {edit.look}" for edit in EDITS), check=False)  # two of them are gone for a while
    return [answer.strip() for answer in answers.split("---")]


@pytest.fixture
def edited(server: Server) -> Iterator[list[str]]:
    """How it was before ten edits; put back also when the test fails."""
    before = looks(server)
    assert all(before), before
    server.run(" && ".join(f"kubectl {edit.command}" for edit in EDITS))
    yield before
    if looks(server) != before:
        server.playbook("site.yml")


def test_ten_edits_are_named_by_one_run_and_put_back_by_one(server: Server, edited: list[str]) -> None:
    server.curl("prod", "--fail")  # makes the table, and a row
    rows = server.run(ROWS)
    touched = looks(server)
    assert all(now != was for now, was in zip(touched, edited, strict=True))

    found = server.playbook("playbooks/drift.yml")
    assert found.returncode == 3, found.stdout
    report = json.loads((Path(server.lab["reports"]) / "drift.json").read_text())
    assert report["status"] == "findings"
    differing = named(report)
    assert sorted(differing) == sorted(edit.title for edit in EDITS)
    for edit in EDITS:
        assert not edit.field or edit.field in differing[edit.title], (edit, differing)
        assert edit.title.split()[1] in found.stdout
    assert looks(server) == touched, "drift changed something"

    site = server.playbook("site.yml")
    assert site.returncode == 0, site.stdout
    assert looks(server) == edited
    assert server.run(ROWS) == rows

    clean = server.playbook("playbooks/drift.yml")
    assert clean.returncode == 0, clean.stdout


IGNORED = {"kind": "Deployment", "namespace": "shaka-p*", "name": "shaka-api", "query": "spec.replicas", "reason": "scaled for the launch"}


@pytest.fixture
def scaled(server: Server) -> Iterator[None]:
    """The API of prod with another number of pods than the inventory's."""
    scale = "kubectl scale deployment shaka-api -n shaka-prod --replicas={}"
    replicas = server.run("kubectl get deployment shaka-api -n shaka-prod -o jsonpath='{.spec.replicas}'")
    server.run(scale.format(1))
    yield
    server.run(scale.format(replicas) + "; kubectl rollout status deployment shaka-api -n shaka-prod --timeout=120s")


@pytest.mark.usefixtures("scaled")
@pytest.mark.parametrize(("until", "code"), [("2999-12-31", 0), ("2026-01-31", 3)])
def test_a_field_that_may_differ_is_shown_and_not_counted_until_its_last_day(server: Server, until: str, code: int) -> None:
    rules = json.dumps({"platform_drift_ignore": [{**IGNORED, "until": until}]})
    done = server.playbook("playbooks/drift.yml", "-e", rules)
    assert done.returncode == code, done.stdout
    report = json.loads((Path(server.lab["reports"]) / "drift.json").read_text())
    ignored = [obj for host in report["hosts"].values() for obj in host["objects"]["ignored"]]
    if code == 0:
        assert named(report) == {}
        assert [(obj["name"], obj["fields"], obj["reason"]) for obj in ignored] == [("shaka-api", ["spec.replicas"], "scaled for the launch")]
        assert "scaled for the launch (until 2999-12-31)" in done.stdout
    else:
        assert named(report) == {"Deployment shaka-prod/shaka-api": ["spec.replicas"]}
        assert ignored == []
        assert "platform_drift_ignore[0] (Deployment shaka-p*/shaka-api: spec.replicas) ended on 2026-01-31" in done.stdout


def named(report: dict[str, Any]) -> dict[str, list[str]]:
    """The fields of each object that the report names as differing."""
    objects = [obj for host in report["hosts"].values() for obj in host["objects"]["differing"]]
    return {f"{obj['kind']} {obj['namespace'] + '/' if obj['namespace'] else ''}{obj['name']}": obj["fields"] for obj in objects}
