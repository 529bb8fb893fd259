"""The health gate: what counts as a failure, and the verdict on rates and times."""

from __future__ import annotations

import itertools
import time

import pytest
from ansible_collections.shaka.platform.plugins.module_utils.release import gate
from ansible_collections.shaka.platform.plugins.module_utils.release.gate import Reply, Series

GOOD = Reply(0.01, "", True)
BAD = Reply(0.01, "500 internal error", True)
OTHER = Reply(0.01, "", False)


@pytest.mark.parametrize(
    ("values", "percent", "result"), [([], 95, 0), ([3.0], 95, 3), (list(range(1, 101)), 95, 95), ([1, 9], 50, 1), ([9, 1, 5], 100, 9)]
)
def test_percentiles_are_by_nearest_rank(values: list[float], percent: int, result: float) -> None:
    assert gate.percentile(values, percent) == result


@pytest.mark.parametrize(
    ("replies", "reference", "allowed", "says"),
    [
        ([GOOD] * 20, 0.01, 0, ""),
        ([*[GOOD] * 19, BAD], 0.01, 0, "1 of 20 requests through the edge failed (0 may), the first with: 500 internal error"),
        ([*[GOOD] * 19, BAD], 0.01, 1, ""),
        ([*[GOOD] * 19, OTHER], 0.01, 0, "another release answered"),
        ([Reply(0.9, "", True)] * 20, 0.05, 0, "up to 900 ms, and 50 ms with the running release: more than 3 times"),
        ([Reply(0.19, "", True)] * 20, 0.001, 0, ""),  # the noise of a small server is no reason
        ([Reply(0.9, "", True)] * 20, 0.0, 0, ""),  # nothing to compare with
    ],
)
def test_the_verdict(replies: list[Reply], reference: float, allowed: int, says: str) -> None:
    verdict = gate.verdict(Series("next", replies), reference, allowed, 3.0)
    assert says in verdict and bool(verdict) == bool(says)


@pytest.mark.parametrize(("seconds", "percent", "allowed"), [(15, 0, 0), (15, 1, 1), (15, 2, 3), (1, 5, 0), (10, 100, 100)])
def test_a_share_of_errors_is_rounded_down(seconds: int, percent: int, allowed: int) -> None:
    assert gate.allowed_failures(seconds, percent) == allowed


def test_both_releases_are_asked_equally_often() -> None:
    first, second = gate.measure(lambda _release: GOOD, ["next", "running"], 0.4, 0, rate=50)
    assert len(first.replies) == len(second.replies) == 20 and not first.failed


def test_a_gate_ends_as_soon_as_it_cannot_be_passed() -> None:
    began = time.monotonic()
    first, _second = gate.measure(lambda release: BAD if release == "next" else GOOD, ["next", "running"], 60, 2, rate=50)
    assert len(first.failed) >= 3 and time.monotonic() - began < 10


def test_the_edge_is_asked_until_the_release_itself_answers() -> None:
    replies = itertools.chain([OTHER, Reply(0.01, "404 page not found", False)], itertools.repeat(BAD))
    assert gate.route_problem(lambda _release: next(replies), "next") == ""  # its own 500 is for the verdict
    assert "another release answers" in gate.route_problem(lambda _release: OTHER, "next", patience=0)


def test_nobody_there_is_a_failed_request() -> None:
    reply = gate.Edge("127.0.0.1", 1, "api.test", "/").ask("next")
    assert reply.problem.startswith("ConnectionRefusedError") and not reply.ours
