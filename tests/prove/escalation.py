"""The operator's account, without sudo, does not become root while the site runs: root follows no link, mount or rename in its home.

    python3 -m prove.escalation --seconds 60          (PYTHONPATH=.:tests)

A server with the platform. As the operator, three programs at once rename links, folders and texts over every name that root's run uses there,
and look for the run's own processes; meanwhile the roles that write into the home run again and again. Then all outside the home is as before.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prove import compare
from prove.practice import RESULTS, Failed, Practice, machine

STATE = Path(__file__).with_name("server_state.py")
ATTACK = Path(__file__).with_name("server_escalation.py")
OPERATOR = "ana"  # inventories/sandbox
CLEAN = "- nothing outside the home changed, changed hands or was shown; the next site puts the home right, and the one after it changes nothing"
SITE = "site.yml"
ROLES = ["--tags", "host,tenancy", "--diff"]


WRITTEN_BY_K3S = re.compile(r"/var/lib/rancher/k3s/server/(db/state\.db(-wal|-shm)?|logs/audit.*\.log)")  # all the while


def outside(practice: Practice) -> dict[str, Any]:
    """All files of the server but those in the operator's home; of what K3s writes as it runs not the content."""
    state: dict[str, str] = practice.python(STATE)["files"]
    found = {path: what for path, what in state.items() if not path.startswith(f"/home/{OPERATOR}")}
    return {path: what.rpartition(" ")[0] if WRITTEN_BY_K3S.fullmatch(path) else what for path, what in found.items()}


def owned(practice: Practice) -> list[str]:
    """What belongs to the operator outside of its home, and what of root's is in it."""
    theirs = f"find / -xdev -user {OPERATOR} -not -path '/home/{OPERATOR}*' -not -path '/proc/*' -not -path '/tmp/*' -not -path '/run/*'"
    return practice.run(f"{theirs}; find /home/{OPERATOR} -mindepth 1 -not -user {OPERATOR}").split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; its server is made and converged if need be")
    parser.add_argument("--playbook", default=SITE, help=f"default: {SITE}; molecule/host/converge.yml has the role host alone and is quicker")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--out", type=Path, help="where logs go (default: the lab's cache)")
    parser.add_argument("--report", type=Path, default=RESULTS / "escalation.md")
    parser.add_argument("--keep", action="store_true", help="leave the server there")
    arguments = parser.parse_args()
    roles = ROLES if arguments.playbook == SITE else ["--diff"]
    practice = Practice(arguments.lab_name, arguments.out)
    practice.ensure()
    practice.must(arguments.playbook, log=practice.out / "converge.log", token="escalation")
    canary = "canary-5d1c0a9e77b34f06"
    practice.run(f"usermod --password '{canary}' root")  # where links to /etc/shadow lead
    before = outside(practice)

    login = [word if word != f"root@{practice.lab.server_address}" else f"{OPERATOR}@{practice.lab.server_address}" for word in practice.ssh()]
    began = time.monotonic()
    attack = subprocess.Popen(
        [*login, f"cat >attack.py && python3 attack.py {arguments.seconds}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if not attack.stdin:
        raise Failed("no way to send the attack")
    attack.stdin.write(ATTACK.read_text())
    attack.stdin.close()
    attack.stdin = None
    codes: list[int] = []
    shown = ""
    while attack.poll() is None:
        run = practice.playbook(arguments.playbook, *roles, log=practice.out / f"run-{len(codes):02}.log", token="escalation")
        codes.append(run.code)
        shown += run.text
        print(f"{time.monotonic() - began:3.0f} s: run {len(codes)} ends with {run.code}, changed={run.changed}", flush=True)
    found = json.loads(attack.communicate()[0])

    problems = [f"worked: {line}" for line in found["worked"]]
    problems += [f"outside the home: {line}" for line in compare.differences(before, outside(practice))]
    problems += [f"owner: {path}" for path in owned(practice)]
    if canary in shown or canary in practice.run(f"grep -rFs {canary} /home/{OPERATOR} || true"):
        problems.append("the text of /etc/shadow was shown, or is in the home")
    if not all(found["tried"].get(name) for name in ("link_over_a_name", "folder_for_a_link", "hard_link", "own_text", "met a process of the run")):
        problems.append(f"not everything was tried: {found['tried']}")
    practice.run(f"rm -rf /home/{OPERATOR}/.ssh /home/{OPERATOR}/.kube /home/{OPERATOR}/attack.py /home/{OPERATOR}/decoy-*")
    practice.must(arguments.playbook, log=practice.out / "after-1.log", token="escalation")
    practice.must(arguments.playbook, log=practice.out / "after-2.log", token="escalation", changed=0)
    if subprocess.run([*login, "true"], capture_output=True, check=False).returncode:
        problems.append("the operator cannot log in afterwards")

    tries = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(found["tried"].items()))
    lines = [
        f"- {arguments.seconds} s of tries as {OPERATOR}: {tries}",
        f"- meanwhile {len(codes)} runs of `{arguments.playbook} {' '.join(roles)}`, of which {codes.count(0)} ended with 0",
        f"- **{len(problems)} problems**" if problems else CLEAN,
        *(f"  - {problem}" for problem in problems),
    ]
    text = f"# The operator without sudo, while the site runs\n\n{machine()}.\n\n" + "\n".join(lines) + "\n"
    arguments.report.write_text(text)
    print(text)
    if not arguments.keep:
        practice.lab.down()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
