"""No secret where it must not be: in output at -vvv --diff, on disks, in the journal, in process lists, in the cluster's objects and logs.

    python3 -m prove.canaries                          (PYTHONPATH=.:tests)

A bare server is converged, converged again, given a changed secret, made to fail twice in tasks that handle secrets, backed up and restored, each
at -vvv --diff, while the process lists of both sides are sampled. Then everything is searched for every secret in every form. At the end values are
planted in each kind of place, and the same search has to find them.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from prove import canary
from prove.practice import RESULTS, Failed, Practice, machine, markdown, marked

TOKEN = "canaries"
CHANGED = ("dev", "SMTP_PASSWORD")
SEALED = "kubectl patch secret -n shaka-dev shaka-api-secrets --type=merge -p '{\"immutable\": %s}'"
PLANTED = "planted"


class Watch(threading.Thread):
    """Looks at the command lines of everything that a run starts on this machine, until it is told to stop."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self.wanted, self.ended = wanted, threading.Event()
        self.findings: set[str] = set()
        self.seen = 0

    def run(self) -> None:
        while not self.ended.wait(0.2):
            text = canary.command_lines(marked(TOKEN))
            self.seen += text.count("\n") + 1
            self.findings |= {f"process on the controller: {name}" for name in canary.in_text(text, self.wanted)}


def change(practice: Practice, value: str) -> None:
    """Give the inventory another value for one secret, as its owner would."""
    environment, name = CHANGED
    for path in (practice.lab.state / "lab.json", practice.lab.state / "secrets.json"):
        content = json.loads(path.read_text())
        content.get("secrets", content)[environment][name] = value
        path.write_text(json.dumps(content))


def play(practice: Practice, title: str, playbook: str, *arguments: str, fails: bool = False) -> str:
    """One run at -vvv --diff; its output."""
    log = practice.out / f"canary-{title.replace(' ', '-')}.log"
    run = practice.playbook(playbook, "-vvv", "--diff", *arguments, log=log, token=TOKEN)
    log.chmod(0o600)
    if (run.code != 0) is not fails:
        raise Failed(f"{title}: {playbook} ended with {run.code} in '{run.task}', see {log}")
    print(f"{title}: {len(run.text) >> 10} KiB of output, {run.seconds:.0f} s", flush=True)
    return run.text


def runs(practice: Practice, fresh_value: str) -> dict[str, str]:
    """Title -> output."""
    restore = ["-e", "restore_environment=prod", "-e", "restore_confirm=prod"]
    texts = {"first converge": play(practice, "first converge", "site.yml"), "no-op": play(practice, "no-op", "site.yml")}
    texts["drift"] = play(practice, "drift", "playbooks/drift.yml")
    practice.run(SEALED % "true")
    change(practice, fresh_value)
    # an immutable Secret refuses the change: the API server's own message is about the data
    texts["refused change"] = play(practice, "refused change", "site.yml", "--tags", "config,api", fails=True)
    practice.run("kubectl delete secret -n shaka-dev shaka-api-secrets")
    texts["changed secret"] = play(practice, "changed secret", "site.yml", "--tags", "config,postgres,redis,api,backup")
    texts["backup"] = play(practice, "backup", "playbooks/backup.yml", "-e", "platform_only=prod")
    texts["restore"] = play(practice, "restore", "playbooks/restore.yml", *restore)
    practice.run("systemctl stop k3s")
    texts["no API server"] = play(practice, "no API server", "site.yml", "--tags", "config", fails=True)
    practice.run("systemctl start k3s")
    texts["verify"] = play(practice, "verify", "playbooks/verify.yml")
    return texts


def plant(practice: Practice, wanted_value: str) -> list[str]:
    """Put a value into each kind of place; the search has to find every one. Returns those that it did not find."""

    def run(command: str, stdin: str) -> str:
        return practice.run(command, stdin=stdin)

    wanted = canary.needles({PLANTED: wanted_value})
    coded = base64.b64encode(f"password={wanted_value}".encode()).decode()
    practice.run(
        f"umask 022; echo {coded} > /tmp/planted; logger -t planted {wanted_value}; "
        f"kubectl create configmap planted -n default --from-literal=url=postgres://u:{wanted_value}@h; "
        f"setsid bash -c 'exec -a {wanted_value} sleep 300' > /dev/null 2>&1 < /dev/null & sleep 1; journalctl --sync"
    )
    found = "\n".join([*canary.on_server(run, wanted), *canary.in_cluster(run, wanted)])
    practice.run("rm /tmp/planted; kubectl delete configmap planted -n default")
    expected = {
        "a readable file": "/tmp/planted, which everybody can read",
        "the journal": "journal",
        "a process": f"process {wanted_value}",
        "an object": "objects",
    }
    missed = [place for place, words in expected.items() if words not in found]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "report.json").write_text(json.dumps({"x": wanted_value.encode().hex()}))
        if not canary.in_files([Path(folder)], wanted, 0):
            missed.append("a file of the controller")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; it is made anew")
    parser.add_argument("--out", type=Path, help="where logs go (default: the lab's cache); they are searched, too")
    parser.add_argument("--report", type=Path, default=RESULTS / "canaries.md")
    arguments = parser.parse_args()
    practice = Practice(arguments.lab_name, arguments.out)
    practice.fresh()
    began = time.time()
    values = canary.secrets_of(json.loads((practice.lab.state / "lab.json").read_text()), "")
    del values["K3s token"]  # not made yet
    fresh_value = secrets.token_hex(32)
    values[f"{'/'.join(CHANGED)} (new)"] = fresh_value
    wanted = canary.needles(values)
    watch, sampler = Watch(wanted), canary.sampler(practice.ssh(), wanted)
    watch.start()
    texts = runs(practice, fresh_value)
    watch.ended.set()
    seen, sampled = canary.stop_sampler(sampler)
    wanted |= canary.needles({"K3s token": practice.run("cat /var/lib/rancher/k3s/server/token").strip().rpartition(":")[2]})

    def run(command: str, stdin: str) -> str:
        return practice.run(command, stdin=stdin, timeout=600)

    folders = [Path.home() / ".ansible", Path(tempfile.gettempdir()), practice.out / "reports", Path.cwd() / "reports"]
    places = {
        **{f"output of {title} ({len(text) >> 10} KiB)": canary.in_text(text, wanted) for title, text in texts.items()},
        f"process list of the server ({seen} command lines, sampled)": sampled,
        f"processes of the runs on the controller ({watch.seen} looks)": sorted(watch.findings),
        "disk, journal and processes of the server": canary.on_server(run, wanted),
        "objects, events, managed fields and container logs": canary.in_cluster(run, wanted),
        "reports, ~/.ansible and temporary files of the controller": canary.in_files(folders, wanted, began),
    }
    missed = plant(practice, secrets.token_hex(32))
    rows = [[place, "none" if not found else "**" + "; ".join(found) + "**"] for place, found in places.items()]
    rows.append(["planted values that the search missed", ", ".join(missed) or "none"])
    text = markdown(["place", f"secrets found (of {len(values) + 1}, each in {len(canary.forms(fresh_value))} forms)"], rows)
    arguments.report.parent.mkdir(exist_ok=True)
    arguments.report.write_text(f"# Where secrets are not\n\n{machine()}.\n\n{text}")
    print(text)
    practice.lab.down()
    return 1 if missed or any(places.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, subprocess.SubprocessError) as error:
        sys.exit(str(error))
