# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the platform relies on of Ansible's own settings: the lines that ansible.cfg lacks, and why a connection may not carry secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible import constants

REPORT, PROGRESS = "shaka.platform.drift", "shaka.platform.progress"
LOCK, LOCK_PATTERN = "artifacts.lock.yml", r"^artifacts\.lock\.yml$"
PLACES = "$ANSIBLE_CONFIG, ./ansible.cfg (unless others may write to that directory), ~/.ansible.cfg, /etc/ansible/ansible.cfg"
NOT_LOADED = f"the callback {REPORT} is enabled, but Ansible did not load it: see its warning at the start of this run"


@dataclass(frozen=True)
class AnsibleSettings:
    """Ansible's settings, as it read them."""

    file: str | None
    callbacks: Sequence[str]
    report_loaded: bool
    any_unparsed_is_failed: bool
    ignore_patterns: Sequence[str]
    facts_as_vars: bool


@dataclass(frozen=True)
class Line:
    """A line of ansible.cfg, and why it is there; only one that is needed ends the run."""

    section: str
    key: str
    value: str
    why: str
    needed: bool


def missing_lines(settings: AnsibleSettings, report: str) -> list[Line]:
    """The lines that ansible.cfg lacks. `report` is the kind of a run whose result is its exit code (drift, verify, preflight); else empty."""
    return list(_missing(settings, bool(report)))


def _missing(settings: AnsibleSettings, reports: bool) -> Iterator[Line]:
    absent = [name for name in (REPORT, PROGRESS) if name not in settings.callbacks]
    if absent:
        whys = {
            REPORT: f"without {REPORT}, drift, verify and preflight would exit 0 whatever they find",
            PROGRESS: f"{PROGRESS} shows tables and long waits",
        }
        value = ", ".join([*settings.callbacks, *absent])
        yield Line("defaults", "callbacks_enabled", value, "; ".join(whys[name] for name in absent), reports and REPORT in absent)
    if settings.facts_as_vars:
        yield Line("defaults", "inject_facts_as_vars", "False", "the roles read ansible_facts; facts as variables too would cost time", False)
    if not settings.any_unparsed_is_failed:
        why = "an inventory that cannot be read is an error, also beside one that can"
        yield Line("inventory", "any_unparsed_is_failed", "True", why, reports)
    if not any(re.search(pattern, LOCK) for pattern in settings.ignore_patterns):
        patterns = ", ".join([*settings.ignore_patterns, LOCK_PATTERN])
        why = "the artifacts lock, which a run writes beside the inventory, is not part of it"
        yield Line("inventory", "ignore_patterns", patterns, why, reports or settings.any_unparsed_is_failed)


def message(lines: Sequence[Line], file: str | None) -> str:
    """All of it at once, as it is to be written."""
    read = f"It reads {file}." if file else f"It reads no ansible.cfg; it looks for {PLACES}."
    parts = [f"Ansible lacks settings that this run relies on. {read} Add these lines:"]
    for section in dict.fromkeys(line.section for line in lines):
        parts += ["", f"[{section}]"]
        for line in lines:
            if line.section == section:
                parts += [f"# {'' if line.needed else 'advice: '}{line.why}", f"{line.key} = {line.value}"]
    return "\n".join([*parts, "", "`ansible-playbook shaka.platform.init -e path=DIRECTORY` writes a project that has them."])


def advice(lines: Sequence[Line]) -> str:
    """What could be better, where nothing is needed."""
    return "\n".join(["advice for ansible.cfg:", *(f"  [{line.section}] {line.key} = {line.value}    # {line.why}" for line in lines)])


def connection_flaw(connection: Any) -> str | None:
    """Why modules, with the secrets among their arguments, would be written to files on the server; None when they go through a pipe."""
    become = connection.become
    if constants.DEFAULT_KEEP_REMOTE_FILES:
        cause, remedy = "ANSIBLE_KEEP_REMOTE_FILES (or keep_remote_files) is on", "switch it off"
    elif connection.is_pipelining_enabled():
        return None
    elif not connection.has_pipelining:
        cause, remedy = f"the connection plugin {connection.transport} cannot pipeline", "use ansible.builtin.ssh"
    elif become and not become.pipelining:
        cause, remedy = f"the become method {become.name} cannot pipeline", "use sudo, or log in as root"
    else:
        cause, remedy = "pipelining is switched off", "set ansible_pipelining: true"
    return f"{cause}, so Ansible would write modules, with the secrets among their arguments, to files on the server: {remedy}"
