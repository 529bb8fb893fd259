# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of a drift, verify or preflight run, and its files and lines. Pure: no Ansible, no clock, no disk.

Only names, field paths, counts and the texts of checks enter a report: never a task's whole result, which could carry a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

from ansible_collections.shaka.platform.plugins.plugin_utils.report.ignore_rules import IgnoredFields, IgnoreRule
from ansible_collections.shaka.platform.plugins.plugin_utils.report.tables import table

KINDS = ("drift", "verify", "preflight")
CLEAN, FINDINGS, ERROR = "clean", "findings", "error"
# apply_set's actions that leave an object as it is; any other counts as a difference, also one that is added to apply_set later
SAME = frozenset({"unchanged", "kept"})
CHANGED = "changed"  # the one of which rules of the inventory may ignore fields


@dataclass(frozen=True)
class ObjectState:
    """One object of an apply_set result, and whether it differs from the inventory."""

    set: str
    kind: str
    namespace: str
    name: str
    action: str
    fields: tuple[str, ...] = ()
    ignored: tuple[IgnoredFields, ...] = ()

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> ObjectState:
        """From apply_set's return value; takes the named keys only. What is ignored is not among the fields."""
        texts = {key: str(entry.get(key) or "") for key in ("set", "kind", "namespace", "name", "action")}
        ignored = tuple(IgnoredFields.read(each) for each in entry.get("ignored") or ())
        left_out = {path for each in ignored for path in each.fields}
        return cls(fields=tuple(str(path) for path in entry.get("fields") or () if path not in left_out), ignored=ignored, **texts)

    @property
    def differs(self) -> bool:
        """Whether it counts: a change all of whose fields are ignored does not."""
        return self.action not in SAME and not (self.action == CHANGED and self.ignored and not self.fields)

    @property
    def difference(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "ignored"}

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class HostItem:
    """One thing on the host that a task (or one iteration of its loop) manages."""

    role: str
    task: str
    changed: bool

    @property
    def title(self) -> str:
        return f"{self.role}: {self.task}" if self.role else self.task


@dataclass(frozen=True)
class CheckResult:
    """One check of the role verify."""

    name: str
    scope: str
    ok: bool
    detail: str

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> CheckResult:
        return cls(str(entry.get("name") or ""), str(entry.get("scope") or ""), entry.get("ok") is True, str(entry.get("detail") or ""))

    @property
    def finding(self) -> str:
        """As the role verify puts a failed check among its findings."""
        return f"{self.scope}: {self.name}: {self.detail}"


@dataclass
class HostReport:
    """What was seen on one host."""

    objects: dict[tuple[str, str, str, str], ObjectState] = field(default_factory=dict)
    items: list[HostItem] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    failed: bool = False
    unreachable: bool = False
    examined: bool = False  # a result carried platform_findings, even an empty list

    def add_object(self, state: ObjectState) -> None:
        """A difference stays in the report, even when a later call finds the object as it should be."""
        key = (state.set, state.kind, state.namespace, state.name)
        known = self.objects.get(key)
        if known is None or not (known.differs or (known.ignored and not state.differs)):
            self.objects[key] = state

    @property
    def differing(self) -> list[ObjectState]:
        return [state for state in self.objects.values() if state.differs]

    @property
    def ignoring(self) -> list[ObjectState]:
        return [state for state in self.objects.values() if state.ignored]

    @property
    def drifted(self) -> list[HostItem]:
        return [item for item in self.items if item.changed]


@dataclass(frozen=True)
class Outcome:
    """The verdict: `status` and `exit_code` always agree; `reasons` says why it is an error."""

    status: str
    exit_code: int
    reasons: tuple[str, ...] = ()


UNFINISHED = Outcome(ERROR, 1, ("the run did not reach its end",))


@dataclass
class Report:
    """One run of one kind of playbook."""

    kind: str
    started: datetime
    hosts: dict[str, HostReport] = field(default_factory=dict)
    rules: dict[str, list[IgnoreRule]] = field(default_factory=dict)  # what a host's inventory ignores
    notes: list[str] = field(default_factory=list)  # what does not count, but is worth a look
    errors: list[str] = field(default_factory=list)  # of the run as a whole: of the callback, of a play that would have changed the server

    def host(self, name: str) -> HostReport:
        return self.hosts.setdefault(name, HostReport())

    def judge_rules(self) -> None:
        """At the end of the run: a rule that no longer holds is a finding, one that had nothing to ignore on any server a note."""
        holds: dict[IgnoreRule, list[HostReport]] = {}
        for name, host in self.hosts.items():
            for rule in self.rules.get(name, ()):
                if lapsed := rule.lapsed(self.started.date()):
                    host.findings.append(f"{rule} {lapsed}")
                else:
                    holds.setdefault(rule, []).append(host)
        for rule, hosts in holds.items():
            if not any(rule.concerns(state.kind, state.namespace, state.name) for host in hosts for state in host.objects.values()):
                self.notes.append(f"{rule} names no object of this run")
            elif not any(each.rule == rule.number for host in hosts for state in host.ignoring for each in state.ignored):
                self.notes.append(f"{rule} had nothing to ignore; remove the entry once nobody changes this any more")

    def outcome(self) -> Outcome:
        """Errors first: a run that did not check everything is never clean. Exit codes are those of ansible-playbook where it has one."""
        unreachable = [name for name, host in self.hosts.items() if host.unreachable]
        failed = [(name, host) for name, host in self.hosts.items() if host.failed]
        reasons = list(self.errors)
        reasons += [f"{name} is unreachable" for name in unreachable]
        reasons += [f"{name} failed: {'; '.join(host.failures) or 'see above'}" for name, host in failed]
        if not self.hosts:
            reasons.append("no host matched")
        for name, host in self.hosts.items():
            looked = bool(host.objects or host.items) if self.kind == "drift" else host.examined
            aside = name == "localhost" and len(self.hosts) > 1  # a play that only prepares something on the controller
            if not looked and not aside and not host.unreachable and not host.failed:
                reasons.append(f"nothing was checked on {name}")
        if reasons:
            return Outcome(ERROR, 1 if self.errors else 4 if unreachable else 2 if failed else 1, tuple(reasons))
        return Outcome(FINDINGS, 3) if self.found() else Outcome(CLEAN, 0)

    def found(self) -> int:
        """How many findings there are, of all kinds that count for this kind of run."""
        found = sum(len(host.findings) for host in self.hosts.values())
        if self.kind == "drift":
            found += sum(len(host.differing) + len(host.drifted) for host in self.hosts.values())
        return found

    def counts(self) -> dict[str, Any]:
        hosts = self.hosts.values()
        return {
            "objects": {
                "total": sum(len(h.objects) for h in hosts),
                "differing": sum(len(h.differing) for h in hosts),
                "ignored": sum(len(h.ignoring) for h in hosts),
            },
            "items": {"checked": sum(len(h.items) for h in hosts), "drifted": sum(len(h.drifted) for h in hosts)},
            "checks": {"total": sum(len(h.checks) for h in hosts), "failed": sum(not c.ok for h in hosts for c in h.checks)},
            "findings": sum(len(h.findings) for h in hosts),
            "failures": sum(len(h.failures) for h in hosts),
            "unreachable": sum(h.unreachable for h in hosts),
        }

    def as_dict(self, outcome: Outcome, finished: datetime) -> dict[str, Any]:
        """The JSON report. Objects and items that are as they should be are counted, not listed."""
        return {
            "report": self.kind,
            "status": outcome.status,
            "exit_code": outcome.exit_code,
            "reasons": list(outcome.reasons),
            "started": self.started.isoformat(timespec="seconds"),
            "finished": finished.isoformat(timespec="seconds"),
            "duration_s": round((finished - self.started).total_seconds(), 1),
            "counts": self.counts(),
            "notes": self.notes,
            "hosts": {
                name: {
                    "objects": {
                        "total": len(host.objects),
                        "differing": [state.difference for state in host.differing],
                        "ignored": [{**state.difference, **asdict(each)} for state in host.ignoring for each in state.ignored],
                    },
                    "items": {"checked": len(host.items), "drifted": [{"role": item.role, "task": item.task} for item in host.drifted]},
                    "checks": [asdict(check) for check in host.checks],
                    "findings": host.findings,
                    "failures": host.failures,
                    "unreachable": host.unreachable,
                }
                for name, host in self.hosts.items()
            },
        }

    def as_json(self, outcome: Outcome, finished: datetime) -> str:
        return json.dumps(self.as_dict(outcome, finished), indent=2) + "\n"

    def as_junit(self, outcome: Outcome, finished: datetime) -> str:
        """One suite per host, one case per object, host item and check; the run's own errors are a suite of their own."""
        root = ElementTree.Element("testsuites", name=self.kind, time=f"{(finished - self.started).total_seconds():.1f}")
        for name, host in self.hosts.items():
            _suite(root, name, list(_cases(host, self.kind)))
        if outcome.reasons:
            _suite(root, self.kind, [("run", reason, "error", reason) for reason in outcome.reasons])
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"

    def as_textfile(self, outcome: Outcome, finished: datetime) -> str:
        """For node-exporter's textfile collector. An alert wants `exit_code != 0` and an old `last_run_timestamp_seconds`."""
        prefix = f"shaka_{self.kind}"
        lines = [
            *_metric(f"{prefix}_exit_code", "Exit code of the last run: 0 clean, 3 findings, else an error.", [("", outcome.exit_code)]),
            *_metric(f"{prefix}_last_run_timestamp_seconds", "When the last run ended.", [("", int(finished.timestamp()))]),
            *_metric(f"{prefix}_duration_seconds", "How long the last run took.", [("", round((finished - self.started).total_seconds(), 1))]),
            *_metric(f"{prefix}_findings", "Findings of all kinds.", [("", self.found())]),
        ]
        if self.kind == "drift":
            objects: list[tuple[str, float]] = []
            items: list[tuple[str, float]] = []
            for name, host in self.hosts.items():
                objects += [(_labels(host=name, state="checked"), len(host.objects)), (_labels(host=name, state="differing"), len(host.differing))]
                objects += [(_labels(host=name, state="ignored"), len(host.ignoring))]
                items += [(_labels(host=name, state="checked"), len(host.items)), (_labels(host=name, state="differing"), len(host.drifted))]
            lines += _metric(f"{prefix}_objects", "Kubernetes objects checked, those that differ, and those of which fields are ignored.", objects)
            lines += _metric(f"{prefix}_host_items", "Host items checked against the inventory, and those that differ.", items)
        else:
            checks = [(_labels(host=name, check=c.name, scope=c.scope), float(c.ok)) for name, host in self.hosts.items() for c in host.checks]
            lines += _metric(f"{prefix}_check_ok", "1 when the check passed.", checks)
        return "\n".join(lines) + "\n"

    def lines(self, outcome: Outcome) -> list[str]:
        """What the run prints at its end; the last line is the verdict."""
        lines = [*self._table(), *self._findings(), *(f"note: {note}" for note in self.notes)]
        if outcome.status == ERROR:
            lines += [f"{self.kind}: {reason}" for reason in outcome.reasons]
        lines.append(f"{self.kind}: {'ERROR, so this verdict does not count: ' if outcome.status == ERROR else ''}{self._verdict()}")
        return lines

    def _verdict(self) -> str:
        counts = self.counts()
        failed = f"{counts['checks']['failed']} of {counts['checks']['total']} checks failed"
        other = f"{counts['findings']} finding{'' if counts['findings'] == 1 else 's'}"
        if self.kind == "drift":
            objects, items = counts["objects"], counts["items"]
            differ = f"{objects['differing']} of {objects['total']} objects and {items['drifted']} of {items['checked']} host items differ"
            differ += f", {objects['ignored']} with ignored fields" if objects["ignored"] else ""
            return differ + (f", {failed if counts['checks']['failed'] else other}" if counts["findings"] else "")
        return failed if counts["checks"]["total"] else other

    def _table(self) -> list[str]:
        if self.kind != "drift":
            return []
        rows = []
        for name, host in self.hosts.items():
            rows += [(name, state.set, state.title, state.action, ", ".join(state.fields)) for state in host.differing]
            rows += [(name, state.set, state.title, "ignored", str(each)) for state in host.ignoring for each in state.ignored]
            rows += [(name, "host", item.title, "changed", "") for item in host.drifted]
        return ["", *table(("host", "set", "what differs", "action", "fields"), rows).splitlines(), ""] if rows else []

    def _findings(self) -> Iterator[str]:
        for name, host in self.hosts.items():
            for finding in host.findings:
                yield f"{name}: {finding}" if len(self.hosts) > 1 else finding


def _cases(host: HostReport, kind: str) -> Iterator[tuple[str, str, str, str]]:
    """(class, name, '' | 'failure' | 'skipped' | 'error', message) of each thing that was looked at on a host."""
    for state in host.objects.values():
        detail = f"{state.action}: {', '.join(state.fields)}" if state.fields else state.action
        if state.ignored and not state.differs:
            yield f"objects.{state.set}", state.title, "skipped", "; ".join(f"ignored: {each}" for each in state.ignored)
        else:
            yield f"objects.{state.set}", state.title, "failure" if state.differs else "", detail
    for item in host.items if kind == "drift" else ():
        yield f"host.{item.role}", item.task, "failure" if item.changed else "", "not as the inventory says"
    for check in host.checks:
        yield f"checks.{check.scope}", check.name, "" if check.ok else "failure", check.detail
    told = {check.finding for check in host.checks}
    for finding in (text for text in host.findings if text not in told):
        yield "findings", finding, "failure", finding
    for failure in host.failures:
        yield "tasks", failure, "error", "the task failed"


def _suite(root: ElementTree.Element, name: str, cases: list[tuple[str, str, str, str]]) -> None:
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=name,
        tests=str(len(cases)),
        failures=str(sum(case[2] == "failure" for case in cases)),
        errors=str(sum(case[2] == "error" for case in cases)),
    )
    for group, title, verdict, message in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=_printable(group), name=_printable(title))
        if verdict:
            ElementTree.SubElement(case, verdict, message=_printable(message))


def _printable(text: str) -> str:
    """XML 1.0 has no control characters."""
    return "".join(char if char.isprintable() else " " for char in text)


def _labels(**labels: str) -> str:
    escaped = ((key, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for key, value in labels.items())
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped) + "}"


def _metric(name: str, text: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge", *(f"{name}{labels} {value}" for labels, value in samples)]
