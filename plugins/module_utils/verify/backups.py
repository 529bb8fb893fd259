# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an environment's backups are there: by what lies in the bucket, by the last jobs, and by the CronJob's own schedule. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.backup import layout, overview
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import UTC
from ansible_collections.shaka.platform.plugins.module_utils.backup.schedule import CronSchedule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import POSTGRES_BACKUP, REDIS_BACKUP
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment, RedisCopies
from ansible_collections.shaka.platform.plugins.module_utils.verify.stored_backups import StoredDumps

DEADLINE = 3600  # seconds that a job may take whose CronJob says nothing of it
GRACE = 300  # seconds besides, for its pod to be made and to be seen
PLACE = ("RCLONE_CONFIG_S3_ENDPOINT", "S3_BUCKET", "S3_PREFIX", "SERVER", "ENVIRONMENT")  # a pod's variables that say where its backups go
SKEW = 2  # seconds that a backup's stamp, by the clock of Postgres, may be before its job began, by that of Kubernetes

Items = Sequence[Mapping[str, Any]]


class BackupVerdict(NamedTuple):
    """One that does not block is a finding that no run of the site fails for."""

    ok: bool
    detail: str
    blocks: bool = True


class KeptBackup(NamedTuple):
    """A backup in the bucket that has a manifest. `flaw` is '' where nothing is wrong with it, or its manifest was not read."""

    origin: layout.Origin
    stamp: str
    bytes: int
    flaw: str
    read: bool


def judge(
    env: Environment | RedisCopies, crons: Items, jobs: Items, stored: StoredDumps, key: str, running: str, now: float, smaller: int
) -> BackupVerdict:
    """The verdict on one environment's backups, or on the copies of a Redis.

    :arg crons: its CronJob, or none. :arg jobs: its jobs of backups. :arg stored: what the bucket holds. :arg key: its BACKUP_KEY.
    :arg running: the system identifier of its Postgres; '' where that does not answer. Of a Redis its cluster's.
    :arg smaller: percent of the size of the one before that a backup must have.
    """
    backup, of_redis = env["backup"], "service" in env
    if not backup["s3"]["endpoint"]:
        return BackupVerdict(False, "there are no backups: platform_s3.endpoint is not filled in", blocks=False)
    if backup["schedule"] and not crons:
        return BackupVerdict(False, f"no CronJob {REDIS_BACKUP if of_redis else POSTGRES_BACKUP}")
    ended, failed = last_success(crons, jobs), last_failure(jobs)
    kept = sorted(complete(stored, backup["s3"]["prefix"], key), key=lambda each: each.stamp)
    mine = [each for each in kept if running in ("", each.origin.system_identifier)]
    newest = layout.moment(mine[-1].stamp).timestamp() if mine else 0.0
    seen = stored.objects is not None
    told = _shown(mine, newest, now) if seen else _age_text(ended, now) if ended else "never" if backup["schedule"] else "never (manual)"

    wrong = list(_flaws(mine, kept, crons, jobs, smaller)) if seen else []
    late = _overdue(env, crons, newest if seen else ended, now)
    problems = [*wrong, *([late] if late else [])]
    if problems:
        return BackupVerdict(False, "; ".join([told, *problems, *([stored.unseen] if stored.unseen else [])]))
    if kept and not mine:
        return BackupVerdict(
            False,
            f"{told}: none is of the {'cluster' if of_redis else 'Postgres'} that runs now ({running}); take one: playbooks/backup.yml",
            blocks=False,
        )
    if failed and failed[0] > max(ended, newest):
        return BackupVerdict(False, f"{told}; the last job failed {age(now - failed[0])} ago: {failed[1]}", blocks=False)
    if stored.unseen:
        return BackupVerdict(not stored.wrong, f"{told}; {stored.unseen}", blocks=False)
    return BackupVerdict(True, told)


def complete(stored: StoredDumps, prefix: str, key: str) -> Iterable[KeptBackup]:
    """Those with a manifest; whose manifest was read, with the verdict of the list of backups."""
    objects = stored.objects or {}
    listed = overview.backups(objects, stored.manifests, prefix, key)
    flaws = {(each["server"], each["system_identifier"], each["backup"]): each["flaw"] for each in listed}
    sizes: dict[tuple[layout.Origin, str], int] = {}
    manifests = {}
    for path, size in objects.items():
        found = layout.read(path, prefix)
        if found is None or found.kind not in layout.COPIES:
            continue
        place = (found.origin, found.stamp)
        sizes[place] = sizes.get(place, 0) + (size if found.name != layout.MANIFEST else 0)
        if found.name == layout.MANIFEST:
            manifests[place] = path in stored.manifests
    for (origin, stamp), read in manifests.items():
        flaw = flaws[origin.server, origin.system_identifier, stamp] if read else "" if sizes[origin, stamp] else "its objects are not there"
        yield KeptBackup(origin, stamp, sizes[origin, stamp], flaw, read)


def last_success(crons: Items, jobs: Items) -> float:
    """When the last job ended well; 0 for never."""
    ends = [str(cron.get("status", {}).get("lastSuccessfulTime") or "") for cron in crons]
    ends += [str(job["status"].get("completionTime") or "") for job in jobs if job.get("status", {}).get("succeeded")]
    return max((seconds(end) for end in ends), default=0.0)


def last_failure(jobs: Items) -> tuple[float, str] | None:
    """When the last job that failed did so, and the reason."""
    found = [
        (seconds(str(condition.get("lastTransitionTime") or "")), str(condition.get("message") or condition.get("reason") or "no reason is known"))
        for job in jobs
        for condition in job.get("status", {}).get("conditions") or ()
        if condition["type"] == "Failed" and condition["status"] == "True"
    ]
    return max(found, default=None)


def _flaws(mine: Sequence[KeptBackup], kept: Sequence[KeptBackup], crons: Items, jobs: Items, smaller: int) -> Iterable[str]:
    """What is wrong with what lies in the bucket."""
    place = _place(crons[0].get("spec", {}).get("jobTemplate", {})) if crons else {}
    made = [job["status"] for job in jobs if job.get("status", {}).get("succeeded") and _place(job) == place]
    begun = [seconds(str(status.get("startTime") or "")) for status in made]
    newest = layout.moment(kept[-1].stamp).timestamp() if kept else 0.0
    if begun and max(begun) - SKEW > newest:
        what = f"the newest manifest is {kept[-1].stamp}" if kept else "there is no manifest at all"
        yield f"the backup that was made at {clock(max(begun))} is not in the bucket: {what}"
    if not mine:
        return
    if mine[-1].flaw:
        yield f"{mine[-1].stamp} does not count: {mine[-1].flaw}"
    before = mine[-2] if len(mine) > 1 and mine[-2].origin == mine[-1].origin else None
    if before and not mine[-1].flaw and mine[-1].bytes * 100 < before.bytes * smaller:
        sizes = f"{overview.shown_size(mine[-1].bytes)}, {before.stamp} has {overview.shown_size(before.bytes)}"
        yield f"it is much smaller than the one before ({sizes}; less than verify_backup_smaller_percent, {smaller} %); find out what is missing"


def _place(job: Mapping[str, Any]) -> dict[str, Any]:
    """Where a job's pods put their backups: a bucket that the inventory has had before is not the one that was looked at."""
    pod = job.get("spec", {}).get("template", {}).get("spec", {})
    variables = [each for container in pod.get("containers", ()) for each in container.get("env", ())]
    return {each["name"]: each.get("value") for each in variables if each["name"] in PLACE}


def _overdue(env: Environment | RedisCopies, crons: Items, newest: float, now: float) -> str:
    """Why the newest backup is too old for the schedule; '' when it is not, or nothing was due since the schedule is as it is."""
    schedule, zone = env["backup"]["schedule"], env["backup"]["time_zone"]
    if not schedule or not crons:
        return ""
    longest = float(crons[0].get("spec", {}).get("jobTemplate", {}).get("spec", {}).get("activeDeadlineSeconds") or DEADLINE) + GRACE
    try:
        due = CronSchedule(schedule, zone).last(datetime.datetime.fromtimestamp(now - longest, UTC))
    except ValueError as error:
        return f"whether one is due cannot be told: {error}"
    if due is None or due.timestamp() <= changed(crons[0]) or newest >= due.timestamp() - SKEW:
        return ""
    return f"one was due at {clock(due.timestamp())} ('{schedule}', {zone}) and is not there"


def changed(cron: Mapping[str, Any]) -> float:
    """Since when the CronJob is as it is: what was due before was due by another schedule, maybe."""
    metadata = cron["metadata"]
    times = [str(each.get("time") or "") for each in metadata.get("managedFields") or () if not each.get("subresource")]
    return max(seconds(text) for text in [str(metadata.get("creationTimestamp") or ""), *times])


def _shown(mine: Sequence[KeptBackup], newest: float, now: float) -> str:
    if not mine:
        return "none in the bucket"
    proven = ", authentic" if mine[-1].read and not mine[-1].flaw else ""
    return f"{clock(newest)} ({age(now - newest)} ago, {overview.shown_size(mine[-1].bytes)}{proven})"


def _age_text(moment: float, now: float) -> str:
    return f"{clock(moment)} ({age(now - moment)} ago)"


def clock(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%MZ")


def seconds(timestamp: str) -> float:
    """RFC 3339 as the API writes it; 0 when there is none."""
    return datetime.datetime.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp() if timestamp else 0.0


def age(passed: float) -> str:
    hours = passed / 3600
    return f"{hours / 24:.0f} d" if hours >= 48 else f"{hours:.0f} h" if hours >= 2 else f"{max(passed, 0) / 60:.0f} min"
