"""A reset leaves the server as it was before the platform, also after it was killed; and a new install after it works.

python3 -m prove.resets                            (PYTHONPATH=.:tests)
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prove import compare
from prove.kills import SERVER_KILL, STATE, interrupt
from prove.practice import RESULTS, Failed, Practice, machine

RESET = "playbooks/reset.yml"
KILL_AFTER = 6.0  # seconds into the reset
# What may differ after a reset, and why. Everything else is a trace of the platform.
ALLOWED = re.compile(
    r"""^(
    packages:\ .*                                       # packages stay unless they are named, with what they need
    |(files|units|active|processes|run).*(apt-daily|ca-certificates|chrony|dhcp|dpkg-db|e2scrub|jq|logrotate|pm|timesync(d|1)|ucf|unattended-upgrade).*
    |files\ >\ /etc/(passwd|group|shadow|gshadow|subuid|subgid)-?:.*           # their accounts
    |files\ >\ /etc/(alternatives|apt|default|init\.d|ld\.so\.cache|rc.\.d)(/.*)?:.*
    |run:\ '/run/(apt|motd.dynamic|systemd|user|utmp).*
    )$""",
    re.VERBOSE,
)
EXACT = ("files", "run", "processes", "mounts", "interfaces", "namespaces", "nft", "ipsets", "units", "active", "cgroups", "packages")


def seen(state: Mapping[str, Any]) -> dict[str, Any]:
    """All of the server's state; rules as lines."""
    return {**{key: state[key] for key in EXACT}, "nft": state["nft"].splitlines(), "iptables": state["iptables"].splitlines()}


def traces(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [line for line in compare.differences(seen(before), seen(after)) if not ALLOWED.match(line)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; it is made anew")
    parser.add_argument("--out", type=Path, help="where logs go (default: the lab's cache)")
    parser.add_argument("--report", type=Path, default=RESULTS / "resets.md")
    parser.add_argument("--once", action="store_true", help="without the new install afterwards")
    arguments = parser.parse_args()
    practice = Practice(arguments.lab_name, arguments.out)
    out, facts = practice.out, []

    def note(text: str) -> None:
        facts.append(f"- {text}\n")
        print(text, flush=True)

    practice.fresh()
    confirm = ["-e", f"reset_confirm={practice.run('hostname').strip()}", "-e", "reset_ssh=true"]
    bare = practice.python(STATE)
    run = practice.must(RESET, *confirm, log=out / "reset-bare.log", token="reset", changed=0)
    note(f"on a bare server: changed=0, {run.seconds:.0f} s")
    practice.must("site.yml", log=out / "reset-site.log", token="reset")
    full = practice.python(STATE)
    refused = practice.playbook(RESET, log=out / "reset-refused.log", token="reset")
    if refused.code == 0 or "nothing was removed" not in refused.text:
        raise Failed(f"a reset without a name ended with {refused.code}")
    listed = practice.must(RESET, *confirm, "--check", "--diff", log=out / "reset-check.log", token="reset", changed=1)
    if changed := list(compare.differences(compare.server(full), compare.server(practice.python(STATE)))):
        raise Failed(f"the refused run or the check run changed the server: {'; '.join(changed[:5])}")
    note(f"without the name: refused; --check lists {listed.text.count(chr(10) + '-')} things and changes nothing")
    killed = interrupt(practice, KILL_AFTER, out / "reset-killed.log", "reset-killed", on_server=True, playbook=RESET, arguments=confirm)
    note(f"killed after {KILL_AFTER:.0f} s on both sides, in '{(killed or {}).get('task', 'nothing: it had ended')}' ({SERVER_KILL.name})")
    run = practice.must(RESET, *confirm, log=out / "reset.log", token="reset")
    left = traces(bare, practice.python(STATE))
    (out / "reset-traces.txt").write_text("".join(f"{line}\n" for line in left))
    note(f"reset again: {run.seconds:.0f} s; {len(left)} traces of the platform left" + "".join(f"; {line}" for line in left[:20]))
    run = practice.must(RESET, *confirm, log=out / "reset-second.log", token="reset", changed=0)
    note(f"once more: changed=0, {run.seconds:.0f} s")
    if not arguments.once:
        began = time.monotonic()
        practice.must("site.yml", log=out / "reset-new.log", token="reset")
        note(f"a new install after it: {time.monotonic() - began:.0f} s, every check of verify passed")
        practice.must("site.yml", log=out / "reset-new-2.log", token="reset", changed=0)
        found = list(compare.differences(compare.server(full), compare.server(practice.python(STATE))))
        note(f"its second run: changed=0; {len(found)} differences from the first install's server" + "".join(f"; {line}" for line in found[:10]))
        left += found
    arguments.report.parent.mkdir(exist_ok=True)
    arguments.report.write_text(f"# Reset\n\n{machine()}.\n\n{''.join(facts)}")
    return 1 if left else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(str(error))
