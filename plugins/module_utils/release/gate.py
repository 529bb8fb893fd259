# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The health gate: real requests through the edge for a while, and the verdict on them.

Each request says by a header which release it is for, and each answer which one it is from: until the edge knows the route, another one answers.
"""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils import by_host

HEADER = "X-Shaka-Release"
RATE = 10  # requests per second for each release
TIMEOUT = 5.0  # seconds for one
ROUTED = 30.0  # seconds for the edge to know the route
LOOK = 0.2  # seconds between two looks for it
QUICK = 0.2  # seconds that are always right: what the noise of a small server makes of nothing


class Reply(NamedTuple):
    """What became of one request; `problem` is empty for a good one."""

    seconds: float
    problem: str
    ours: bool


class Edge(NamedTuple):
    """Where the requests go."""

    address: str
    port: int
    host: str
    path: str

    def ask(self, release: str) -> Reply:
        """One request on a connection of its own. The certificate is not looked at: it is not what is tried, and may be a staging authority's."""
        asked, context = {"User-Agent": "shaka.platform-gate", HEADER: release}, by_host.untrusting()
        began = time.monotonic()
        try:
            answer = by_host.get(self.address, self.port, self.host, self.path, context, TIMEOUT, asked, whole=True)
            problem = f"{answer.status} {answer.text.strip()[:100]}".strip() if answer.status >= 400 else ""
            return Reply(time.monotonic() - began, problem, answer.headers.get(HEADER) == release)
        except (OSError, http.client.HTTPException) as error:
            late = isinstance(error, TimeoutError)
            return Reply(time.monotonic() - began, f"no answer in {TIMEOUT:.0f} s" if late else f"{type(error).__name__}: {error}", False)


@dataclass
class Series:
    """The replies of one release."""

    release: str
    replies: list[Reply] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        return [reply.problem or "another release answered" for reply in self.replies if reply.problem or not reply.ours]

    @property
    def p95(self) -> float:
        return percentile([reply.seconds for reply in self.replies], 95)


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank; 0 of none."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else 0.0


def route_problem(ask: Callable[[str], Reply], release: str, patience: float = ROUTED) -> str:
    """Empty as soon as the edge answers from that release, however; else what it answered last."""
    deadline = time.monotonic() + patience
    while True:
        reply = ask(release)
        if reply.ours:
            return ""
        if time.monotonic() > deadline:
            return f"the edge has no way to the release after {patience:.0f} s: {reply.problem or 'another release answers'}"
        time.sleep(LOOK)


def measure(ask: Callable[[str], Reply], releases: Sequence[str], seconds: float, allowed: int, rate: int = RATE) -> list[Series]:
    """Ask each release `rate` times a second, all under the same conditions; ends early once the first one has failed more than `allowed` times."""
    series = [Series(release) for release in releases]
    lock, ended = threading.Lock(), threading.Event()

    def one(number: int) -> None:
        if ended.wait(max(0.0, began + number / rate - time.monotonic())):
            return
        for each in series:
            reply = ask(each.release)
            with lock:
                each.replies.append(reply)
                if len(series[0].failed) > allowed:
                    ended.set()

    began = time.monotonic()
    with ThreadPoolExecutor(rate) as pool:
        list(pool.map(one, range(round(seconds * rate))))
    return series


def allowed_failures(seconds: float, max_errors: int, rate: int = RATE) -> int:
    """How many of a gate's requests may fail, from the share in percent."""
    return math.floor(seconds * rate * max_errors / 100)


def verdict(judged: Series, reference: float, allowed: int, factor: float) -> str:
    """Why the release does not pass; empty when it does.

    :arg reference: seconds of the running release's 95th percentile; 0 is not compared.
    """
    failed = judged.failed
    if len(failed) > allowed:
        return f"{len(failed)} of {len(judged.replies)} requests through the edge failed ({allowed} may), the first with: {failed[0]}"
    if reference and judged.p95 > max(QUICK, reference * factor):
        slow, usual = judged.p95 * 1000, reference * 1000
        return f"95 % of the requests took up to {slow:.0f} ms, and {usual:.0f} ms with the running release: more than {factor:g} times as long"
    return ""
