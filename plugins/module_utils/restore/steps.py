# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps of a restore, as the module database_restore runs them: each looks at what is there, does its part, and says what comes next."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.backup import environment_dumps, layout
from ansible_collections.shaka.platform.plugins.module_utils.backup.points import LATEST
from ansible_collections.shaka.platform.plugins.module_utils.backup.store import Bucket, StoreError, authorities, configuration
from ansible_collections.shaka.platform.plugins.module_utils.conventions import WORKERS
from ansible_collections.shaka.platform.plugins.module_utils.data.sql import identifier
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Kubectl, Unanswered, until_answered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.module_utils.restore import (
    backup_before,
    choice,
    cpu_limit,
    databases,
    leftovers,
    names,
    overview,
    pod,
    recovery,
    swap,
)
from ansible_collections.shaka.platform.plugins.module_utils.restore.choice import NoChoice
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import (
    BESIDE,
    declared_databases,
    make,
    make_copy,
    require_the_applications,
    stamp_now,
)
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import PodFailed
from ansible_collections.shaka.platform.plugins.module_utils.restore.restoration import FetchSecrets, Restoration, RestoreFailed
from ansible_collections.shaka.platform.plugins.module_utils.restore.step import Result, StepParameters
from ansible_collections.shaka.platform.plugins.module_utils.restore.superuser import RefusedStatement, Superuser

FAILURES = (backup_before.NoBackupBefore, NoChoice, PodFailed, RefusedStatement, RestoreFailed, StoreError, Unanswered, swap.SwapRefused)
POSTGRES_SECONDS = 60  # that a Postgres may take to answer
PLAN_SECONDS = 120  # that the bucket may take to list and show what it has
WATCHED = 4  # seconds that one call watches a restore that needs nothing
COPY = "file"  # kind of a plan whose dump is a file of the controller


@dataclass(frozen=True)
class StepInput(StepParameters):
    """The module's parameters. `environment`: into which; `source`: whose backup."""

    kubectl: Kubectl
    environment: Environment
    source: Environment
    params: Mapping[str, Any]
    check: bool

    @property
    def name(self) -> str:
        return self.environment["name"]

    @property
    def namespace(self) -> str:
        return self.environment["namespace"]

    @property
    def superuser(self) -> Superuser:
        return Superuser(self.kubectl, self.namespace)

    @property
    def restoration(self) -> Restoration:
        jobs = self.params["jobs"] or max(2, os.cpu_count() or 2)
        return Restoration(self.kubectl, self.plan, jobs, self.environment["backup"].get("spare_cpu", 0))


def plan(given: StepInput) -> Result:
    """What there is, and what is going to happen. Changes nothing."""
    s3 = given.source["backup"]["s3"]
    if not s3["endpoint"]:
        raise NoChoice(f"{given.source['name']} has no backups: its inventory names no S3 endpoint (platform_s3)")
    bucket, name = Bucket(s3, given.credentials, timeout=PLAN_SECONDS), given.source["name"]
    if given.params["moment"]:
        return _plan_moment(given, bucket)
    objects, manifests = environment_dumps.objects(bucket, name), environment_dumps.manifests(bucket, name)
    found = choice.stored(objects, manifests, s3["prefix"], name, given.params["backup_key"])
    live = overview.look(given.superuser, declared_databases(given.environment))
    tables = [overview.backups_table(found, live.identifier, given.source["name"])]
    result: Result = {"changed": False, "platform_table": tables, "backups": len(found), "warnings": []}
    if live.problem:
        result["warnings"].append(f"Postgres of {given.name} does not answer: {live.problem}")
    try:
        chosen = choice.choose(found, given.params["backup"], given.params["origin"], bucket.place)
        chosen = choice.only(chosen, given.params["databases"])
        planned = make(chosen, given.source, given.environment, given.params["purpose"], stamp_now(), given.params["beside"])
        if not given.params["databases"]:
            require_the_applications(planned, given.environment)
    except NoChoice as error:
        return {**result, "failed": True, "msg": str(error)}
    if given.source["name"] == given.name and (text := choice.own_instead(found, chosen, live.identifier)):
        result["warnings"].append(text)
    newer = [f"{backup.stamp} ({backup.problem})" for backup in found if backup.problem and backup.stamp > chosen.stamp]
    if given.params["backup"] == LATEST and newer:
        text = f"newer than {chosen.stamp}, and not to be restored: {', '.join(newer)}"
        if given.params["purpose"] == names.DRILL:  # it is to find out whether what would be restored tonight can be
            return {**result, "failed": True, "msg": text}
        result["warnings"].append(text)
    tables.append(overview.plan_table(planned, live, overview.drill_text(_drilled(given))))
    empty = bool(live.problem) or live.empty
    return {**result, "plan": planned.as_dict(), "empty": empty, "problem": live.problem}


def _plan_moment(given: StepInput, bucket: Bucket) -> Result:
    if given.params["backup"] != LATEST:
        raise NoChoice("restore_time and restore_backup are both given: a moment takes whichever base backup is right, so leave one of them out")
    found, chosen = recovery.look(bucket, given.source["name"], given.params["backup_key"], given.params["moment"], given.params["origin"])
    planned = recovery.make(chosen, given.source, given.environment, stamp_now(), given.params["beside"], given.params["databases"])
    if not given.params["databases"]:
        require_the_applications(planned, given.environment)
    live = overview.look(given.superuser, declared_databases(given.environment))
    tables = [overview.moments_table(found, given.source["name"]), overview.plan_table(planned, live, overview.drill_text(_drilled(given)))]
    warnings = [f"Postgres of {given.name} does not answer: {live.problem}"] if live.problem else []
    if not given.params["databases"] and (text := recovery.left_out(chosen, given.source, planned)):
        warnings.append(text)
    empty = bool(live.problem) or live.empty
    result: Result = {"changed": False, "platform_table": tables, "backups": len(found), "warnings": warnings}
    return {**result, "plan": planned.as_dict(), "empty": empty, "problem": live.problem}


def _drilled(given: StepInput) -> Mapping[str, str] | None:
    try:
        found = given.kubectl.find(f"/api/v1/namespaces/{given.source['namespace']}/configmaps/{layout.DRILL}")
    except Unanswered:
        return None
    return dict((found or {}).get("data") or {})


def plan_copy(given: StepInput) -> Result:
    """What a database's way to or from a file of the controller is going to do. Changes nothing."""
    (database,) = given.params["databases"]
    live = overview.look(given.superuser, [database])
    exported = given.params["purpose"] == names.EXPORT
    if live.problem or (exported and database not in live.databases):
        raise NoChoice(f"{given.name}: " + (f"Postgres does not answer: {live.problem}" if live.problem else f"there is no database {database}"))
    size = live.databases[database].bytes if exported else given.params["size"]
    planned = make_copy(given.environment, database, given.params["purpose"], stamp_now(), size, bool(given.params["mask"]))
    table = overview.copy_table(planned, live)
    return {"changed": False, "plan": planned.as_dict(), "empty": live.empty, "problem": "", "platform_table": [table], "warnings": []}


def back_up(given: StepInput) -> Result:
    """A backup of what is there; `running` until it is complete."""
    done = backup_before.take(given.kubectl, given.namespace, given.plan.stamp)
    return {"changed": True, "running": not done, "progress": "" if done else f"backing up {given.name}"}


def begin(given: StepInput) -> Result:
    """Clear what another restore left, make the pod, and let it begin."""
    planned, restoration = given.plan, given.restoration

    def look() -> leftovers.RestoreTraces:
        return until_answered(lambda: leftovers.find(given.kubectl, given.namespace), time.monotonic() + POSTGRES_SECONDS)

    traces, text = pod.once_ended(look, given.name, given.namespace)
    if text:
        raise RestoreFailed(text)
    if planned.end == BESIDE and planned.databases[0].live in (traces.databases or {}):
        raise RestoreFailed(f"restore_as is {planned.databases[0].live}, and {given.name} has such a database: take another name, or drop that one")
    restoration.require_room()
    leftovers.clear(given.kubectl, given.namespace, traces)
    with _ended_on_failure(given):
        restoration.begin(given.params["mask"], given.params["deadline"])
        if planned.purpose == names.EXPORT:
            restoration.dump()
        elif planned.kind != COPY:
            _fetch(given, restoration)
    return {"changed": True, "cleared": traces.lines(given.name)}


def _fetch(given: StepInput, restoration: Restoration) -> None:
    s3, planned, key = given.source["backup"]["s3"], given.plan, given.params["backup_key"]
    secrets = FetchSecrets(configuration(s3, given.credentials), authorities(s3), given.params["identity"], key)
    if not planned.moment:
        restoration.fetch(secrets)
        return
    # looked up again: the list of WAL is long, and does not travel through the play
    _found, chosen = recovery.look(Bucket(s3, given.credentials, timeout=PLAN_SECONDS), planned.source, key, planned.moment, planned.origin)
    restoration.recover(secrets, recovery.instructions(chosen, given.source, planned))


def opened(given: StepInput) -> Result:
    """The dump has come from the controller: look into it."""
    with _ended_on_failure(given):
        given.restoration.open()
    return {"changed": True}


def advance(given: StepInput) -> Result:
    """Go on; `running` until the new databases are filled."""
    with _ended_on_failure(given):
        progress = given.restoration.advance(WATCHED)
    return {"changed": True, "running": not progress.done, "progress": progress.line, "warnings": progress.notes}


def check(given: StepInput) -> Result:
    """Whether the new databases may take their place."""
    with _ended_on_failure(given):
        verdicts = given.restoration.check()
        if wrong := [f"{name}: {text}" for name, verdict in verdicts.items() for text in verdict.wrong]:
            raise RestoreFailed("the restored database is not what the backup says, and is not put in place: " + "; ".join(wrong))
    notes = [f"{name}: {note}" for name, verdict in verdicts.items() for note in verdict.notes]
    counts = {name: {"rows": verdict.rows, "tables": verdict.tables} for name, verdict in verdicts.items()}
    return {"changed": False, "warnings": notes, "counts": counts, "seconds": given.restoration.pod.age()}


def put_in_place(given: StepInput) -> Result:
    """Swap, or give the new database its own name; then end the pod."""
    planned = given.plan
    result: Result = {"changed": True, "seconds": given.restoration.pod.age()}
    with _ended_on_failure(given):
        if planned.end == BESIDE:
            database = planned.databases[0]
            given.superuser.run([f"alter database {identifier(database.scratch)} rename to {identifier(database.live)}"])
        else:
            done = swap.swap(given.kubectl, planned)
            result |= {"kept": list(done.kept), "swap_seconds": round(done.seconds, 2)}
    try:
        _end(given)
    except FAILURES as error:  # the restored databases are in place all the same
        result["warnings"] = [f"something is left of this restore, which the next run of the site clears: {error}"]
    return result


def end(given: StepInput) -> Result:
    """Remove the pod, and new databases that were not put in place."""
    _end(given)
    return {"changed": True}


@contextlib.contextmanager
def _ended_on_failure(given: StepInput) -> Iterator[None]:
    """What a failed restore made goes at once; if that fails as well, the next run finds it."""
    try:
        yield
    except FAILURES:
        with contextlib.suppress(*FAILURES):
            _end(given)
        raise


def _end(given: StepInput) -> None:
    planned = given.plan
    pod.delete(given.kubectl, given.namespace, [planned.job])
    given.superuser.run(databases.drop(planned.scratch_names))
    cpu_limit.set_back(given.kubectl, given.namespace)


def record(given: StepInput) -> Result:
    """Keep what a drill found, for verify, for messages and for the next plan; why one failed, beside what the last good one found."""
    found = {name: str(value) for name, value in given.params["record"].items()}
    if "problem" in found:
        data = {**(_drilled(given) or {}), "failed": stamp_now(), **found}
    else:
        data = {"stamp": given.plan.backup, "finished": stamp_now(), **found}
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": layout.DRILL, "namespace": given.source["namespace"]}, "data": data}
    given.kubectl.keep(content, "shaka.platform-restore")
    return {"changed": True}


def clear(kubectl: Kubectl, environments: Mapping[str, Environment], check_mode: bool) -> Result:
    """What restores left that did not end, in all environments at once; a restore that goes on is left alone."""
    with ThreadPoolExecutor(WORKERS) as pool:
        found = dict(zip(environments, pool.map(lambda env: _traces(kubectl, env), environments.values()), strict=True))
    lines, warnings = [], []
    for name, traces in found.items():
        if traces is None:
            continue
        lines += traces.lines(name)
        warnings += [text for text in [traces.kept_text(name)] if text]
        warnings += [f"a restore of {name} goes on: {job.name}" for job in traces.running]
        if not check_mode and traces.lines(name):
            leftovers.clear(kubectl, environments[name]["namespace"], traces)
    return {"changed": bool(lines), "changes": lines, "warnings": warnings, "diff": {"before": "".join(f"{line}\n" for line in lines), "after": ""}}


def _traces(kubectl: Kubectl, env: Environment) -> leftovers.RestoreTraces | None:
    try:
        return leftovers.find(kubectl, env["namespace"])
    except (Unanswered, RefusedStatement):
        return None  # no cluster, namespace or Postgres yet: the roles before this one say so


def drop_before(given: StepInput) -> Result:
    """Drop for good the databases from before a restore."""
    stamp = given.params["drop_before"]
    traces = leftovers.find(given.kubectl, given.namespace)
    mine = [name for name in traces.kept if (found := names.read(name)) and found.stamp == stamp.lower()]
    if not mine:
        there = ", ".join(traces.kept) or "none"
        raise NoChoice(f"{given.name} keeps no database from before the restore {stamp}; kept are: {there}")
    if not given.check:
        given.superuser.run(databases.drop(mine))
    return {"changed": True, "dropped": mine}


STEPS: Mapping[str, Callable[[StepInput], Result]] = {
    "plan": plan,
    "plan_copy": plan_copy,
    "back_up": back_up,
    "begin": begin,
    "opened": opened,
    "advance": advance,
    "check": check,
    "put_in_place": put_in_place,
    "end": end,
    "record": record,
    "drop_before": drop_before,
}
