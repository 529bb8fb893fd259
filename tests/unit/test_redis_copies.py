"""Which Redis is copied to S3, and what is made for it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.filter.redis_servers import redis_servers
from ansible_collections.shaka.platform.plugins.module_utils.data.redis import allowed, copier, differences
from test_apps import pods_of, rendered
from test_model import change, inventory, run, secret


def copied(**environments: Any) -> dict[str, Any]:
    """The inventory with copies of the shared Redis, and some environments changed."""
    data = inventory()
    data["platform_redis"] = {"backup": {"enabled": True, "schedule": "30 2 * * *"}}
    data["platform_secrets"]["shared"]["BACKUP_KEY"] = secret("copies")
    for name, redis in environments.items():
        data["platform_environments"][name]["redis"] |= redis
        data["platform_secrets"][name]["REDIS_ADMIN_PASSWORD"] = secret(f"admin{name}")
    return data


def objects(data: dict[str, Any], role: str) -> dict[tuple[str, str, str], Any]:
    """Of all namespaces, by namespace, kind and name."""
    return {
        (item["metadata"].get("namespace", ""), item["kind"], item["metadata"]["name"]): item
        for part in rendered(data, role)
        for item in part.objects
    }


def test_nothing_is_copied_unless_it_is_asked_for() -> None:
    model = run(inventory()).model
    assert model["redis_copies"] == {} and redis_servers(model)[0]["copied"] == ""
    assert not [key for key in objects(inventory(), "backup") if key[2].startswith("redis")]
    assert not [key for key in objects(inventory(), "restore") if key[2].startswith("redis")]


def test_the_shared_one_has_its_own_plan_and_an_environment_s_that_of_its_databases() -> None:
    found = run(copied(prod={"dedicated": True, "backup": True}))
    assert found.problems == [], found.message()
    copies = found.model["redis_copies"]
    assert (copies["shared"]["namespace"], copies["shared"]["backup"]["schedule"]) == ("acme-shared", "30 2 * * *")
    assert copies["shared"]["backup"]["s3"]["bucket"] == "backups" and copies["shared"]["backup"]["writer"]["access_key"] == "s3/ACCESS_KEY"
    assert (copies["prod"]["namespace"], copies["prod"]["service"], copies["prod"]["backup"]["schedule"]) == ("acme-prod", "redis-prod", "0 2 * * *")
    servers = {server["namespace"]: server["copied"] for server in redis_servers(found.model)}
    assert servers == {"acme-shared": "shared", "acme-prod": "prod"}


def test_a_run_of_one_environment_leaves_the_shared_one_alone_and_prunes_nothing_of_it() -> None:
    data = {**copied(), "platform_only": "prod"}
    model = run(data).model
    assert model["redis_copies"] == {} and list(model["all_redis_copies"]) == ["shared"]
    assert ("acme-shared", "CronJob", "redis-backup") in objects(data, "backup")
    assert ("acme-shared", "PodTemplate", "redis-restore") in objects(data, "restore")


@pytest.mark.parametrize("missing", ["platform_s3/endpoint", "platform_backup_recipient"])
def test_there_has_to_be_somewhere_to_keep_them_and_somebody_to_open_them(missing: str) -> None:
    data = copied()
    data["platform_environments"]["prod"]["backup"] = {}
    *parents, last = missing.split("/")
    (data[parents[0]] if parents else data)[last] = ""
    assert any("copies" in problem.text or "recipient" in problem.path for problem in run(data).problems)


def test_its_own_keys_are_a_pair() -> None:
    data = copied()
    data["platform_secrets"]["shared"]["S3_ACCESS_KEY"] = secret("access of its own")[:20]
    assert any(problem.path == "platform_secrets.shared" and "S3_SECRET_KEY" in problem.text for problem in run(data).problems)
    data["platform_secrets"]["shared"]["S3_SECRET_KEY"] = secret("own")
    found = run(data)
    assert found.problems == [] and found.model["redis_copies"]["shared"]["backup"]["writer"]["access_key"] == "shared/S3_ACCESS_KEY"


@pytest.mark.parametrize(
    ("namespace", "data"), [("acme-shared", copied()), ("acme-prod", copied(prod={"dedicated": True, "backup": True}))], ids=["shared", "own"]
)
def test_its_pod_has_no_rights_and_reaches_redis_and_the_bucket_alone(namespace: str, data: dict[str, Any]) -> None:
    made = objects(data, "backup")
    cron = made[namespace, "CronJob", "redis-backup"]
    pod = pods_of(cron)["spec"]
    assert pod["automountServiceAccountToken"] is False and pod["securityContext"]["runAsNonRoot"] is True
    assert all(each["securityContext"]["capabilities"] == {"drop": ["ALL"]} for each in (*pod["containers"], *pod["initContainers"]))
    assert cron["spec"]["suspend"] is False and cron["spec"]["concurrencyPolicy"] == "Forbid"
    policy = made[namespace, "NetworkPolicy", "redis-backup"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in policy
    assert [rule["ports"][0]["port"] for rule in policy["egress"]] == [53, 6379, 443]
    entry = made[namespace, "NetworkPolicy", "redis-for-backup"]["spec"]["ingress"]
    assert entry == [{"from": [{"podSelector": {"matchLabels": {"app": "redis-backup"}}}], "ports": [{"protocol": "TCP", "port": 6379}]}]
    group = namespace.removeprefix("acme-")
    assert made[namespace, "Secret", "redis-backup"]["stringData"]["BACKUP_KEY"] == f"@{{{group}/BACKUP_KEY}}"


def test_whoever_restores_has_the_volume_and_not_the_key() -> None:
    template = objects(copied(), "restore")["acme-shared", "PodTemplate", "redis-restore"]["template"]["spec"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "redis-pvc"}} in template["volumes"]
    assert [variable["name"] for variable in template["containers"][0]["env"]] == ["SSL_CERT_FILE"]


def test_who_is_told_of_failures_may_look_where_redis_is_copied() -> None:
    assert ("acme-shared", "Role", "shaka-notify") in objects(copied(), "notify")
    assert ("acme-shared", "Role", "shaka-notify") not in objects(inventory(), "notify")


def test_the_user_of_the_copies_may_copy_and_nothing_else() -> None:
    user = copier("key")
    categories = {"all": frozenset({"ping", "psync", "sync", "replconf", "get", "set", "config|get"})}
    assert allowed(user.commands, categories) == {"ping", "psync", "sync", "replconf"}
    assert user.keys == user.channels == "" and user.password != copier("other").password
    ((said, command),) = differences([user], {}, categories)
    assert said == "user redis-backup: all" and command.split()[:5] == ["ACL", "SETUSER", "redis-backup", "reset", "on"]
    there = {"flags": ["on"], "passwords": [user.password], "commands": " ".join(user.commands), "keys": "", "channels": ""}
    assert differences([user], {"redis-backup": there}, categories) == []
    assert differences([], {"redis-backup": there}, categories) == [("user redis-backup: removed", "ACL DELUSER redis-backup")]


def test_an_environment_may_not_use_that_user() -> None:
    (problem,) = run(change("platform_environments/prod/redis/user", "redis-backup")).problems
    assert "the user that copies Redis" in problem.text
