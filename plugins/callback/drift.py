# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turns a drift, verify or preflight run into its report, its last line and its exit code."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drift
type: notification
author: The shaka.platform founders (@shaka-platform)
short_description: Report the findings of a drift, verify or preflight run
version_added: "0.1.0"
description:
  - Collects what C(playbooks/drift.yml), C(playbooks/verify.yml) and C(playbooks/preflight.yml) find, writes it as files and sets the exit code.
    Every other playbook is left alone, unless its plays set O(ignore:platform_report).
  - Drift counts the objects of each RV(shaka.platform.apply_set#module:objects) result and, as host items, every other task (each round of
    a loop) that looks after something on the host. One that reports a change in check mode differs from the inventory.
  - Fields that C(platform_drift_ignore) names are shown with the reason and not counted. An entry of it without a reason or past its date is a
    finding, one that had nothing to ignore a note. See U(https://jmespath.org) and C(docs/drift.md).
  - In any of the three kinds, the texts in C(platform_findings) of a task's result (or of C(set_fact)) are findings, and the mappings in C(checks)
    (C(name), C(scope), C(ok), C(detail)) are its checks. A verify or preflight run needs at least one C(platform_findings), even an empty
    one, of each host. In these two a failed task that carries findings is a finding, not an error.
  - Exit codes are V(0) clean; V(3) findings; V(2) a failed task; V(4) an unreachable host; V(1) any other error, among them no host matched,
    nothing checked, a report that cannot be written, and an exception in this callback. C(status) in the JSON report always agrees.
  - A drift run ends before its first task when a play of it is not in check mode, because that play would change the server.
  - The JSON report says C(error) from the start of the run until its end, so a run that is killed leaves no old verdict behind.
  - Task results are never written out; names, field paths, counts and the texts of findings and checks are.
notes:
  - Must be enabled in C(ansible.cfg) (C(callbacks_enabled)); C(playbooks/settings.yml) checks that it was loaded.
  - "Variables, of the inventory or the play:"
  - "C(platform_report): the kind of report, V(drift), V(verify) or V(preflight); by default the playbook's name, when it is one of them."
  - "C(platform_report_dir): the directory for C(<kind>.json), C(<kind>.junit.xml) and C(<kind>.prom); by default C(reports/) and the name of
    the inventory's directory."
  - "C(platform_report_textfile): where node-exporter's textfile goes instead, for example C(/var/lib/node_exporter/shaka_drift.prom)."
  - "C(platform_report_webhook): an http(s) URL that gets the JSON report by POST; bounded to 5 seconds, a failure is a warning."
"""

import contextlib
import functools
import json
import os
import threading
import traceback
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible import constants
from ansible.module_utils.urls import open_url
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar, trust_as_template
from ansible_collections.shaka.platform.plugins.plugin_utils.report.ignore_rules import VARIABLE, read_rules
from ansible_collections.shaka.platform.plugins.plugin_utils.report.run_report import (
    CLEAN,
    ERROR,
    FINDINGS,
    KINDS,
    UNFINISHED,
    CheckResult,
    HostItem,
    ObjectState,
    Outcome,
    Report,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.whole_file import replace_file

# What the action ansible_settings looks for: enabling a callback in ansible.cfg does not mean that it could be loaded.
LOADED = "SHAKA_PLATFORM_REPORT"
WEBHOOK_SECONDS = 5.0
# Tasks that manage nothing: they read, compute, wait or run other tasks. They count only when they report a change.
# fmt: off
READING = frozenset({
    "add_host", "ansible_settings", "assemble_facts", "assert", "async_status", "command", "debug", "fail", "find", "gather_facts",
    "getent", "group_by", "import_playbook", "import_role", "import_tasks", "include_role", "include_tasks", "include_vars", "meta",
    "mount_facts", "package_facts", "pause", "ping", "plan", "raw", "refuse", "script", "server_facts", "service_facts", "set_fact",
    "set_stats", "setup", "shell", "slurp", "stat", "survey_sets", "tempfile", "uri", "validate_argument_spec", "verify_platform",
    "wait_for", "wait_for_connection",
})
# fmt: on
APPLY_SET = "apply_set"


def guarded(method: Callable[..., None]) -> Callable[..., None]:
    """An exception in a callback is a warning to Ansible and exits 0: remember it, so that the run ends as an error."""

    @functools.wraps(method)
    def wrapper(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.broke(error)

    return wrapper


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """One report per playbook run; inactive (report is None) in playbooks of other kinds."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "shaka.platform.drift"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        os.environ[LOADED] = "loaded"
        self.report: Report | None = None
        self.playbook = ""
        self.directory = Path("reports")
        self.textfile: Path | None = None
        self.webhook = ""

    # events, in their order

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self.playbook = Path(str(getattr(playbook, "_file_name", "") or "")).stem
        self.report = None

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._begin(play)
        if self.report and self.report.kind == "drift" and not self._checks(play):
            self.report.errors.append(f"play '{play.get_name()}' is not in check mode and would have changed the server; nothing of it was run")
            self._end(self.report)

    @guarded
    def v2_runner_on_ok(self, result: Any) -> None:
        if self.report:
            self._read(self.report, result)

    @guarded
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not self.report:
            return
        self._read(self.report, result)
        host = self.report.host(result.host.get_name())
        excused = self.report.kind != "drift" and bool(_findings(result.result))
        if not ignore_errors and not excused:
            host.failures.append(_title(result.task))

    @guarded
    def v2_runner_on_unreachable(self, result: Any) -> None:
        if self.report:
            self.report.host(result.host.get_name()).unreachable = True

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self.report:
            return
        try:
            for name in stats.processed:
                self.report.host(name)
            for name in stats.dark:
                self.report.host(name).unreachable = True
            for name, host in self.report.hosts.items():
                # a rescued failure does not count, nor, in verify and preflight, one that reports findings
                host.failed = bool(stats.failures.get(name)) and (bool(host.failures) or not host.findings or self.report.kind == "drift")
                host.failures = host.failures if host.failed else []
            self.report.judge_rules()
        except Exception as error:
            self.broke(error)
        self._end(self.report)

    # details

    def broke(self, error: Exception) -> None:
        """Record an exception of this callback, without its text, which could quote a task's result; only an operating system's error is quoted."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else type(error).__name__
        problem = f"the callback failed: {what} ({Path(place.filename).name}:{place.lineno})"
        if self.report and problem not in self.report.errors:
            self.report.errors.append(problem)
        self._display.warning(f"{self.CALLBACK_NAME}: {problem}")

    def _begin(self, play: Any) -> None:
        wanted = play.vars.get("platform_report") or self.playbook
        if self.report or wanted not in KINDS:
            return
        self.report = Report(str(wanted), datetime.now(UTC))
        try:
            variables = _Variables(play)
            self.directory = Path(variables.text("platform_report_dir") or f"reports/{Path(variables.text('inventory_dir')).name or 'default'}")
            self.textfile = Path(path) if (path := variables.text("platform_report_textfile")) else None
            self.webhook = variables.text("platform_report_webhook")
            if self.report.kind == "drift":
                self.report.rules = {host: read_rules(_Variables(play, host).variable(VARIABLE)) for host in variables.hosts}
            self._write(self.report, UNFINISHED)
        except Exception as error:
            self.broke(error)

    def _checks(self, play: Any) -> bool:
        """Whether the play runs in check mode; the keyword's value may still be a template here."""
        try:
            return _Variables(play).value(play.check_mode) is True
        except Exception as error:
            self.broke(error)
            return False

    def _read(self, report: Report, result: Any) -> None:
        """Read the known keys of a task's result."""
        host, data = report.host(result.host.get_name()), result.result
        findings = _findings(data)
        if findings is not None:
            host.examined = True
            host.findings += [text for text in findings if text not in host.findings]
        if isinstance(checks := data.get("checks"), list):
            host.checks += [CheckResult.read(entry) for entry in checks if isinstance(entry, Mapping)]
        if report.kind != "drift":
            return
        action = _short(result.task)
        differs = False
        if action == APPLY_SET and isinstance(objects := data.get("objects"), list):
            states = [ObjectState.read(entry) for entry in objects if isinstance(entry, Mapping)]
            for state in states:
                host.add_object(state)
            differs = any(state.differs or state.ignored for state in states)
        role, task = _role(result.task), str(result.task.name or action)
        for name, changed in _rounds(task, data) if result.task.loop is not None else [(task, data.get("changed") is True)]:
            if changed and result.task_fields.get("check_mode") is False:
                report.errors.append(f"'{task}' reports a change outside check mode")
            # a change that no object explains must appear, too
            if (action != APPLY_SET and action not in READING) or (changed and not differs):
                host.items.append(HostItem(role, name, changed))

    def _end(self, report: Report) -> None:
        """Write the report, print it, and exit with its code; an exception here must not exit with 0."""
        try:
            self._conclude(report)
        except Exception as error:
            self.broke(error)
            raise SystemExit(1) from None

    def _conclude(self, report: Report) -> None:
        outcome = report.outcome()
        try:
            finished = self._write(report, outcome)
            self._display.display(f"report: {self.directory / report.kind}.json")
        except Exception as error:
            self.broke(error)
            outcome = report.outcome()
            finished = datetime.now(UTC)
            with contextlib.suppress(OSError):  # what can be written must not contradict the exit code
                _replace(self.directory / f"{report.kind}.json", report.as_json(outcome, finished))
        if self.webhook:
            self._post(json.dumps(report.as_dict(outcome, finished)).encode())
        colour = {CLEAN: constants.COLOR_OK, FINDINGS: constants.COLOR_CHANGED, ERROR: constants.COLOR_ERROR}[outcome.status]
        for line in report.lines(outcome):
            self._display.display(line, color=colour)
        if outcome.exit_code:
            raise SystemExit(outcome.exit_code)

    def _write(self, report: Report, outcome: Outcome) -> datetime:
        finished = datetime.now(UTC)
        base = self.directory / report.kind
        _replace(base.with_suffix(".json"), report.as_json(outcome, finished))
        if outcome is not UNFINISHED:
            _replace(base.with_suffix(".junit.xml"), report.as_junit(outcome, finished))
            _replace(self.textfile or base.with_suffix(".prom"), report.as_textfile(outcome, finished))
        return finished

    def _post(self, body: bytes) -> None:
        """POST to the webhook. open_url's timeout is per read, so a thread bounds it all; the URL may contain a token, so only its host is named."""
        target = urlsplit(self.webhook)
        problem: list[str] = [f"no answer within {WEBHOOK_SECONDS:.0f} s"]

        def send() -> None:
            try:
                if target.scheme not in ("http", "https"):
                    raise ValueError("not an http(s) URL")
                open_url(self.webhook, data=body, headers={"Content-Type": "application/json"}, method="POST", timeout=WEBHOOK_SECONDS).close()
                problem.clear()
            except Exception as error:
                problem[:] = [f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__]

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sender.join(WEBHOOK_SECONDS)
        if problem:
            self._display.warning(f"{self.CALLBACK_NAME}: the webhook at {target.hostname} did not take the report: {problem[0]}")


class _Variables:
    """Variables as one of the play's hosts has them, by default the first; no host is needed."""

    def __init__(self, play: Any, name: str = "") -> None:
        manager = play.get_variable_manager()
        hosts = {host.get_name(): host for host in manager._inventory.get_hosts(play.hosts)}
        self.hosts = list(hosts)
        host = hosts[name] if name else next(iter(hosts.values()), None)
        self._templar = Templar(loader=play.get_loader(), variables=manager.get_vars(play=play, host=host))

    def value(self, written: Any) -> Any:
        return self._templar.template(written)

    def variable(self, name: str) -> Any:
        return self._templar.evaluate_expression(trust_as_template(f"{name} | default('', true)"))

    def text(self, name: str) -> str:
        return str(self.variable(name) or "")


def _findings(data: Mapping[str, Any]) -> list[str] | None:
    """The platform_findings of a result, or of the facts it sets; None when it has none."""
    facts = data.get("ansible_facts")
    found = data.get("platform_findings", facts.get("platform_findings") if isinstance(facts, Mapping) else None)
    return [str(text) for text in found] if isinstance(found, list) else None


def _rounds(task: str, data: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """(name, changed) of each iteration of a loop that was not skipped."""
    for number, entry in enumerate(data.get("results") or (), start=1):
        if isinstance(entry, Mapping) and not entry.get("skipped"):
            label = entry.get("_ansible_item_label")
            # only a short text is a label; a mapping could hold anything
            known = isinstance(label, str) and len(label) <= 80 and not entry.get("_ansible_no_log") and "censored" not in entry
            yield f"{task} ({label if known else f'#{number}'})", entry.get("changed") is True


def _short(task: Any) -> str:
    return str(task.action).rsplit(".", 1)[-1]


def _role(task: Any) -> str:
    role = getattr(task, "_role", None)
    return str(role.get_name(include_role_fqcn=False)) if role else ""


def _title(task: Any) -> str:
    role, name = _role(task), task.name or _short(task)
    return f"{role}: {name}" if role else str(name)


def _replace(path: Path, text: str) -> None:
    """Write the whole file or leave the old one: node-exporter and dashboards may read it at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text)
