"""The everyday commands: what they read of an inventory, and what they make of it."""

from __future__ import annotations

import gzip
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import everyday_server as given
import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday import completion, connection, inventory, remote, status, tunnel
from ansible_collections.shaka.platform.plugins.plugin_utils.everyday.mistakes import Mistake

PROD = given.SERVER.environments["prod"]
LOGS = "kubectl logs -n shaka-prod -l 'app in ({})' --all-containers --prefix --ignore-errors --max-log-requests=50 --tail={}"


# --- the inventory --------------------------------------------------------------------------------------------------------------------------


def test_what_the_inventory_leaves_out_is_the_platforms_own_default() -> None:
    found = inventory.server("one", inventory.extract({"platform_name": "shop", "platform_environments": {"my-env": None}}))
    assert (found.address, found.user, found.operator) == ("one", "", "")
    env = found.environments["my-env"]
    assert (env.namespace, env.database, env.owner) == ("shop-my-env", "shop_my_env", "shop_my_env")
    assert (env.redis_database, env.redis_prefix, env.redis_user, env.redis_namespace) == (0, "my-env:", "my-env", "shop-shared")
    assert env.apps == []


def test_the_defaults_are_those_of_the_model() -> None:
    """Of the shipped inventory, through the collection's own resolver: a default that changes there would lead the commands astray."""
    raw = given.shipped()
    model = given.resolved(raw)
    found = inventory.server("one", inventory.extract(raw))
    for name, env in model["environments"].items():
        mine, redis = found.environments[name], env["redis"]
        assert (mine.namespace, mine.database, mine.owner) == (env["namespace"], env["postgres"]["database"], env["postgres"]["user"])
        shared = model["namespaces"][model["redis"]["namespace"]]["namespace"]
        expected = (redis["database"], redis["prefix"], redis["user"], env["namespace"] if redis["dedicated"] else shared)
        assert (mine.redis_database, mine.redis_prefix, mine.redis_user, mine.redis_namespace) == expected


@pytest.mark.parametrize(
    ("env", "apps"),
    [
        ({}, {}),
        ({"api": None}, {"api": []}),
        ({"api": {"host": "a.test"}}, {"api": ["a.test"]}),
        ({"apps": {}}, {}),
        ({"apps": {"web": {"host": "w.test", "hosts": ["w.test", "www.w.test"]}, "worker": None}}, {"web": ["w.test", "www.w.test"], "worker": []}),
        ({"api": {}, "apps": {"web": {}}}, {"web": [], "api": []}),
    ],
)
def test_applications_and_their_hosts(env: dict[str, Any], apps: dict[str, list[str]]) -> None:
    assert inventory.described(env)["apps"] == apps


def test_servers_of_groups_within_the_group_are_found_once() -> None:
    listed = {"k3s_servers": {"hosts": ["a"], "children": ["eu"]}, "eu": {"hosts": ["b", "a"]}}
    assert inventory.members(listed, "k3s_servers") == ["a", "b"]


def test_what_holds_secrets_is_left_out_of_what_ansible_reads(tmp_path: Path) -> None:
    source, target = tmp_path / "prod", tmp_path / "copy"
    (source / "group_vars/all").mkdir(parents=True)
    (source / "host_vars").mkdir()
    texts = {
        "hosts.yml": "k3s_servers: {}", "group_vars/all/platform.yml": "a: 1", "group_vars/all/secrets.yml": "plain: 1",
        "group_vars/all/more.yml": "$ANSIBLE_VAULT;1.1;AES256\n00", "group_vars/all/x.sops.yml": "sops: {}", "host_vars/one.yml": "b: 1",
    }  # fmt: skip
    for name, text in texts.items():
        (source / name).write_text(text)
    target.mkdir()
    assert inventory.without_secrets(source, target) == target
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == {
        "hosts.yml", "group_vars/all/platform.yml", "host_vars/one.yml",
    }  # fmt: skip
    other = tmp_path / "other"
    other.mkdir()
    assert inventory.without_secrets(source / "hosts.yml", other) == other / "hosts.yml"
    assert (other / "host_vars/one.yml").exists()


@pytest.mark.parametrize(
    ("text", "names"),
    [("[defaults]\ninventory = inventories/prod, more\n", ["inventories/prod", "more"]), ("[defaults]\nforks = 5\n", []), ("", [])],
)
def test_the_inventory_of_the_directorys_configuration(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "ansible.cfg").write_text(text)
    assert inventory.configured({}, tmp_path) == [str(tmp_path / name) for name in names]
    assert inventory.configured({"ANSIBLE_INVENTORY": "here"}, tmp_path) == ["here"]


def test_an_inventory_in_the_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prod").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninventory = ~/prod\n")
    for named in (inventory.configured({}, tmp_path), inventory.configured({"ANSIBLE_INVENTORY": "~/prod"}, tmp_path)):
        with inventory.readable(named, []) as arguments:
            assert arguments[3] == '{"inventory_dir": "' + str(tmp_path / "prod") + '"}'


def test_ansibles_own_configuration_says_how_a_server_is_reached_where_its_inventory_does_not(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\nremote_user = deploy\nremote_port = 2222\nprivate_key_file = keys/one\n[ssh_connection]\nssh_args = -J bastion\n"
    )
    usual = inventory.usual_connection({"ANSIBLE_SSH_EXTRA_ARGS": "-4"}, tmp_path)
    server = inventory.server("one", inventory.extract({}, usual))
    assert connection.ssh(server, ["true"]) == [
        "ssh", "-p", "2222", "-l", "deploy", "-i", str(tmp_path / "keys/one"), "-J", "bastion", "-4", "--", "one", "true",
    ]  # fmt: skip
    own = inventory.server("one", inventory.extract({"ansible_user": "root", "ansible_ssh_args": "-J other"}, usual))
    assert (own.user, own.options) == ("root", ["-J", "other", "-4"])


def test_an_inventory_that_does_not_exist_is_named() -> None:
    with pytest.raises(Mistake, match=r"inventories/prdo does not exist"), inventory.readable(["inventories/prdo"], []):
        pass


# --- ssh and kubectl ------------------------------------------------------------------------------------------------------------------------


def test_ssh_is_called_as_ansible_would() -> None:
    raw = {
        "ansible_host": "192.0.2.7", "ansible_port": 2222, "ansible_user": "deploy", "ansible_ssh_private_key_file": "/keys/one",
        "ansible_ssh_common_args": "-J bastion -o 'UserKnownHostsFile=/a b'", "ansible_ssh_extra_args": "-4",
    }  # fmt: skip
    server = inventory.server("one", inventory.extract(raw))
    expected = "ssh -t -p 2222 -l deploy -i /keys/one -J bastion -o 'UserKnownHostsFile=/a b' -4 -- 192.0.2.7 'echo '\"'\"'a b'\"'\"''"
    assert shlex.join(connection.ssh(server, ["echo", "a b"], terminal=True)) == expected


@pytest.mark.parametrize(
    ("user", "admin", "reads", "sudo"),
    [
        ("root", False, False, False), ("", False, True, True), ("deploy", False, True, True),
        ("ana", False, True, False), ("ana", False, False, True), ("ana", True, False, False),
    ],
)  # fmt: skip
def test_sudo_is_used_by_who_has_no_such_right_of_his_own(user: str, admin: bool, reads: bool, sudo: bool) -> None:
    command = connection.kubectl(given.reached(user=user, operator="ana", admin=admin), "get", "pods", reads=reads)
    assert command == [*(["sudo"] if sudo else []), "kubectl", "get", "pods"]


# --- what runs on the server ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "options", "command"),
    [
        ("", {}, LOGS.format("shaka-api,shaka-api-next,shaka-worker,shaka-worker-next", 100)),
        ("worker", {"follow": True, "since": "1h30m"}, LOGS.format("shaka-worker,shaka-worker-next", -1) + " --since=1h30m --follow"),
        ("api", {"lines": 5, "crashed": True}, LOGS.format("shaka-api,shaka-api-next", 5) + " --previous"),
        ("postgres", {"since": "5m", "lines": 7}, LOGS.format("postgres", 7) + " --since=5m"),
        ("redis", {}, LOGS.format("redis", 100).replace("shaka-prod", "shaka-shared")),
    ],
)
def test_logs(app: str, options: dict[str, Any], command: str) -> None:
    given_options = {"follow": False, "since": "", "lines": None, "crashed": False, **options}
    assert remote.logs(given.SERVER, PROD, app, **given_options) == shlex.split(command)


@pytest.mark.parametrize(
    ("app", "since", "lines", "message"),
    [
        ("wroker", "", None, "'wroker' is not an application of prod; did you mean worker?"),
        ("", "1 hour", None, "--since '1 hour' is not a time span"),
        ("", "", -1, "--lines -1 is less than none"),
    ],
)
def test_what_logs_refuses(app: str, since: str, lines: int | None, message: str) -> None:
    with pytest.raises(Mistake) as refused:
        remote.logs(given.SERVER, PROD, app, False, since, lines, False)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("deploys", "code", "shown", "told"),
    [
        (1, 0, "1 a\n2 b\n3 c\n", "before the deploy of 20260302T000000Z"),
        (2, 0, "0 old\n", "before the deploy of 20260301T000000Z"),
        (3, 1, "", "no logs are kept of prod/api from 3 deploys ago"),
    ],
)
def test_logs_before_a_deploy_are_in_the_order_of_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deploys: int, code: int, shown: str, told: str
) -> None:
    place = tmp_path / "shaka-prod/api"
    for time in ("20260301T000000Z", "20260302T000000Z"):
        (place / time).mkdir(parents=True)
    (place / "20260301T000000Z/a_api_0.log").write_text("0 old\n")
    (place / "20260302T000000Z/a_api_0.log").write_text("1 a\n3 c\n")
    (place / "20260302T000000Z/b_api_0.log.20260301-000000.gz").write_bytes(gzip.compress(b"2 b\n"))
    monkeypatch.setattr(remote, "KEPT", str(tmp_path))
    done = subprocess.run(remote.logs_before(given.SERVER, PROD, "", deploys), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, shown) and told in done.stderr


def test_programs_in_pods() -> None:
    prefix = ["kubectl", "exec", "-i", "-n"]
    assert remote.psql(given.SERVER, PROD, ["-c", "select 1"], False) == [
        *prefix, "shaka-prod", "statefulset/postgres", "--", "psql", "-U", "shaka_production", "-d", "shaka_production", "-c", "select 1",
    ]  # fmt: skip
    assert remote.redis(given.SERVER, PROD, ["ping"], False) == [*prefix, "shaka-shared", "statefulset/redis", "--", "redis-cli", "-n", "2", "ping"]
    assert remote.inside(given.SERVER, PROD, "worker", ["env"], False) == [*prefix, "shaka-prod", "deployment/shaka-worker", "--", "env"]
    assert "-it" in remote.inside(given.SERVER, PROD, "worker", ["env"], True)
    with pytest.raises(Mistake, match="nothing to run is given"):
        remote.inside(given.SERVER, PROD, "worker", [], False)


def test_an_environment_without_applications_says_what_there_is() -> None:
    env = inventory.server("one", inventory.extract({"platform_environments": {"bare": {"apps": {}}}})).environments["bare"]
    with pytest.raises(Mistake, match="bare has no application; name postgres or redis"):
        remote.first(env)


def test_nobody_is_led_into_a_job_that_runs_by_the_clock() -> None:
    """It has no pod in between, and no Deployment ever; its logs are those of its last runs."""
    apps = {"report": {"schedule": "@daily"}, "web": {}}
    raw = {
        "platform_environments": {"prod": {"apps": apps}, "night": {"apps": {"report": apps["report"]}}},
        "platform_previews": {"pr": {"of": "prod"}},
    }
    found = inventory.server("one", inventory.extract(raw))
    prod, night = found.environments["prod"], found.environments["night"]
    assert remote.first(prod) == "web" == remote.first(found.environments["pr"])
    with pytest.raises(Mistake, match=r"report runs by the clock .* shaka logs prod report"):
        remote.inside(found, prod, "report", ["env"], False)
    with pytest.raises(Mistake, match="night has only applications that run by the clock"):
        remote.first(night)
    assert "platform-report" in " ".join(remote.logs(found, night, "", False, "", None, False))


# --- the table ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ("ghcr.io/example/api@sha256:0123456789abcdef0123", "api@0123456789ab"),
        ("ghcr.io/example/api:1.2@sha256:0123456789abcdef", "api:1.2@0123456789ab"),
        ("localhost:5000/api:3", "api:3"),
        ("redis", "redis"),
    ],
)
def test_images_are_shown_as_people_compare_them(image: str, shown: str) -> None:
    assert status.short(image) == shown


def test_the_table_says_what_is_wrong() -> None:
    environments = {"prod": {"namespace": "shaka-prod", "hosts": {"api": ["api.example.com"]}}}
    items = [
        given.workload("Deployment", "shaka-api", 2, 1), given.workload("StatefulSet", "postgres", 1, 1),
        given.workload("Deployment", "shaka-worker", 1, 0),
        given.pod("shaka-api", restarts=3), given.pod("shaka-api", waiting="CrashLoopBackOff"), given.pod("postgres"),
        given.workload("Deployment", "coredns", 1, 1, "kube-system"),
    ]  # fmt: skip
    lines = [line.split("  ") for line in status.status(items, "shaka", environments).splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells == [
        ["environment", "app", "ready", "restarts", "image", "hosts", "what is wrong"],
        ["prod", "api", "1/2", "3", "api:1", "api.example.com", "CrashLoopBackOff"],
        ["prod", "postgres", "1/1", "0", "api:1"],
        ["prod", "worker", "0/1", "0", "api:1", "no pods"],
    ]
    assert status.status([], "shaka", environments) == "nothing runs in prod"


@pytest.mark.parametrize(
    ("state", "suspended", "shown"),
    [
        ({}, False, ["never", "api:1"]),
        ({"lastScheduleTime": "2026-11-28T02:00:00Z", "lastSuccessfulTime": "2026-11-28T02:00:40Z"}, False, ["3 h ago", "api:1"]),
        (
            {"lastScheduleTime": "2026-11-28T02:00:00Z", "lastSuccessfulTime": "2026-11-27T02:00:40Z"},
            True,
            ["3 h ago", "api:1", "suspended, its last run failed"],
        ),
        ({"lastScheduleTime": "2026-11-28T04:59:00Z", "active": [{"name": "job"}]}, False, ["now", "api:1"]),
    ],
)
def test_what_runs_by_the_clock_has_its_last_run(state: dict[str, Any], suspended: bool, shown: list[str]) -> None:
    template = {"spec": {"template": {"spec": {"containers": [{"image": "lab.local/api:1"}]}}}}
    spec = {"schedule": "0 2 * * *", "suspend": suspended, "jobTemplate": template}
    item = {"kind": "CronJob", "metadata": {"name": "shaka-report", "namespace": "shaka-prod"}, "spec": spec, "status": state}
    text = status.status([item], "shaka", {"prod": {"namespace": "shaka-prod"}}, None, datetime(2026, 11, 28, 5, tzinfo=UTC))
    assert re.split(r" {2,}", text.splitlines()[1]) == ["prod", "report", *shown]


# --- tunnels and completion -----------------------------------------------------------------------------------------------------------------


def test_what_a_client_is_given_has_no_password() -> None:
    assert tunnel.line(PROD, "postgres", 15432) == "postgresql://shaka_production@127.0.0.1:15432/shaka_production"
    assert tunnel.line(PROD, "redis", 16379) == "redis://prod@127.0.0.1:16379/2"


def test_a_service_is_found_by_its_cluster_address() -> None:
    listed = {"items": [{"metadata": {"name": "postgres-prod"}, "spec": {"clusterIP": "10.43.0.9"}}, {"metadata": {"name": "postgres"}, "spec": {}}]}
    assert tunnel.address(listed, tunnel.service(PROD, "postgres")[1]) == "10.43.0.9"
    assert tunnel.service(PROD, "redis") == ("shaka-shared", "redis")
    with pytest.raises(Mistake, match="no Service postgres;"):
        tunnel.address(listed, "postgres")


def test_a_port_that_is_taken_is_said_or_another_one_is_taken() -> None:
    with tunnel.listener(None, 0) as taken:
        number = taken.getsockname()[1]
        assert taken.getsockname()[0] == "127.0.0.1"
        with tunnel.listener(None, number) as other:
            assert other.getsockname()[1] != number
        with pytest.raises(Mistake, match=f"port {number} of this machine cannot be used"):
            tunnel.listener(number, 0)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("psql ", ["dev", "prod"]),
        ("-i some psql ", ["dev", "prod"]),
        ("logs -f --since 1h prod ", ["api", "worker", "postgres", "redis"]),
        ("tunnel prod ", ["postgres", "redis"]),
        ("psql prod ", []),
        ("deploy prod image ", ["api", "worker"]),
        ("--host ", ["one"]),
        ("completion ", ["bash", "zsh"]),
        ("exec prod -- ", []),
        ("logs --since ", []),
        ("rollback prod ", []),
    ],
)
def test_completion(words: str, found: list[str]) -> None:
    assert completion.candidates(words.split(" "), lambda inventories, variables: {"one": given.SERVER}) == found


def test_completion_of_commands_and_options_reads_no_inventory() -> None:
    def unread(inventories: Any, variables: Any) -> Any:
        raise AssertionError("the inventory was read")

    assert {"status", "logs", "psql"} <= set(completion.candidates([""], unread))
    assert {"--follow", "--since", "--inventory"} <= set(completion.candidates(["logs", "--"], unread))
