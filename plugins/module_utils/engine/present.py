# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What there is before a run: where each object belongs, its present state, and what of that forbids the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any

from ..quantities import parse_memory
from .client import Api, ApiError
from .discovery import Discovery, Resource, defined_by
from .errors import explain, shrinking, taken
from .identity import Key, key_of, selector, stranger
from .item import Item, Plan
from .ordering import CUSTOM

Listed = dict[Key, tuple[dict[str, Any], Resource]]  # the objects of this role in the cluster
Reader = Callable[[Resource], list[dict[str, Any]]]  # a kind -> its objects that are ours


def role_reader(api: Api, part_of: str, role: str | None) -> Reader:
    """Lists the objects of a kind that a role has in a platform, or with None those of all its roles."""
    query = {"labelSelector": selector(part_of, role)}

    def read(resource: Resource) -> list[dict[str, Any]]:
        answer = api.get(resource.path(), query) or {}
        return [{**obj, "apiVersion": resource.api_version, "kind": resource.kind} for obj in answer.get("items") or []]

    return read


def locate(items: list[Item], discovery: Discovery) -> list[str]:
    """Gives each item its resource, and says why it cannot; a kind that these items' CustomResourceDefinitions bring counts as known.

    A custom resource of another kind is left without: what defines it may be on its way.
    """
    coming = defined_by(item.desired for item in items if item.desired["kind"] == "CustomResourceDefinition")
    problems = []
    for item in items:
        obj, meta = item.desired, item.desired["metadata"]
        item.resource = item.resource or discovery.find(obj) or coming.get((obj["apiVersion"], obj["kind"]))
        if item.resource is None:
            if item.rank != CUSTOM:
                problems.append(unserved(item))
        elif item.resource.namespaced and not meta.get("namespace"):
            problems.append(explain(obj, Exception("metadata.namespace is missing"), item.source))
        elif not item.resource.namespaced and "namespace" in meta:
            item.desired = {**obj, "metadata": {key: value for key, value in meta.items() if key != "namespace"}}
    return problems


def unserved(item: Item, hint: str = "") -> str:
    """The problem of an item whose kind the server does not have."""
    return explain(item.desired, Exception(f"the server has no kind {item.desired['kind']} in {item.desired['apiVersion']}{hint}"), item.source)


def read_present(api: Api, pool: Executor, plan: Plan, discovery: Discovery, params: Mapping[str, Any], read: Reader | None = None) -> Listed:
    """Gives each item its state before: one LIST per kind by our labels, and a GET for what these do not hold. Returns what was listed.

    :arg read: how a kind is listed; a call that looks at several roles reads each kind once for all of them.
    """
    wanted = [item.resource for item in plan.items if item.resource]
    resources = discovery.listable(wanted) if params["prune"] else [each for each in dict.fromkeys(wanted) if each in discovery.known.values()]
    ask = read or role_reader(api, params["part_of"], params["role"])

    def read_all(resource: Resource) -> list[dict[str, Any]]:
        try:
            return ask(resource)
        except ApiError as error:
            if resource in wanted:
                raise
            plan.notes.append(f"{resource.plural} could not be listed for pruning: {error}")
            return []

    listed = {key_of(obj): (obj, each) for each, objects in zip(resources, pool.map(read_all, resources), strict=True) for obj in objects}
    unseen = []
    for item in plan.items:
        found = listed.get(item.key)
        if found and found[0]["apiVersion"] == item.desired["apiVersion"]:
            item.before = found[0]
        elif discovery.find(item.desired):
            unseen.append(item)
    for item, state in zip(unseen, pool.map(api.get, [item.path for item in unseen]), strict=True):
        item.before = state
    return listed


def refusals(items: Iterable[Item], part_of: str) -> Iterator[str]:
    """What must not be done to what is there: another's object taken over, a volume shrunk."""
    for item in items:
        if item.before is None:
            continue
        if whose := stranger(item.before, part_of):
            yield taken(item.desired, whose, part_of, item.source)
        elif item.key.kind == "PersistentVolumeClaim":
            has, wants = (str(obj["spec"]["resources"]["requests"]["storage"]) for obj in (item.before, item.desired))
            if parse_memory(wants) < parse_memory(has):
                yield shrinking(item.desired, has, wants, item.source)
