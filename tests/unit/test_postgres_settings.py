"""Postgres's settings: what follows from a container and a volume, and what an inventory may not set."""

from __future__ import annotations

import pytest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.postgres_settings import (
    DURABLE,
    GIB,
    MANAGED,
    MIB,
    derive,
    problems,
    settings,
    size,
)

# memory limit, CPU limit, volume -> settings
TABLE = [
    (256 * MIB, 200, GIB, {"shared_buffers": "32MB", "max_connections": "20", "work_mem": "3MB", "max_wal_size": "128MB"}),
    (512 * MIB, 400, 5 * GIB, {"shared_buffers": "64MB", "effective_cache_size": "256MB", "max_connections": "50", "max_wal_size": "256MB"}),
    (512 * MIB, 400, 20 * GIB, {"max_wal_size": "1024MB", "min_wal_size": "256MB", "max_slot_wal_keep_size": "2048MB"}),
    (GIB, 1000, 10 * GIB, {"shared_buffers": "256MB", "max_connections": "90", "max_parallel_workers_per_gather": "0"}),
    (4 * GIB, 2000, 100 * GIB, {"shared_buffers": "1024MB", "max_connections": "200", "max_parallel_workers_per_gather": "1"}),
    (16 * GIB, 8000, 1024 * GIB, {"shared_buffers": "4096MB", "work_mem": "20MB", "max_parallel_workers_per_gather": "2"}),
]  # fmt: skip


@pytest.mark.parametrize(("memory", "cpu", "storage", "expected"), TABLE)
def test_settings_follow_from_the_container_and_the_volume(memory: int, cpu: int, storage: int, expected: dict[str, str]) -> None:
    assert expected.items() <= derive(memory, cpu, storage).items()


@pytest.mark.parametrize("memory", [192 * MIB, 256 * MIB, 512 * MIB, 768 * MIB, GIB, 2 * GIB, 8 * GIB, 64 * GIB])
def test_all_connections_with_one_sort_each_and_a_vacuum_stay_in_the_limit(memory: int) -> None:
    found = derive(memory, 1000, 10 * GIB)
    used = (size(found["shared_buffers"]) or 0) + int(found["max_connections"]) * (size(found["work_mem"]) or 0)
    assert used + (size(found["maintenance_work_mem"]) or 0) <= memory


def test_the_inventory_wins_and_its_booleans_are_postgres_s() -> None:
    found = settings({"work_mem": "16MB", "jit": False, "track_io_timing": True}, 512 * MIB, 400, 5 * GIB)
    assert (found["work_mem"], found["jit"], found["track_io_timing"], found["max_connections"]) == ("16MB", "off", "on", "50")


REFUSED = [
    *((name, "x") for name in MANAGED),
    *((name, False) for name in DURABLE),
    ("Work Mem", "1MB"),
    ("work_mem", ["1MB"]),
    ("shared_preload_libraries", "auto_explain"),
    ("shared_buffers", "300MB"),
    ("shared_buffers", 40000),
    ("wal_level", "minimal"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_settings_that_break_the_platform_or_lose_rows_are_refused(name: str, value: object) -> None:
    assert [found for found, _text in problems({name: value}, 512 * MIB)] == [name]


@pytest.mark.parametrize(
    ("name", "value"), [("fsync", True), ("synchronous_commit", "off"), ("pg_stat_statements.max", 1000), ("shared_buffers", "128MB")]
)
def test_other_settings_pass(name: str, value: object) -> None:
    assert list(problems({name: value}, 512 * MIB)) == []


def test_wal_that_nobody_streams_may_be_minimal() -> None:
    assert list(problems({"wal_level": "minimal", "max_wal_senders": 0}, 512 * MIB)) == []
