# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The part of apply_set that needs urllib3 and PyYAML, in the interpreter that has it.

Ansible's respawn_module writes the module's arguments into a pipe before the new process reads it, and so hangs for ever once they
exceed the pipe's 64 KiB (seen with ansible-core 2.19); a set of objects does. So the arguments go through subprocess, which reads and
writes at once, and the new process imports nothing of Ansible.

The engine is imported by the process that runs it alone: the other one would compile its files for nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

PROGRAM = "import sys; sys.path[:0] = sys.argv[1:]; from ansible_collections.shaka.platform.plugins.module_utils.engine.worker import main; main()"


def main() -> None:
    """The other end of run_in: a request on stdin, the result on stdout."""
    request = json.load(sys.stdin)
    answer = _survey(request["survey"]) if "survey" in request else _run(request["params"], request["check"], request["diff"])
    json.dump(answer, sys.stdout)


def apply_sets(python: str, params: Mapping[str, Any], check: bool, show_diff: bool) -> dict[str, Any]:
    """applier.run, in this interpreter or in the one that has what it needs; raises OSError or RuntimeError when it does not get that far."""
    if fits() or not os.access(python, os.X_OK):
        return _run(params, check, show_diff)
    return run_in(python, {"params": dict(params), "check": check, "diff": show_diff})


def survey_sets(python: str, requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """survey.survey, likewise."""
    if fits() or not os.access(python, os.X_OK):
        return _survey(requests)
    return run_in(python, {"survey": [dict(request) for request in requests]})


def _run(params: Mapping[str, Any], check: bool, show_diff: bool) -> dict[str, Any]:
    from .applier import run

    return run(params, check, show_diff)


def _survey(requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from .survey import survey

    return survey(requests)


def fits() -> bool:
    """Whether this interpreter has what the engine needs."""
    return all(importlib.util.find_spec(name) for name in ("urllib3", "yaml"))


def run_in(python: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """A request to main() in another interpreter; raises OSError or RuntimeError when it gets no answer."""
    root = str(pathlib.Path(__file__).parents[6])  # where ansible_collections is: a zip file on a server
    done = subprocess.run(  # pylint: disable=ansible-bad-function  # run_command would pass on the whole environment
        [python, "-I", "-c", PROGRAM, root],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key in ("LANG", "LC_ALL", "PATH", "HOME", "TMPDIR", "SSL_CERT_FILE")},
    )
    if done.returncode:
        raise RuntimeError(f"{python} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
