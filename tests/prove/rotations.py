"""A rotation that is killed anywhere fails no request, and is completed by the next run.

    python3 -m prove.rotations                (PYTHONPATH=.:tests)

On one converged server, under a steady load on prod (two pods of the API) and staging (one). Each round: new passwords of Postgres and Redis; the
site, SIGKILLed with all its processes at a point of it; an API process of prod, killed, has to come up again with what it then finds; the site to
its end; again, changed=0. Then the old passwords are refused, the new ones are good, and nothing that stood in is left.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prove.load import load
from prove.practice import RESULTS, TASK, Failed, Practice, kill_marked, machine, markdown

TAGS = ["--tags", "config,postgres,redis,api"]
USERS = {"prod": "shaka_production", "staging": "shaka_staging"}
# the task to interrupt, and after how many seconds: while pods move to the stand-in, while the password changes, while they move back, and after that
POINTS = [
    ("Ensure Postgres and Redis accept the new", 6.0),
    ("Ensure each environment has its configuration and secrets", 0.5),
    ("Ensure each environment serves its API over HTTPS", 5.0),
    ("Ensure Postgres and Redis refuse the replaced", 1.0),
]
KILLED_WITHIN = 300.0  # seconds
Passwords = dict[str, tuple[str, str]]


def renew(practice: Practice) -> Passwords:
    """New passwords in the lab's inventory; (old, new) of each."""
    path = practice.lab.state / "lab.json"
    lab = json.loads(path.read_text())
    changed = {}
    for environment in USERS:
        for name in ("DB_PASSWORD", "REDIS_PASSWORD"):
            old, new = lab["secrets"][environment][name], secrets.token_hex(32)
            changed[f"{environment}/{name}"] = (old, new)
            lab["secrets"][environment][name] = new
    path.write_text(json.dumps(lab))
    return changed


def interrupt(practice: Practice, point: tuple[str, float], log: Path, token: str) -> None:
    """Start the site and kill it at a point of it."""
    process = practice.start("site.yml", *TAGS, log=log, token=token)
    deadline = time.monotonic() + KILLED_WITHIN
    while not any(point[0] in task for task in TASK.findall(log.read_text(errors="replace"))):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"the site did not come to '{point[0]}', see {log}")
        time.sleep(0.1)
    time.sleep(point[1])
    ended = process.poll() is not None
    kill_marked(token)
    process.wait()
    if ended:
        raise Failed(f"the site had ended {point[1]} s into '{point[0]}', see {log}")


def restart_a_process(practice: Practice) -> None:
    """Kill the process of one of prod's API pods; it has to be ready again."""
    practice.run("kubectl rollout status -n shaka-prod deployment/shaka-api --timeout=120s")  # so that the pod is none that is about to end
    pods = json.loads(practice.run("kubectl get pods -n shaka-prod -l app=shaka-api -o json"))["items"]
    name = next(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
    container = practice.run(f"kubectl get pod -n shaka-prod {name} -o jsonpath='{{.status.containerStatuses[0].containerID}}'")
    pids = dict(line.split()[:2] for line in practice.run("k3s ctr task ls").splitlines()[1:])
    practice.run(f"kill -9 {pids[container.removeprefix('containerd://')]}; sleep 2")
    practice.run(f"kubectl wait -n shaka-prod pod/{name} --for=condition=Ready --timeout=60s")


def check(practice: Practice, passwords: Passwords) -> None:
    """The old passwords are refused and the new ones are good, and no stand-in is left."""
    psql = 'PGPASSWORD=$(cat) psql -XAt -h 127.0.0.1 -U {} -d postgres -c "select 42" 2>&1; true'
    redis = "read -r REDISCLI_AUTH; export REDISCLI_AUTH; exec redis-cli --no-auth-warning --user {} ping 2>&1"
    for path, values in passwords.items():
        environment, _slash, name = path.partition("/")
        for password, good in zip(values, (False, True), strict=True):
            if name == "DB_PASSWORD":
                command = f"kubectl exec -i -n shaka-{environment} postgres-0 -- sh -c '{psql.format(USERS[environment])}'"
                said = practice.run(command, stdin=password)
            else:
                command = f"kubectl exec -i -n shaka-shared redis-0 -- sh -c '{redis.format(environment)}'"
                said = practice.run(command, stdin=password + "\n")
            if (said.strip() in ("42", "PONG")) is not good:
                raise Failed(f"{path}: the {'new' if good else 'old'} password is {'refused' if good else 'still good'}: {said.strip()[-200:]}")
    for environment in USERS:
        left = practice.run(f"kubectl get configmaps,secrets -n shaka-{environment} -o name | grep stand-in; true")
        left += practice.run(
            f"kubectl exec -n shaka-{environment} postgres-0 -- psql -XAtU postgres -c \"select 1 from pg_roles where rolname='password_rotation'\""
        )
        if left.strip():
            raise Failed(f"a stand-in is left in {environment}: {left}")


def play(practice: Practice, number: int, point: tuple[str, float]) -> dict[str, Any]:
    """One round; its record."""
    token, log = f"rotation-{number}-{time.time():.0f}", practice.out / f"rotation-{number}.log"
    lab = json.loads((practice.lab.state / "lab.json").read_text())
    record: dict[str, Any] = {"round": number, "task": point[0], "after": point[1], "answered": 0, "failed": 0}
    try:
        passwords = renew(practice)
        for part in ("killed", "completed"):
            with load(lab, "prod") as prod, load(lab, "staging") as staging:
                if part == "killed":
                    interrupt(practice, point, log, token)
                    time.sleep(10)  # what was left has to serve by itself
                else:
                    done = practice.must("site.yml", *TAGS, log=log.with_suffix(".2.log"), token=token)
                    record["seconds"] = round(done.seconds)
            failed = [*prod.failed, *staging.failed]
            record["answered"] += prod.answered + staging.answered
            record["failed"] += len(failed)
            if failed:
                raise Failed(f"{len(failed)} requests failed, first: {failed[0]}")
            if part == "killed":
                restart_a_process(practice)
        check(practice, passwords)
        practice.must("site.yml", *TAGS, log=log.with_suffix(".3.log"), token=token, changed=0)
        record["ok"] = True
    except (Failed, subprocess.SubprocessError) as error:
        record |= {"ok": False, "error": str(error)[:500]}
    finally:
        kill_marked(token)
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="prove", help="lab to use; one that runs is taken as it is")
    parser.add_argument("--only", type=int, nargs="*", help="just these rounds")
    parser.add_argument("--out", type=Path, help="where logs go (default: the lab's cache)")
    parser.add_argument("--report", type=Path, default=RESULTS / "rotations.md")
    parser.add_argument("--keep", action="store_true", help="leave the lab as it is")
    arguments = parser.parse_args()
    practice = Practice(arguments.lab_name, arguments.out)
    if not practice.lab.running():
        practice.fresh()
        practice.must("site.yml", log=practice.out / "converge.log", token="rotations")
    records = []
    for number, point in enumerate(POINTS, 1):
        if arguments.only and number not in arguments.only:
            continue
        records.append(play(practice, number, point))
        print(f"round {number}: {'completed, no request failed' if records[-1]['ok'] else records[-1]['error']}", flush=True)
    rows = [
        [r["round"], f"{r['after']} s into '{r['task']}'", f"{r['answered']}", r["failed"], f"{r.get('seconds', '-')} s",
         "completed" if r["ok"] else f"**{r['error']}**"] for r in records
    ]  # fmt: skip
    columns = ["round", "killed", "requests answered", "failed", "the next run", "result"]
    title = "# Passwords replaced under load, the run SIGKILLed\n\nPostgres's and Redis's, of prod (two pods) and staging (one) at once.\n"
    arguments.report.parent.mkdir(exist_ok=True)
    arguments.report.write_text(f"{title}{machine()}.\n\n{markdown(columns, rows)}")
    if not arguments.keep:
        practice.lab.down()
    return 0 if all(record["ok"] for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
