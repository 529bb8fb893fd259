"""Environments come and go: what is removed from the inventory leaves the cluster, and its data does not."""

from __future__ import annotations

from pathlib import Path

import yaml
from conftest import ROOT, Server

CONVERGE = "molecule/environments/converge.yml"
QUERY = "kubectl exec -n shaka-staging postgres-0 -- psql -XAtq -v ON_ERROR_STOP=1 -U shaka_staging -d shaka_staging -c"
WITHOUT_SECRETS = "{{ lab.secrets | dict2items | rejectattr('key', 'equalto', 'staging') | items2dict }}"


def without_staging(folder: Path) -> str:
    """The inventory's environments without staging, as an operator would leave them, in a file for `-e @`."""
    inventory = yaml.safe_load((ROOT / "inventories/sandbox/group_vars/all/platform.yml").read_text())
    environments = {name: value for name, value in inventory["platform_environments"].items() if name != "staging"}
    path = folder / "without-staging.yml"
    path.write_text(yaml.safe_dump({"platform_environments": environments, "platform_secrets": WITHOUT_SECRETS}, sort_keys=False))
    return f"@{path}"


def test_a_removed_environment_keeps_its_volume_and_finds_its_data_when_it_returns(server: Server, tmp_path: Path) -> None:
    server.run(f"{QUERY} 'drop table if exists kept' -c 'create table kept (word text)' -c \"insert into kept values ('here')\"")
    volume = server.run("kubectl get pvc postgres-pvc -n shaka-staging -o jsonpath='{.spec.volumeName}'")
    others = server.run("kubectl get pods -n shaka-prod -o jsonpath='{.items[*].metadata.uid}'")

    removed = server.playbook(CONVERGE, "--tags", "tenancy,config,postgres,redis", "-e", without_staging(tmp_path))
    assert removed.returncode == 0, removed.stdout
    ours = "deployments,statefulsets,services,secrets,configmaps,cronjobs,roles,rolebindings,poddisruptionbudgets"
    left = server.run(f"kubectl get {ours} -n shaka-staging -l app.kubernetes.io/managed-by=shaka.platform -o name")
    assert not left, f"staging is gone from the inventory and still has {left}"
    server.run(
        "kubectl get networkpolicy/default-deny resourcequota/quota limitrange/limits -n shaka-staging"
    )  # what shields a namespace stays with it
    server.run("kubectl wait --for=delete pod/postgres-0 -n shaka-staging --timeout=90s")
    assert server.run("kubectl get pvc postgres-pvc -n shaka-staging -o jsonpath='{.spec.volumeName}'") == volume

    returned = server.playbook(CONVERGE, "--tags", "tenancy,config,postgres,redis")
    assert returned.returncode == 0, returned.stdout
    assert server.run(f"{QUERY} 'select word from kept'").strip() == "here"
    assert server.run("kubectl get pods -n shaka-prod -o jsonpath='{.items[*].metadata.uid}'") == others, "prod's pods were touched"
