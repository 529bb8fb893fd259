"""What verify makes of what the archive of WAL says of itself."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.verify.wal_archive import read, verdict

NOW = 1795708800.0  # 2026-11-26T16:00:00Z
ENV: Any = {"backup": {"point_in_time": {"enabled": True, "max_lag_seconds": 60}}}
WELL = {
    "at": NOW - 5, "covered": NOW - 5, "lag": 0, "sent": "0/3000000", "written": "0/3000000", "stream": "wal_archive_1_20261120t000000z",
    "kept": "reserved", "room": 520093696, "base": "20261122T030000Z", "making_base": False, "problem": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "ok", "says"),
    [
        ({}, True, "to 15:59:55Z, base backup 5 d old"),
        ({"base": "20261126T140000Z"}, True, "base backup 2 h old"),
        ({"lag": 60}, True, "to 15:59:55Z"),
        ({"lag": 61}, False, "nothing archived for 66 s, at most 60 s allowed: more is written than is sent; Postgres keeps 496 MiB more for it"),
        ({"lag": 20, "problem": "S3 does not take WAL: 403"}, False, "nothing archived for 25 s, at most 60 s allowed: S3 does not take WAL: 403"),
        ({"lag": 90, "room": -1}, False, "more is written than is sent"),
        ({"at": NOW - 181}, False, "has not looked for WAL for 181 s"),
        ({"base": "", "making_base": True}, True, "no base backup yet: no moment can be recovered; one is being made"),
        ({"base": ""}, False, "no base backup yet: no moment can be recovered"),
    ],
)
def test_a_verdict_says_until_when_or_why_not(changes: dict[str, Any], ok: bool, says: str) -> None:
    state, problem = read(json.dumps({**WELL, **changes}))
    assert verdict(ENV, state, problem, NOW)[0] is ok
    assert says in verdict(ENV, state, problem, NOW)[1]


def test_no_answer_is_a_finding_and_nothing_to_archive_is_none() -> None:
    assert verdict(ENV, None, "postgres-wal does not answer: no pod", NOW) == (False, "postgres-wal does not answer: no pod")
    assert verdict(cast(Any, {}), None, "", NOW) == (True, "off")
    state, problem = read("")
    assert state is None and "something else" in problem
