"""Environments come and go, and volumes grow: what is removed from the inventory leaves the cluster, and its data does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT, Server, settled

CONVERGE = "molecule/environments/converge.yml"
DATA = ("-e", "@molecule/environments/vars/data.yml")
TAGS = ("--tags", "tenancy,config,postgres,redis")
QUERY = "kubectl exec -n shaka-staging postgres-0 -- psql -XAtq -v ON_ERROR_STOP=1 -U shaka_staging -d shaka_staging -c"
PROD = "kubectl exec -n shaka-prod postgres-0 -- psql -XAtq -v ON_ERROR_STOP=1 -U shaka_production"
TOKENS = "kubectl get serviceaccount default -n shaka-staging -o jsonpath='{.automountServiceAccountToken}'"
WITHOUT_SECRETS = "{{ lab.secrets | combine(__secrets, recursive=true) | dict2items | rejectattr('key', 'equalto', 'staging') | items2dict }}"


def without_staging(folder: Path) -> str:
    """The inventory's environments without staging, as an operator would leave them, in a file for `-e @`."""
    inventory = yaml.safe_load((ROOT / "inventories/sandbox/group_vars/all/platform.yml").read_text())
    environments = {name: value for name, value in inventory["platform_environments"].items() if name != "staging"}
    path = folder / "without-staging.yml"
    path.write_text(yaml.safe_dump({"platform_environments": environments, "platform_secrets": WITHOUT_SECRETS}, sort_keys=False))
    return f"@{path}"


def varied(folder: Path, **over: Any) -> tuple[str, str]:
    """The data layer of data.yml with some of prod's values replaced, for `-e`."""
    changed = yaml.safe_load((ROOT / "molecule/environments/vars/data.yml").read_text())
    prod = changed["platform_profiles"]["data"]["environments"]["prod"]
    for part, values in over.items():
        prod[part] |= values
    (folder / "data.yml").write_text(yaml.safe_dump(changed))
    return "-e", f"@{folder}/data.yml"


def test_a_removed_environment_keeps_its_volume_and_finds_its_data_when_it_returns(server: Server, tmp_path: Path) -> None:
    server.run(f"{QUERY} 'drop table if exists kept' -c 'create table kept (word text)' -c \"insert into kept values ('here')\"")
    volume = server.run("kubectl get pvc postgres-pvc -n shaka-staging -o jsonpath='{.spec.volumeName}'")
    others = server.run("kubectl get pods -n shaka-prod -o jsonpath='{.items[*].metadata.uid}'")

    removed = server.playbook(CONVERGE, *TAGS, *DATA, "-e", without_staging(tmp_path))
    assert removed.returncode == 0, removed.stdout
    ours = "deployments,statefulsets,services,secrets,configmaps,cronjobs,roles,rolebindings,poddisruptionbudgets"
    left = server.run(f"kubectl get {ours} -n shaka-staging -l app.kubernetes.io/managed-by=shaka.platform -o name")
    assert not left, f"staging is gone from the inventory and still has {left}"
    server.run(
        "kubectl get networkpolicy/default-deny resourcequota/quota limitrange/limits -n shaka-staging"
    )  # what shields a namespace stays with it
    server.run("kubectl wait --for=delete pod/postgres-0 -n shaka-staging --timeout=90s")
    assert server.run("kubectl get pvc postgres-pvc -n shaka-staging -o jsonpath='{.spec.volumeName}'") == volume

    assert server.run(TOKENS) == "false", "what shields a namespace stays with it"
    server.run("kubectl delete serviceaccount default -n shaka-staging")  # Kubernetes makes another, which gives tokens

    returned = server.playbook(CONVERGE, *TAGS, *DATA)
    assert returned.returncode == 0, returned.stdout
    assert server.run(f"{QUERY} 'select word from kept'").strip() == "here"
    assert server.run(TOKENS) == "false"
    assert server.run("kubectl get pods -n shaka-prod -o jsonpath='{.items[*].metadata.uid}'") == others, "prod's pods were touched"


def test_volumes_grow_with_their_data_and_what_leaves_a_list_is_kept(server: Server, tmp_path: Path) -> None:
    server.run(f"{PROD} -d shaka_production -c 'drop table if exists grown' -c 'create table grown as select 1 as number'")
    cache = "kubectl exec -n shaka-prod redis-0 -- redis-cli"
    server.run(f"{cache} SET before grown")
    volumes = server.run("kubectl get pvc -n shaka-prod -o jsonpath='{.items[*].spec.volumeName}'")
    larger = varied(tmp_path, postgres={"storage": "25Gi", "databases": [], "extensions": []}, redis={"storage": "2Gi"})
    done = server.playbook(CONVERGE, *TAGS, *larger)
    assert done.returncode == 0, done.stdout
    found = server.run("kubectl get pvc -n shaka-prod -o jsonpath='{.items[*].spec.resources.requests.storage} {.items[*].spec.volumeName}'")
    assert found == f"25Gi 2Gi {volumes}"
    assert server.run(f"{PROD} -d shaka_production -c 'select number from grown' -c 'show max_wal_size'").split() == ["1", "1280MB"]
    assert server.run(f"{cache} GET before").strip() == "grown"
    extensions = "select count(*) from pg_extension where extname = 'pgcrypto'"
    assert server.run(f'{PROD} -d shaka_reports -c "{extensions}"').strip() == "1"
    again = server.playbook(CONVERGE, *TAGS, *larger)
    assert again.returncode == 0 and settled(again.stdout), again.stdout

    refused = server.playbook(CONVERGE, "--tags", "redis", *varied(tmp_path, redis={"storage": "1Gi"}))
    assert refused.returncode == 2 and "asks for 1Gi, and the volume has 2Gi: a volume does not shrink" in refused.stdout, refused.stdout
