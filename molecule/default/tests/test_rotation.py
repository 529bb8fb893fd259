"""Passwords are replaced on the running platform: no request fails, the old ones are refused afterwards, and nothing else is touched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Server

sys.path.insert(0, str(ROOT / "tests"))
from prove.load import Load, load

ROTATED = {"prod": ["DB_PASSWORD", "REDIS_PASSWORD"], "staging": ["DB_PASSWORD"]}  # two pods, and one
ROLES = "config,postgres,redis,api"
USERS = {"prod": "shaka_production", "staging": "shaka_staging"}


@dataclass(frozen=True)
class Rotation:
    """What the site said, what its clients saw, and the passwords and pods of before and after."""

    said: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]
    loads: list[Load]
    passwords: dict[str, tuple[str, str]]
    pods: tuple[dict[str, str], dict[str, str]]


def pods(server: Server) -> dict[str, str]:
    """The platform's pods that run, and when each began."""
    found = (item for item in server.json("pods --all-namespaces")["items"] if item["metadata"]["namespace"].startswith("shaka-"))
    running = (item for item in found if item["status"]["phase"] == "Running" and "deletionTimestamp" not in item["metadata"])
    return {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": item["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        for item in running
    }


def rotate(server: Server, folder: Path) -> list[str]:
    """Replace the passwords as a user does, in an inventory laid over the sandbox's; the arguments for it. The lab goes on with the new ones."""
    variables = folder / "group_vars/all"
    variables.mkdir(parents=True)
    (folder / "hosts.yml").write_text("k3s_servers: {hosts: {sandbox: {}}}\n")
    (folder.parent / "password").write_text("password of the vault\n")
    file = variables / "secrets.yml"
    file.write_text(yaml.safe_dump({"platform_secrets": server.lab["secrets"]}))
    vault = ["--vault-password-file", str(folder.parent / "password")]
    names = ",".join(f"{environment}/{name}" for environment, names in ROTATED.items() for name in names)
    done = server.playbook("playbooks/secrets.yml", "-i", str(folder), *vault, "-e", f"secrets_file={file}", "-e", f"rotate={names}")
    assert done.returncode == 0 and "3 rotated" in done.stdout, done.stdout
    shown = subprocess.run(["ansible-vault", "view", *vault, str(file)], capture_output=True, text=True, check=True).stdout
    lab = Path(server.lab["key"]).parent / "lab.json"
    lab.write_text(json.dumps({**json.loads(lab.read_text()), "secrets": yaml.safe_load(shown)["platform_secrets"]}))
    return ["-i", str(folder), *vault]


@pytest.fixture(scope="module")
def rotation(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Rotation:
    old, before = json.loads(json.dumps(server.lab["secrets"])), pods(server)
    inventory = rotate(server, tmp_path_factory.mktemp("rotation") / "inventory")
    with load(server.lab, "prod") as prod, load(server.lab, "staging") as staging:
        said = server.playbook("site.yml", *inventory, "--tags", ROLES, "--diff")
    new = json.loads((Path(server.lab["key"]).parent / "lab.json").read_text())["secrets"]
    server.lab["secrets"].update(new)
    after = pods(server)
    again = server.playbook("site.yml", *inventory, "--tags", ROLES)
    passwords = {f"{env}/{name}": (old[env][name], new[env][name]) for env, names in ROTATED.items() for name in names}
    return Rotation(said, again, [prod, staging], passwords, (before, after))


def test_no_request_failed(rotation: Rotation) -> None:
    assert rotation.said.returncode == 0, rotation.said.stdout
    assert [client.failed for client in rotation.loads] == [[], []]
    assert [client.answered > 100 and len(client.pods) >= 3 for client in rotation.loads] == [True, True], "the pods changed under the load"


@pytest.mark.parametrize("environment", list(USERS))
def test_postgres_takes_the_new_password_and_refuses_the_old_one(server: Server, rotation: Rotation, environment: str) -> None:
    user, (old, new) = USERS[environment], rotation.passwords[f"{environment}/DB_PASSWORD"]
    login = f'PGPASSWORD=$(cat) psql -XAt -h 127.0.0.1 -U {user} -d postgres -c "select 41 + 1" 2>&1'
    said = {}
    for name, password in (("old", old), ("new", new)):
        command = f"printf %s {password} | kubectl exec -i -n shaka-{environment} postgres-0 -- sh -c '{login}'"
        said[name] = server.run(command, check=False)
    assert "password authentication failed" in said["old"]
    assert said["new"].strip() == "42"
    roles = server.run(f'kubectl exec -n shaka-{environment} postgres-0 -- psql -XAt -U postgres -c "select rolname from pg_roles where rolcanlogin"')
    assert sorted(roles.split()) == sorted(["postgres", user])


def test_redis_takes_the_new_password_and_refuses_the_old_one(server: Server, rotation: Rotation) -> None:
    cli = "read -r REDISCLI_AUTH; export REDISCLI_AUTH; exec redis-cli --no-auth-warning --user prod ping 2>&1"
    said = [
        server.run(f"echo {password} | kubectl exec -i -n shaka-shared redis-0 -- sh -c '{cli}'", check=False)
        for password in rotation.passwords["prod/REDIS_PASSWORD"]
    ]
    assert re.search("WRONGPASS|NOAUTH", said[0]) and said[1].strip() == "PONG"
    user = json.loads(server.run("kubectl exec -n shaka-shared redis-0 -- redis-cli -3 --json acl getuser prod"))
    assert len(user["passwords"]) == 1


def test_redis_has_the_same_users_when_its_container_is_started_again(server: Server, rotation: Rotation) -> None:
    """The kubelet brings a changed Secret to a running pod within a minute or more; Redis does not depend on it."""
    question = "kubectl exec -n shaka-shared redis-0 -- redis-cli -3 --json acl getuser prod"
    before = json.loads(server.run(question))["passwords"]
    server.run("kubectl exec -n shaka-shared redis-0 -- redis-cli shutdown nosave", check=False)
    server.run("kubectl wait -n shaka-shared pod/redis-0 --for=jsonpath='{.status.containerStatuses[0].restartCount}'=1 --timeout=60s")
    server.run("kubectl wait -n shaka-shared pod/redis-0 --for=condition=Ready --timeout=60s")
    assert json.loads(server.run(question))["passwords"] == before


def test_nothing_else_was_started_anew(rotation: Rotation) -> None:
    before, after = rotation.pods
    new = {name.rpartition("-")[0].rpartition("-")[0] for name in before.keys() ^ after.keys()}
    assert new == {"shaka-prod/shaka-api", "shaka-staging/shaka-api"}
    assert {name: began for name, began in before.items() if name in after} == {name: began for name, began in after.items() if name in before}


def test_a_second_run_changes_nothing(rotation: Rotation) -> None:
    assert rotation.again.returncode == 0 and " changed=0 " in rotation.again.stdout, rotation.again.stdout


def test_no_value_was_shown(rotation: Rotation) -> None:
    assert [name for name, values in rotation.passwords.items() for value in values if value in rotation.said.stdout + rotation.said.stderr] == []
