# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One recovery to a point in time: a Job in the environment's namespace, and new, empty databases for what it brings back.

An interruption leaves the live databases as they were, and at most the new ones half filled; the next recovery to that moment begins them anew.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import UTC, stamp
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import ChosenPoint
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Credentials, configuration
from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment

TEMPLATE = "postgres-recover"
VOLUMES = "/var/lib/kubelet"
START_SECONDS = 120.0
LONGEST_NAME = 63  # of a database
HAND_OVER = """
for try in $(seq 20); do [ -p /work/input ] && break; sleep 1; done
cat > /work/input
for try in $(seq 10); do [ -e /work/taken ] && exit 0; sleep 1; done
echo "it was not taken" >&2
exit 1
"""
GROWTH = 2.5  # the recovered files, their dump beside them, and WAL in between


class RecoveryFailed(Exception):
    """The recovery cannot be, or did not end well; the text says why. The live databases are as they were."""


class RecoveryJob:
    """A recovery of one moment. `databases`: each of the base backup's, but Postgres's own, and the name of the new one."""

    def __init__(self, kubectl: Kubectl, env: Environment, chosen: ChosenPoint, deadline: float) -> None:
        self.kubectl, self.env, self.chosen, self.deadline = kubectl, env, chosen, deadline
        when = stamp(chosen.moment).lower()
        self.name = f"{TEMPLATE}-{when.replace('t', '-').rstrip('z')}"
        names = [str(name) for name in chosen.base.more["wal"]["databases"] if name != "postgres"]
        self.databases = {name: f"{name}_at_{when}" for name in names}

    def run(self, s3: Mapping[str, Any], credentials: Credentials, identity: str) -> list[str]:
        """What the recovery said. Raises RecoveryFailed, Unanswered."""
        if long := [new for new in self.databases.values() if len(new) > LONGEST_NAME]:
            raise RecoveryFailed(f"{', '.join(long)} is longer than {LONGEST_NAME} characters, which no name of a database is")
        room = self._require_room()
        self._delete()
        self._make_databases()
        try:
            self._create(room)
            pod = self._await_pod(time.monotonic() + START_SECONDS)
            parts = (self.plan(s3), configuration(s3, credentials).splitlines(), identity.strip().splitlines())
            text = "".join(f"{line}\n" for part in parts for line in (*part, "."))
            self._hand_over(pod, text)
            return self._await_end(pod)
        except (RecoveryFailed, Unanswered):
            self._drop_databases()
            raise
        finally:
            self._delete()

    def plan(self, s3: Mapping[str, Any]) -> list[str]:
        """What the pod needs to know (roles/backup/files/recover.sh)."""
        base, way, origin = self.chosen.base, self.chosen.way, self.chosen.store.origin
        dump = base.databases[0]
        return [
            f"until {self.chosen.moment.astimezone(UTC):%Y-%m-%d %H:%M:%S+00}",
            f"origin {origin.folder('')}",
            f"folder {s3['bucket']}/{origin.folder(s3['prefix'])}",
            f"segment {way.base.segment_size}",
            f"base {base.stamp} {dump.bytes} {dump.sha256}",
            *(f"database {name} {new}" for name, new in self.databases.items()),
            *(f"wal {piece.name}" for piece in way.pieces),
        ]

    # --- the new databases ---

    def _make_databases(self) -> None:
        owner, extensions = self.env["postgres"]["user"], self.env["postgres"]["extensions"]
        lines = []
        for new in self.databases.values():
            lines += [f'drop database if exists "{new}";', f'create database "{new}" owner "{owner}" template template0;', f'\\connect "{new}"']
            lines += [f'create extension if not exists "{extension}";' for extension in extensions]
            lines += ["\\connect postgres"]
        self._sql(lines)

    def _drop_databases(self) -> None:
        self._sql([f'drop database if exists "{new}" with (force);' for new in self.databases.values()])

    def _sql(self, lines: list[str]) -> None:
        script = "".join(f"{line}\n" for line in ("\\set ON_ERROR_STOP on", "\\set QUIET on", *lines))
        ok, output = self.kubectl.execute(self.env["namespace"], "postgres-0", "psql", "--no-psqlrc", "-U", "postgres", "-d", "postgres", text=script)
        if not ok:
            raise RecoveryFailed(f"Postgres of {self.env['name']} does not make the new databases: {output}")

    # --- the Job ---

    def _require_room(self) -> int:
        """Bytes that the scratch volume may take; raises RecoveryFailed where the disk has less."""
        way = self.chosen.way
        wal = sum(piece.end - piece.start for piece in way.pieces) // 2
        needed = int(self.chosen.base.databases[0].database_bytes * GROWTH) + wal + 2**30
        disk = os.statvfs(VOLUMES if os.path.isdir(VOLUMES) else "/var/lib")  # noqa: PTH112
        free = disk.f_bavail * disk.f_frsize
        if free < needed:
            raise RecoveryFailed(
                f"the recovery needs {needed / 2**30:.1f} GiB on the server's disk, which has {free / 2**30:.1f} GiB free: make room"
            )
        return needed

    def _create(self, room: int) -> None:
        template = self.kubectl.find(f"/api/v1/namespaces/{self.env['namespace']}/podtemplates/{TEMPLATE}")
        if template is None:
            raise RecoveryFailed(
                f"{self.env['namespace']} has no PodTemplate {TEMPLATE}: set backup.point_in_time.enabled and run the site (--tags backup)"
            )
        pod = copy.deepcopy(template["template"])
        for volume in pod["spec"]["volumes"]:
            if volume["name"] == "work":
                volume["emptyDir"] = {"sizeLimit": str(room)}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self.name, "namespace": self.env["namespace"], "labels": pod["metadata"]["labels"]},
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": int(self.deadline), "ttlSecondsAfterFinished": 3600, "template": pod},
        }
        pod["metadata"] = {"labels": pod["metadata"]["labels"]}
        ok, output = self.kubectl.run("create", "--filename=-", text=json.dumps(job))
        if not ok:
            raise RecoveryFailed(f"the Job {self.name} was refused: {output}")

    def _delete(self) -> None:
        self.kubectl.run(
            "delete", "job", f"--namespace={self.env['namespace']}", "--ignore-not-found", "--cascade=foreground", "--timeout=50s", self.name
        )

    def _pod(self) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{self.env['namespace']}/pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{self.name}"
        items = (self.kubectl.find(path) or {}).get("items") or []
        return items[0] if items else {}

    def _await_pod(self, deadline: float) -> str:
        while True:
            pod = self._pod()
            phase = (pod.get("status") or {}).get("phase")
            if phase == "Running":
                return str(pod["metadata"]["name"])
            if phase in ("Failed", "Succeeded") or time.monotonic() > deadline:
                states = [status.get("state") for status in (pod.get("status") or {}).get("containerStatuses") or []]
                raise RecoveryFailed(f"the pod of {self.name} did not start: {json.dumps(states)}")
            time.sleep(PAUSE)

    def _hand_over(self, pod: str, text: str) -> None:
        """Through a pipe that the script has made; a container that runs may not have come so far, and on a busy server exec may lose its input."""
        output = ""
        for _try in range(4):
            ok, output = self.kubectl.execute(self.env["namespace"], pod, "sh", "-c", HAND_OVER, text=f"begin\n{text}")
            if ok:
                return
        raise RecoveryFailed(f"the pod of {self.name} does not take what it needs: {output}")

    def _await_end(self, pod: str) -> list[str]:
        deadline = time.monotonic() + self.deadline
        while True:
            status = self._pod().get("status") or {}
            if status.get("phase") in ("Failed", "Succeeded"):
                break
            if time.monotonic() > deadline:
                raise RecoveryFailed(f"{self.name} took longer than {self.deadline:.0f} s")
            time.sleep(PAUSE)
        ok, log = self.kubectl.run("logs", f"--namespace={self.env['namespace']}", "--container=recover", "--tail=30", pod)
        lines = log.splitlines() if ok else []
        if status["phase"] == "Succeeded":
            return lines
        ended = [(each.get("state") or {}).get("terminated") or {} for each in status.get("containerStatuses") or []]
        if any(state.get("reason") == "OOMKilled" for state in ended):
            raise RecoveryFailed("the recovery needed more memory than it may have (backup_recover_limits)")
        raise RecoveryFailed(lines[-1] if lines else f"{self.name} failed: {status.get('message') or status.get('reason') or 'its pod is gone'}")
