# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Postgres's settings from its container's limits and its volume's size. Pure.

Sources: the manual's chapter Server Configuration (https://www.postgresql.org/docs/15/runtime-config.html; the section is named at each
rule), and the PostgreSQL wiki's "Tuning Your PostgreSQL Server" (https://wiki.postgresql.org/wiki/Tuning_Your_PostgreSQL_Server).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

MIB, GIB = 1 << 20, 1 << 30
BACKEND = 8 * MIB  # what one busy connection holds besides the shared buffers, rounded up

# Settings that the platform decides, and why an inventory may not set them.
MANAGED = {
    "listen_addresses": "the Service and the NetworkPolicy say who reaches it",
    "port": "the Service needs 5432",
    "unix_socket_directories": "the probes and the operators' psql use the image's own",
    "data_directory": "the volume is mounted where the image keeps its data",
    "config_file": "the settings are the inventory's",
    "hba_file": "access is by password over the network, and local in the pod",
    "ssl": "there is no certificate in the pod",
}
# Settings that lose committed rows in a power failure when they are off (Write Ahead Log: 'risk of data loss').
DURABLE = ("fsync", "full_page_writes")
_SIZE = re.compile(r"([0-9]+)\s*(B|kB|MB|GB|TB)?")
_UNITS = {"B": 1, "kB": 1 << 10, "MB": MIB, "GB": GIB, "TB": 1 << 40}


def _clamp(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))


def _size(number: int) -> str:
    return f"{number // MIB}MB"


def derive(memory: int, cpu: int, storage: int) -> dict[str, str]:
    """The settings for a container's memory limit (bytes), CPU limit (millicores) and volume (bytes)."""
    # Resource Consumption, shared_buffers: 25 % of the memory from 1 GB on, 'a smaller percentage' below, so that the rest has space.
    shared = memory // 4 if memory >= GIB else memory // 8
    # Each connection is a process; beyond a few hundred a pooler is the answer (wiki, max_connections).
    connections = _clamp((memory - shared) // BACKEND // 10 * 10, 20, 200)
    # Resource Consumption, work_mem: 'several operations' of a session use it at once. With three per session, all sessions stay within the limit.
    work = _clamp((memory - shared) // (connections * 3), MIB, 64 * MIB)
    # Resource Consumption, maintenance_work_mem: once per autovacuum worker, of which there are three.
    maintenance = _clamp(memory // 16, 16 * MIB, GIB)
    # Write Ahead Log, max_wal_size: a soft limit, between the checkpoints' cost and a twentieth of the disk.
    wal = _clamp(storage // 20, 128 * MIB, 4 * GIB)
    # Resource Consumption, parallel query: a worker is a process that wants a core of its own.
    workers = _clamp(cpu // 1000 - 1, 0, 2)
    return {
        "shared_buffers": _size(shared),
        # Query Planning: the page cache that Postgres can count on; the kernel charges it to the container's limit.
        "effective_cache_size": _size(memory // 2),
        "work_mem": _size(work),
        "maintenance_work_mem": _size(maintenance),
        "max_connections": str(connections),
        "max_wal_size": _size(wal),
        "min_wal_size": _size(max(80 * MIB, wal // 4)),
        # Replication: without this bound, a slot that nobody reads keeps WAL until the disk is full.
        "max_slot_wal_keep_size": _size(max(wal, storage // 10)),
        "max_parallel_workers_per_gather": str(workers),
        "max_parallel_maintenance_workers": str(workers),
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": "pg_stat_statements",
        # Error Reporting and Logging: slow statements, and sessions that wait for a lock longer than deadlock_timeout.
        "log_min_duration_statement": "1s",
        "log_lock_waits": "on",
    }


def as_text(value: object) -> str:
    """A value as postgresql.conf has it: YAML's booleans are on and off."""
    return {"True": "on", "False": "off"}.get(str(value), str(value))


def size(text: str) -> int | None:
    """Bytes of a setting such as 64MB; None for anything else. A bare number counts blocks of 8 kB, as shared_buffers does."""
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * (_UNITS[match[2]] if match[2] else 8192) if match else None


def problems(overrides: Mapping[str, Any], memory: int) -> Iterator[tuple[str, str]]:
    """(setting, what is wrong with it) for the settings in the inventory."""
    for name, value in overrides.items():
        if not re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", name):
            yield name, "is not the name of a setting; write it as in postgresql.conf, in lower case"
        elif isinstance(value, (dict, list)) or value is None:
            yield name, "must be one value (text, a number or true/false)"
        elif name in MANAGED:
            yield name, f"is decided by the platform: {MANAGED[name]}; leave it out"
        elif name in DURABLE and as_text(value) != "on":
            yield name, "loses committed rows when the power goes; leave it out"
        elif name == "wal_level" and value == "minimal" and str(overrides.get("max_wal_senders")) != "0":
            yield name, "is one that Postgres does not start with while max_wal_senders is more than 0; set that to 0 as well, or leave this out"
        elif name == "shared_preload_libraries" and "pg_stat_statements" not in [part.strip() for part in str(value).split(",")]:
            yield name, "must contain pg_stat_statements; name it first, then yours"
        elif name == "shared_buffers" and (size(str(value)) or 0) * 2 > memory:
            yield name, "is more than half of limits.memory, and its processes need the rest; lower it or raise limits.memory"


def settings(overrides: Mapping[str, Any], memory: int, cpu: int, storage: int) -> dict[str, str]:
    """The derived settings, overridden by the inventory's."""
    return {**derive(memory, cpu, storage), **{name: as_text(value) for name, value in overrides.items()}}
