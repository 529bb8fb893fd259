"""The report of a run: exit code, last line, files. Fed with results as Ansible hands them to callbacks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import trust_as_template
from ansible_collections.shaka.platform.plugins.callback.drift import CallbackModule

CANARY = "canary-9f31"
SAME = {"set": "tenancy.prod", "kind": "Namespace", "namespace": "", "name": "shaka-prod", "action": "unchanged", "fields": []}
QUOTA = {**SAME, "kind": "ResourceQuota", "namespace": "shaka-prod", "name": "quota", "action": "changed", "fields": ["spec.hard.pods"]}


class Run:
    """One playbook run seen by the callback."""

    def __init__(self, directory: Path, kind: str = "drift", **variables: Any) -> None:
        self.directory = directory
        self.kind = kind
        self.variables = {"platform_report_dir": str(directory), **variables}
        self.inventory = SimpleNamespace(get_hosts=lambda _hosts: [])
        self.printed: list[str] = []
        self.warned: list[str] = []
        self.callback = CallbackModule()
        self.callback._display = SimpleNamespace(display=lambda text, **_how: self.printed.append(text), warning=self.warned.append)
        self.failures: dict[str, int] = {}
        self.dark: dict[str, int] = {}
        self.processed: dict[str, int] = {}

    def start(self, check_mode: Any = True) -> Run:
        self.callback.v2_playbook_on_start(SimpleNamespace(_file_name=f"playbooks/{self.kind}.yml"))
        self.play(check_mode)
        return self

    def play(self, check_mode: Any = True) -> None:
        manager = SimpleNamespace(_inventory=self.inventory, get_vars=lambda play, host: self.variables)
        self.callback.v2_playbook_on_play_start(
            SimpleNamespace(
                vars={}, check_mode=check_mode, hosts=["all"], get_name=lambda: "a play", get_loader=DataLoader, get_variable_manager=lambda: manager
            )
        )

    def ok(self, action: str = "ansible.builtin.copy", name: str = "A task", host: str = "server", **result: Any) -> None:
        self.processed[host] = 1
        self.callback.v2_runner_on_ok(self._result(action, name, host, result))

    def failed(self, name: str = "A task", host: str = "server", ignored: bool = False, rescued: bool = False, **result: Any) -> None:
        self.processed[host] = 1
        if not ignored and not rescued:
            self.failures[host] = 1
        self.callback.v2_runner_on_failed(self._result("ansible.builtin.command", name, host, result), ignore_errors=ignored)

    def unreachable(self, host: str = "server") -> None:
        self.processed[host] = self.dark[host] = 1
        self.callback.v2_runner_on_unreachable(self._result("ansible.builtin.copy", "A task", host, {}))

    def end(self) -> int:
        try:
            self.callback.v2_playbook_on_stats(SimpleNamespace(dark=self.dark, failures=self.failures, processed=self.processed))
        except SystemExit as left:
            return int(str(left.code))
        return 0

    @property
    def report(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.directory / f"{self.kind}.json").read_text())
        return read

    @staticmethod
    def _result(action: str, name: str, host: str, result: dict[str, Any]) -> Any:
        fields = {"check_mode": result.pop("check_mode", True)}
        task = SimpleNamespace(action=action, name=name, loop=[] if "results" in result else None, _role=None)
        return SimpleNamespace(host=SimpleNamespace(get_name=lambda: host), task=task, task_fields=fields, result=result)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "reports").start()


def test_clean(run: Run) -> None:
    run.ok("shaka.platform.apply_set", changed=False, objects=[SAME, {**QUOTA, "action": "kept"}])
    run.ok(changed=False)
    assert run.end() == 0
    assert run.printed[-1] == "drift: 0 of 2 objects and 0 of 1 host items differ"
    assert run.report["status"] == "clean"
    assert run.report["exit_code"] == 0


def test_findings_name_objects_fields_and_items(run: Run) -> None:
    run.ok("shaka.platform.apply_set", changed=True, objects=[SAME, QUOTA])
    run.ok(
        "ansible.posix.sysctl", "Kernel settings", changed=True, results=[{"changed": True, "_ansible_item_label": "vm.panic"}, {"changed": False}]
    )
    assert run.end() == 3
    assert run.printed[-1] == "drift: 1 of 2 objects and 1 of 2 host items differ"
    table = "\n".join(run.printed)
    assert "ResourceQuota shaka-prod/quota" in table and "spec.hard.pods" in table and "Kernel settings (vm.panic)" in table
    assert run.report["status"] == "findings"
    assert run.report["exit_code"] == 3
    assert run.report["hosts"]["server"]["objects"]["differing"][0]["fields"] == ["spec.hard.pods"]
    assert run.report["counts"]["items"] == {"checked": 2, "drifted": 1}


KNOWN = {"rule": 0, "fields": ["spec.hard.pods"], "reason": "load test", "until": "2999-12-31"}
RULE = {"kind": "ResourceQuota", "namespace": "shaka-*", "query": "spec.hard.pods", "reason": "load test", "until": "2999-12-31"}


def with_rules(tmp_path: Path, *rules: dict[str, Any]) -> Run:
    inventory = SimpleNamespace(get_hosts=lambda _hosts: [SimpleNamespace(get_name=lambda: "server")])
    run = Run(tmp_path / "reports", platform_drift_ignore=list(rules))
    run.inventory = inventory
    return run.start()


def test_what_is_ignored_is_shown_and_not_counted(tmp_path: Path) -> None:
    run = with_rules(tmp_path, RULE)
    run.ok("shaka.platform.apply_set", changed=True, objects=[SAME, {**QUOTA, "ignored": [KNOWN]}])
    assert run.end() == 0
    assert run.printed[-1] == "drift: 0 of 2 objects and 0 of 0 host items differ, 1 with ignored fields"
    assert "spec.hard.pods: load test (until 2999-12-31)" in "\n".join(run.printed)
    assert run.report["status"] == "clean"
    assert run.report["counts"]["objects"] == {"total": 2, "differing": 0, "ignored": 1}
    objects = run.report["hosts"]["server"]["objects"]
    assert objects["differing"] == []
    assert [(each["name"], each["fields"], each["reason"], each["until"]) for each in objects["ignored"]] == [
        ("quota", ["spec.hard.pods"], "load test", "2999-12-31")
    ]
    case = ElementTree.parse(run.directory / "drift.junit.xml").getroot().find(".//testcase/skipped")
    assert case is not None and "load test" in case.attrib["message"]
    assert 'shaka_drift_objects{host="server",state="ignored"} 1' in (run.directory / "drift.prom").read_text()


def test_the_rest_of_an_object_still_counts(tmp_path: Path) -> None:
    run = with_rules(tmp_path, RULE)
    run.ok("shaka.platform.apply_set", changed=True, objects=[{**QUOTA, "fields": ["spec.hard.pods", "spec.hard.secrets"], "ignored": [KNOWN]}])
    assert run.end() == 3
    objects = run.report["hosts"]["server"]["objects"]
    assert [each["fields"] for each in objects["differing"]] == [["spec.hard.secrets"]]
    assert [each["fields"] for each in objects["ignored"]] == [["spec.hard.pods"]]


@pytest.mark.parametrize(
    ("changes", "says"), [({"until": "2026-01-31"}, "ended on 2026-01-31"), ({"reason": ""}, "has no reason"), ({"reason": None}, "has no reason")]
)
def test_a_rule_that_no_longer_holds_is_a_finding(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    run = with_rules(tmp_path, {**RULE, **changes})
    run.ok("shaka.platform.apply_set", changed=False, objects=[SAME, {**QUOTA, "action": "unchanged", "fields": []}])
    assert run.end() == 3
    assert any("platform_drift_ignore[0] (ResourceQuota shaka-*/*: spec.hard.pods)" in line and says in line for line in run.printed)
    assert run.report["counts"]["findings"] == 1


@pytest.mark.parametrize(("changes", "says"), [({}, "had nothing to ignore"), ({"name": "other"}, "names no object of this run")])
def test_a_rule_that_ignored_nothing_is_a_note(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    run = with_rules(tmp_path, {**RULE, **changes})
    run.ok("shaka.platform.apply_set", changed=False, objects=[SAME, {**QUOTA, "action": "unchanged", "fields": []}])
    assert run.end() == 0
    assert [says in note for note in run.report["notes"]] == [True]
    assert f"note: {run.report['notes'][0]}" in run.printed


def test_a_rule_that_ignored_something_on_one_of_two_servers_is_no_note(tmp_path: Path) -> None:
    run = Run(tmp_path / "reports", platform_drift_ignore=[RULE])
    servers = [SimpleNamespace(get_name=lambda name=name: name) for name in ("one", "two", "three")]
    run.inventory = SimpleNamespace(get_hosts=lambda _hosts: servers)
    run.start()
    run.ok("shaka.platform.apply_set", host="one", changed=True, objects=[{**QUOTA, "ignored": [KNOWN]}])
    run.ok("shaka.platform.apply_set", host="two", changed=False, objects=[{**QUOTA, "action": "unchanged", "fields": []}])
    run.ok("shaka.platform.apply_set", host="three", changed=False, objects=[SAME])
    assert run.end() == 0 and run.report["notes"] == []


def test_an_object_that_is_missing_is_not_ignored(tmp_path: Path) -> None:
    run = with_rules(tmp_path, RULE)
    run.ok("shaka.platform.apply_set", changed=True, objects=[{**QUOTA, "action": "created", "ignored": [KNOWN]}])
    assert run.end() == 3


def test_other_files(run: Run) -> None:
    run.ok("shaka.platform.apply_set", changed=True, objects=[SAME, QUOTA])
    run.end()
    suite = ElementTree.parse(run.directory / "drift.junit.xml").getroot().find("testsuite")
    assert suite is not None and suite.attrib == {"name": "server", "tests": "2", "failures": "1", "errors": "0"}
    metrics = (run.directory / "drift.prom").read_text().splitlines()
    assert 'shaka_drift_objects{host="server",state="differing"} 1' in metrics
    assert "shaka_drift_exit_code 3" in metrics
    assert sorted(path.name for path in run.directory.iterdir()) == ["drift.json", "drift.junit.xml", "drift.prom"]


def test_a_finding_beside_checks_is_a_failure_in_junit_and_a_failed_check_is_one_once(run: Run) -> None:
    wrong = "an account without rights may read Secrets"
    run.ok("shaka.platform.k3s_effective", changed=False, platform_findings=[wrong])
    checks = [{"name": "pods", "scope": "prod", "ok": True, "detail": "2/2"}, {"name": "node", "scope": "lab", "ok": False, "detail": "not Ready"}]
    run.ok("shaka.platform.verify_platform", changed=False, platform_findings=["lab: node: not Ready"], checks=checks)
    run.ok(changed=False)
    assert run.end() == 3
    failed = [
        case.attrib["name"] for case in ElementTree.parse(run.directory / "drift.junit.xml").iter("testcase") if case.find("failure") is not None
    ]
    assert failed == ["node", wrong]


def _fails(run: Run) -> None:
    run.ok(changed=True)
    run.failed("Break")


def _vanishes(run: Run) -> None:
    run.ok(changed=True)
    run.unreachable()


def _both(run: Run) -> None:
    run.failed()
    run.unreachable("other")


def _nothing(run: Run) -> None:
    pass


def _only_reads(run: Run) -> None:
    run.ok("ansible.builtin.assert", changed=False)


def _writes(run: Run) -> None:
    run.ok(changed=True, check_mode=False)


def _confuses(run: Run) -> None:
    run.ok(changed=False)
    run.callback.v2_runner_on_ok(None)


@pytest.mark.parametrize(
    ("happening", "code", "reason"),
    [
        (_fails, 2, "server failed: Break"),
        (_vanishes, 4, "server is unreachable"),
        (_both, 4, "other is unreachable"),
        (_nothing, 1, "no host matched"),
        (_only_reads, 1, "nothing was checked on server"),
        (_writes, 1, "'A task' reports a change outside check mode"),
        (_confuses, 1, "the callback failed: AttributeError"),
    ],
)
def test_errors_are_never_clean(run: Run, happening: Callable[[Run], None], code: int, reason: str) -> None:
    happening(run)
    assert run.end() == code
    assert run.report["status"] == "error"
    assert run.report["exit_code"] == code
    assert any(entry.startswith(reason) for entry in run.report["reasons"])
    assert any(line.startswith(f"drift: {reason}") for line in run.printed)
    assert "ERROR" in run.printed[-1]


def test_ignored_and_rescued_failures_are_none(run: Run) -> None:
    run.failed(ignored=True)
    run.failed(rescued=True)
    run.ok(changed=False)
    assert run.end() == 0


@pytest.mark.parametrize("check_mode", [False, None, trust_as_template("{{ platform_check | default(false) }}"), trust_as_template("{{ nonsense }}")])
def test_a_play_that_would_write_is_not_started(tmp_path: Path, check_mode: Any) -> None:
    with pytest.raises(SystemExit) as left:
        Run(tmp_path).start(check_mode)
    assert left.value.code == 1
    assert json.loads((tmp_path / "drift.json").read_text())["status"] == "error"


def test_check_mode_may_be_a_template(tmp_path: Path) -> None:
    run = Run(tmp_path, platform_check=True).start(trust_as_template("{{ platform_check | default(ansible_check_mode) }}"))
    run.ok(changed=False)
    assert run.end() == 0


def test_an_interrupted_run_leaves_no_old_verdict(run: Run) -> None:
    run.ok(changed=False)
    run.end()
    run.start()  # and killed
    assert run.report["status"] == "error"
    assert run.report["exit_code"] == 1


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = Run(tmp_path / "file/reports").start()
    run.ok(changed=False)
    assert run.end() == 1
    assert "ERROR" in run.printed[-1]


def test_a_metrics_file_that_cannot_be_written_is_an_error_in_the_report_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = Run(tmp_path, platform_report_textfile=str(tmp_path / "file/drift.prom")).start()
    run.ok(changed=False)
    assert run.end() == 1
    assert run.report["status"] == "error"
    assert run.report["exit_code"] == 1


def test_a_change_that_no_object_explains_counts(run: Run) -> None:
    run.ok("shaka.platform.apply_set", "Apply", changed=True, objects=[SAME])
    run.ok("shaka.platform.apply_set", "Apply in secret", changed=True, censored="...")
    run.ok("ansible.builtin.command", "A command", changed=True)
    assert run.end() == 3
    assert [item["task"] for item in run.report["hosts"]["server"]["items"]["drifted"]] == ["Apply", "Apply in secret", "A command"]


def test_no_secret_reaches_the_files(run: Run) -> None:
    run.ok("shaka.platform.apply_set", changed=True, objects=[{**QUOTA, "before": CANARY}], diff=[{"after": CANARY}], message=CANARY)
    run.ok("ansible.builtin.copy", "Keys", changed=True, content=CANARY, invocation={"module_args": CANARY})
    rounds = [
        {"changed": True, "item": CANARY, "_ansible_item_label": {"password": CANARY}},
        {"changed": True, "_ansible_no_log": True, "_ansible_item_label": CANARY},
    ]
    run.ok("ansible.builtin.user", "Users", changed=True, results=rounds)
    run.failed("Break", msg=CANARY, stderr=CANARY)
    run.end()
    written = "".join(path.read_text() for path in run.directory.iterdir()) + "".join(run.printed + run.warned)
    assert "Users (#2)" in written
    assert CANARY not in written


def test_verify_reports_findings_last(tmp_path: Path) -> None:
    run = Run(tmp_path, "verify").start()
    checks = [{"name": "redis", "scope": "prod", "ok": False, "detail": "no answer"}, {"name": "redis", "scope": "dev", "ok": True, "detail": ""}]
    run.ok("shaka.platform.verify_platform", changed=False, checks=checks, platform_findings=["prod: redis: no answer"])
    assert run.end() == 3
    assert run.printed[-2:] == ["prod: redis: no answer", "verify: 1 of 2 checks failed"]
    assert run.report["hosts"]["server"]["checks"] == checks
    assert 'shaka_verify_check_ok{host="server",check="redis",scope="prod"} 0.0' in (tmp_path / "verify.prom").read_text()


def test_verify_that_checked_nothing_is_an_error(tmp_path: Path) -> None:
    run = Run(tmp_path, "verify").start()
    run.ok(changed=False)
    assert run.end() == 1


def test_preflight_takes_facts_and_failed_tasks_with_findings(tmp_path: Path) -> None:
    run = Run(tmp_path, "preflight").start(check_mode=False)
    run.ok("ansible.builtin.set_fact", ansible_facts={"platform_findings": ["memory: 3 GiB of 2 GiB"]})
    run.failed(platform_findings=["cpu: 3 of 2"], msg="does not fit")
    assert run.end() == 3
    assert run.printed[-3:] == ["memory: 3 GiB of 2 GiB", "cpu: 3 of 2", "preflight: 2 findings"]


def test_preflight_that_breaks_is_an_error(tmp_path: Path) -> None:
    run = Run(tmp_path, "preflight").start()
    run.ok("ansible.builtin.set_fact", ansible_facts={"platform_findings": ["memory"]})
    run.failed("Break")
    assert run.end() == 2


def test_other_playbooks_are_left_alone(tmp_path: Path) -> None:
    run = Run(tmp_path / "reports", "site").start(check_mode=False)
    run.ok(changed=True, platform_findings=["x"])
    run.failed()
    assert run.end() == 0
    assert run.printed == [] and not run.directory.exists()


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(503 if self.path == "/busy" else 204)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    bodies: list[bytes] = []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.bodies = bodies  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()


def test_webhook(tmp_path: Path, receiver: HTTPServer) -> None:
    run = Run(tmp_path, platform_report_webhook=f"http://127.0.0.1:{receiver.server_port}/{CANARY}").start()
    run.ok(changed=True)
    assert run.end() == 3
    assert json.loads(receiver.bodies[0])["status"] == "findings"  # type: ignore[attr-defined]
    assert run.warned == []


def test_a_webhook_that_fails_is_a_warning_without_the_url(tmp_path: Path, receiver: HTTPServer) -> None:
    for url in (f"http://127.0.0.1:{receiver.server_port}/busy", f"file:///{CANARY}"):
        run = Run(tmp_path, platform_report_webhook=url).start()
        run.ok(changed=False)
        assert run.end() == 0
        assert len(run.warned) == 1 and "did not take the report" in run.warned[0] and CANARY not in run.warned[0] and "busy" not in run.warned[0]
