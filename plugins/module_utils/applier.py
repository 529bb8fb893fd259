# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The run of apply_set: before-state, ordered server-side apply, waits, pruning, result. Works without AnsibleModule."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .additions import Pointer, added, removal, without
from .compose import Item, Plan, Refused, compose
from .content import content, diff, differing
from .discovery import Discovery, Resource, defined_by, discover
from .errors import explain
from .identity import MANAGER, SET, Key, applied_by_us, describe, key_of, selector
from .kube import RETRIED, THREADS, Api, ApiError, Unreachable
from .ordering import CUSTOM, rank
from .readiness import lack
from .references import Scrubber
from .waiter import Waiter, WaitFailed

CONFLICTS = 8  # another writer between our reading and our patch; each time the object is read again
LATE_KIND = 20.0  # seconds for a kind that no CustomResourceDefinition of this call defines
WEBHOOKS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


def run(params: Mapping[str, Any], check: bool, show_diff: bool) -> dict[str, Any]:
    """The module's result; `failed` and `errors` are in it when something was refused. No secret value is in it."""
    scrubber = Scrubber(params["secrets"].values())
    plan: Plan | None = None
    applier: Applier | None = None
    problems: list[str] = []
    try:
        plan = compose(params, check)
        try:
            applier = Applier(params, plan, check, scrubber)
            applier.run()
        except Unreachable as error:
            if not check or (applier and applier.discovered):
                raise Refused([str(error)]) from None
            plan.notes.append(f"nothing to compare with: {error}")
            would_create(plan)
    except Refused as error:
        problems = error.problems
    except ApiError as error:  # of a request that concerns no single object
        problems = [f"the API server refused a request: {error}"]
    items = [*(plan.items if plan else []), *(applier.extra if applier else [])]
    return scrubber.all(result(items, plan.notes if plan else [], problems, check, show_diff))  # type: ignore[no-any-return]


def offline(params: Mapping[str, Any], reason: str, show_diff: bool) -> dict[str, Any]:
    """Check mode before there is anything to ask: every object of a sound set would be created."""
    try:
        plan = compose(params, check=True)
    except Refused as error:
        return result([], [], error.problems, True, show_diff)
    plan.notes.append(f"nothing to compare with: {reason}")
    would_create(plan)
    return result(plan.items, plan.notes, [], True, show_diff)


def would_create(plan: Plan) -> None:
    """The answer of check mode where there is nothing to ask."""
    for item in plan.items:
        item.action, item.after = "created", item.desired


def result(items: Iterable[Item], notes: list[str], problems: list[str], check: bool, show_diff: bool) -> dict[str, Any]:
    """What the module returns."""
    done = [item for item in items if item.action]
    counts = {action: sum(item.action == action for item in done) for action in ("created", "changed", "unchanged", "pruned", "kept")}
    number = sum(counts.values())
    parts = [f"{counts[action]} {action}" for action in ("created", "changed", "unchanged")]
    message = f"{number} object{'' if number == 1 else 's'}: {', '.join(parts)}; {counts['pruned']} pruned"
    message += f", {counts['kept']} kept" if counts["kept"] else ""
    message += "".join(f" ({note})" for note in notes)
    changed = [item for item in done if item.action in ("created", "changed", "pruned")]
    answer: dict[str, Any] = {
        "changed": bool(changed),
        "objects": [
            {"set": i.set, "kind": i.key.kind, "namespace": i.key.namespace, "name": i.key.name, "action": i.action, "fields": i.fields} for i in done
        ],
        "counts": counts,
        "notes": notes,
        "msg": message,
    }
    if show_diff:
        answer["diff"] = [diff(item.before, None if item.action == "pruned" else item.after) for item in changed]
    if problems:
        answer.update(failed=True, errors=problems, msg="\n".join([*problems, *([f"({'dry run, ' if check else ''}{message})"] if done else [])]))
    return answer


class Applier:
    """One run against one server."""

    def __init__(self, params: Mapping[str, Any], plan: Plan, check: bool, scrubber: Scrubber) -> None:
        self.params, self.plan, self.check, self.scrubber = params, plan, check, scrubber
        # On a server not made yet there is nothing to retry for; a restarting K3s is worth the wait of a real run.
        self.api = Api(params["kubeconfig"], retry_for=0 if check else 30)
        self.deadline = time.monotonic() + params["wait_timeout"]
        self.discovered = False
        self.problems: list[str] = []
        self.extra: list[Item] = []
        self.listed: dict[Key, tuple[dict[str, Any], Resource]] = {}
        self.pool = ThreadPoolExecutor(THREADS)
        self.waiter = Waiter(self.api, self.pool, params["wait_timeout"], scrubber)

    def run(self) -> None:
        """Raises Refused, or Unreachable."""
        with self.pool:
            try:
                discovery = discover(self.api)
            except ApiError as error:
                if error.status in RETRIED:  # it is starting
                    raise Unreachable(f"the API server at {self.api.host} is not ready: {error}") from None
                raise
            self.discovered = True
            self.api.retry_for = 30
            self._resolve(discovery, self.plan.items)
            self._stop_on_problems()
            self._read(discovery)
            for number in sorted({item.rank for item in self.plan.items}):
                if number == CUSTOM and not self.check and not self.problems:
                    self._ready_for_custom()
                items = [item for item in self.plan.items if item.rank == number]
                # After an error the rest is only tried, so that all errors come at once and nothing more changes.
                dry = self.check or bool(self.problems)
                list(self.pool.map(self._apply, items, itertools.repeat(dry)))
                self.problems += [item.error for item in items if item.error]
            self._stop_on_problems()
            if self.params["prune"] and self.plan.complete:
                self._prune()
            self._stop_on_problems()
            if self.params["wait"] and not self.check:
                self._wait(self.plan.items)

    def _stop_on_problems(self) -> None:
        if self.problems:
            raise Refused(self.problems)

    def _wait(self, items: Iterable[Item]) -> None:
        """A patch's answer holds the status: what was ready before and did not change costs nothing here."""
        due = [(item.after, item.resource) for item in items if item.after and item.resource]
        try:
            self.waiter.wait((obj, resource) for obj, resource in due if lack(obj))
        except WaitFailed as error:
            raise Refused(error.paragraphs) from None

    # -- which resource, which state before -------------------------------------------------------------------------------

    def _resolve(self, discovery: Discovery, items: Iterable[Item]) -> None:
        """Gives each item its resource; a kind that this call's CustomResourceDefinitions bring counts as known."""
        coming = defined_by(item.desired for item in self.plan.items if item.desired["kind"] == "CustomResourceDefinition")
        for item in items:
            obj, meta = item.desired, item.desired["metadata"]
            item.resource = discovery.find(obj) or coming.get((obj["apiVersion"], obj["kind"]))
            if item.resource is None:
                if item.rank != CUSTOM:
                    self.problems.append(explain(obj, Exception(f"the server has no kind {obj['kind']} in {obj['apiVersion']}"), item.source))
            elif item.resource.namespaced and not meta.get("namespace"):
                self.problems.append(explain(obj, Exception("metadata.namespace is missing"), item.source))
            elif not item.resource.namespaced and "namespace" in meta:
                item.desired = {**obj, "metadata": {key: value for key, value in meta.items() if key != "namespace"}}

    def _read(self, discovery: Discovery) -> None:
        """The state before: one LIST per kind by our labels, and a GET for what it does not hold."""
        wanted = [item.resource for item in self.plan.items if item.resource]
        resources = discovery.listable(wanted) if self.params["prune"] else [r for r in dict.fromkeys(wanted) if r in discovery.known.values()]
        query = {"labelSelector": selector(self.params["part_of"], self.params["role"])}

        def read(resource: Resource) -> list[dict[str, Any]]:
            try:
                answer = self.api.get(resource.path(), query) or {}
            except ApiError as error:
                if resource in wanted:
                    raise
                self.plan.notes.append(f"{resource.plural} could not be listed for pruning: {error}")
                return []
            return [{**obj, "apiVersion": resource.api_version, "kind": resource.kind} for obj in answer.get("items") or []]

        for resource, objects in zip(resources, self.pool.map(read, resources), strict=True):
            self.listed.update({key_of(obj): (obj, resource) for obj in objects})
        unseen = []
        for item in self.plan.items:
            found = self.listed.get(item.key)
            if found and found[0]["apiVersion"] == item.desired["apiVersion"]:
                item.before = found[0]
            elif discovery.find(item.desired):
                unseen.append(item)
        list(self.pool.map(self._read_one, unseen))

    def _read_one(self, item: Item) -> None:
        if not item.resource:
            raise AssertionError(f"{item} has no known resource")
        item.before = self.api.get(item.resource.path_of(item.key))

    # -- applying ---------------------------------------------------------------------------------------------------------

    def _apply(self, item: Item, dry: bool) -> None:
        """Sets the item's action and state after, or its error."""
        if item.resource is None or (dry and not self.check and item.rank == CUSTOM):
            if self.check:
                item.action, item.after = "created", item.desired
            return
        before, paths, cleaned = item.before, [], item.before
        try:
            if before and (paths := added(before, item.desired, self.params["controllers"])):
                cleaned = self._remove(item, paths, dry)
                item.before = before if dry else cleaned
            after = self._patch(item, dry)
        except (ApiError, Unreachable) as error:
            missing = isinstance(error, ApiError) and (error.status == 404 or "failed calling webhook" in error.message) and item.before is None
            if dry and missing:  # its namespace, its kind or its webhook is only made by this run, or by an earlier role
                if self.check:
                    item.action, item.after = "created", item.desired
                return
            if not (self.check and cleaned is not before):  # the dry run cannot see that the field in the way goes
                item.error = explain(item.desired, error, item.source)
                return
            after = cleaned or item.desired
        if dry and not self.check:
            return
        item.before = before if cleaned is not before else item.before
        item.fields = list(differing(content(item.before), content(after))) if item.before else []
        if dry and item.before and cleaned is not before:
            item.fields = sorted({*item.fields, *differing(content(item.before), content(cleaned or {}))})
            after = without(after, paths)
        item.after = after
        item.action = "created" if item.before is None else "changed" if item.fields else "unchanged"

    def _remove(self, item: Item, paths: list[Pointer], dry: bool) -> dict[str, Any]:
        """Takes added fields out; the object as it is then. What cannot be taken out is noted and stays."""
        if not (item.resource and item.before):
            raise AssertionError(f"{item} was not read first")
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": item.before["metadata"]["resourceVersion"]}
        query = {"fieldManager": MANAGER, **({"dryRun": "All"} if dry else {})}
        headers = {"Content-Type": "application/json-patch+json"}
        try:
            cleaned: dict[str, Any] = self.api.request("PATCH", item.resource.path_of(item.key), query, [version, *removal(paths)], headers)
            return cleaned
        except ApiError as error:
            self.plan.notes.append(
                f"{describe(item.desired)}: {len(paths)} fields were added by others and cannot be taken out: {error.causes or error.message}"
            )
            return item.before

    def _patch(self, item: Item, dry: bool) -> dict[str, Any]:
        """Server-side apply on exactly the state that was read: the resourceVersion makes any other writer in between a conflict.

        Without it, a controller's change since the reading would be reported as ours.
        """
        if not item.resource:
            raise AssertionError(f"{item} has no known resource")
        path, conflicts, delay = item.resource.path_of(item.key), 0, 0.2
        while True:
            obj = item.desired
            if item.before:
                obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": item.before["metadata"]["resourceVersion"]}}
            try:
                return self.api.apply(path, obj, MANAGER, dry)
            except ApiError as error:
                if error.status == 409 and conflicts < CONFLICTS:
                    conflicts += 1
                    self._read_one(item)
                elif error.status == 404 and item.before and conflicts < CONFLICTS:
                    conflicts += 1
                    item.before = None
                elif self._passing(error, item) and not dry and time.monotonic() < self.deadline:
                    time.sleep(delay)
                    delay = min(2.0, delay * 1.6)
                else:
                    raise

    @staticmethod
    def _passing(error: ApiError, item: Item) -> bool:
        """What passes once a webhook has its certificate and endpoints, or the API server serves a new kind."""
        return "failed calling webhook" in error.message or (error.status == 404 and item.rank == CUSTOM and "namespaces" not in error.message)

    def _ready_for_custom(self) -> None:
        """Custom resources come once their kinds are served and the webhooks among our objects have ready workloads behind them."""
        done = [item for item in self.plan.items if item.rank < CUSTOM]
        self._wait(item for item in done if item.desired["kind"] == "CustomResourceDefinition")
        if self.params["wait"] and any(item.desired["kind"] in WEBHOOKS for item in done):
            self._wait(done)
        items = [item for item in self.plan.items if item.rank == CUSTOM]
        deadline = time.monotonic() + LATE_KIND
        while any(item.resource is None for item in items):
            self._resolve(discover(self.api), [item for item in items if item.resource is None])
            if time.monotonic() > deadline:
                for item in [item for item in items if item.resource is None]:
                    kind = f"the server has no kind {item.desired['kind']} in {item.desired['apiVersion']}"
                    self.problems.append(
                        explain(item.desired, Exception(f"{kind}: is the role that brings its CustomResourceDefinition run first?"), item.source)
                    )
                return
            time.sleep(1)

    # -- pruning ----------------------------------------------------------------------------------------------------------

    def _prune(self) -> None:
        """Deletes what we applied and the render no longer has; claims and namespaces only when named."""
        rendered, keys = {part["name"] for part in self.params["sets"]}, {item.key for item in self.plan.items}
        for key, (obj, resource) in self.listed.items():
            name = ((obj["metadata"].get("labels") or {}).get(SET)) or ""
            if key in keys or not applied_by_us(obj) or obj["metadata"].get("deletionTimestamp"):
                continue
            # A narrowed run has not rendered the other sets, and what it rendered once for all may lack their part.
            if not self.params["complete"] and (name not in rendered or name == self.params["role"]):
                continue
            self.extra.append(Item(name, obj, resource=resource, before=obj, action="kept" if self._keep(key) else "pruned"))
        self.extra.sort(key=lambda item: rank(item.desired), reverse=True)
        if self.check:
            return
        for number in sorted({item.rank for item in self.extra}, reverse=True):
            list(self.pool.map(self._delete, [item for item in self.extra if item.rank == number and item.action == "pruned"]))
        self.problems += [item.error for item in self.extra if item.error]

    def _keep(self, key: Key) -> bool:
        if key.kind == "Namespace":
            return key.name not in self.params["delete_namespaces"]
        return key.kind == "PersistentVolumeClaim" and not {key.name, f"{key.namespace}/{key.name}"} & set(self.params["delete_volumes"])

    def _delete(self, item: Item) -> None:
        if not item.resource:
            raise AssertionError(f"{item} has no known resource")
        uid = item.desired["metadata"]["uid"]
        try:
            self.api.request("DELETE", item.resource.path_of(item.key), body={"propagationPolicy": "Background", "preconditions": {"uid": uid}})
        except (ApiError, Unreachable) as error:
            if not (isinstance(error, ApiError) and error.status in (404, 409)):
                item.action, item.error = "", f"{describe(item.desired)} (no longer wanted) could not be deleted: {error}"
