# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which roles' sets are in the cluster as they are wanted: asked once for all of them, by dry runs, before the first is applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..conventions import WORKERS
from .admission import Admission
from .applier import Applier, api_of
from .client import Api, ApiError, Unreachable
from .compose import compose
from .discovery import Discovery, Resource
from .identity import ROLE
from .item import Item, Refused
from .present import Reader, role_reader
from .readiness import lack
from .references import Scrubber
from .results import CHANGES, result


def survey(requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Role -> what applying its sets would return, for the roles to which nothing would happen; the others have to be applied to know.

    A role is left out as well where something of it is not ready, is refused or could not be read: applying it waits, or says why.

    :arg requests: the arguments of apply_set, role by role, all of one platform.
    """
    unchanged: dict[str, Any] = {}
    try:
        api, discovery = api_of(requests[0]["kubeconfig"], check=True)
        with ThreadPoolExecutor(WORKERS) as pool:
            everything, admission = Everything(api, requests[0]["part_of"]), Admission(api, discovery)
            for request in requests:
                if (answer := _look(request, api, discovery, pool, everything.of(request["role"]), admission)) is not None:
                    unchanged[request["role"]] = answer
    except (ApiError, Unreachable):  # there is no cluster yet, or it is starting: the roles say so
        return {}
    return unchanged


class Everything:
    """The platform's objects, each kind read once whichever role asks first."""

    def __init__(self, api: Api, part_of: str) -> None:
        self.read = role_reader(api, part_of, None)
        self.known: dict[Resource, list[dict[str, Any]]] = {}

    def of(self, role: str) -> Reader:
        """How one role's objects of a kind are listed."""

        def read(resource: Resource) -> list[dict[str, Any]]:
            if resource not in self.known:  # a role asks for each kind once, and one role after the other
                self.known[resource] = self.read(resource)
            return [obj for obj in self.known[resource] if (obj["metadata"].get("labels") or {}).get(ROLE) == role]

        return read


def _look(
    request: Mapping[str, Any], api: Api, discovery: Discovery, pool: ThreadPoolExecutor, read: Reader, admission: Admission
) -> dict[str, Any] | None:
    """The result of applying one role's sets, or None where that would do or wait for something."""
    scrubber = Scrubber(request["secrets"].values())
    extra: list[Item] = []
    try:
        plan = compose(request, check=True)
        Applier(request, plan, True, api, pool, extra, scrubber, read, admission).run(discovery)
    except (ApiError, Refused):
        return None
    if not plan.complete or _busy([*plan.items, *extra]):
        return None
    return scrubber.all(result([*plan.items, *extra], plan.notes, [], False, False))  # type: ignore[no-any-return]


def _busy(items: Iterable[Item]) -> bool:
    """Whether an object would change, or is not ready."""
    return any(item.action in CHANGES or (item.after is not None and lack(item.after)) for item in items)
