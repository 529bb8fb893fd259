"""The program bin/shaka as a person runs it. Its ssh is one that runs the command here, and its kubectl says what it was given."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "bin/shaka"
# As sshd does: the words behind the address, joined, to the account's shell.
SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift 2
exec sh -c "$*"
"""
KUBECTL = """#!{python}
import json, sys
objects = {{"items": [{{"metadata": {{"name": "postgres-prod"}}, "spec": {{"clusterIP": "127.0.0.1"}}}}]}}
print(json.dumps(objects if "services" in sys.argv else {{"items": []}} if "pods,deployments,statefulsets,cronjobs" in sys.argv else sys.argv[1:]))
sys.exit(7 if "false" in sys.argv else 0)
"""
# What ansible-inventory says of the same; the real one takes most of a second.
LISTED = {
    "k3s_servers": {"hosts": ["one"]},
    "_meta": {
        "hostvars": {
            "one": {
                "ansible_host": "192.0.2.7", "ansible_user": "root", "platform_name": "shaka",
                "platform_environments": {"dev": {}, "prod": {"postgres": {"database": "shaka_production"}, "api": {}}},
            }
        }
    },
}  # fmt: skip
PLAYBOOK = "#!{python}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n"
INVENTORY = "#!/bin/sh\ncat <<'END'\n{listed}\nEND\n"
HOSTS = {
    "k3s_servers": {
        "hosts": {"one": {"ansible_host": "{{ address_of_one }}", "ansible_user": "root"}},
        "vars": {"address_of_one": "192.0.2.7"},
    }
}
PLATFORM = {
    "platform_name": "shaka",
    "domain": "example.com",
    "platform_environments": {
        "prod": {"postgres": {"database": "shaka_{{ 'production' }}"}, "api": {"host": "api.{{ domain }}"}},
        "dev": {},
    },
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose secrets are encrypted with a password that is not there, and the programs on the PATH."""
    made = tmp_path_factory.mktemp("project")
    variables = made / "inventories/prod/group_vars/all"
    variables.mkdir(parents=True)
    (made / "ansible.cfg").write_text("[defaults]\ninventory = inventories/prod\n")
    (made / "inventories/prod/hosts.yml").write_text(yaml.safe_dump(HOSTS))
    (variables / "platform.yml").write_text(yaml.safe_dump(PLATFORM))
    (variables / "secrets.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3131\n")
    (made / "bin").mkdir()
    (made / "quick").mkdir()
    programs = {"bin/ssh": SSH, "bin/kubectl": KUBECTL, "bin/ansible-playbook": PLAYBOOK, "quick/ansible-inventory": INVENTORY}
    for name, text in programs.items():
        (made / name).write_text(text.format(python=sys.executable, listed=json.dumps(LISTED)))
        (made / name).chmod(0o755)
    return made


def environment(place: Path, real: bool = False) -> dict[str, str]:
    """With the real ansible-inventory, or what stands for it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
    places = [*([] if real else [place / "quick"]), place / "bin", Path(sys.executable).parent]
    return {**kept, "PATH": os.pathsep.join([*map(str, places), os.environ["PATH"]])}


def shaka(place: Path, *words: str, real: bool = False) -> subprocess.CompletedProcess[str]:
    """Run it, away from a terminal."""
    command = [str(PROGRAM), *words]
    return subprocess.run(
        command, cwd=place, env=environment(place, real), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", 'echo "a b"'],
        ["printf", "%s|", "it's", "$HOME", "`id`", "a\\b", "*", "", "new\nline", "--", "-x", "é"],
    ],
)
def test_what_is_typed_behind_the_two_hyphens_arrives_as_typed(place: Path, words: list[str]) -> None:
    done = shaka(place, "exec", "prod", "--", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["exec", "-i", "-n", "shaka-prod", "deployment/shaka-api", "--", *words]


def test_templates_of_the_inventory_are_resolved_and_its_secrets_are_not_needed(place: Path) -> None:
    done = shaka(place, "psql", "prod", "--", "-c", "select 1", real=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[-6:] == ["-U", "shaka_production", "-d", "shaka_production", "-c", "select 1"]
    assert done.stderr.startswith("+ ssh -l root -- 192.0.2.7 ")


@pytest.mark.parametrize("setting", ["vault_password_file = .vault-password", "vault_identity_list = prod@.vault-password", "ask_vault_pass = True"])
def test_a_colleague_needs_no_vault_password_that_the_project_names(place: Path, setting: str) -> None:
    """As the README of a new project has it, with the file that only who may change the server has."""
    config = place / "ansible.cfg"
    before = config.read_text()
    config.write_text(f"{before}{setting}\n")
    try:
        done = shaka(place, "psql", "prod", real=True)
    finally:
        config.write_text(before)
    assert done.returncode == 0 and json.loads(done.stdout)[-1] == "shaka_production", done.stderr


def test_memory_is_asked_for_when_it_is_wanted(place: Path) -> None:
    asked = [shaka(place, "status", *words).stderr.splitlines() for words in ([], ["--memory"])]
    assert [len(commands) for commands in asked] == [1, 2] and "memory.peak" in asked[1][1]


def test_the_exit_code_is_that_of_the_program(place: Path) -> None:
    assert shaka(place, "exec", "prod", "--", "false").returncode == 7


def test_a_server_that_is_down_hides_no_other(place: Path, tmp_path: Path) -> None:
    one = json.loads(json.dumps(LISTED))["_meta"]["hostvars"]["one"]
    listed = {"k3s_servers": {"hosts": ["down", "one"]}, "_meta": {"hostvars": {"one": one, "down": {**one, "ansible_host": "192.0.2.66"}}}}
    ssh = SSH.replace("shift 2", '[ "$2" != 192.0.2.66 ] || exit 255\nshift 2')
    programs = {"ansible-inventory": INVENTORY.format(listed=json.dumps(listed)), "ssh": ssh}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    variables = {**environment(place), "PATH": os.pathsep.join([str(tmp_path), environment(place)["PATH"]])}
    done = subprocess.run([str(PROGRAM), "-q", "status"], cwd=place, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (255, "one:\nnothing runs in dev, prod\n")
    assert done.stderr.startswith("shaka: ended with exit code 255: ssh -l root -- 192.0.2.66 ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["psql", "prdo"], "shaka: 'prdo' is not an environment; did you mean prod? known: dev, prod"),
        (["shell", "prod", "ap"], "shaka: 'ap' is not an application of prod; did you mean api? known: api, postgres, redis"),
        (["status", "--host", "two"], "shaka: 'two' is not a server of the inventory; known: one"),
        (["logs", "prod", "--", "x"], "shaka: logs takes nothing behind --"),
        (["-i", "nowhere", "status"], "shaka: the inventory nowhere does not exist"),
        (["exec", "prod"], "shaka: nothing to run is given"),
        (["logs", "prod", "--before-deploy", "-f"], "shaka: --before-deploy shows all that is kept"),
    ],
)
def test_mistakes_are_told_in_one_line_and_nothing_runs(place: Path, words: list[str], message: str) -> None:
    done = shaka(place, *words)
    assert done.returncode == 2 and done.stderr.startswith(message) and done.stderr.count("\n") == 1 and not done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (
            "deploy prod r.test/api@sha256:00 -- --check",
            "shaka.platform.deploy -e deploy_environment=prod -e deploy_image=r.test/api@sha256:00 --check",
        ),
        ("-i inv deploy prod image worker", "shaka.platform.deploy -i inv -e deploy_environment=prod -e deploy_image=image -e deploy_app=worker"),
        ("rollback prod", "shaka.platform.rollback -e rollback_environment=prod"),
        ("rollback prod 12 --app web", "shaka.platform.rollback -e rollback_environment=prod -e rollback_app=web -e rollback_to=12"),
        ("releases --user ana", "shaka.platform.releases -e ansible_user=ana"),
        ("backups prod --host one -e a=1", "shaka.platform.backups -e a=1 -e platform_only=prod --limit one"),
    ],
)
def test_what_changes_the_server_is_a_playbook(place: Path, words: str, command: str) -> None:
    done = shaka(place, *words.split())
    assert json.loads(done.stdout) == command.split()
    assert done.stderr == f"+ ansible-playbook {command}\n"


CLEANS_UP = """#!{python}
import sys, time
try:
    print("began", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    time.sleep(1)
    print("put in order")
    sys.exit(99)
"""


@pytest.mark.parametrize(("sent", "end"), [(signal.SIGINT, (99, "put in order\n")), (signal.SIGTERM, (128 + signal.SIGTERM, ""))])
def test_a_playbook_that_is_interrupted_ends_by_itself(place: Path, tmp_path: Path, sent: signal.Signals, end: tuple[int, str]) -> None:
    """A terminal sends Ctrl-C to both; a pipeline that is cancelled may tell the first alone."""
    playbook = tmp_path / "ansible-playbook"
    playbook.write_text(CLEANS_UP.format(python=sys.executable))
    playbook.chmod(0o755)
    variables = {**environment(place), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    # A shell lets what it starts in the background ignore SIGINT, these tests too.
    command = ["env", "--default-signal=INT", str(PROGRAM), "deploy", "prod", "image"]
    with subprocess.Popen(command, cwd=place, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True) as started:
        assert started.stdout and started.stdout.readline() == "began\n"
        (os.killpg if sent == signal.SIGINT else os.kill)(started.pid, sent)
        rest = started.stdout.read()
    assert (started.returncode, rest) == end


@pytest.mark.parametrize(("user", "asked"), [("root", "ssh -l root"), ("ana", "ssh -t -l ana")])
def test_sudo_can_ask_for_a_password_where_there_is_a_terminal(place: Path, user: str, asked: str) -> None:
    (place / "bin/sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (place / "bin/sudo").chmod(0o755)
    ours, theirs = os.openpty()
    command = [str(PROGRAM), "--user", user, "logs", "prod"]
    done = subprocess.run(
        command, cwd=place, env=environment(place), stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0 and done.stderr.startswith(f"+ {asked} -- "), done.stderr


def test_a_tunnel_leads_to_the_service_and_ends_with_the_signal(place: Path) -> None:
    """The cluster address is this machine's own, where something answers with what it is sent, backwards."""
    with socket.create_server(("127.0.0.1", 5432)) as there:
        command = [str(PROGRAM), "-q", "tunnel", "prod", "postgres", "--port", "0"]
        started = subprocess.Popen(command, cwd=place, env=environment(place), stdout=subprocess.PIPE, text=True)
        assert started.stdout
        line = started.stdout.readline().strip()
        assert line.startswith("postgresql://shaka_production@127.0.0.1:") and line.endswith("/shaka_production")
        port = int(line.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"abc" * 100_000)
            client.shutdown(socket.SHUT_WR)
            relayed = there.accept()[0]
            with relayed, relayed.makefile("rb") as sent:
                relayed.sendall(sent.read()[::-1])
            with client.makefile("rb") as answer:
                assert answer.read() == b"cba" * 100_000
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=20) == 0
    started.stdout.close()


def test_completion_in_bash(place: Path) -> None:
    """bash's own completion function, asked as bash asks it."""
    script = f"""
    PATH={place / "bin"}:$PATH
    shaka() {{ {PROGRAM} "$@"; }}
    eval "$(shaka completion bash)"
    COMP_WORDS=(shaka psql pr) COMP_CWORD=2
    _shaka
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], cwd=place, env=environment(place), capture_output=True, text=True, check=False)
    assert done.stdout == "prod\n", done.stderr
