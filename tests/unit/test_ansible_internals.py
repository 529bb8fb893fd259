"""What the plugins use of Ansible beyond its documented interface: each use is listed here and tried on Ansible's own objects.

`make matrix` runs this with every supported ansible-core, so that a release which moves one of them is found here and not on a server.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from actions import action
from ansible.executor.process.worker import WorkerProcess
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible.utils.display import Display
from ansible_collections.shaka.platform.plugins.action import artifact_files, dump_transfer, remote_access
from ansible_collections.shaka.platform.plugins.callback import progress
from ansible_collections.shaka.platform.plugins.plugin_utils import cache
from ansible_collections.shaka.platform.plugins.plugin_utils.artifacts.packed_modules import PackedModules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems
from ansible_collections.shaka.platform.plugins.plugin_utils.model.schema import complete
from ansible_collections.shaka.platform.plugins.plugin_utils.model.written import source
from ansible_collections.shaka.platform.plugins.plugin_utils.plan.compiled_templates import keep_compiled

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
# What Ansible's base classes give a plugin to work with, as its developer guide shows it.
GIVEN = {"_connection", "_diff", "_display", "_execute_module", "_loader", "_play_context", "_task", "_templar"}
# What nobody promises, and the test below that tries it.
PRIVATE = {
    "_connected": "test_a_second_connection_has_options_of_its_own",
    "_options": "test_a_second_connection_has_options_of_its_own",
    "_get_remote_user": "test_a_file_is_sent_beside_its_place_or_to_a_directory_of_the_user",
    "_low_level_execute_command": "test_a_command_gets_its_input_and_gives_its_code_and_output",
    "_engine": "test_an_included_template_is_compiled_once_and_not_in_each_process",
    "_lock": "test_the_heartbeat_and_ansible_take_turns",
    "_ansible_item_label": "test_a_report_is_made_of_what_ansible_hands_to_callbacks",
    "_ansible_no_log": "test_a_report_is_made_of_what_ansible_hands_to_callbacks",
    "_file_name": "test_a_report_is_made_of_what_ansible_hands_to_callbacks",
    "_inventory": "test_a_report_is_made_of_what_ansible_hands_to_callbacks",
    "_role": "test_a_report_is_made_of_what_ansible_hands_to_callbacks",
}
PYTHONS_OWN = {"_asdict", "_replace", "_exit", "_actions", "_SubParsersAction"}  # of Python's own library, in spite of the underscore


def private_names(path: Path) -> set[str]:
    """The names with a leading underscore that a file uses of others: attributes, and those that getattr and result keys name."""
    own: set[str] = set()
    used: set[str] = set()
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Attribute):
            mine = isinstance(node.value, ast.Name) and node.value.id == "self" and isinstance(node.ctx, ast.Store) and node.attr not in GIVEN
            (own if mine else used).add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and isinstance(node.args[1], ast.Constant):
            named.add(str(node.args[1].value))
        elif isinstance(node, ast.Constant) and str(node.value).startswith("_ansible_"):
            named.add(str(node.value))
    return {name for name in (used - own) | named if name.startswith("_") and not name.startswith("__")}


def test_every_private_name_is_listed_and_tried() -> None:
    used = set().union(*(private_names(path) for path in PLUGINS.rglob("*.py")))
    assert used - GIVEN - PYTHONS_OWN == set(PRIVATE)
    assert set(PRIVATE.values()) <= {name for name in globals() if name.startswith("test_")}


# --- connections --------------------------------------------------------------------------------------------------------


def run_here(command: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
    done = subprocess.run(["/bin/sh", "-c", command], input=in_data, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_second_connection_has_options_of_its_own() -> None:
    first = action(remote_access.ActionModule, "ssh", ssh_args="-J bastion -o ControlMaster=auto")._connection
    first._connected = True
    second = remote_access.ActionModule._second(first)
    assert second.get_option("ssh_args") == f"{remote_access.NOT_SHARED} -J bastion -o ControlMaster=auto" and not second.connected
    assert first.get_option("ssh_args") == "-J bastion -o ControlMaster=auto" and first.connected
    assert second.get_option("host_key_checking") == first.get_option("host_key_checking")


@pytest.mark.parametrize("becomes", [False, True])
def test_a_file_is_sent_beside_its_place_or_to_a_directory_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, becomes: bool) -> None:
    monkeypatch.setattr(Display(), "display", lambda *_text, **_how: None)
    sender = action(artifact_files.ActionModule, "local", become="sudo" if becomes else "", become_user="somebody-else")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if becomes:  # the commands run as this user all the same
        monkeypatch.setattr(sender._connection, "exec_command", run_here)
    (tmp_path / "source").write_text("content")
    file = {"name": "a file", "src": str(tmp_path / "source"), "size": 7, "sha256": hashlib.sha256(b"content").hexdigest()}
    sent = Path(sender._send(file, str(tmp_path / ".partial"), {}))
    assert sent.read_text() == "content"
    assert (sent == tmp_path / ".partial") is not becomes
    if becomes:  # at the same place in each run: one that is killed leaves it there for the next
        assert sent == tmp_path / "home/.ansible/shaka.platform/.partial" and sent.parent.stat().st_mode & 0o777 == 0o700
        assert sender._send(file, str(tmp_path / ".partial"), {}) == str(sent)


def test_a_command_gets_its_input_and_gives_its_code_and_output() -> None:
    sender = action(dump_transfer.ActionModule, "local")
    answer = sender._low_level_execute_command("cat; echo seen >&2; exit 3", sudoable=True, in_data=b"a key\n")
    assert (answer["rc"], answer["stdout"].strip()) == (3, "a key") and "seen" in answer["stderr"]


# --- what is printed ----------------------------------------------------------------------------------------------------


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> Iterator[progress.CallbackModule]:
    """The callback on Ansible's own display, and quick."""
    monkeypatch.setattr(progress, "TICK", 0.02)
    monkeypatch.setattr(progress, "SILENCE", 0.1)
    callback = progress.CallbackModule()
    yield callback
    callback.ended.set()
    if callback.thread:
        callback.thread.join(5)
    vars(Display()).pop("display", None)


def test_the_heartbeat_sees_what_ansible_prints(heartbeat: progress.CallbackModule, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat.v2_playbook_on_start(None)
    heartbeat.v2_playbook_on_task_start(SimpleNamespace(get_name=lambda: "Slow", args={}, action="command"), False)
    heartbeat.heartbeat.quiet = True  # not a word but Ansible's
    before = heartbeat.heartbeat.last_output
    Display().display("ok: [server]")
    assert capsys.readouterr().out == "ok: [server]\n" and heartbeat.heartbeat.last_output > before
    heartbeat.heartbeat.quiet = False
    said, deadline = "", time.monotonic() + 10
    while "Slow" not in said and time.monotonic() < deadline:
        said += capsys.readouterr().out
    assert "s  Slow\n" in said


def test_the_heartbeat_and_ansible_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock that the heartbeat holds while it prints is held by Ansible around a fork: no worker is born in the middle of a line."""
    held: list[bool] = []

    def start(_worker: WorkerProcess) -> None:
        taken: list[bool] = []
        other = threading.Thread(target=lambda: taken.append(Display()._lock.acquire(blocking=False)))
        other.start()
        other.join()
        held.append(taken == [False])

    monkeypatch.setattr(WorkerProcess.__mro__[1], "start", start)
    WorkerProcess.start(WorkerProcess.__new__(WorkerProcess))
    assert held == [True]


# --- what a validator says ----------------------------------------------------------------------------------------------

OPTIONS: dict[str, Any] = {
    "flag": {"type": "bool"},
    "colour": {"type": "str", "choices": ["red", "green"]},
    "many": {"type": "list", "elements": "dict", "options": {"name": {"type": "str", "required": True}, "flag": {"type": "bool"}}},
}
OPTIONS["inner"] = {"type": "dict", "options": dict(OPTIONS)}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"flag": "maybe"}, {"x.flag": "'maybe' must be true or false"}),
        ({"colour": "blue"}, {"x.colour": "'blue' is unknown; known: red, green"}),
        ({"inner": {"flag": "maybe"}}, {"x.inner.flag": "'maybe' must be true or false"}),
        ({"inner": {"colour": "blue"}}, {"x.inner.colour": "'blue' is unknown; known: red, green"}),
        ({"many": [{"flag": True}]}, {"x.many": "lacks name"}),
        ({"many": [{"name": "n", "flag": "maybe"}]}, {"x.many.flag": "must be true or false"}),
        ({"inner": {"many": [{"flag": True}]}}, {"x.inner.many": "lacks name"}),
        (
            {"colour": "blue", "inner": {"flag": "maybe"}},
            {"x.colour": "'blue' is unknown; known: red, green", "x.inner.flag": "'maybe' must be true or false"},
        ),
    ],
)
def test_each_complaint_of_the_validator_is_understood(data: dict[str, Any], said: dict[str, str]) -> None:
    problems = Problems()
    complete(data, OPTIONS, "x", problems)
    assert {problem.path: problem.text for problem in problems} == said


# --- what callbacks are given -------------------------------------------------------------------------------------------

TASKS = """
- name: Write
  ansible.builtin.copy: {dest: "{{ inventory_dir }}/{{ item }}", content: x, mode: "0644"}
  loop: [one, two]
- name: Write unseen
  ansible.builtin.copy: {dest: "{{ inventory_dir }}/{{ item }}", content: x, mode: "0644"}
  loop: [hidden]
  no_log: true
"""
PLAY = "- {hosts: servers, gather_facts: false, check_mode: true, roles: [parts]}\n"
CFG = "[defaults]\ncallbacks_enabled = shaka.platform.drift, shaka.platform.progress\nroles_path = roles\n"


def test_a_report_is_made_of_what_ansible_hands_to_callbacks(tmp_path: Path) -> None:
    """Its kind by the playbook's name, its place by a variable of the inventory, its entries by role, task and label; no label of a secret."""
    files = {
        "drift.yml": PLAY,
        "roles/parts/tasks/main.yml": TASKS,
        "ansible.cfg": CFG + f"collections_path = {ROOT / '.ansible/collections'}\n",
        "inventory/hosts.yml": "servers: {hosts: {server: {ansible_connection: local}}}\n",
        "inventory/group_vars/all/report.yml": f"platform_report_dir: {tmp_path / 'reported'}\nansible_python_interpreter: {sys.executable}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "drift.yml", "-i", "inventory/hosts.yml"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")} | {"ANSIBLE_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    report = json.loads((tmp_path / "reported/drift.json").read_text())
    drifted = [(item["role"], item["task"]) for item in report["hosts"]["server"]["items"]["drifted"]]
    assert drifted == [("parts", "Write (one)"), ("parts", "Write (two)"), ("parts", "Write unseen (#1)")]
    assert "hidden" not in json.dumps(report)


MODULE = "ansible_collections.shaka.platform.plugins.modules.kernel_settings"
ONE_MODULE = """- hosts: all
  gather_facts: false
  tasks:
    - {shaka.platform.kernel_settings: {}, check_mode: true}
"""


def test_a_module_is_packed_once_and_not_in_each_run(tmp_path: Path) -> None:
    """Ansible looks into its ansiballz_cache before it packs one. What others could write is not used, as it is unpickled."""
    (tmp_path / "play.yml").write_text(ONE_MODULE)
    (tmp_path / "ansible.cfg").write_text(CFG + f"collections_path = {ROOT / '.ansible/collections'}\n")
    options = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml", *options]
    own = {"ANSIBLE_HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "ANSIBLE_DEBUG": "1"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")} | own

    def packed() -> tuple[bool, bool]:
        """Whether the module was packed, and whether a packed one was taken."""
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        return "ANSIBALLZ: Creating module" in done.stdout, "ANSIBALLZ: using cached module" in done.stdout

    assert packed() == (True, False)
    (kept,) = (tmp_path / "cache/shaka-platform/modules").iterdir()
    (module,) = kept.iterdir()
    assert module.name.startswith(MODULE)
    assert packed() == (False, True)
    module.write_bytes(module.read_bytes()[:-100])  # a disk that was full, a power cut
    assert packed() == (True, False)
    assert packed() == (False, True)
    kept.parent.chmod(0o777)
    assert packed() == (True, False)


def test_what_was_packed_of_other_sources_is_not_kept(tmp_path: Path) -> None:
    """A checkout or an update while a run goes on: its modules are of neither version."""
    sources, here = tmp_path / "sources", tmp_path / "here"
    sources.mkdir()
    here.mkdir()
    (sources / "one.py").write_text("before = 1\n")
    modules = PackedModules(tmp_path / "kept", here, [sources])
    (here / MODULE).write_bytes(b"packed")
    (sources / "one.py").write_text("after = 1\n")
    modules.keep()
    assert not (tmp_path / "kept").exists()
    (sources / "one.py").write_text("before = 1\n")
    modules.keep()
    again = PackedModules(tmp_path / "kept", tmp_path / "again", [sources])
    again.lay_out()
    assert (tmp_path / "again" / MODULE).read_bytes() == b"packed"


@pytest.mark.parametrize(
    ("folder", "mode", "ours"), [("a/b", 0o700, True), ("a/b", 0o770, False), ("a", 0o777, False), ("a", 0o1777, True), ("", 0o775, False)]
)
def test_code_is_read_from_directories_that_nobody_else_writes_to(tmp_path: Path, folder: str, mode: int, ours: bool) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / folder).chmod(mode)
    assert cache.ours(tmp_path / "a/b") is ours
    assert not cache.ours(tmp_path / "missing")


def test_an_included_template_is_compiled_once_and_not_in_each_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Jinja's cache of bytecode, which is set on the environment that a Templar includes with; each of these has a new one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "one.j2").write_text("{{ word }} world")
    compiled: list[str] = []
    compiles = jinja2.Environment.compile

    def counted(self: Any, text: Any, name: Any = None, *arguments: Any, **options: Any) -> Any:
        compiled.append(name)
        return compiles(self, text, name, *arguments, **options)

    monkeypatch.setattr(jinja2.Environment, "compile", counted)

    def rendered(word: str) -> Any:
        templar = Templar(DataLoader()).copy_with_new_env(searchpath=[str(tmp_path)], available_variables={"word": word})
        keep_compiled(templar)
        return templar.template(trust_as_template("{% include 'one.j2' %}"))

    assert [rendered("hello"), rendered("another")] == ["hello world", "another world"]
    assert compiled.count("one.j2") == 1
    (tmp_path / "one.j2").write_text("{{ word }} server")
    assert rendered("hello") == "hello server"
    (tmp_path / "cache/shaka-platform/templates").chmod(0o777)  # others could have written what is there
    assert rendered("hello") == "hello server" and compiled.count("one.j2") == 3


# --- values -----------------------------------------------------------------------------------------------------------------


def test_the_place_of_a_value_in_its_file_is_known(tmp_path: Path) -> None:
    """By ansible._internal._datatag._tags.Origin; elsewhere nothing would be refused for what YAML made of it."""
    path = tmp_path / "variables.yml"
    path.write_text("number: 0123\nword: on\n")
    loaded = DataLoader().load_from_file(str(path))
    assert [source(key, value) for key, value in loaded.items()] == ["0123", "on"]
