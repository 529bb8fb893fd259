# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps of a restore of a Redis, as the module redis_restore is asked for them.

What is in use is touched by a start of Redis alone, which moves one folder away and another one in (roles/redis/templates/server.yaml.j2).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup import cluster, environment_dumps, layout
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import LATEST
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket, StoreError, authorities, configuration
from ansible_collections.shaka.platform.plugins.module_utils.conventions import REDIS_BACKUP
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import RedisCopies
from ansible_collections.shaka.platform.plugins.module_utils.quantities import parse_memory
from ansible_collections.shaka.platform.plugins.module_utils.restore import backup_before, choice, names, overview, pod, problems, redis_volume
from ansible_collections.shaka.platform.plugins.module_utils.restore.choice import NoChoice, StoredBackup
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import SWAP, PlannedDatabase, RestorePlan, stamp_now
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import PodFailed
from ansible_collections.shaka.platform.plugins.module_utils.restore.redis_volume import ARMED, BEFORE, FILLED, UNDONE, RedisNow
from ansible_collections.shaka.platform.plugins.module_utils.restore.restoration import FetchSecrets, Restoration, RestoreFailed
from ansible_collections.shaka.platform.plugins.module_utils.restore.room import amount
from ansible_collections.shaka.platform.plugins.module_utils.restore.step import Result, StepParameters

FAILURES = (backup_before.NoBackupBefore, NoChoice, PodFailed, RestoreFailed, StoreError, Unanswered)
PLAN_SECONDS = 120  # that the bucket may take to list and show what it has
LOADED = 8 * 2**20  # bytes that Redis reads in a second at least


@dataclass(frozen=True)
class RedisInput(StepParameters):
    """The module's parameters. `copies`: the Redis that is restored."""

    kubectl: Kubectl
    copies: RedisCopies
    params: Mapping[str, Any]
    check: bool

    @property
    def name(self) -> str:
        return self.copies["name"]

    @property
    def namespace(self) -> str:
        return self.copies["namespace"]

    @property
    def restoration(self) -> Restoration:
        return Restoration(self.kubectl, self.plan, 1)


def plan(given: RedisInput) -> Result:
    """What there is, and what is going to happen. Changes nothing."""
    s3 = given.copies["backup"]["s3"]
    bucket = Bucket(s3, given.credentials, timeout=PLAN_SECONDS)
    objects = environment_dumps.objects(bucket, given.name, layout.REDIS)
    manifests = environment_dumps.manifests(bucket, given.name, layout.REDIS)
    found = choice.stored(objects, manifests, s3["prefix"], given.name, given.params["backup_key"])
    now = redis_volume.look(given.kubectl, given.namespace)
    tables = [overview.backups_table(found, cluster.ask(given.kubectl), f"Redis {given.name}", "cluster")]
    result: Result = {"changed": False, "platform_table": tables, "warnings": [f"Redis does not answer: {now.problem}"] if now.problem else []}
    try:
        chosen = choice.choose(found, given.params["backup"], given.params["origin"], bucket.place)
        planned = make(chosen, given.copies, stamp_now())
    except NoChoice as error:
        return {**result, "failed": True, "msg": str(error)}
    newer = [f"{backup.stamp} ({backup.problem})" for backup in found if backup.problem and backup.stamp > chosen.stamp]
    if given.params["backup"] == LATEST and newer:
        result["warnings"].append(f"newer than {chosen.stamp}, and not to be restored: {', '.join(newer)}")
    tables.append(plan_table(planned, now))
    return {**result, "plan": planned.as_dict(), "empty": not now.keys, "problem": now.problem}


def make(backup: StoredBackup, copies: RedisCopies, stamp: str) -> RestorePlan:
    """The plan for a copy that may be restored. Raises NoChoice."""
    read = backup.manifest
    if read is None or len(read.databases) != 1:
        raise NoChoice(f"the copy {backup.stamp} is not restored: {backup.problem or 'it is none of a Redis'}")
    (dump,) = read.databases
    if dump.database_bytes > parse_memory(copies["memory"]):
        where = "platform_redis.limits.memory" if copies["name"] == "shared" else f"platform_environments.{copies['name']}.redis.limits.memory"
        raise NoChoice(
            f"the copy {backup.stamp} had {amount(dump.database_bytes)} in memory, and Redis may use {copies['memory']}: raise {where} first"
        )
    s3 = copies["backup"]["s3"]
    place = f"{s3['bucket']}/{backup.origin.folder(s3['prefix'])}/{layout.REDIS}/{backup.stamp}/{dump.object.rpartition('/')[2]}"
    filled = f"{FILLED}-{stamp.lower()}"
    one = PlannedDatabase(dump.name, dump.name, filled, place, dump.bytes, dump.sha256, dump.database_bytes, dict(dump.tables))
    return RestorePlan(
        stamp, names.RESTORE, SWAP, copies["name"], copies["namespace"], "", "", copies["name"], backup.origin.name, backup.stamp, read.kind,
        read.finished, (one,), pod=pod.REDIS,
    )  # fmt: skip


def plan_table(planned: RestorePlan, now: RedisNow) -> overview.ShownTable:
    """What is in place now and what comes instead."""
    (one,) = planned.databases
    comes = f"{one.rows} keys, {amount(one.database_bytes)} in memory; what has expired since then goes at once"
    kept = f"is kept as {_folder(planned, BEFORE)} on its volume"
    title = f"restore {planned.backup} ({planned.kind}, finished {planned.finished}, from {planned.origin}) into Redis {planned.environment}"
    return {"title": title, "columns": ["now", "comes", "what is there now"], "rows": [[str(now), comes, kept]]}


def _folder(planned: RestorePlan, purpose: str) -> str:
    return f"{purpose}-{planned.stamp.lower()}"


def back_up(given: RedisInput) -> Result:
    """A copy of what is there; `running` until it is complete."""
    done = backup_before.take(given.kubectl, given.namespace, given.plan.stamp, REDIS_BACKUP)
    return {"changed": True, "running": not done, "progress": "" if done else f"copying Redis {given.name}"}


def begin(given: RedisInput) -> Result:
    """Clear what another restore left, make the pod, and let it fetch the copy."""
    planned, restoration, s3 = given.plan, given.restoration, given.copies["backup"]["s3"]

    def look() -> pod.RestoreJobs:
        return pod.RestoreJobs(tuple(pod.jobs(given.kubectl, given.namespace, pod.REDIS)))

    found, text = pod.once_ended(look, f"Redis {given.name}", given.namespace)
    if text:
        raise RestoreFailed(text)
    restoration.require_room()
    pod.delete(given.kubectl, given.namespace, [job.name for job in found.jobs])
    with _ended_on_failure(given):
        restoration.begin("", given.params["deadline"])
        restoration.pod.call("fresh")
        restoration.pod.put({"place": _folder(planned, FILLED)})
        restoration.fetch(FetchSecrets(configuration(s3, given.credentials), authorities(s3), given.params["identity"], ""))
    return {"changed": True}


def advance(given: RedisInput) -> Result:
    """Go on; `running` until the copy lies beside what is in use."""
    with _ended_on_failure(given):
        report = given.restoration.pod.state()
        if report.ended not in (None, 0):
            raise RestoreFailed(problems.explain(given.plan, report))
        return {"changed": True, "running": report.ended is None, "progress": given.restoration.line(report) if report.ended is None else ""}


def put_in_place(given: RedisInput) -> Result:
    """Let a start of Redis take it, and undo that where Redis does not come up with it; then end the pod."""
    planned, work = given.plan, given.restoration.pod
    with _ended_on_failure(given):
        began = time.monotonic()
        (counts,) = work.get("counts")
        work.call("arm", _folder(planned, FILLED), _folder(planned, ARMED))
        if why := _restarted(given):
            raise RestoreFailed(f"Redis did not start with the copy {planned.backup}: {why}. {_undo(given)}")
        seconds = time.monotonic() - began
        traces = redis_volume.find(given.kubectl, given.namespace)
        if _folder(planned, ARMED) in traces.folders:
            raise RestoreFailed("Redis has started without the copy, which was too late for it; what was there is in use. Restore it again")
    now = redis_volume.look(given.kubectl, given.namespace)
    _end(given)
    read = dict(line.split() for line in counts.splitlines())
    kept = [name for name in traces.kept if planned.stamp.lower() in name]
    result: Result = {
        "changed": True,
        "seconds": round(seconds, 1),
        "kept": kept,
        "found": str(now),
        "key_count": int(read.get("keys", 0)),
        "warnings": [],
    }
    lasting = int(read.get("keys", 0)) - int(read.get("expires", 0))
    if not now.problem and sum(now.keys.values()) < lasting:
        result["warnings"].append(f"{lasting} keys of the copy do not expire, and Redis has {now}: is maxmemory too small for them?")
    return result


def _restarted(given: RedisInput) -> str:
    """'' once Redis has started again; why it does not. The restore's pod, which may have to undo that, would end without being asked."""
    planned, work = given.plan, given.restoration.pod

    def ask() -> None:
        with contextlib.suppress(*FAILURES):
            work.state()

    redis_volume.restart(given.kubectl, given.namespace)
    seconds = given.params["wait_timeout"] + planned.databases[0].database_bytes // LOADED
    return redis_volume.ready(given.kubectl, given.namespace, time.monotonic() + seconds, ask)


def _undo(given: RedisInput) -> str:
    """Back to what was there; says what came of it."""
    planned, work = given.plan, given.restoration.pod
    try:
        if not work.call("undo", _folder(planned, BEFORE), _folder(planned, ARMED) + UNDONE):
            return "No start has taken it: what was there is in its place"
    except FAILURES as error:
        return f"What was there lies in {_folder(planned, BEFORE)} on its volume, and could not be put back: {error}"
    try:
        why = _restarted(given)
        work.call("drop", _folder(planned, BEFORE) + UNDONE)
    except FAILURES as error:
        why = str(error)
    return f"What was there comes back with a start of Redis, which has not come up yet: {why}" if why else "What was there is in use again"


def end(given: RedisInput) -> Result:
    """Remove the pod, and what was not put in place."""
    _end(given)
    return {"changed": True}


@contextlib.contextmanager
def _ended_on_failure(given: RedisInput) -> Iterator[None]:
    """What a failed restore made goes at once; if that fails as well, the next run finds it."""
    try:
        yield
    except FAILURES:
        with contextlib.suppress(*FAILURES):
            given.restoration.pod.call("fresh")
        with contextlib.suppress(*FAILURES):
            _end(given)
        raise


def _end(given: RedisInput) -> None:
    pod.delete(given.kubectl, given.namespace, [given.plan.job])


def clear(kubectl: Kubectl, copies: Mapping[str, RedisCopies], check_mode: bool) -> Result:
    """What restores left that did not end; one that goes on is left alone."""
    lines, warnings = [], []
    for name, one in copies.items():
        try:
            traces = redis_volume.find(kubectl, one["namespace"])
        except Unanswered:
            continue  # no cluster, namespace or Redis yet: the roles before this one say so
        lines += traces.lines(name)
        warnings += [text for text in [traces.kept_text(name)] if text]
        warnings += [f"a restore of Redis {name} goes on: {job.name}" for job in traces.running]
        if not check_mode:
            redis_volume.clear(kubectl, one["namespace"], traces)
    return {"changed": bool(lines), "changes": lines, "warnings": warnings, "diff": {"before": "".join(f"{line}\n" for line in lines), "after": ""}}


def drop_before(given: RedisInput) -> Result:
    """Remove for good what was there before a restore."""
    stamp = given.params["drop_before"]
    kept = redis_volume.find(given.kubectl, given.namespace).kept
    mine = [name for name in kept if name.removesuffix(UNDONE).partition("-")[2] == stamp.lower()]
    if not mine:
        raise NoChoice(f"Redis {given.name} keeps nothing from before the restore {stamp}; kept are: {', '.join(kept) or 'none'}")
    if not given.check:
        redis_volume.drop(given.kubectl, given.namespace, mine)
    return {"changed": True, "dropped": mine}


STEPS: Mapping[str, Callable[[RedisInput], Result]] = {
    "plan": plan,
    "back_up": back_up,
    "begin": begin,
    "advance": advance,
    "put_in_place": put_in_place,
    "end": end,
    "drop_before": drop_before,
}
