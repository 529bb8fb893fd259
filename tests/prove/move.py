"""The platform moves from one server to another while visitors ask, is killed on its way, arrives whole, and goes back.

python3 -m prove.move                          (PYTHONPATH=.:tests; about twenty minutes on 2 cores, with two servers)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

from prove.practice import RESULTS, Failed, Practice, kill_marked, machine, markdown

TOKEN = "move"
HOST = "prod"
KILLED_IN = "Restore the backup into new databases"  # task in which the first move is killed
CERTIFICATES = "kubectl get secrets -A --field-selector type=kubernetes.io/tls -o jsonpath='" + (
    r"""{range .items[*]}{.metadata.namespace} {.data.tls\.crt}{"\n"}{end}'"""
)
INVENTORY = """k3s_servers:
  hosts:
    second:
      lab: "{{{{ hostvars.sandbox.lab }}}}"
      ansible_host: {address}
      ansible_ssh_private_key_file: {key}
      ansible_ssh_common_args: -o UserKnownHostsFile={known_hosts}
"""


def sql(practice: Practice, statement: str) -> str:
    """What prod's database answers."""
    psql = "kubectl exec -i -n shaka-prod postgres-0 -- psql -XAtq -v ON_ERROR_STOP=1 -U shaka_production -d shaka_production"
    return practice.run(psql, stdin=statement, timeout=600).strip()


def contents(practice: Practice) -> str:
    """Rows of the table and their checksum."""
    return sql(practice, "select count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0) from moved t")


def certificates(practice: Practice) -> set[str]:
    """Those of the applications: namespace and certificate."""
    return {line for line in practice.run(CERTIFICATES).splitlines() if line.startswith("shaka-")}


class Visitor(threading.Thread):
    """Asks prod's API at one address again and again; `answers` has when, and the status."""

    def __init__(self, first: Practice, address: str) -> None:
        super().__init__(daemon=True)
        name = f"{HOST}.{first.lab.domain}"
        root = str(first.lab.state / "acme/root.pem")
        self.command = ["curl", "-so", "/dev/null", "-w", "%{http_code}", "--max-time", "5", "--cacert", root]
        self.command += ["--resolve", f"{name}:443:{address}", f"https://{name}/"]
        self.answers: list[tuple[float, str]] = []
        self.over = threading.Event()

    def ask(self) -> str:
        return subprocess.run(self.command, capture_output=True, text=True, check=False).stdout

    def run(self) -> None:
        while not self.over.wait(0.5):
            status = self.ask()
            self.answers.append((time.monotonic(), status))


def killed_in(practice: Practice, task: str, log: Path, *arguments: str) -> None:
    """Start a move and kill the controller once that task has begun."""
    process = practice.start("playbooks/move.yml", *arguments, log=log, token=TOKEN)
    deadline = time.monotonic() + 1500
    while f"TASK [shaka.platform.restore : {task}]" not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            kill_marked(TOKEN)
            raise Failed(f"the move ended before the task '{task}', see {log}")
        time.sleep(0.5)
    kill_marked(TOKEN)
    process.wait()


def expect(practice: Practice, code: int, says: str, log: Path, *arguments: str) -> None:
    run = practice.playbook("playbooks/move.yml", *arguments, log=log, token=TOKEN)
    if run.code != code or says not in " ".join(run.text.split()):
        raise Failed(f"the move ended with {run.code} in place of {code}, or did not say '{says}', see {log}")


def proof(first: Practice, second: Practice, rows: int) -> list[tuple[str, str]]:
    """The figures. Raises Failed."""
    out, found = first.out, []
    (out / "second").mkdir(exist_ok=True)
    values = {"address": second.lab.server_address, "key": second.lab.key, "known_hosts": second.lab.known_hosts}
    (out / "second/hosts.yml").write_text(INVENTORY.format(**values))
    move = ("-i", str(out / "second/hosts.yml"), "-e", "move_from=sandbox", "-e", "move_to=second", "-e", "move_confirm=sandbox")

    run = first.must("site.yml", log=out / "site.log", token=TOKEN)
    found.append(("the platform on the first server", f"{run.seconds:.0f} s"))
    sql(first, f"drop table if exists moved; create table moved as select id, md5(id::text) as text from generate_series(1, {rows}) id")
    before, issued = contents(first), certificates(first)
    expect(first, 2, "Nothing was changed: move_confirm is 'second'", out / "refused.log", *move, "-e", "move_confirm=second")

    killed_in(first, KILLED_IN, out / "killed.log", *move)
    visitor = Visitor(first, second.lab.server_address)
    if Visitor(first, first.lab.server_address).ask() != "503":
        raise Failed("the first server is stopped, and does not answer 503")
    run = first.must("playbooks/move.yml", *move, log=out / "move.log", token=TOKEN)
    found.append(("the move, completed after it was killed", f"{run.seconds:.0f} s"))
    if contents(second) != before:
        raise Failed(f"rows differ: {before} on the first server, {contents(second)} on the second")
    if certificates(second) != issued:
        raise Failed("the second server's certificates are not those of the first")
    if orders := second.run("kubectl get orders.acme.cert-manager.io -A -o name").split():
        raise Failed(f"the second server asked for certificates: {orders}")
    if (status := visitor.ask()) != "200":
        raise Failed(f"the second server answers {status}")
    expect(first, 2, "is complete since", out / "again.log", *move)

    sql(second, "insert into moved values (0, 'after the move')")
    time.sleep(2)  # sessions hand in their counts when they end
    expect(first, 2, "1 rows of public.moved", out / "back-refused.log", *move, "-e", "move_back=true")
    run = first.must("playbooks/move.yml", *move, "-e", "move_back=true", "-e", "move_discard=true", log=out / "back.log", token=TOKEN)
    found.append(("the way back", f"{run.seconds:.0f} s"))
    old = Visitor(first, first.lab.server_address)
    if (old.ask(), visitor.ask(), contents(first)) != ("200", "503", before):
        raise Failed("after the way back the first server does not serve what it had, or the second one still serves")

    watched = Visitor(first, first.lab.server_address), Visitor(first, second.lab.server_address)
    for each in watched:
        each.start()
    run = first.must("playbooks/move.yml", *move, log=out / "second-move.log", token=TOKEN)
    for each in watched:
        each.over.set()
        each.join()
    left = next(at for at, status in watched[0].answers if status != "200")
    came = next(at for at, status in watched[1].answers if at > left and status == "200")
    found += [("a move to a server that is prepared", f"{run.seconds:.0f} s"), ("of which visitors got no answer", f"{came - left:.0f} s")]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab-name", default="move", help="the first lab; the second has 'to' after it. Those that run are used as they are")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--report", type=Path, default=RESULTS / "move.md")
    parser.add_argument("--keep", action="store_true", help="leave the labs")
    arguments = parser.parse_args()
    first, second = Practice(arguments.lab_name), Practice(f"{arguments.lab_name}to")
    try:
        first.ensure()
        second.ensure()
        found = proof(first, second, arguments.rows)
    finally:
        kill_marked(TOKEN)
        if not arguments.keep:
            first.lab.down()
            second.lab.down()
    text = markdown(["step", "time"], found)
    notes = (
        "Rows, checksums and certificates are equal on both servers; the second asked its authority for none. The first move was killed in the task"
    )
    page = f"# To another server\n\n{machine()}.\n\n{text}\n\n{notes} '{KILLED_IN}'.\n"
    arguments.report.write_text(page, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"FAILED: {error}")
