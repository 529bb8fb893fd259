# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images that the server pulls ahead of a pod, as the kubelet would: by the container runtime, which has the logins of K3s's registries.yaml."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute

EXPIRED = 124  # exit code of coreutils' timeout


def present(execute: Execute, crictl: Sequence[str], image: str) -> bool:
    """Whether the server has it already."""
    return execute([*crictl, "inspecti", image])[0] == 0


def pull_problem(execute: Execute, crictl: Sequence[str], image: str, seconds: int) -> str:
    """Pull it; returns why that failed, or nothing."""
    code, out, err = execute(["timeout", str(seconds), *crictl, "pull", image])
    if code == EXPIRED:
        return f"it had not come after {seconds} s"
    return reason(err or out) or f"exit code {code}" if code else ""


def reason(text: str) -> str:
    """The runtime's own words in what crictl prints: those after the last `desc = ` of its last line, without the quotes that it has in a log."""
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    _logged, found, own = last.rpartition("desc = ")
    return own.removesuffix('"').replace('\\"', '"') if found else last
