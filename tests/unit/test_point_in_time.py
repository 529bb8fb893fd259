"""Where points in time are kept, and what an inventory may not say of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.generation import needed_names
from ansible_collections.shaka.platform.plugins.plugin_utils.model.point_in_time import is_on
from test_model import ENV, change, run

S3 = "https://s3.acme.test"


@pytest.mark.parametrize(
    ("name", "backup", "endpoint", "on"),
    [
        ("prod", None, S3, True),
        ("prod", {"schedule": "0 2 * * *"}, S3, True),
        ("prod", {"point_in_time": {"enabled": None}}, S3, True),
        ("prod", None, "", False),
        ("prod", {"point_in_time": {"enabled": False}}, S3, False),
        ("staging", {}, S3, False),
        ("staging", {"point_in_time": {"enabled": True}}, S3, True),
        ("staging", {"point_in_time": {"enabled": True}}, "", True),  # which the model refuses
    ],
)
def test_it_is_on_in_production_where_there_is_somewhere_to_keep_it(name: str, backup: Any, endpoint: str, on: bool) -> None:
    assert is_on(name, backup, endpoint) is on


@pytest.mark.parametrize(
    ("name", "backup", "made"),
    [
        ("prod", None, True),
        ("prod", {"point_in_time": {"enabled": False}}, False),
        ("dev", {}, False),
        ("dev", {"point_in_time": {"enabled": True}}, True),
    ],
)
def test_its_password_is_generated_before_there_is_an_s3_service(name: str, backup: Any, made: bool) -> None:
    assert ("WAL_PASSWORD" in needed_names({name: {"backup": backup}}, {})[name]) is made


BACKUP, POSTGRES = f"{ENV}/prod/backup/point_in_time", f"{ENV}/prod/postgres"
MISTAKES = [
    (BACKUP, {"base_schedule": "0 25 * * 0"}, f"{ENV}.prod.backup.point_in_time.base_schedule", "hour '25'"),
    (BACKUP, {"base_keep": 0}, f"{ENV}.prod.backup.point_in_time.base_keep", "brings nothing back"),
    (BACKUP, {"max_lag_seconds": 30}, f"{ENV}.prod.backup.point_in_time.max_lag_seconds", "must be 40 or more"),
    (BACKUP, {"limits": {"memory": "16Mi"}}, f"{ENV}.prod.backup.point_in_time.requests.memory", "is more than its limit 16Mi"),
    (BACKUP, {"enabled": "sometimes"}, f"{ENV}.prod.backup.point_in_time.enabled", "sometimes"),
    (POSTGRES, {"settings": {"wal_level": "minimal"}}, f"{ENV}.prod.postgres.settings.wal_level", "leaves nothing to recover"),
    (POSTGRES, {"settings": {"max_wal_senders": 0}}, f"{ENV}.prod.postgres.settings.max_wal_senders", "must be 4 or more"),
    (POSTGRES, {"user": "wal_archive"}, f"{ENV}.prod.postgres.user", "which streams WAL for backup.point_in_time"),
    ("platform_secrets/prod/WAL_PASSWORD", None, "platform_secrets.prod", "WAL_PASSWORD missing"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "where", "says"), MISTAKES, ids=[row[2] for row in MISTAKES])
def test_mistake_is_named(path: str, value: Any, where: str, says: str) -> None:
    problems = run(change(path, value)).problems
    assert [problem for problem in problems if problem.path == where and says in problem.text], problems


def test_where_it_is_off_postgres_may_be_set_as_one_likes() -> None:
    data = change(BACKUP, {"enabled": False})
    data["platform_environments"]["prod"]["postgres"] = {"settings": {"wal_level": "minimal", "max_wal_senders": 0}}
    del data["platform_secrets"]["prod"]["WAL_PASSWORD"]
    assert run(data).problems == []


def test_a_pod_that_reads_a_changed_secret_begins_anew() -> None:
    def digest(data: dict[str, Any]) -> str:
        return run(data).model["environments"]["prod"]["backup"]["point_in_time"]["hash"]

    first = digest(change("platform_name", "acme"))
    assert first == digest(change("platform_secrets/prod/JWT_SECRET", "3f" * 31 + "a-B9"))
    assert first != digest(change("platform_secrets/prod/WAL_PASSWORD", "c0" * 16 + "f-7e" * 8))
    assert first != digest(change("platform_secrets/s3/SECRET_KEY", "b1" * 16 + "d-4e" * 8))
