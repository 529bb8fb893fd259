# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kubectl on the server, for commands inside pods, which need websockets; what is only read is asked of the API server that it is set up for."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ansible_collections.shaka.platform.plugins.module_utils.api_reader import ApiReader
from ansible_collections.shaka.platform.plugins.module_utils.conventions import LOCALE, PAUSE
from ansible_collections.shaka.platform.plugins.module_utils.kubeconfig import KUBECONFIG, k3s_administrator

Result = TypeVar("Result")

# The module option, documented by the fragment shaka.platform.kubectl.
ARGUMENTS: dict[str, Any] = {"kubectl": {"type": "list", "elements": "str", "default": ["/usr/local/bin/k3s", "kubectl"]}}


class Unanswered(Exception):
    """There is no answer (yet)."""


def until_answered(ask: Callable[[], Result], deadline: float) -> Result:
    """The answer of `ask`, which is called again until the deadline (of time.monotonic); then the last Unanswered is raised."""
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
        self._lock = threading.Lock()
        self._reader: ApiReader | None = None

    def run(self, *arguments: str, text: str | None = None) -> tuple[bool, str]:
        """(True, output) or (False, last line of the error)."""
        try:
            # pylint: disable-next=ansible-bad-function  # run_command has no timeout, and would tie this to a module
            done = subprocess.run(
                [*self.command, *arguments], input=text or "", capture_output=True, encoding="utf-8", errors="replace", timeout=self.timeout,
                check=False, env={**os.environ, **LOCALE},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False, f"no answer within {self.timeout:.0f} s"
        except OSError as error:
            return False, f"{self.command[0]}: {error.strerror}"
        if done.returncode == 0:
            return True, done.stdout
        lines = (done.stderr or done.stdout).strip().splitlines()
        own = [line for line in lines if not line.startswith("command terminated with exit code")] or lines  # the command's lines, without kubectl's
        return False, own[-1] if own else f"exit code {done.returncode}"

    def must(self, *arguments: str, text: str | None = None) -> str:
        """Its output; raises Unanswered with the last line of the error."""
        ok, output = self.run(*arguments, text=text)
        if not ok:
            raise Unanswered(output)
        return output

    def keep(self, obj: Mapping[str, Any], manager: str) -> None:
        """Have an object as it is given, whatever was there. Raises Unanswered."""
        options = ("--server-side", "--force-conflicts", f"--field-manager={manager}", "--filename=-")
        self.must("apply", *options, text=json.dumps(obj))

    def read(self, path: str) -> tuple[bool, str]:
        """(True, what the API server answers to a GET) or (False, why not)."""
        with self._lock:
            if self._reader is None:
                try:
                    config, problem = self._config()
                    if config is None:
                        return False, problem
                    self._reader = ApiReader(config, self.timeout)
                except (LookupError, OSError, TypeError, ValueError) as error:
                    return False, f"the kubeconfig of {' '.join(self.command)} cannot be used: {type(error).__name__}: {error}"
        return self._reader.read(path)

    def _config(self) -> tuple[Any, str]:
        """(what its kubeconfig says, '') or (None, why not). Raises ValueError. K3s's own is read here: its kubectl takes a tenth of a second."""
        if self.command == ARGUMENTS["kubectl"]["default"] and not os.environ.get("KUBECONFIG"):
            with contextlib.suppress(OSError, LookupError, ValueError):  # what is there in another form, kubectl itself can read
                return k3s_administrator(KUBECONFIG.read_text(encoding="utf-8")), ""
        ok, output = self.run("config", "view", "--raw", "--minify", "--output=json")
        return (json.loads(output), "") if ok else (None, output)

    def get(self, path: str) -> tuple[Any, str]:
        """(the decoded object, '') or (None, why not)."""
        ok, output = self.read(path)
        if not ok:
            return None, output
        try:
            return json.loads(output), ""
        except ValueError:
            return None, f"{path} is not JSON"

    def find(self, path: str) -> Any:
        """The decoded object, None when there is none; raises Unanswered."""
        obj, problem = self.get(path)
        if obj is None and "(NotFound)" not in problem:
            raise Unanswered(problem)
        return obj

    def execute(self, namespace: str, pod: str, *command: str, text: str | None = None) -> tuple[bool, str]:
        return self.run("exec", "--stdin", f"--namespace={namespace}", pod, "--", *command, text=text)
