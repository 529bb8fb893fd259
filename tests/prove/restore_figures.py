"""A restore beside a plain `pg_restore -j` of the same dump, and a client that goes on all the while."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

from prove.practice import Failed, Practice

NAMESPACE, DATABASE = "shaka-prod", "shaka_production"
PLAIN = "plain"  # database
INSIDE = "/var/lib/postgresql/data"  # the volume, in the pod
POSTGRES_UID = 999
# The processes of the pod $uid; and one of prod's Postgres: $pid, with the words that run a program beside it
PROCESSES = """grep -lE "pod$uid|pod$(echo "$uid" | tr - _)" /proc/[0-9]*/cgroup 2> /dev/null | cut -d / -f 3"""
POSTGRES_PROCESS = f"""uid=$(kubectl get pod -n {NAMESPACE} postgres-0 -o jsonpath='{{.metadata.uid}}')
for pid in $({PROCESSES}); do
  if [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = postgres ]; then break; fi
done
beside="nsenter --target $pid --mount --net --setuid {POSTGRES_UID} --setgid {POSTGRES_UID}
  /usr/bin/env PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin\""""
# Outside the pod's limits, with its files and its network: what is measured is pg_restore, not how much CPU it is given.
PLAIN_RESTORE = f"""
set -e
{POSTGRES_PROCESS}
kubectl exec -n {NAMESPACE} postgres-0 -- createdb -U postgres -O {DATABASE} {PLAIN}
began=$(date +%s.%N)
$beside pg_restore -U {DATABASE} -d {PLAIN} --jobs=2 --no-owner --no-acl {INSIDE}/plain.dump
echo "$(date +%s.%N) $began" | awk '{{print $1 - $2}}'
kubectl exec -n {NAMESPACE} postgres-0 -- sh -c 'dropdb -U postgres {PLAIN}; rm {INSIDE}/plain.dump'
"""
QUERY = f"psql -XAtq -v ON_ERROR_STOP=1 -U {DATABASE} -d {DATABASE} -c 'insert into canary default values' -c 'select count(*) from canary'"
CLIENT = f"""
kubectl exec -i -n {NAMESPACE} postgres-0 -- sh << 'END'
while [ ! -e {INSIDE}/over ]; do {QUERY} > /dev/null 2>&1 && date +%s.%N; sleep 0.1; done
END
"""


def plain_restore(practice: Practice, encrypted: Path) -> float:
    """Seconds that `pg_restore -j 2` takes for a dump, which is opened here and put into the volume of Postgres."""
    opening = subprocess.Popen(
        ["age", "--decrypt", "--identity", str(practice.lab.state / "backup-identity.txt"), str(encrypted)], stdout=subprocess.PIPE
    )
    subprocess.run(
        practice.ssh(f"kubectl exec -i -n {NAMESPACE} postgres-0 -- sh -c 'cat > {INSIDE}/plain.dump'"), stdin=opening.stdout, check=True, timeout=300
    )
    if opening.wait():
        raise Failed(f"age cannot open {encrypted}")
    return float(practice.run(PLAIN_RESTORE, timeout=1800).split()[-1])


class Client(threading.Thread):
    """Writes and reads all the time, in a session each; `held` is the longest time without either, in seconds."""

    def __init__(self, practice: Practice) -> None:
        super().__init__(daemon=True)
        self.practice, self.held, self.done = practice, 0.0, 0
        self._process = subprocess.Popen(practice.ssh(CLIENT), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def run(self) -> None:
        last = 0.0
        for line in self._process.stdout or ():
            now = float(line)
            self.held = max(self.held, now - last if last else 0.0)
            self.done, last = self.done + 1, now

    def end(self) -> None:
        time.sleep(3)  # that it is served after the swap is part of it
        pod = f"kubectl exec -n {NAMESPACE} postgres-0 --"
        self.practice.run(f"{pod} touch {INSIDE}/over; sleep 3; {pod} rm {INSIDE}/over")
        self._process.terminate()
        self.join(30)
        if self.done < 20:
            raise Failed(f"the client was served {self.done} times only")
