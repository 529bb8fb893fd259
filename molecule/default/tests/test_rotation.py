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
USERS = {"prod": "shaka_production", "staging": "shaka_staging"}


@dataclass(frozen=True)
class Rotation:
    """What the site said, of one part of it and then whole, what its clients saw, and the passwords and pods of before and after."""

    part: subprocess.CompletedProcess[str]
    said: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]
    loads: list[Load]
    passwords: dict[str, tuple[str, str]]
    good: dict[str, list[bool]]  # after the part: whether the old and the new one are
    pods: tuple[dict[str, str], dict[str, str], dict[str, str]]


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


def postgres_answers(server: Server, environment: str, password: str) -> str:
    """What a login over the network is answered, 42 or why it was refused."""
    login = f'PGPASSWORD=$(cat) psql -XAt -h 127.0.0.1 -U {USERS[environment]} -d postgres -c "select 41 + 1" 2>&1'
    return server.run(f"printf %s {password} | kubectl exec -i -n shaka-{environment} postgres-0 -- sh -c '{login}'", check=False).strip()


def redis_answers(server: Server, environment: str, password: str) -> str:
    """What Redis answers a user's ping, PONG or why it was refused."""
    cli = f"read -r REDISCLI_AUTH; export REDISCLI_AUTH; exec redis-cli --no-auth-warning --user {environment} ping 2>&1"
    return server.run(f"echo {password} | kubectl exec -i -n shaka-shared redis-0 -- sh -c '{cli}'", check=False).strip()


def is_good(server: Server, path: str, password: str) -> bool:
    environment, _slash, name = path.partition("/")
    if name == "DB_PASSWORD":
        return postgres_answers(server, environment, password) == "42"
    return redis_answers(server, environment, password) == "PONG"


@pytest.fixture(scope="module")
def rotation(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Rotation:
    old, before = json.loads(json.dumps(server.lab["secrets"])), pods(server)
    inventory = rotate(server, tmp_path_factory.mktemp("rotation") / "inventory")
    new = json.loads((Path(server.lab["key"]).parent / "lab.json").read_text())["secrets"]
    passwords = {f"{env}/{name}": (old[env][name], new[env][name]) for env, names in ROTATED.items() for name in names}
    with load(server.lab, "prod") as prod, load(server.lab, "staging") as staging:
        part = server.playbook("site.yml", *inventory, "--tags", "postgres,redis")
        good = {path: [is_good(server, path, password) for password in both] for path, both in passwords.items()}
        between = pods(server)
        said = server.playbook("site.yml", *inventory, "--diff")
    server.lab["secrets"].update(new)
    after = pods(server)
    again = server.playbook("site.yml", *inventory)
    return Rotation(part, said, again, [prod, staging], passwords, good, (before, between, after))


def test_no_request_failed(rotation: Rotation) -> None:
    assert rotation.said.returncode == 0, rotation.said.stdout
    assert [client.failed for client in rotation.loads] == [[], []]
    assert [client.answered > 100 and len(client.pods) >= 3 for client in rotation.loads] == [True, True], "the pods changed under the load"


def test_a_run_of_postgres_and_redis_alone_begins_no_rotation_and_says_so(rotation: Rotation) -> None:
    before, between, _after = rotation.pods
    assert rotation.part.returncode == 0 and " changed=0 " in rotation.part.stdout, rotation.part.stdout
    assert rotation.good == {path: [True, False] for path in rotation.passwords}
    assert between == before, "nobody uses a stand-in"
    said = rotation.part.stdout + rotation.part.stderr
    assert [path for path in rotation.passwords if f"{path} was changed in the inventory and is not in force yet" not in " ".join(said.split())] == []


@pytest.mark.parametrize("environment", list(USERS))
def test_postgres_takes_the_new_password_and_refuses_the_old_one(server: Server, rotation: Rotation, environment: str) -> None:
    old, new = (postgres_answers(server, environment, password) for password in rotation.passwords[f"{environment}/DB_PASSWORD"])
    assert "password authentication failed" in old
    assert new == "42"
    roles = server.run(f'kubectl exec -n shaka-{environment} postgres-0 -- psql -XAt -U postgres -c "select rolname from pg_roles where rolcanlogin"')
    archives = ["wal_archive"] if environment == "prod" else []  # where any point in time can be had back
    assert sorted(roles.split()) == sorted(["postgres", USERS[environment], *archives])


def test_redis_takes_the_new_password_and_refuses_the_old_one(server: Server, rotation: Rotation) -> None:
    old, new = (redis_answers(server, "prod", password) for password in rotation.passwords["prod/REDIS_PASSWORD"])
    assert re.search("WRONGPASS|NOAUTH", old) and new == "PONG"
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


def test_a_new_pod_of_redis_has_the_passwords_that_were_good_before_it(server: Server, rotation: Rotation) -> None:
    """Also one that was replaced and that pods still hold, which no inventory knows any more."""
    cli = "kubectl exec -i -n shaka-shared redis-0 -- redis-cli"
    before = json.loads(server.run(f"{cli} -3 --json acl getuser prod"))["passwords"]
    server.run(f"printf 'ACL SETUSER prod >{'x' * 40}\\nACL SAVE\\n' | {cli}")
    try:
        server.run("kubectl delete pod -n shaka-shared redis-0 && kubectl rollout status -n shaka-shared statefulset/redis --timeout=90s")
        assert redis_answers(server, "prod", "x" * 40) == redis_answers(server, "prod", rotation.passwords["prod/REDIS_PASSWORD"][1]) == "PONG"
        assert server.run(f"{cli} ping").strip() == "PONG", "the operator's redis-cli"
    finally:
        server.run(f"printf 'ACL SETUSER prod <{'x' * 40}\\nACL SAVE\\n' | {cli}")
    assert json.loads(server.run(f"{cli} -3 --json acl getuser prod"))["passwords"] == before


def test_nothing_else_was_started_anew(rotation: Rotation) -> None:
    before, _between, after = rotation.pods
    new = {name.rpartition("-")[0].rpartition("-")[0] for name in before.keys() ^ after.keys()}
    assert new == {"shaka-prod/shaka-api", "shaka-staging/shaka-api"}
    assert {name: began for name, began in before.items() if name in after} == {name: began for name, began in after.items() if name in before}


def test_a_second_run_changes_nothing(rotation: Rotation) -> None:
    assert rotation.again.returncode == 0 and " changed=0 " in rotation.again.stdout, rotation.again.stdout


def test_no_value_was_shown(rotation: Rotation) -> None:
    assert [name for name, values in rotation.passwords.items() for value in values if value in rotation.said.stdout + rotation.said.stderr] == []
