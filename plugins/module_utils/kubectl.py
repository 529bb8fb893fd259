# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kubectl on the server, for what needs an exec: the Kubernetes client would need its websocket library."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE

Result = TypeVar("Result")

# The module option, documented by the fragment shaka.platform.kubectl.
ARGUMENTS: dict[str, Any] = {"kubectl": {"type": "list", "elements": "str", "default": ["/usr/local/bin/k3s", "kubectl"]}}


class Unanswered(Exception):
    """What was asked does not answer (yet)."""


def until_answered(ask: Callable[[], Result], deadline: float) -> Result:
    """The answer, for which is asked again until the deadline (of time.monotonic); raises the last Unanswered."""
    while True:
        try:
            return ask()
        except Unanswered:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


class Kubectl:
    """kubectl on the server, as its administrator."""

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self.command = list(command)
        self.timeout = timeout

    def run(self, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        """(success, its output; on failure the last line it said)."""
        try:
            done = subprocess.run([*self.command, *arguments], input=text or "", capture_output=True, text=True, timeout=self.timeout, check=False)
        except subprocess.TimeoutExpired:
            return False, f"no answer within {self.timeout:.0f} s"
        except OSError as error:
            return False, f"{self.command[0]}: {error.strerror}"
        if done.returncode == 0:
            return True, done.stdout
        lines = (done.stderr or done.stdout).strip().splitlines()
        said = [line for line in lines if not line.startswith("command terminated with exit code")] or lines  # what the command said, not kubectl
        return False, said[-1] if said else f"exit code {done.returncode}"

    def get(self, path: str) -> tuple[Any, str]:
        """(the decoded object, '') or (None, why not)."""
        ok, said = self.run("get", "--raw", path)
        if not ok:
            return None, said
        try:
            return json.loads(said), ""
        except ValueError:
            return None, f"{path} is no JSON"

    def find(self, path: str) -> Any:
        """The decoded object, None when there is none; raises Unanswered."""
        found, said = self.get(path)
        if found is None and "(NotFound)" not in said:
            raise Unanswered(said)
        return found

    def execute(self, namespace: str, pod: str, *command: str, text: str | None = None) -> tuple[bool, str]:
        return self.run("exec", "--stdin", f"--namespace={namespace}", pod, "--", *command, text=text)
