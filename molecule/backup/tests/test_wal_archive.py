"""Any moment comes back, exactly; what happens to the archive of WAL when its bucket is away, or when it was broken off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from backups import playbook, receiver, s3_stopped, sql
from conftest import Server

RESTORE = ("restore", "-e", "restore_environment=prod")


def archive(server: Server) -> dict[str, Any]:
    """What the pod that archives says of itself."""
    answer: dict[str, Any] = json.loads(server.run("kubectl exec -n shaka-prod deployment/postgres-wal -c wal -- cat /work/status"))
    return answer


def until(true: Callable[[], Any], what: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(2)


def covered(server: Server, moment: float) -> Callable[[], bool]:
    return lambda: archive(server)["covered"] > moment and bool(archive(server)["base"])


def test_a_named_second_comes_back_exactly_and_nothing_live_is_touched(server: Server) -> None:
    until(covered(server, 0), "a base backup")
    live = server.json("pod/postgres-0 -n shaka-prod")["metadata"]["uid"]
    sql(server, "create table past (id serial primary key, at timestamptz default clock_timestamp()); grant select on past to shaka_app;")
    sql(server, "set role shaka_production; create table others (id int);", database="shaka_reports")
    for _turn in range(6):
        sql(server, "insert into past default values")
        time.sleep(0.7)
    second = int(float(sql(server, "select extract(epoch from max(at)) from past where id <= 4"))) + 1
    expected = sql(server, f"select count(*) from past where at < to_timestamp({second})")
    sql(server, "drop table past", database="shaka_production")
    until(covered(server, second + 2), "WAL in the bucket")

    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
    asked = (*RESTORE, "-e", f"restore_time={moment}")
    assert "can be recovered" in playbook(server, *asked, "--check")
    playbook(server, *asked, "-e", "restore_database=shaka_production", "-e", "restore_as=look", "-e", "restore_confirm=prod")
    assert sql(server, "select count(*) from past", database="look") == expected
    assert sql(server, "select to_regclass('past') is null") == "t"
    sql(server, "drop table others", database="shaka_reports")
    playbook(server, *asked, "-e", "restore_confirm=dev", code=2)
    assert sql(server, "select to_regclass('past') is null") == "t"

    playbook(server, *asked, "-e", "restore_confirm=prod")
    assert sql(server, "select count(*) from past") == expected
    assert sql(server, "select has_table_privilege('shaka_app', 'past', 'select')") == "t"
    assert sql(server, "select to_regclass('others')", database="shaka_reports") == "others"
    assert server.json("pod/postgres-0 -n shaka-prod")["metadata"]["uid"] == live
    assert server.json("jobs -n shaka-prod -l app=postgres-restore")["items"] == []
    sql(server, "drop table past")
    sql(server, "drop database look", database="postgres")


@pytest.mark.parametrize(
    ("moment", "says"),
    [("2026-11-24T10:00:00", "is not a moment such as"), ("2000-01-01T00:00:00Z", "what can be"), ("2999-01-01T00:00:00Z", "not come")],
)
def test_a_moment_that_cannot_be_is_refused_with_those_that_can(server: Server, moment: str, says: str) -> None:
    assert says in " ".join(playbook(server, *RESTORE, "-e", f"restore_time={moment}", code=2).split())


def test_while_the_bucket_is_away_postgres_keeps_wal_and_somebody_is_told(server: Server) -> None:
    before = archive(server)["stream"]
    with receiver(server) as told:
        with s3_stopped(server):
            sql(server, "create table during (id int); insert into during values (1);")
            # more than the pod may hold: its receiver is stopped, for so long that Postgres forgets it
            sql(server, "create table much as select md5(i::text) || md5((i + 1)::text) as noise from generate_series(1, 2500000) i")
            until(lambda: archive(server)["lag"] > 60 and archive(server)["problem"], "a lag that is noticed")
            assert "S3 does not take WAL" in archive(server)["problem"]
            server.run("kubectl wait -n shaka-prod --for=condition=Available=False deployment/postgres-wal --timeout=120s")
            time.sleep(65)
            server.run("systemctl start shaka-notify")
        until(lambda: archive(server)["problem"] == "" and archive(server)["lag"] < 30, "WAL in the bucket again")
        server.run("kubectl wait -n shaka-prod --for=condition=Available deployment/postgres-wal --timeout=120s")
        server.run("systemctl start shaka-notify")
    states = [each["state"] for each in told if each["what"] == "prod archive of WAL"]
    assert states == ["failed", "ok"]
    assert archive(server)["stream"] == before, "there is no gap"


def test_a_stream_that_was_broken_off_begins_anew_with_a_base_backup(server: Server) -> None:
    before = archive(server)
    sql(server, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name ~ '^wal_archive_[0-9]'")
    until(lambda: (now := archive(server))["stream"] != before["stream"] and now["base"] > before["base"], "a new stream and its base backup")


def test_a_lost_pod_loses_nothing(server: Server) -> None:
    before = archive(server)["stream"]
    server.run("kubectl delete pod -n shaka-prod -l app=postgres-wal --grace-period=0 --force")
    sql(server, "create table after_loss (id int)")
    server.run("kubectl rollout status -n shaka-prod deployment/postgres-wal --timeout=120s")
    assert archive(server)["stream"] == before
