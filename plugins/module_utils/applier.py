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
from .errors import explain, shrinking, taken
from .identity import MANAGED_BY, MANAGER, PART_OF, SET, Key, describe, key_of, selector, stranger
from .kube import RETRIED, THREADS, Api, ApiError, Unreachable, segment
from .merge import merge
from .ordering import CUSTOM, autoscaled, holds_replicas, without_replicas
from .pruning import held, left_over, reference
from .readiness import lack
from .references import Scrubber
from .volumes import size
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
        scrubber = Scrubber([*params["secrets"].values(), *plan.sensitive])
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
            self._refuse_strangers()
            self._refuse_shrinking()
            self._leave_to_autoscalers()
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

    def _refuse_strangers(self) -> None:
        """Another's object is never taken over silently: by an error before anything is changed."""
        labels = f"{MANAGED_BY}={MANAGER} {PART_OF}={self.params['part_of']}"
        for item in self.plan.items:
            if item.before and (whose := stranger(item.before, self.params["part_of"])):
                self.problems.append(taken(item.desired, whose, labels, item.source))
        self._stop_on_problems()

    def _refuse_shrinking(self) -> None:
        """A claim that asks for less than it did, before anything is changed."""
        for item in self.plan.items:
            if item.before and item.key.kind == "PersistentVolumeClaim":
                has, wants = (str(obj["spec"]["resources"]["requests"]["storage"]) for obj in (item.before, item.desired))
                if size(wants) < size(has):
                    self.problems.append(shrinking(item.desired, has, wants, item.source))
        self._stop_on_problems()

    def _leave_to_autoscalers(self) -> None:
        """`replicas` of what an autoscaler targets is left out: one of this call, or one in the cluster that has acted already."""
        for item in self.plan.items:
            if not item.before or "replicas" not in (item.before.get("spec") or {}):
                continue
            if item.key in self.plan.autoscaled and holds_replicas(item.before):
                # Ours until now, and gone if left out: kept as it is until the autoscaler takes it over.
                item.desired = {**item.desired, "spec": {**item.desired["spec"], "replicas": item.before["spec"]["replicas"]}}
            elif "replicas" in (item.desired.get("spec") or {}) and not holds_replicas(item.before):
                path = f"/apis/autoscaling/v2/namespaces/{segment(item.key.namespace)}/horizontalpodautoscalers"
                found = (self.api.get(path) or {}).get("items") or []
                if item.key in autoscaled({**each, "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2"} for each in found):
                    item.desired = without_replicas(item.desired)

    # -- applying ---------------------------------------------------------------------------------------------------------

    def _apply(self, item: Item, dry: bool) -> None:
        """Sets the item's action and its states before and after, or its error."""
        if item.resource is None or (dry and not self.check and item.rank == CUSTOM):
            if self.check:
                item.action, item.after = "created", item.desired
            return
        first, fields = item.before, set[str]()
        tidy, paths = first, list[Pointer]()
        try:
            for attempt in itertools.count():
                try:
                    fields |= self._out_of_the_way(item, dry)
                    tidy, paths = self._tidied(item, dry)
                    fields |= set(differing(content(item.before), content(tidy))) if item.before and tidy else set()
                    after = self._patch(item, item.before if dry else tidy, dry)
                    break
                except ApiError as error:  # another writer came between reading and writing
                    if attempt == CONFLICTS or not (error.status == 409 or (error.status == 404 and item.before)):
                        raise
                    self._read_one(item)
        except (ApiError, Unreachable) as error:
            if self.check and fields and isinstance(error, ApiError):  # a dry run cannot see that what is in the way goes first
                after = merge(tidy, item.desired)
            elif dry and isinstance(error, ApiError) and self._untold(item, error):
                if not self.check:
                    return
                after = merge(item.before, item.desired) if item.before else item.desired
            else:
                item.error = explain(item.desired, error, item.source)
                return
        if dry and not self.check:
            return
        if item.before:
            fields |= set(differing(content(item.before), content(after)))
        item.action = "created" if first is None else "changed" if fields else "unchanged"
        item.before, item.after, item.fields = first, without(after, paths) if dry else after, sorted(fields) if first else []

    def _untold(self, item: Item, error: ApiError) -> bool:
        """What a dry run cannot tell, because a step of the real run is missing: a namespace, a kind, a webhook that answers, a larger quota."""
        if error.status == 404 and item.before is None:
            return True
        if "failed calling webhook" not in error.message and "exceeded quota" not in error.message:
            return False
        if item.before or "exceeded quota" in error.message:
            self.plan.notes.append(f"{describe(item.desired)} was compared without the server, which says: {error.message}")
        return True

    def _out_of_the_way(self, item: Item, dry: bool) -> set[str]:
        """An object that is being deleted would vanish after our patch: wait until it is gone, and make it anew."""
        if not (item.before and item.before["metadata"].get("deletionTimestamp")):
            return set()
        while not dry:
            uid = item.before["metadata"]["uid"]
            self._read_one(item)
            if not item.before or item.before["metadata"]["uid"] != uid:
                break
            if time.monotonic() > self.deadline:
                waits = ", ".join(item.before["metadata"].get("finalizers") or (item.before.get("spec") or {}).get("finalizers") or [])
                since = item.before["metadata"]["deletionTimestamp"]
                raise ApiError(409, {"message": f"it is being deleted since {since}" + (f" and waits for {waits}" if waits else "")})
            time.sleep(0.5)
        return {"metadata.deletionTimestamp"}

    def _tidied(self, item: Item, dry: bool) -> tuple[dict[str, Any] | None, list[Pointer]]:
        """The object without the fields that others added, and where these were. What cannot be taken out is noted and stays."""
        paths = added(item.before, item.desired, self.params["controllers"]) if item.before else []
        if not paths or not item.before:
            return item.before, []
        try:
            return self._remove(item, item.before, paths, dry), paths
        except ApiError as error:
            if error.status != 422:
                raise
        tidy, gone = item.before, []
        for path in paths:  # one of them may not go: the others must
            try:
                tidy = self._remove(item, item.before if dry else tidy, [path], dry)
                gone.append(path)
            except ApiError as error:
                if error.status != 422:
                    raise
                where = ".".join(str(step) for step in path)
                self.plan.notes.append(explain(item.desired, Exception(f"{where} was added by others and cannot be taken out: {error.message}")))
        return (without(item.before, gone) if dry else tidy), gone

    def _remove(self, item: Item, obj: dict[str, Any], paths: list[Pointer], dry: bool) -> dict[str, Any]:
        """One JSON patch on exactly the state that was read; anything else is a conflict."""
        if not item.resource:
            raise AssertionError(f"{item} has no known resource")
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]}
        query = {"fieldManager": MANAGER, **({"dryRun": "All"} if dry else {})}
        headers = {"Content-Type": "application/json-patch+json"}
        answer: dict[str, Any] = self.api.request("PATCH", item.resource.path_of(item.key), query, [version, *removal(paths)], headers)
        return answer

    def _patch(self, item: Item, base: dict[str, Any] | None, dry: bool) -> dict[str, Any]:
        """Server-side apply on exactly the state `base`: the resourceVersion makes any other writer in between a conflict.

        Without it, a controller's change since the reading would be reported as ours.
        """
        if not item.resource:
            raise AssertionError(f"{item} has no known resource")
        path, obj, delay = item.resource.path_of(item.key), item.desired, 0.2
        if base:
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": base["metadata"]["resourceVersion"]}}
        while True:
            try:
                return self.api.apply(path, obj, MANAGER, dry)
            except ApiError as error:
                if dry or not self._passing(error, item) or time.monotonic() > self.deadline:
                    raise
            time.sleep(delay)
            delay = min(2.0, delay * 1.6)

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
        """Deletes what we applied and the render no longer has; what holds data only when it is named."""
        found = left_over((obj for obj, _resource in self.listed.values()), {item.key for item in self.plan.items}, self.params)
        for key, action in found.items():
            obj, resource = self.listed[key]
            if action == "kept" and reference(key):
                self.plan.notes.append(f"{describe(obj)} is no longer wanted and kept: name {reference(key)} in platform_delete to delete it")
            elif key.kind == "Namespace" and action == "pruned":
                claims = (self.api.get(f"/api/v1/namespaces/{segment(key.name)}/persistentvolumeclaims") or {}).get("items") or []
                if reason := held(obj, claims, self.params["delete"]):
                    action = "kept"
                    self.plan.notes.append(reason)
            self.extra.append(Item(obj["metadata"]["labels"].get(SET, ""), obj, resource=resource, before=obj, action=action))
        if self.check:
            return
        for number in sorted({item.rank for item in self.extra}, reverse=True):
            list(self.pool.map(self._delete, [item for item in self.extra if item.rank == number and item.action == "pruned"]))
        self.problems += [item.error for item in self.extra if item.error]

    def _delete(self, item: Item) -> None:
        if not item.resource:
            raise AssertionError(f"{item} has no known resource")
        uid = item.desired["metadata"]["uid"]
        try:
            self.api.request("DELETE", item.resource.path_of(item.key), body={"propagationPolicy": "Background", "preconditions": {"uid": uid}})
        except (ApiError, Unreachable) as error:
            if not (isinstance(error, ApiError) and error.status in (404, 409)):
                item.action, item.error = "", f"{describe(item.desired)} (no longer wanted) could not be deleted: {error}"
