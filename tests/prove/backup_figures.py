"""A backup beside a plain `pg_dump | zstd` of the same database to a file, and the memory that its pod uses."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

from prove.practice import Failed, Practice
from prove.restore_figures import DATABASE, NAMESPACE, POSTGRES_PROCESS, PROCESSES

MEMORY_MOST = 64  # MiB that a backup's pod may use
# Outside the pod's limits, as plain_restore; zstd is the controller's, as a bare server has none.
PLAIN_DUMP = f"""
set -e
{POSTGRES_PROCESS}
began=$(date +%s.%N)
$beside pg_dump -U {DATABASE} -d {DATABASE} | /root/zstd -q > /root/plain.zst
echo "$(date +%s.%N) $began" | awk '{{print $1 - $2}}'
rm /root/plain.zst /root/zstd
"""
RUNNING = f"kubectl get pods -n {NAMESPACE} -l app=postgres-backup --field-selector=status.phase=Running"
# What its processes hold themselves, without the files that the kernel keeps: KiB, of each look at a pod that runs.
MEMORY = f"""
while sleep 0.2; do
  uid=$({RUNNING} -o jsonpath='{{.items[0].metadata.uid}}' 2> /dev/null)
  [ "$uid" ] || continue
  total=0
  for pid in $({PROCESSES}); do
    own=$(awk '/^Pss_Anon/ {{print $2}}' "/proc/$pid/smaps_rollup" 2> /dev/null)
    total=$((total + ${{own:-0}}))
  done
  echo "$total"
done
"""


def plain_dump(practice: Practice) -> float:
    """Seconds that `pg_dump | zstd` takes to a file of the server."""
    with Path("/usr/bin/zstd").open("rb") as program:
        subprocess.run(practice.ssh("cat > /root/zstd && chmod +x /root/zstd"), stdin=program, check=True, timeout=60)
    return float(practice.run(PLAIN_DUMP, timeout=1800).split()[-1])


class Memory(threading.Thread):
    """Watches a backup's pod; `most` is what it used at most, in MiB."""

    def __init__(self, practice: Practice) -> None:
        super().__init__(daemon=True)
        self.most = 0.0
        self._process = subprocess.Popen(practice.ssh(MEMORY), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def run(self) -> None:
        for line in self._process.stdout or ():
            self.most = max(self.most, int(line) / 1024)

    def end(self) -> float:
        self._process.terminate()
        self.join(30)
        if not self.most:
            raise Failed("no pod of a backup was seen")
        return self.most
