"""What Ansible's own settings must be: every line that is missing in one message, and no connection that leaves secrets in files."""

from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from actions import action
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.shaka.platform.plugins.action import ansible_settings, apply_set, survey_sets
from ansible_collections.shaka.platform.plugins.plugin_utils.ansible_settings import (
    LOCK_PATTERN,
    PROGRESS,
    REPORT,
    AnsibleSettings,
    connection_flaw,
    message,
    missing_lines,
)

NONE = AnsibleSettings(file=None, callbacks=[], report_loaded=False, any_unparsed_is_failed=False, ignore_patterns=[], facts_as_vars=True)
ALL = replace(NONE, callbacks=[REPORT, PROGRESS], any_unparsed_is_failed=True, ignore_patterns=[LOCK_PATTERN], facts_as_vars=False)


def of_file(text: str) -> AnsibleSettings:
    """What Ansible would take from this text."""
    cfg = configparser.ConfigParser(interpolation=None)
    cfg.read_string(text)
    defaults, inventory = cfg["defaults"], cfg["inventory"]
    return replace(
        NONE,
        callbacks=defaults["callbacks_enabled"].split(", "),
        any_unparsed_is_failed=inventory["any_unparsed_is_failed"] == "True",
        ignore_patterns=inventory["ignore_patterns"].split(", "),
        facts_as_vars=defaults["inject_facts_as_vars"] != "False",
    )


@pytest.mark.parametrize(
    ("settings", "report", "needed", "advised"),
    [
        (ALL, "drift", [], []),
        (NONE, "drift", ["callbacks_enabled", "any_unparsed_is_failed", "ignore_patterns"], ["inject_facts_as_vars"]),
        (NONE, "", [], ["callbacks_enabled", "inject_facts_as_vars", "any_unparsed_is_failed", "ignore_patterns"]),
        (replace(ALL, callbacks=[PROGRESS]), "verify", ["callbacks_enabled"], []),
        (replace(ALL, callbacks=[REPORT]), "verify", [], ["callbacks_enabled"]),
        # the site writes the lock, and its next run would not take the inventory any more
        (replace(ALL, ignore_patterns=["[.]txt$"]), "", ["ignore_patterns"], []),
        (replace(ALL, ignore_patterns=["lock"]), "drift", [], []),
    ],
)
def test_what_is_needed_and_what_is_better(settings: AnsibleSettings, report: str, needed: list[str], advised: list[str]) -> None:
    lines = missing_lines(settings, report)
    assert [line.key for line in lines if line.needed] == needed
    assert [line.key for line in lines if not line.needed] == advised


def test_the_lines_of_the_message_are_all_it_takes() -> None:
    """What a reader copies, with what is there already kept."""
    given = replace(NONE, callbacks=["ansible.posix.profile_tasks"], ignore_patterns=["[.]txt$"])
    text = message(missing_lines(given, "drift"), None)
    head, _empty, rest = text.partition("\n\n")
    assert "no ansible.cfg" in head and "shaka.platform.init" in rest
    after = of_file(rest.rpartition("\n\n")[0])
    assert after.callbacks == ["ansible.posix.profile_tasks", REPORT, PROGRESS] and after.ignore_patterns == ["[.]txt$", LOCK_PATTERN]
    assert missing_lines(after, "drift") == []


@pytest.mark.parametrize(
    ("connection", "options", "become", "keeps", "words"),
    [
        ("ssh", {"pipelining": True}, "", False, None),
        ("ssh", {"pipelining": True}, "sudo", False, None),
        ("local", {"pipelining": True}, "sudo", False, None),
        ("ssh", {"pipelining": False}, "sudo", False, "pipelining is switched off"),
        ("ssh", {"pipelining": True}, "su", False, "the become method su cannot"),
        ("ssh", {"pipelining": True}, "sudo", True, "ANSIBLE_KEEP_REMOTE_FILES"),
        ("psrp", {}, "", False, None),
    ],
)
def test_secrets_go_through_a_pipe_or_nowhere(
    monkeypatch: pytest.MonkeyPatch, connection: str, options: dict[str, Any], become: str, keeps: bool, words: str | None
) -> None:
    monkeypatch.setattr(constants, "DEFAULT_KEEP_REMOTE_FILES", keeps)
    flaw = connection_flaw(action(ansible_settings.ActionModule, connection, become, **options)._connection)
    assert (flaw is None) is (words is None)
    assert words is None or (words in str(flaw) and "secrets" in str(flaw))


@pytest.mark.parametrize("module", [apply_set, survey_sets])
def test_what_carries_secrets_refuses_such_a_connection_itself(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Also in a playbook of one's own."""
    request = {"role": "config", "secrets": {"prod/DB_PASSWORD": "x"}}
    monkeypatch.setattr(module, "request_of", lambda *_all: request)
    monkeypatch.setattr(module, "digest_of", lambda _request: "", raising=False)
    monkeypatch.setattr(module, "render_role", lambda *_all: [], raising=False)
    monkeypatch.setattr(module, "render_site", lambda *_all: [SimpleNamespace(name="config", sets=[], templar=None, scope={})], raising=False)
    variables = {"role_path": "roles/config", "platform_model": {"name": "shaka"}}
    for pipelining, secrets in ((False, True), (False, False), (True, True)):
        sender = action(module.ActionModule, "ssh", pipelining=pipelining)
        monkeypatch.setattr(sender, "_execute_module", lambda **_all: {"sent": True})
        request["secrets"] = {"prod/DB_PASSWORD": "x"} if secrets else {}
        if secrets and not pipelining:
            with pytest.raises(AnsibleActionFail, match="pipelining is switched off"):
                sender.run(task_vars=variables)
        else:
            assert sender.run(task_vars=variables)["sent"]


def test_a_run_over_many_hosts_reads_the_settings_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(constants, "CALLBACKS_ENABLED", [])
    plugin = action(ansible_settings.ActionModule, "ssh", pipelining=True)
    plugin._task.args = {"report": "drift"}
    results = {host: plugin.run(task_vars={"inventory_hostname": host, "ansible_play_hosts_all": ["a", "b"]}) for host in ("a", "b")}
    assert results["a"]["failed"] and "callbacks_enabled" in results["a"]["msg"]
    assert not results["b"].get("failed")
    assert capsys.readouterr().out.count("callbacks_enabled = ") == 1


def test_a_callback_that_is_enabled_and_was_not_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("CALLBACKS_ENABLED", [REPORT, PROGRESS]),
        ("INVENTORY_ANY_UNPARSED_IS_FAILED", True),
        ("INVENTORY_IGNORE_PATTERNS", ["lock"]),
    ):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("SHAKA_PLATFORM_REPORT", "")
    plugin = action(ansible_settings.ActionModule, "ssh", pipelining=True)
    plugin._task.args = {"report": "verify"}
    result = plugin.run(task_vars={"inventory_hostname": "a", "ansible_play_hosts_all": ["a"]})
    assert result["failed"] and "did not load it" in result["msg"]


@pytest.mark.parametrize("file", ["ansible.cfg", "playbooks/files/project/ansible.cfg"])
def test_the_settings_of_the_checkout_and_of_a_new_project_lack_nothing(file: str) -> None:
    assert missing_lines(of_file((Path(__file__).parents[2] / file).read_text()), "drift") == []
