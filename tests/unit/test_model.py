"""The inventory's model: what follows from an inventory, and what each mistake is told."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.plugin_utils import collection
from ansible_collections.shaka.platform.plugins.plugin_utils.model import backup, edge, rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.resolve import Resolution, resolve

ROOT = Path(__file__).parents[2]
INTERFACE = collection.interface()
LOCK = {name: {"reference": f"registry.test/{name}:1"} for name in INTERFACE.images}


def secret(seed: str) -> str:
    return hashlib.sha256(seed.encode()).hexdigest() + "-"


def inventory() -> dict[str, Any]:
    """A complete inventory with two environments, as its owner would have filled it in."""
    names = ("DB_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET")
    own = (*names, "BACKUP_KEY")
    return {
        "platform_name": "acme",
        "platform_server": {"cpu": 2, "memory": "2Gi"},
        "platform_environments": {
            "dev": {"redis": {"database": 0}, "api": {"host": "dev.acme.test"}, "secrets": list(names)},
            "prod": {
                "redis": {"database": 1},
                "api": {"host": "acme.test", "replicas": 2},
                "secrets": list(names),
                "backup": {"schedule": "0 2 * * *"},
                "config": {"PLANS": {"pro": 1}, "DB_PORT": 6432, "DEBUG": False},
                "quota": {"pods": 10, "limits.memory": "4Gi"},
            },
        },
        "platform_acme": {"email": "ops@acme.test"},
        "platform_s3": {"endpoint": "https://s3.acme.test", "bucket": "backups"},
        "platform_backup_recipient": "age1epqu06qxmcu3pjuqgfxmwr38jy6ch23hfa0ccpcp4gguc6064umq9pn9cf",
        "platform_secrets": {
            "dev": {name: secret(f"dev{name}") for name in own},
            "prod": {name: secret(f"prod{name}") for name in (*own, "WAL_PASSWORD")},
            "shared": {"REDIS_ADMIN_PASSWORD": secret("shared"), "HASH_KEY": secret("hash")},
            "s3": {"ACCESS_KEY": secret("access")[:20], "SECRET_KEY": secret("key")},
        },
        "hosts": {"server": "10.0.0.5"},
    }


def change(path: str, value: Any) -> dict[str, Any]:
    """The inventory with one value changed; None removes it."""
    data = copy.deepcopy(inventory())
    *parents, last = path.split("/")
    place = data
    for key in parents:
        place = place.setdefault(key, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


def run(data: dict[str, Any]) -> Resolution:
    return resolve(data, INTERFACE, LOCK)


@pytest.mark.parametrize(
    ("change", "closed"),
    [
        ({}, []),
        ({"host_firewall_tcp_ports": [80, "443"]}, []),
        ({"host_firewall_tcp_ports": [8443]}, ["has no 80", "has no 443"]),
        ({"host_firewall_tcp_ports": [443], "platform_acme": {"kind": "self_signed"}}, []),
        ({"host_firewall_tcp_ports": [], "host_manage_firewall": False}, []),
    ],
)
def test_ports_that_a_list_of_one_s_own_closes_are_named(change: dict[str, Any], closed: list[str]) -> None:
    resolved = run(inventory() | change)
    assert [text.split(": ")[1].split(",")[0] for text in resolved.warnings] == closed and resolved.problems == []


def test_complete_inventory_has_no_problems() -> None:
    assert run(inventory()).problems == []


def test_the_fit_plan_counts_what_the_kubelet_gets() -> None:
    """The role's own variables, which take the place of the server's."""
    server = run({**change("k3s_max_pods", 12), "k3s_system_reserved": {"cpu": "1", "memory": "1200Mi"}}).model["server"]
    before = run(inventory()).model["server"]
    assert server["pods"] == 12 and server["reserved"] == {**before["reserved"], "cpu": "1", "memory": "1200Mi"} != before["reserved"]


def test_what_follows_from_names() -> None:
    prod = run(inventory()).model["environments"]["prod"]
    assert prod["namespace"] == "acme-prod"
    postgres = {"database": "acme_prod", "user": "acme_prod", "service": "postgres-prod", "storage": "5Gi"}
    assert postgres.items() <= prod["postgres"].items()
    redis = {"database": 1, "prefix": "prod:", "user": "prod", "service": "redis-prod", "namespace": "acme-shared"}
    assert redis.items() <= prod["redis"].items()
    assert prod["config"]["DB_HOST"] == "postgres-prod.acme-prod.svc.cluster.local"
    assert prod["config"]["REDIS_HOST"] == "redis-prod.acme-prod.svc.cluster.local"
    assert prod["config"]["DB_PORT"] == "6432", "the inventory wins over a derived value"
    assert prod["config"]["PLANS"] == '{"pro":1}'
    assert prod["config"]["DEBUG"] == "false"
    assert prod["apps"]["api"]["image"] == "", "the image of the lock"
    assert prod["apps"]["api"]["requests"] == {"cpu": "50m", "memory": "32Mi"}


def test_release_wins_over_the_inventory_s_image() -> None:
    data = change("platform_environments/prod/api/image", "registry.test/own:1") | {
        "platform_releases": {"prod": {"image": "registry.test/own@sha256:" + "1" * 64}}
    }
    assert run(data).model["environments"]["prod"]["apps"]["api"]["image"] == "registry.test/own@sha256:" + "1" * 64


def test_config_hash_follows_config_and_secrets_of_its_environment_only() -> None:
    first = run(inventory()).model["environments"]
    for path, value in (("platform_environments/prod/config/X", "1"), ("platform_secrets/prod/JWT_SECRET", secret("other"))):
        then = run(change(path, value)).model["environments"]
        assert then["prod"]["apps"]["api"]["config_hash"] != first["prod"]["apps"]["api"]["config_hash"]
        assert then["dev"]["apps"]["api"]["config_hash"] == first["dev"]["apps"]["api"]["config_hash"]


def test_each_environment_may_have_its_own_bucket_credentials_and_recipients() -> None:
    recipient = inventory()["platform_backup_recipient"]
    own = {"s3": {"bucket": "of-prod", "cidrs": ["10.1.0.0/16"]}, "recipient": [recipient, recipient], "schedule": "0 2 * * *"}
    data = change(f"{ENV}/prod/backup", own)
    data["platform_secrets"]["prod"] |= {"S3_ACCESS_KEY": "003f9c1", "S3_SECRET_KEY": "K003kfTcNXm5zZ"}  # as short as a service makes them
    data["platform_secrets"]["s3_keeper"] = {"ACCESS_KEY": "003f9c1", "SECRET_KEY": "K003kfTcNXm5zZ"}
    resolved = run(data)
    assert resolved.problems == []
    dev, prod = (resolved.model["environments"][name]["backup"] for name in ("dev", "prod"))
    assert (dev["s3"]["bucket"], dev["s3"]["cidrs"], dev["recipients"]) == ("backups", [], [recipient])
    assert (prod["s3"]["bucket"], prod["s3"]["cidrs"], prod["recipients"]) == ("of-prod", ["10.1.0.0/16"], [recipient, recipient])
    assert prod["s3"].items() >= {"endpoint": "https://s3.acme.test", "prefix": "acme", "provider": "Other", "path_style": True}.items()
    assert (dev["writer"]["access_key"], dev["reader"]["secret_key"]) == ("s3/ACCESS_KEY", "s3/SECRET_KEY")
    assert prod["writer"] == prod["reader"] == {"access_key": "prod/S3_ACCESS_KEY", "secret_key": "prod/S3_SECRET_KEY"}
    del data["platform_secrets"]["s3"]
    assert [problem.path for problem in run(data).problems] == ["platform_secrets.s3"], "dev has none of its own"


def test_an_inventory_without_a_bucket_has_no_backups_and_works() -> None:
    data = change("platform_environments/prod/backup", None)
    del data["platform_s3"], data["platform_backup_recipient"], data["platform_secrets"]["s3"]
    resolved = run(data)
    assert resolved.problems == []
    assert "NO BACKUPS of dev, prod" in resolved.warnings[0] and run(inventory()).warnings == []


@pytest.mark.parametrize(
    ("endpoint", "host", "namespace"),
    [
        ("https://s3.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com", ""),
        ("https://10.0.0.5:9000/path", "10.0.0.5", ""),
        ("http://[fd00::5]:9000", "fd00::5", ""),
        ("http://minio.storage.svc:9000", "minio.storage.svc", "storage"),
        ("https://minio.storage.svc.cluster.local", "minio.storage.svc.cluster.local", "storage"),
        ("http://minio.acme-shared:9000", "minio.acme-shared", "acme-shared"),
        ("https://s3.io", "s3.io", ""),
    ],
)
def test_an_endpoint_says_whether_it_is_a_service_of_the_cluster(endpoint: str, host: str, namespace: str) -> None:
    assert backup.host_of(endpoint) == host
    assert backup.service_namespace(host, ["acme-shared"]) == namespace
    if namespace:
        assert run(change("platform_s3/endpoint", endpoint)).problems == []


def test_only_narrows_and_says_so() -> None:
    model = run({**inventory(), "platform_only": "prod"}).model
    assert list(model["environments"]) == ["prod"]
    assert list(model["all_environments"]) == ["dev", "prod"]
    assert model["complete"] is False
    assert run({**inventory(), "platform_only": ["dev", "prod"]}).model["complete"] is True


def test_values_that_wait_for_the_servers_facts_are_named() -> None:
    assert run({**inventory(), "awaits_facts": ["host_updates_delay"]}).model["awaits_facts"] == ["host_updates_delay"]
    assert run(inventory()).model["awaits_facts"] == []


def test_profile_is_laid_over_key_by_key() -> None:
    profiles = {"large": {"environments": {"prod": {"postgres": {"requests": {"memory": "256Mi"}}}}}}
    prod = run({**inventory(), "platform_profile": "large", "platform_profiles": profiles}).model["environments"]["prod"]
    assert prod["postgres"]["requests"] == {"cpu": "100m", "memory": "256Mi"}
    assert prod["apps"]["api"]["replicas"] == 2


def test_resolving_twice_gives_the_same() -> None:
    first = run(inventory())
    completed: dict[str, Any] = {"platform_redis": first.model["redis"], "platform_acme": first.model["acme"], "platform_s3": first.model["s3"]}
    assert run({**inventory(), **completed}).model == first.model
    assert completed["platform_s3"]["prefix"] == "acme" and completed["platform_redis"]["namespace"] == "shared"


ENV = "platform_environments"
MISTAKES = [
    # where the inventory is changed, to what, the path in the message, a part of its text
    ("platform_name", "Acme", "platform_name", "DNS-1123"),
    (f"{ENV}/prod/api/replcas", 2, f"{ENV}.prod.api.replcas", "did you mean replicas?"),
    (f"{ENV}/prod/postgress", {}, f"{ENV}.prod.postgress", "did you mean postgres?"),
    (f"{ENV}/prod/api", 5, f"{ENV}.prod.api", "must be a dict"),
    (f"{ENV}/prod/api/image", {"a": 1}, f"{ENV}.prod.api.image", "must be text"),
    (f"{ENV}/prod/api/replicas", "many", f"{ENV}.prod.api.replicas", "whole number"),
    (f"{ENV}/prod/api/replicas", 0, f"{ENV}.prod.api.replicas", "at least 1"),
    (f"{ENV}/prod/network", "open", f"{ENV}.prod.network", "zero_trust"),
    (f"{ENV}/prod/quota/podz", 1, f"{ENV}.prod.quota.podz", "did you mean pods?"),
    (f"{ENV}/prod/quota/pods", 4, f"{ENV}.prod.quota.pods", "'4' is less than the 8"),
    (f"{ENV}/prod/quota/limits.memory", "512Mi", f"{ENV}.prod.quota.limits.memory", "is less than"),
    (f"{ENV}/prod/quota/limits.memory", "4GB", f"{ENV}.prod.quota.limits.memory", "did you mean 4Gi?"),
    (f"{ENV}/prod/postgres", {"requests": {"memory": "1Gi"}}, f"{ENV}.prod.postgres.requests.memory", "'1Gi' is more than its limit 512Mi"),
    (f"{ENV}/prod/api/requests", {"cpu": "10m"}, f"{ENV}.prod.api.requests.cpu", "'10m' is under its namespace's LimitRange minimum 25m"),
    (f"{ENV}/prod/limits", {"max": {"memory": "256Mi"}}, f"{ENV}.prod.postgres.limits.memory", "over the LimitRange maximum 256Mi"),
    (f"{ENV}/prod/limits", {"min": {"cpu": "3"}}, f"{ENV}.prod.limits.min.cpu", "more than limits.default_request.cpu"),
    (f"{ENV}/prod/postgres", {"database": "acme-prod"}, f"{ENV}.prod.postgres.database", "SQL name"),
    (f"{ENV}/prod/postgres", {"user": "postgres"}, f"{ENV}.prod.postgres.user", "superuser"),
    (f"{ENV}/prod/postgres", {"storage": "20 GB"}, f"{ENV}.prod.postgres.storage", "quantity"),
    (f"{ENV}/prod/redis/database", 0, f"{ENV}.prod.redis.database", f"is also {ENV}.dev.redis.database"),
    (f"{ENV}/prod/redis/database", 16, f"{ENV}.prod.redis.database", "outside 0-15"),
    (f"{ENV}/prod/namespace", "acme-dev", f"{ENV}.prod.namespace", "is also"),
    (f"{ENV}/prod/api/host", "dev.acme.test", f"{ENV}.prod.api.host", "is also"),
    (f"{ENV}/prod/api/host", "api.example.com", f"{ENV}.prod.api.host", "RFC 2606"),
    (f"{ENV}/prod/api/host", None, f"{ENV}.prod.api.host", "not filled in"),
    (f"{ENV}/prod/config/RULES", "{not json", f"{ENV}.prod.config.RULES", "not JSON: "),
    (f"{ENV}/prod/config_json", ["PLAN"], f"{ENV}.prod.config_json", "did you mean PLANS?"),
    (f"{ENV}/prod/config/JWT_SECRET", "x", f"{ENV}.prod.config.JWT_SECRET", "also one of its secrets"),
    (f"{ENV}/prod/backup/schedule", "0 25 * * *", f"{ENV}.prod.backup.schedule", "hour '25'"),
    (f"{ENV}/prod/backup/time_zone", "Brasilia", f"{ENV}.prod.backup.time_zone", "IANA"),
    (f"{ENV}/prod/egress", [{"cidr": "10.0.0.1/8"}], f"{ENV}.prod.egress[0].cidr", "host bits"),
    ("platform_only", "production", "platform_only", "did you mean prod?"),
    ("platform_profile", "big", "platform_profile", "not one of platform_profiles"),
    ("platform_redis", {"maxmemory": "256Mi"}, "platform_redis.maxmemory", "3/4"),
    ("platform_redis", {"namespace": "cache"}, "platform_redis.namespace", "not one of platform_namespaces"),
    ("platform_namespaces", {"traefik": {}, "shared": {}}, "platform_namespaces.traefik", "the platform's own parts"),
    (f"{ENV}/kube-system", {}, f"{ENV}.kube-system", "belongs to Kubernetes"),
    ("platform_namespaces", {"prod": {}, "shared": {}}, "platform_namespaces.prod", "is also"),
    ("platform_acme", {"email": "ops@example.com"}, "platform_acme.email", "RFC 2606"),
    ("platform_acme", {}, "platform_acme.email", "not filled in"),
    ("platform_s3", {}, "platform_s3.endpoint", "platform_environments.prod.backup.schedule asks for backups"),
    ("platform_s3/bucket", None, "platform_s3.bucket", "not filled in"),
    ("platform_s3/provider", "minio", "platform_s3.provider", "write Minio"),
    ("platform_s3/provider", "Backblaze", "platform_s3.provider", "use Other (for Backblaze, too)"),
    ("platform_s3/ca_bundle", "ca.pem", "platform_s3.ca_bundle", "not its name"),
    ("platform_artifact_mirrors", {"https://github.com": "https://m.test"}, "platform_artifact_mirrors.https://github.com", "without https://"),
    ("platform_artifact_mirrors", {"ghcr.io/acme": "https://m.test"}, "platform_artifact_mirrors.ghcr.io/acme", "not a host"),
    ("platform_s3/ca_bundle", "# Főtanúsítvány\n-----BEGIN", "platform_s3.ca_bundle", "characters besides ASCII"),
    ("verify_ca_bundle", "ca.pem", "verify_ca_bundle", "not its name"),
    (f"{ENV}/prod/postgres", True, f"{ENV}.prod.postgres", "must be a dictionary"),
    (f"{ENV}/prod/redis", "own", f"{ENV}.prod.redis", "must be a dictionary"),
    ("platform_s3/cidrs", ["10.0.0.1/8"], "platform_s3.cidrs", "host bits"),
    ("platform_s3/endpoint", "http://minio.storage:9000", "platform_s3.endpoint", "is not encrypted"),
    (f"{ENV}/dev/backup", {"s3": {"endpoint": "s3"}}, f"{ENV}.dev.backup.s3.endpoint", "not a URL"),
    (f"{ENV}/dev/backup", {"s3": {"bukcet": "x"}}, f"{ENV}.dev.backup.s3.bukcet", "did you mean bucket?"),
    (f"{ENV}/dev/backup", {"recipient": ["age1x"]}, f"{ENV}.dev.backup.recipient", "not an age public key"),
    (f"{ENV}/dev/secrets", ["JWT_SECRET", "BACKUP_KEY"], f"{ENV}.dev.secrets", "give the application's another name"),
    ("platform_backup_recipient", "AGE-SECRET-KEY-1QQ", "platform_backup_recipient", "private key"),
    ("platform_backup_recipient", [], "platform_backup_recipient", "not filled in"),
    ("platform_secrets/dev/BACKUP_KEY", None, "platform_secrets.dev", "BACKUP_KEY missing"),
    ("platform_secrets/dev/S3_ACCESS_KEY", "0a1b2c3d4e", "platform_secrets.dev", "S3_SECRET_KEY missing; fill in group_vars"),
    ("platform_secrets/s3_reader", {"ACCESS_KEY": "0a1b2c3d4e"}, "platform_secrets.s3_reader", "SECRET_KEY missing"),
    ("platform_secrets/s3", None, "platform_secrets.s3", "ACCESS_KEY, SECRET_KEY missing"),
    ("platform_secrets/s3/SECRET_KEY", "changeme", "platform_secrets.s3.SECRET_KEY", "is it your S3 service's credentials?"),
    ("platform_server", {"memory": "2GB"}, "platform_server.memory", "did you mean 2Gi?"),
    ("platform_image_overrides", {"postgre": "x"}, "platform_image_overrides.postgre", "did you mean postgres?"),
    ("hosts", {"server": "192.0.2.10"}, "ansible_host of server", "documentation address"),
    ("names", ["platform_enviroments"], "platform_enviroments", "did you mean platform_environments?"),
    ("names", ["api_uid"], "api_uid", "move it to platform_environments.<environment>.api.uid"),
    ("platform_secrets/prod/JWT_SECRET", None, "platform_secrets.prod", "JWT_SECRET missing"),
    ("platform_secrets/prod/JWT_SECRET", secret("x")[:63], "platform_secrets.prod.JWT_SECRET", "63 characters of at least 64"),
    ("platform_secrets/prod/DB_PASSWORD", "SENHA_REAL_AQUI", "platform_secrets.prod.DB_PASSWORD", "placeholder"),
    ("platform_secrets/prod/DB_PASSWORD", "a" * 40, "platform_secrets.prod.DB_PASSWORD", "different characters"),
    (
        "platform_secrets/prod/DB_PASSWORD",
        secret("devDB_PASSWORD"),
        "platform_secrets.prod.DB_PASSWORD",
        "is the same as platform_secrets.dev.DB_PASSWORD",
    ),
    ("platform_secrets/production", {}, "platform_secrets.production", "belongs to no environment"),
    (f"{ENV}/prod/postgres", {"settings": {"fsync": False}}, f"{ENV}.prod.postgres.settings.fsync", "loses committed rows"),
    (f"{ENV}/prod/postgres", {"settings": {"port": 5433}}, f"{ENV}.prod.postgres.settings.port", "decided by the platform"),
    (f"{ENV}/prod/postgres", {"app_user": "acme_prod"}, f"{ENV}.prod.postgres.app_user", "also the owner"),
    (f"{ENV}/prod/postgres", {"app_user": "postgres"}, f"{ENV}.prod.postgres.app_user", "superuser"),
    (f"{ENV}/prod/postgres", {"app_user": "app"}, "platform_secrets.prod", "DB_OWNER_PASSWORD missing"),
    (f"{ENV}/prod/postgres", {"pgbouncer": {"enabled": True}}, "platform_secrets.prod", "PGBOUNCER_PASSWORD missing"),
    (f"{ENV}/prod/postgres", {"pgbouncer": {"enabled": True, "pool_size": 21}}, f"{ENV}.prod.postgres.pgbouncer.pool_size", "1 to 20: 2 pools"),
    (
        f"{ENV}/prod/postgres",
        {"pgbouncer": {"enabled": True, "clients": 5}},
        f"{ENV}.prod.postgres.pgbouncer.clients",
        "less than its pool_size (20)",
    ),
    (f"{ENV}/prod/postgres", {"user": "pgbouncer", "pgbouncer": {"enabled": True}}, f"{ENV}.prod.postgres.user", "the pool's own role"),
    (f"{ENV}/prod/postgres", {"databases": ["pgbouncer"], "pgbouncer": {"enabled": True}}, f"{ENV}.prod.postgres.database", "the pool's own console"),
    (
        f"{ENV}/prod/postgres",
        {"pgbouncer": {"enabled": True, "requests": {"memory": "8Mi"}}},
        f"{ENV}.prod.postgres.pgbouncer.requests.memory",
        "LimitRange",
    ),
    (f"{ENV}/prod/postgres", {"databases": ["acme_prod"]}, f"{ENV}.prod.postgres.databases", "there already"),
    (f"{ENV}/prod/postgres", {"databases": ["Re ports"]}, f"{ENV}.prod.postgres.databases", "SQL name"),
    (f"{ENV}/prod/postgres", {"extensions": ["pg crypto; drop"]}, f"{ENV}.prod.postgres.extensions", "not the name of an extension"),
    (f"{ENV}/prod/redis/prefix", "prod*:", f"{ENV}.prod.redis.prefix", "not a key prefix"),
    (f"{ENV}/prod/redis/prefix", "prod", f"{ENV}.prod.redis.prefix", "':' at the end"),
    (f"{ENV}/prod/redis/user", "default", f"{ENV}.prod.redis.user", "operator"),
    (f"{ENV}/prod/redis/allow", ["+info"], f"{ENV}.prod.redis.allow", "not a Redis command"),
    (f"{ENV}/prod/redis/allow", ["config|set"], f"{ENV}.prod.redis.allow", "whole server"),
    (f"{ENV}/prod/redis/allow", ["flushall"], f"{ENV}.prod.redis.allow", "reaches the other environments"),
    (f"{ENV}/prod/redis/allow", ["client|kill"], f"{ENV}.prod.redis.allow", "dedicated: true"),
    (f"{ENV}/prod/redis/allow", ["function"], f"{ENV}.prod.redis.allow", "leave it out"),
    (f"{ENV}/prod/redis", {"dedicated": True, "maxmemory": "120Mi"}, f"{ENV}.prod.redis.maxmemory", "3/4"),
    (f"{ENV}/prod/redis", {"dedicated": True, "limits": {"memory": "8Gi"}}, f"{ENV}.prod.redis.limits.memory", "LimitRange maximum"),
    ("platform_redis", {"policy": "lru"}, "platform_redis.policy", "allkeys-lru"),
]


@pytest.mark.parametrize(("path", "value", "where", "says"), MISTAKES, ids=[f"{m[2]}: {m[3]}"[:70] for m in MISTAKES])
def test_mistake_is_named(path: str, value: Any, where: str, says: str) -> None:
    problems = run(change(path, value)).problems
    assert any(problem.path == where and says in problem.text for problem in problems), problems


@pytest.mark.parametrize("name", ["host_time_zone", "host_operator_name", "host_firewall_ssh_sources", "host_manage_sshd", "k3s_node_name"])
def test_a_variable_of_a_role_without_a_value_is_named(name: str) -> None:
    assert [str(problem).split("\n", maxsplit=1)[0] for problem in run({**inventory(), name: None}).problems] == [name]


@pytest.mark.parametrize("digits", ["٦٤", "²", "1²"])
@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("platform_secret_minimum/JWT_SECRET", "platform_secret_minimum.JWT_SECRET"),
        ("platform_environments/prod/api/replicas", "platform_environments.prod.api.replicas"),
    ],
)
def test_digits_of_other_scripts_are_no_number(digits: str, path: str, named: str) -> None:
    assert [problem.path for problem in run(change(path, digits)).problems if problem.path == named] == [named]


@pytest.mark.parametrize("name", ["ana", "ana_b", "ana-b", "a--b2", "Ana", "ana-", "ana_", "ana__b", "ana-_b", "1e7", "ana.b", "x" * 32])
def test_an_account_that_is_taken_has_a_service_account(name: str) -> None:
    right = not [problem for problem in run({**inventory(), "tenancy_operator_name": name}).problems if problem.path == "tenancy_operator_name"]
    template = yaml.safe_load((ROOT / "roles/tenancy/vars/main.yml").read_text())["__tenancy_operator"]
    made = Templar(loader=DataLoader(), variables={"tenancy_operator_name": name}).template(trust_as_template(template))
    subdomain = re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", made)  # as Kubernetes has it
    assert right is (name in ("ana", "ana_b", "ana-b", "a--b2")) and (subdomain or not right)


@pytest.mark.parametrize(
    ("operator", "right"),
    [
        ({}, True),
        ({"tenancy_operator_name": "ana"}, False),
        ({"host_operator_name": "ana"}, False),
        ({"host_operator_name": "ana", "tenancy_operator_name": ""}, True),
        ({"host_operator_name": "ana", "host_manage_operator": False}, True),
    ],
)
def test_the_namespace_of_the_operators_account_is_no_environments(operator: dict[str, Any], right: bool) -> None:
    found = run({**change("platform_namespaces", {"shared": {}, "operators": {}}), **operator}).problems
    assert [problem.path for problem in found] == ([] if right else ["platform_namespaces.operators.namespace"])


def test_a_mistake_alone_is_one_problem() -> None:
    for path, value, where, _says in MISTAKES:
        if where.endswith((".replcas", ".schedule", ".host", ".time_zone", ".email")):
            assert len(run(change(path, value)).problems) == 1


def test_every_problem_at_once_and_no_traceback_of_an_empty_inventory() -> None:
    result = run({})
    assert {"platform_environments", "platform_acme.email", "platform_secrets.shared"} <= {problem.path for problem in result.problems}
    assert result.message().count("\n      ") == len(result.problems)


@pytest.mark.parametrize("value", [None, [], "text", 3])
@pytest.mark.parametrize("name", [name for name, option in INTERFACE.variables.items() if option["type"] == "dict"])
def test_another_shape_is_no_traceback(name: str, value: Any) -> None:
    run({**inventory(), name: value})


def places(value: Any, path: str = "") -> list[str]:
    """The path of every value in a dictionary."""
    inner = [place for key, item in value.items() for place in places(item, f"{path}/{key}".strip("/"))] if isinstance(value, dict) else []
    return [*([path] if path else []), *inner]


@pytest.mark.parametrize("odd", [None, [], ["x"], "", "text", -3, 1.5, True, {"a": {"b": 1}}], ids=str)
def test_an_odd_value_anywhere_is_no_traceback(odd: Any) -> None:
    for path in places({name: value for name, value in inventory().items() if name != "hosts"}):
        data = copy.deepcopy(inventory())
        *parents, last = path.split("/")
        place = data
        for key in parents:
            place = place[key]
        place[last] = odd
        run(data)


@pytest.mark.parametrize("value", ["short-and-Unique-1", "changeme" * 5, secret("devDB_PASSWORD"), "b" * 40])
def test_no_message_holds_a_secret(value: str) -> None:
    result = run(change("platform_secrets/prod/DB_PASSWORD", value))
    assert result.problems
    for text in (result.message(), str(result.model)):
        assert value not in text


def test_the_model_holds_no_secret() -> None:
    text = str(run(inventory()).model)
    assert not [value for group in inventory()["platform_secrets"].values() for value in group.values() if value in text]


def test_missing_image_is_a_problem_unless_a_bundle_will_bring_it() -> None:
    lock = {name: image for name, image in LOCK.items() if name not in ("api", "acmesolver", "backup_tools")}
    paths = {problem.path for problem in resolve(inventory(), INTERFACE, lock).problems}
    assert paths == {"platform_image_overrides.acmesolver", "platform_bundle", f"{ENV}.dev.api.image", f"{ENV}.prod.api.image"}
    awaited = {**inventory(), "image_pending": True}
    assert {problem.path for problem in resolve(awaited, INTERFACE, lock).problems} == {"platform_bundle"}
    pending = resolve({**awaited, "platform_preflight_only": True}, INTERFACE, lock)
    assert pending.problems == []
    assert {"api", "acmesolver", "backup_tools"} <= set(pending.model["images"])


def test_a_lock_that_was_left_out_is_a_problem() -> None:
    flawed = {**inventory(), "lock_flaws": {"artifacts.lock.yml": "cannot be read"}}
    assert [(problem.path, problem.text) for problem in run(flawed).problems] == [("artifacts.lock.yml", "cannot be read")]


@pytest.mark.parametrize(
    ("schedule", "good"),
    [
        ("0 2 * * *", True), ("*/15 0-6 1,15 jan-mar mon", True), ("@daily", True), ("0 2 * *", False), ("60 2 * * *", False), ("0 2 * * mun", False),
        ("0 2 31-1 * *", False), ("*/0 * * * *", False), ("@reboot", False), ("0 2 * * 7", False), ("0 2 * * 0", True),
        ("0 2 * * sat", True), ("@every 6h", True), ("@every 1h30m", True), ("@every ", False), ("0 2 * * 5-7", False),
        ("@every 9999999h", False), ("@every 2562047h", True),
        ("@every 1.5h", True), ("@every 0.0h", False), ("TZ=UTC 0 2 * * *", False), ("0 2 30 feb *", False), ("0 2 31 4,jun ?", False),
        ("0 2 30-31 2 */1", False), ("0 2 31 2 mon", True), ("0 2 29 2 *", True), ("0 2 31 */2 *", True), ("0 2 20/5 feb *", True),
    ],
)  # fmt: skip
def test_cron(schedule: str, good: bool) -> None:
    assert (rules.cron(schedule) is None) is good


@pytest.mark.parametrize(
    ("value", "good"),
    [("10.0.0.1", True), ("198.51.100.7", False), ("2001:db8::1", False), ("server.example.com", False), ("server.test", True), ("127.0.0.1", True)],
)
def test_address(value: str, good: bool) -> None:
    assert (rules.address(value) is None) is good


def test_an_application_role_takes_the_application_s_password_and_the_owner_has_its_own() -> None:
    data = change(f"{ENV}/prod/postgres", {"app_user": "acme_app"})
    data["platform_secrets"]["prod"]["DB_OWNER_PASSWORD"] = secret("owner")
    result = run(data)
    prod = result.model["environments"]["prod"]
    assert result.problems == []
    assert prod["config"]["DB_USER"] == "acme_app"
    assert "DB_OWNER_PASSWORD" not in prod["secrets"], "the application's pods would have it"
    assert prod["postgres"]["owner_secret"] == {"name": "postgres-owner", "key": "DB_OWNER_PASSWORD"}
    assert result.model["environments"]["dev"]["postgres"]["owner_secret"] == {"name": "acme-api-secrets", "key": "DB_PASSWORD"}


def test_a_pool_is_what_the_application_connects_to_and_takes_what_postgres_has_room_for() -> None:
    data = change(f"{ENV}/prod/postgres", {"pgbouncer": {"enabled": True}, "databases": ["reports"]})
    data["platform_secrets"]["prod"]["PGBOUNCER_PASSWORD"] = secret("pool")
    result = run(data)
    prod, dev = (result.model["environments"][name] for name in ("prod", "dev"))
    assert result.problems == []
    assert prod["config"]["DB_HOST"] == "pgbouncer-prod.acme-prod.svc.cluster.local"
    assert dev["config"]["DB_HOST"] == "postgres-dev.acme-dev.svc.cluster.local"
    assert prod["postgres"]["pgbouncer"]["pool_size"] == 10, "two databases, and two pods while it rolls out, in 50 connections less ten"
    data[ENV]["prod"]["quota"] = {"pods": 6}
    assert [problem.path for problem in run(data).problems] == [f"{ENV}.prod.quota.pods"]


def test_an_image_that_nothing_uses_may_be_missing() -> None:
    lock = {name: image for name, image in LOCK.items() if name != "pgbouncer"}
    assert resolve(inventory(), INTERFACE, lock).problems == []
    data = change(f"{ENV}/prod/postgres", {"pgbouncer": {"enabled": True}})
    data["platform_secrets"]["prod"]["PGBOUNCER_PASSWORD"] = secret("pool")
    assert [problem.path for problem in resolve(data, INTERFACE, lock).problems] == ["platform_image_overrides.pgbouncer"]


def test_the_api_rolls_for_what_its_pods_read_and_for_nothing_else() -> None:
    """Passwords that only Postgres reads, and the order in which JSON is written, are none of its business."""

    def rolls(data: dict[str, Any]) -> bool:
        before, then = (run(each).model["environments"]["prod"]["apps"]["api"] for each in (base, data))
        return bool(before["config_hash"] != then["config_hash"])

    base = change(f"{ENV}/prod/config", {"PLANS": {"pro": {"a": 1, "b": 2}, "starter": {}}, "RULES": '{"a": 1, "b": 2}', "ORDER": [1, 2]})
    base[ENV]["prod"]["postgres"] = {"app_user": "app", "pgbouncer": {"enabled": True}}
    base["platform_secrets"]["prod"] |= {"DB_OWNER_PASSWORD": secret("owner"), "PGBOUNCER_PASSWORD": secret("pool")}
    again = copy.deepcopy(base)
    again[ENV]["prod"]["config"] = {"ORDER": [1, 2], "RULES": '{"b":2,"a":1}', "PLANS": {"starter": {}, "pro": {"b": 2, "a": 1}}}
    again["platform_secrets"]["prod"] |= {"DB_OWNER_PASSWORD": secret("owner 2"), "PGBOUNCER_PASSWORD": secret("pool 2")}
    assert not rolls(again)
    for name, value in (("ORDER", [2, 1]), ("RULES", '{"a": 1, "b": 3}'), ("PLANS", {})):
        other = copy.deepcopy(base)
        other[ENV]["prod"]["config"][name] = value
        assert rolls(other), name
    again["platform_secrets"]["prod"]["DB_PASSWORD"] = secret("another")
    assert rolls(again)


def test_a_dedicated_redis_is_in_the_environment_s_namespace_and_counts_in_its_quota() -> None:
    data = change(f"{ENV}/prod/redis", {"database": 0, "dedicated": True})
    missing = [problem for problem in run(data).problems if problem.path == "platform_secrets.prod"]
    assert "REDIS_ADMIN_PASSWORD missing" in missing[0].text, "it has an administrator of its own"
    data["platform_secrets"]["prod"]["REDIS_ADMIN_PASSWORD"] = secret("own administrator")
    prod = run(data).model["environments"]["prod"]
    assert prod["redis"]["namespace"] == "acme-prod"
    assert run(data).problems == [], "its database numbers are its own"
    data[ENV]["prod"]["quota"] = {"pods": 6}
    assert [problem.path for problem in run(data).problems] == [f"{ENV}.prod.quota.pods"]


def test_the_shared_redis_restarts_for_its_administrator_s_password_only() -> None:
    """The environments' passwords are set while it runs."""
    first = run(inventory()).model["redis"]["hash"]
    assert run(change("platform_secrets/prod/REDIS_PASSWORD", secret("other"))).model["redis"]["hash"] == first
    assert run(change("platform_secrets/shared/REDIS_ADMIN_PASSWORD", secret("other"))).model["redis"]["hash"] != first


def test_a_dedicated_redis_may_be_emptied_by_its_environment() -> None:
    data = change(f"{ENV}/prod/redis", {"database": 0, "dedicated": True, "allow": ["flushall", "client|kill"]})
    data["platform_secrets"]["prod"]["REDIS_ADMIN_PASSWORD"] = secret("own administrator")
    assert run(data).problems == []
    shared, own = run(data).model["redis"]["hash"], run(data).model["environments"]["prod"]["redis"]["hash"]
    assert shared != own


def test_what_follows_a_changed_value_cannot_be_guessed_without_the_key() -> None:
    """A viewer of the namespace sees the hashes: with another key the same values have others."""
    first, other = run(inventory()).model, run(change("platform_secrets/shared/HASH_KEY", secret("another"))).model
    assert run(inventory()).model["environments"]["prod"]["apps"]["api"]["config_hash"] == first["environments"]["prod"]["apps"]["api"]["config_hash"]
    assert first["environments"]["prod"]["apps"]["api"]["config_hash"] != other["environments"]["prod"]["apps"]["api"]["config_hash"]
    assert first["redis"]["hash"] != other["redis"]["hash"]


# --- what follows from grants: both sides of an ingress, accounts; and how the API gets its configuration


def grants(*ingress: dict[str, Any]) -> dict[str, Any]:
    data = change("platform_environments/prod/ingress", list(ingress))
    data["platform_namespaces"] = {"shared": {}, "monitoring": {"namespace": "watch"}}
    return data


def test_an_ingress_from_a_namespace_of_the_platform_lets_that_one_out_as_well() -> None:
    result = run(grants({"namespace": "monitoring", "clients": ["prometheus"], "pods": ["acme-api"], "ports": [3000]}))
    assert not result.problems, result.message()
    assert result.model["environments"]["prod"]["ingress"][0]["namespace"] == "watch"
    assert result.model["namespaces"]["monitoring"]["reaches"] == [
        {"namespace": "acme-prod", "clients": ["prometheus"], "pods": ["acme-api"], "ports": [3000], "protocol": "TCP"}
    ]
    assert result.model["environments"]["prod"]["reaches"] == [] == result.model["namespaces"]["shared"]["reaches"]


def test_an_ingress_from_elsewhere_is_the_environment_s_alone() -> None:
    result = run(grants({"namespace": "kube-system"}, {"cidr": "203.0.113.0/24", "except": ["203.0.113.128/25"]}))
    assert not result.problems, result.message()
    assert [rule["namespace"] for rule in result.model["environments"]["prod"]["ingress"]] == ["kube-system", ""]
    assert all(space["reaches"] == [] for space in result.model["namespaces"].values())


def test_quotas_may_be_named_as_people_do() -> None:
    quota = run(change("platform_environments/prod/quota", {"cpu": "4", "memory": "4Gi", "storage": "60Gi", "volumes": 4})).model
    assert quota["environments"]["prod"]["quota"] == {
        "requests.cpu": "4", "requests.memory": "4Gi", "requests.storage": "60Gi", "persistentvolumeclaims": "4",
    }  # fmt: skip


def test_files_are_what_the_inventory_names_or_everything() -> None:
    some = run(change("platform_environments/prod/config_files", ["PLANS", "JWT_SECRET"])).model["environments"]["prod"]
    assert some["files"] == {"config": ["PLANS"], "secrets": ["JWT_SECRET"]}
    assert "PLANS" not in some["variables"]["config"] and some["variables"]["secrets"] == ["DB_PASSWORD", "REDIS_PASSWORD"]
    everything = run(change("platform_environments/prod/config_as", "files")).model["environments"]["prod"]
    assert everything["variables"] == {"config": [], "secrets": []} and "PORT" in everything["files"]["config"]
    assert len({env["apps"]["api"]["config_hash"] for env in (some, everything, run(grants()).model["environments"]["prod"])}) == 3


def test_a_registry_s_token_is_a_secret_like_any_other() -> None:
    data = change("platform_registries", {"ghcr.io": {"username": "robot", "password": "GHCR"}})
    data["platform_secrets"]["registries"] = {"GHCR": "ghp_0a9b8c7d6e5f4g3h2i1j0k9l8m7n6o5p4q3r"}
    result = run(data)
    assert not result.problems, result.message()
    assert result.model["registries"] == {"ghcr.io": {"username": "robot", "password": "GHCR"}}
    data["platform_secrets"]["registries"]["GHCR"] = (
        '{"type": "service_account",\n "private_key": "-----BEGIN\\n"}'  # Google's, for the user _json_key
    )
    assert not run(data).problems
    data["platform_secrets"]["registries"]["GHCR"] += "\0"
    assert [problem.path for problem in run(data).problems] == ["platform_secrets.registries.GHCR"]


def test_who_issued_a_registry_s_token_chose_its_length() -> None:
    data = change("platform_registries", {"registry.test": {"username": "robot", "password": "OWN"}})
    data["platform_secrets"]["registries"] = {"OWN": "gldt-xZ81kQ0vTtRwY2"}
    assert not run(data).problems, run(data).message()
    data["platform_secrets"]["registries"]["OWN"] = "xZ81"
    assert not run(data).problems, run(data).message()
    data["platform_secrets"]["registries"]["OWN"] = "your-token"
    assert "is a placeholder; is it the registry's token?" in run(data).message()


PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEH\nBG0wawIBAQQg\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("value", ["sk1", "qwkz vbnm asdf plop", "1212", "ação 🤙", PRIVATE_KEY, ' "quoted" $HOME {{ x }} '])
def test_a_secret_that_a_service_issued_is_as_the_service_made_it(value: str) -> None:
    data = change("platform_environments/prod/secrets", ["JWT_SECRET", "SMTP_PASSWORD"])
    data["platform_secrets"]["prod"]["SMTP_PASSWORD"] = value
    assert [problem.path for problem in run(data).problems] == ["platform_secrets.prod.SMTP_PASSWORD"]
    data["given"] = ["SMTP_PASSWORD"]
    assert not run(data).problems, run(data).message()


def test_only_what_a_service_issued_may_serve_two_environments() -> None:
    data = inventory()
    for env in ("dev", "prod"):
        data["platform_environments"][env]["secrets"] = [*data["platform_environments"][env].get("secrets", []), "SMTP_PASSWORD"]
        data["platform_secrets"][env]["SMTP_PASSWORD"] = "qwkzvbnmasdfplop"
    data["given"] = ["SMTP_PASSWORD"]
    assert "name it in platform_secrets_shared" in run(data).message()
    data["platform_secrets_shared"] = ["SMTP_PASSWORD"]
    assert not run(data).problems, run(data).message()
    data["platform_secrets"]["dev"]["DB_PASSWORD"] = data["platform_secrets"]["prod"]["DB_PASSWORD"]
    assert "each secret has a value of its own" in run(data).message()


def test_a_value_too_large_for_a_variable_is_a_file() -> None:
    data = change("platform_environments/prod/config", {"RULES": "x" * (131072 - len("RULES=") - 1)})
    assert not run(data).problems, run(data).message()
    data["platform_environments"]["prod"]["config"]["RULES"] += "x"
    assert "has 131073 bytes with its name, and an environment variable at most 131072; name it in config_files" in run(data).message()
    data["platform_environments"]["prod"]["config_files"] = ["RULES"]
    assert not run(data).problems, run(data).message()
    data["platform_environments"]["prod"]["config"]["RULES"] *= 9
    assert "and a ConfigMap at most 1048576" in run(data).message()


def test_a_header_may_be_a_number_and_none_has_a_secret() -> None:
    data = inventory()
    headers = data["platform_environments"]["prod"]["api"].setdefault("edge", {}).setdefault("headers", {})
    headers |= {"X-XSS-Protection": 0, "Server": None}
    assert not run(data).problems, run(data).message()
    headers["X-Key"] = data["platform_secrets"]["prod"]["DB_PASSWORD"]
    assert [problem.path for problem in run(data).problems] == ["platform_environments.prod.api.edge.headers.X-Key"]


def test_a_page_may_read_each_header_of_an_answer() -> None:
    data = inventory()
    cors = {"origins": ["https://app.shaka-api.net"], "expose": ["Content-Length", "ETag", "X_Total", "*"]}
    data["platform_environments"]["prod"]["api"].setdefault("edge", {})["cors"] = cors
    assert not run(data).problems, run(data).message()


# What the API server of 1.36.4, rclone, nftables, Traefik and Let's Encrypt take, and what they do not
@pytest.mark.parametrize(
    ("rule", "good", "wrong"),
    [
        (
            rules.storage_url,
            ["http://[FD00::5]:9000", "http://S3.LAN:9000", "http://minio.:9000", "http://100.101.1.2", "http://minio_1:9000", "https://s3.x.net/a"],
            ["http://[2001:470::1]:9000", "https://s3.x.net:65536", "https://s3.x.net:0", "https://s3.x.net:٣", "https://s3..net", "https://[1:2]"],
        ),
        (
            rules.network,
            ["10.0.0.0/8", "10.0.0.7", "FD00::/8"],
            ["10.0.0.1/8", "10.0.0.0/255.0.0.0", "::ffff:10.0.0.0/104", "fe80::1%eth0", "010.0.0.0/8"],
        ),
        (
            rules.edge_path,
            ["/", "/a/", "/a.b/..c", "/a%2Bb", "/café"],
            ["/%5C", "/a%2bb", "/a%20b", "/a\x01", "/a//b", "/a/./b", "/a/..", "/..", "/a%2Fb", "/a`b", "a"],
        ),
        (rules.bucket, ["my_backups", "a.b-c"], ["My", "192.168.1.1", "s3://a"]),
        (rules.image, ["r.test:5000/a:1"], ["a:versão"]),
        (rules.email, ["a+b@shop.net"], ["öps@shop.net"]),
        (rules.duration, ["10s"], ["1٣s"]),
        (edge.origin, ["*", "capacitor://localhost", "http://[::1]:3000", "https://a.test"], ["https://a.test/", "null", "https://*.a.test"]),
        (rules.time_zone, ["Etc/GMT+3", "US/Pacific", "UTC"], ["localtime", "Local", "america/sao_paulo", "posix/UTC", "Etc", "leapseconds", ""]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_values_are_judged_as_their_consumers_do(rule: Callable[[str], str | None], good: list[str], wrong: list[str]) -> None:
    assert {value: flaw for value in good if (flaw := rule(value))} == {}
    assert [value for value in wrong if rule(value) is None] == []


@pytest.mark.parametrize("text", ["münchen.de", "https://münchen.de"])
def test_a_name_in_other_letters_is_told_how_dns_writes_it(text: str) -> None:
    assert "xn--mnchen-3ya.de" in str((rules.url if "/" in text else rules.host)(text))


def test_a_rule_of_one_address_is_a_network_to_kubernetes() -> None:
    env = run(grants({"cidr": "198.51.100.7"})).model["environments"]["prod"]
    assert env["ingress"][0]["cidr"] == "198.51.100.7/32"


def test_a_platform_s_name_with_hyphens_names_databases_with_underscores() -> None:
    """Field report 30: the default follows SQL, and an explicit name with a hyphen is refused with the rule."""
    data = inventory()
    data["platform_name"] = "my-app"
    assert run(data).model["environments"]["prod"]["postgres"]["database"] == "my_app_prod"
    data["platform_environments"]["prod"]["postgres"] = {"database": "my-app-db"}
    assert [problem.path for problem in run(data).problems] == ["platform_environments.prod.postgres.database"]
    assert "not a plain SQL name" in run(data).message()


def test_clients_that_announce_themselves_may_be_allowed_to() -> None:
    """Field report 29: ioredis and BullMQ ask for INFO, others set the library's name."""
    data = change("platform_environments/prod/redis/allow", ["info", "client|setinfo"])
    assert not run(data).problems, run(data).message()


@pytest.mark.parametrize(
    ("name", "right"), [("x" * 54, True), ("x" * 55, False), ("3shaka", True), ("1e7", False), ("1e-3", False), ("0b101", False)]
)
def test_a_platform_s_name_fits_its_service(name: str, right: bool) -> None:
    data = inventory()
    data["platform_name"] = name
    for env_name, env in data["platform_environments"].items():
        env["namespace"] = f"n-{env_name}"
        env["postgres"] = {**env.get("postgres", {}), "database": env_name}
    found = [problem.path for problem in run(data).problems if problem.path == "platform_name"]
    assert found == ([] if right else ["platform_name"])
