"""Which backup a restore takes, what it makes of it, and whether the result may take its place."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import Origin
from ansible_collections.shaka.platform.plugins.module_utils.data import wal_archive
from ansible_collections.shaka.platform.plugins.module_utils.data.postgres import LOGIN
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import Unanswered
from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.module_utils.restore import choice, databases, names, pod, problems, steps, swap
from ansible_collections.shaka.platform.plugins.module_utils.restore.choice import NoChoice, StoredBackup
from ansible_collections.shaka.platform.plugins.module_utils.restore.judgement import judge
from ansible_collections.shaka.platform.plugins.module_utils.restore.leftovers import RestoreTraces
from ansible_collections.shaka.platform.plugins.module_utils.restore.plan import RestorePlan, make, needed_room, require_the_applications
from ansible_collections.shaka.platform.plugins.module_utils.restore.pod import PodReport, RestoreJob, RestorePod, report
from ansible_collections.shaka.platform.plugins.module_utils.restore.swap import SwapResult
from ansible_collections.shaka.platform.plugins.plugin_utils import masks
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules

KEY = "b" * 64
STAMP = "20261126T180000Z"


def environment(name: str, user: str = "", app_user: str = "", others: tuple[str, ...] = (), before: str = "") -> Environment:
    renamed = {"database": before, "user": ""}
    postgres = {
        "database": f"shaka_{name}", "user": user or f"shaka_{name}", "app_user": app_user, "databases": list(others), "renamed_from": renamed,
    }  # fmt: skip
    s3 = {"bucket": "backups", "prefix": "shaka"}
    return cast(Environment, {"name": name, "namespace": f"shaka-{name}", "postgres": postgres, "backup": {"s3": s3}})


def signed(
    stamp: str, kind: str = "scheduled", system: str = "7", server: str = "web", bases: tuple[str, ...] = ("shaka_prod",), key: str = KEY
) -> bytes:
    dumps = [
        {"name": name, "object": f"{name}.dump.age", "bytes": 100, "sha256": "ab", "database_bytes": 1000, "seconds": 1, "tables": {"public.t": 5000}}
        for name in bases
    ]
    raw = {
        "format": 1, "kind": kind, "platform": "shaka", "server": server, "cluster": "c", "environment": "prod", "system_identifier": system,
        "postgres": "15", "stamp": stamp, "finished": "2026-11-26T10:00:05Z", "seconds": 5, "databases": dumps,
    }  # fmt: skip
    line = json.dumps(raw).encode()
    return line + b"\n" + hmac.new(key.encode(), line, hashlib.sha256).hexdigest().encode() + b"\n"


def found(*backups: tuple[str, dict[str, Any]], sizes: dict[str, int] | None = None) -> list[StoredBackup]:
    """Stamp and what `signed` takes, of each."""
    objects: dict[str, int] = {}
    manifests: dict[str, bytes] = {}
    for stamp, more in backups:
        folder = f"shaka/{more.get('server', 'web')}/prod/{more.get('system', '7')}/dumps/{stamp}"
        manifests[f"{folder}/manifest"] = signed(stamp, **more)
        objects |= {f"{folder}/{name}.dump.age": 100 for name in more.get("bases", ("shaka_prod",))}
    return choice.stored({**objects, **(sizes or {})}, manifests, "shaka", "prod", KEY)


FIRST, SECOND, THIRD = "20261124T020000Z", "20261125T020000Z", "20261126T020000Z"


def test_the_newest_good_backup_of_any_origin_is_taken() -> None:
    backups = found((FIRST, {}), (SECOND, {"system": "8", "server": "old"}), (THIRD, {"kind": "before-restore"}))
    assert [backup.stamp for backup in backups] == [THIRD, SECOND, FIRST]
    assert choice.choose(backups, "latest", "", "s3").origin == Origin("old", "prod", "8")
    assert choice.choose(backups, "latest", "web/7", "s3").stamp == FIRST
    assert choice.choose(backups, THIRD, "", "s3").stamp == THIRD


def test_a_backup_of_another_postgres_than_the_one_that_runs_is_said_to_be_one() -> None:
    """As after a move, whose old server goes on making backups of what nobody writes into any more."""
    backups = found((FIRST, {}), (SECOND, {"system": "8", "server": "old"}))
    newest = choice.choose(backups, "latest", "", "s3")
    said = choice.own_instead(backups, newest, "7")
    assert f"{SECOND} is of another Postgres (old/8)" in said and f"whose newest is {FIRST}" in said and said.endswith("-e restore_origin=web/7")
    assert [choice.own_instead(backups, newest, running) for running in ("8", "9", "")] == ["", "", ""]


def test_a_forged_or_incomplete_backup_is_never_taken() -> None:
    cut = {f"shaka/web/prod/7/dumps/{SECOND}/shaka_prod.dump.age": 99}
    backups = found((FIRST, {}), (SECOND, {}), (THIRD, {"key": "c" * 64}), sizes=cut)
    assert choice.choose(backups, "latest", "", "s3").stamp == FIRST
    for stamp, words in ((SECOND, "has 99 bytes in place of 100"), (THIRD, "not authentic")):
        with pytest.raises(NoChoice, match=words):
            choice.choose(backups, stamp, "", "s3")


@pytest.mark.parametrize(
    ("wanted", "origin", "words"),
    [
        ("20250101T000000Z", "", f"no backup 20250101T000000Z; the newest are: {SECOND}"),
        (SECOND, "", "add -e restore_origin=... with one of web/8, web/7"),
        ("latest", "web/9", "no backup that could be restored from web/9"),
    ],
)
def test_what_there_is_not_is_refused(wanted: str, origin: str, words: str) -> None:
    backups = found((SECOND, {"system": "7"}), (SECOND, {"system": "8"}))
    with pytest.raises(NoChoice, match=words):
        choice.choose(backups, wanted, origin, "the bucket")


def test_some_databases_of_a_backup() -> None:
    (backup,) = found((FIRST, {"bases": ("shaka_prod", "extra")}))
    narrowed = choice.only(backup, ["extra"]).manifest
    assert narrowed and [dump.name for dump in narrowed.databases] == ["extra"]
    with pytest.raises(NoChoice, match="has no database other; it has extra, shaka_prod"):
        choice.only(backup, ["other"])


def test_a_plan_for_the_same_environment() -> None:
    (backup,) = found((FIRST, {"bases": ("shaka_prod", "extra")}))
    plan = make(backup, environment("prod"), environment("prod"), names.RESTORE, STAMP)
    assert [(database.live, database.scratch, plan.before(database)) for database in plan.databases] == [
        ("shaka_prod", "shaka_prod_restore_20261126t180000z", "shaka_prod_before_20261126t180000z"),
        ("extra", "extra_restore_20261126t180000z", "extra_before_20261126t180000z"),
    ]
    assert plan.databases[0].object == f"backups/shaka/web/prod/7/dumps/{FIRST}/shaka_prod.dump.age"
    assert (plan.end, plan.job, plan.elsewhere) == ("swap", "postgres-restore-20261126t180000z", False)
    assert RestorePlan.read(json.loads(json.dumps(plan.as_dict()))) == plan
    assert needed_room(plan.databases) == 300 + 64 * 2**20


def test_a_plan_for_another_environment() -> None:
    (backup,) = found((FIRST, {"bases": ("shaka_prod", "extra")}))
    source, target = environment("prod", app_user="app"), environment("staging", "owner", "client", ("extra",))
    plan = make(backup, source, target, names.RESTORE, STAMP)
    assert [database.live for database in plan.databases] == ["shaka_staging", "extra"]
    assert (plan.owner, plan.client, plan.renamed_roles) == ("owner", "client", {"shaka_prod": "owner", "app": "client"})
    with pytest.raises(NoChoice, match=r"dev has no database extra: add it to platform_environments\.dev\.postgres\.databases"):
        make(backup, source, environment("dev"), names.RESTORE, STAMP)


def test_a_backup_of_before_the_database_was_renamed_is_for_the_applications() -> None:
    (backup,) = found((FIRST, {"bases": ("shop", "extra")}))
    for target in (environment("prod", before="shop"), environment("staging", others=("extra",))):
        plan = make(backup, environment("prod", before="shop"), target, names.RESTORE, STAMP)
        assert [(each.live, each.masked) for each in plan.databases] == [(target["postgres"]["database"], True), ("extra", False)]
        require_the_applications(plan, target)
    plan = make(backup, environment("prod"), environment("prod"), names.RESTORE, STAMP)
    with pytest.raises(NoChoice, match=r"has no shaka_prod, .* but shop, extra: .*platform_environments\.prod\.postgres\.renamed_from\.database"):
        require_the_applications(plan, environment("prod"))
    require_the_applications(make(backup, environment("prod"), environment("prod"), names.DRILL, STAMP), environment("prod"))


def test_a_plan_beside_the_live_database_takes_one() -> None:
    (backup,) = found((FIRST, {"bases": ("shaka_prod", "extra")}))
    with pytest.raises(NoChoice, match=r"restore_as names one database, and the backup .* has 2.*shaka_prod, extra"):
        make(backup, environment("prod"), environment("prod"), names.RESTORE, STAMP, "look")
    plan = make(choice.only(backup, ["extra"]), environment("prod"), environment("prod"), names.RESTORE, STAMP, "look")
    assert (plan.end, plan.databases[0].live) == ("beside", "look")
    for purpose in (*names.UNFINISHED, names.BEFORE):  # the next run would drop it as the rest of a restore
        taken = names.beside("look", purpose, STAMP)
        assert rules.database(taken) is not None
        with pytest.raises(NoChoice, match=f"restore_as is {taken}, which is called like what a restore makes"):
            make(choice.only(backup, ["extra"]), environment("prod"), environment("prod"), names.RESTORE, STAMP, taken)


@pytest.mark.parametrize("name", ["shaka_production", "x" * 63, "ü" * 31])
def test_names_beside_a_database(name: str) -> None:
    made = names.beside(name, names.BEFORE, STAMP)
    assert len(made.encode()) <= 63
    read = names.read(made)
    assert read and (read.purpose, read.stamp) == ("before", STAMP.lower())
    assert names.kept(made) and not names.unfinished(made)


def test_two_long_names_stay_apart() -> None:
    assert names.beside("x" * 60 + "a", names.RESTORE, STAMP) != names.beside("x" * 60 + "b", names.RESTORE, STAMP)


@pytest.mark.parametrize("name", ["shaka_production", "shaka_restore", "a_before_20261126", "_restore_20261126t180000z"])
def test_a_database_of_the_inventory_is_no_trace_of_a_restore(name: str) -> None:
    assert names.read(name) is None


def test_traces_of_a_restore_that_goes_on_are_left_alone() -> None:
    there = {name: {"bytes": 5} for name in ("a", "a_restore_20261126t180000z", "a_drill_20261126t190000z", "a_before_20261101t000000z")}
    jobs = (RestoreJob("postgres-restore-20261126t180000z", ("Running",)), RestoreJob("postgres-restore-20261126t190000z", ("Failed",)))
    traces = RestoreTraces(jobs, there)
    assert (traces.unfinished, traces.ended, list(traces.kept)) == (["a_drill_20261126t190000z"], [jobs[1].name], ["a_before_20261101t000000z"])
    assert "restore_drop_before=20261101T000000Z" in traces.kept_text("prod")
    raised = "prod: Postgres's CPU limit, raised from 400m for a restore that did not end"
    assert raised not in RestoreTraces(jobs, there, "400m").lines("prod")
    assert raised in RestoreTraces(jobs[1:], there, "400m").lines("prod")


def test_a_restore_whose_controller_is_gone_is_waited_for_and_another_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that was killed in its restore goes on at once: the pod that nobody asks any more ends within minutes."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))

    def look_until(end: float) -> Any:
        return lambda: RestoreTraces((RestoreJob("postgres-restore-1", ("Running",) if clock[0] < end else ("Succeeded",)),), {})

    found, text = pod.once_ended(look_until(120), "prod", "shaka-prod")
    assert (found.ended, text) == (["postgres-restore-1"], "") and 120 <= clock[0] < 130
    found, text = pod.once_ended(look_until(9999), "prod", "shaka-prod")
    assert "a restore of prod goes on (postgres-restore-1" in text and found.running and clock[0] < 300


def test_a_swap_that_was_made_is_no_failure_where_the_rest_cannot_be_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_now(*_arguments: Any) -> None:
        raise Unanswered("the API server is away")

    kept = ("shaka_prod_before_20261126t180000z",)
    monkeypatch.setattr(swap, "swap", lambda *_arguments: SwapResult(0.5, kept))
    monkeypatch.setattr(pod, "delete", not_now)
    monkeypatch.setattr(RestorePod, "age", lambda _self: 60)
    (backup,) = found((FIRST, {}))
    plan = make(backup, environment("prod"), environment("prod"), names.RESTORE, STAMP)
    given = steps.StepInput(cast(Any, None), environment("prod"), environment("prod"), {"plan": plan.as_dict(), "jobs": 1}, check=False)
    result = steps.put_in_place(given)
    assert (result["kept"], result["swap_seconds"]) == ([*kept], 0.5)
    assert result["warnings"] == ["something is left of this restore, which the next run of the site clears: the API server is away"]


# --- the check --------------------------------------------------------------------------------------------------------------------------------


def result(**more: Any) -> dict[str, Any]:
    return {"tables": {"public.t": 5000}, "invalid": [], "incomplete": [], "extensions": {"cube": "1.5"}, "owner": "o", "unvalidated": [], **more}


@pytest.mark.parametrize(
    ("more", "wrong", "notes"),
    [
        ({}, "", ""),
        ({"tables": {}}, "public.t of the backup is missing", ""),
        ({"tables": {"public.t": 4000}}, "", ""),
        ({"tables": {"public.t": 100}}, "", "public.t has 100 rows, the backup's estimate is 5000"),
        ({"invalid": ["i"]}, "the index i is not valid", ""),
        ({"incomplete": ["i"]}, "", "indexes that not every partition has, as in the backup: i"),
        ({"extensions": None}, "the extension cube is missing", ""),
        ({"owner": "postgres"}, "its owner is postgres in place of o", ""),
        ({"unvalidated": ["c on t"]}, "", "constraints that the backup has as NOT VALID: c on t"),
    ],
)
def test_the_restored_database_is_judged(more: dict[str, Any], wrong: str, notes: str) -> None:
    (backup,) = found((FIRST, {}))
    (database,) = make(backup, environment("prod"), environment("prod"), names.RESTORE, STAMP).databases
    verdict = judge(database, result(**more), "o", ["cube"], masked=False)
    assert ("; ".join(verdict.wrong), "; ".join(verdict.notes)) == (wrong, notes)


def test_masking_may_take_rows_away() -> None:
    (backup,) = found((FIRST, {}))
    (database,) = make(backup, environment("prod"), environment("prod"), names.RESTORE, STAMP).databases
    assert judge(database, result(tables={"public.t": 0}), "o", [], masked=True).notes == ()


# --- the pod's answers ------------------------------------------------------------------------------------------------------------------------


def test_the_pod_reports_how_far_it_is() -> None:
    assert report("phase none running\n") == PodReport()
    text = "phase restore running\nstep 1 restoring\ntables 7\n"
    assert report(text) == PodReport("restore", None, 1, "restoring", tables=7)
    text = "phase fetch 1\nstep 0 fetching\nfetched 12\nproblem unread 0 directory not found: x\n"
    assert report(text) == PodReport("fetch", 1, 0, "fetching", 12, problem=("unread", "0", "directory not found: x"))


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (("unread", "0", "403 Forbidden"), "cannot be read from S3: 403 Forbidden; check"),
        (("size", "0", "99"), "is truncated: it has 99 bytes, its manifest says 100"),
        (("size", "0", "101"), "is not what was written: it has 101 bytes"),
        (("digest", "0"), "was changed after it was written"),
        (("sealed", "0", "no identity matched any of the recipients"), "was encrypted for somebody else"),
        (("sealed", "0", 'failed to read "stdin": unknown identity type'), "restore_identity_file is not an age identity"),
        (("dump", "0", "did not find magic string"), "no dump that this Postgres's pg_restore reads"),
        (
            ("restore", "0", "error: out of shared memory"),
            "could not be restored into shaka_prod_restore_20261126t180000z: error: out of shared memory",
        ),
        (("mask", "0", 'ERROR:  relation "x" does not exist'), "the SQL that masks shaka_prod failed, so nothing of it is put in place"),
        ((), "ended with exit code 1, without a reason"),
    ],
)
def test_failures_in_the_pod_are_explained(problem: tuple[str, ...], words: str) -> None:
    (backup,) = found((FIRST, {}))
    plan = make(backup, environment("prod"), environment("prod"), names.RESTORE, STAMP)
    assert words in problems.explain(plan, PodReport("fetch", 1, problem=problem))


# --- SQL --------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (None, ""),
        (
            {
                "encoding": "UTF8",
                "datcollate": "C.UTF-8",
                "datctype": "C.UTF-8",
                "datlocprovider": "c",
                "daticulocale": None,
                "tablespace": "pg_default",
            },
            " encoding 'UTF8' lc_collate 'C.UTF-8' lc_ctype 'C.UTF-8' locale_provider libc tablespace \"pg_default\"",
        ),
        (
            {"encoding": "UTF8", "datcollate": "C", "datctype": "C", "datlocprovider": "i", "daticulocale": "pt-BR"},
            " encoding 'UTF8' lc_collate 'C' lc_ctype 'C' locale_provider icu icu_locale 'pt-BR'",
        ),
        ({"encoding": "UTF8", "datcollate": "C", "datctype": "C"}, " encoding 'UTF8' lc_collate 'C' lc_ctype 'C'"),  # Postgres 14
    ],
)
def test_a_new_database_is_like_the_live_one(row: dict[str, Any] | None, words: str) -> None:
    assert databases.create_like("n", "o", row) == f'create database "n" owner "o" template template0{words}'


def test_a_database_that_was_lost_is_only_put_in_place() -> None:
    statements = databases.swap([("a", "a_r", "a_b"), ("b", "b_r", "b_b")], ["a"], 5)
    assert statements == [
        "set local lock_timeout = '5s'",
        'alter database "a" rename to "a_b"',
        'alter database "a_b" with allow_connections false',
        'alter database "a_r" rename to "a"',
        'alter database "b_r" rename to "b"',
    ]


def test_masks_are_statements_and_files_beside_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "mask.sql").write_text("delete from tokens;\nupdate users set email = 'x' || id\n")
    assert (
        masks.script(["mask.sql", "truncate sessions", ""], tmp_path)
        == "delete from tokens;\nupdate users set email = 'x' || id;\ntruncate sessions;\n"
    )
    with pytest.raises(FileNotFoundError):
        masks.script(["other.sql"], tmp_path)


def test_the_inventory_takes_no_name_that_the_platform_uses_itself() -> None:
    """Rules of the model, which imports nothing of what they follow from."""
    purposes = (names.RESTORE, names.DRILL, names.EXPORT, names.BEFORE)
    assert [
        purpose for purpose in purposes if "called like what a restore makes" not in (rules.database(names.beside("shop", purpose, STAMP)) or "")
    ] == []
    assert [role for role in (wal_archive.ROLE, LOGIN) if "platform's own role" not in (rules.role(role) or "")] == []
