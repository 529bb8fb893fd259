# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The run of apply_set: compose, look, apply rank by rank, prune, wait. Works without AnsibleModule."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import WORKERS

from .admission import Admission
from .autoscaling import leave_to_autoscalers
from .change import Change
from .client import RETRIED, Api, ApiError, Unreachable, segment
from .compose import compose
from .discovery import Discovery, discover
from .identity import SET, Key, describe
from .item import Item, Plan, Refused
from .ordering import CUSTOM
from .present import Listed, Reader, locate, read_present, refusals, unserved
from .pruning import WORKLOADS, account_of, goes, left_over, unnamed, why_kept
from .readiness import lack
from .references import Scrubber
from .results import result
from .waiter import Waiter, WaitFailed

LATE_KIND = 20.0  # seconds for a kind that no CustomResourceDefinition of this call defines
WEBHOOKS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


def run(params: Mapping[str, Any], check: bool, show_diff: bool) -> dict[str, Any]:
    """The module's result; `failed` and `errors` are in it when something was refused. No secret value is in it."""
    scrubber = Scrubber(params["secrets"].values())
    plan, extra, problems = Plan([], []), list[Item](), list[str]()
    try:
        plan = compose(params, check)
        scrubber = Scrubber([*params["secrets"].values(), *plan.sensitive])
        try:
            api, discovery = api_of(params["kubeconfig"], check)
        except Unreachable as error:
            if not check:
                raise
            plan.notes.append(f"nothing to compare with: {error}")
            for item in plan.items:
                item.action, item.after = "created", item.desired
        else:
            with ThreadPoolExecutor(WORKERS) as pool:
                Applier(params, plan, check, api, pool, extra, scrubber).run(discovery)
    except Refused as error:
        problems = error.problems
    except Unreachable as error:
        problems = [str(error)]
    except ApiError as error:  # of a request that concerns no single object
        problems = [f"the API server refused a request: {error}"]
    answer = result([*plan.items, *extra], plan.notes, problems, check, show_diff, bool(params.get("states")))
    return scrubber.all(answer)  # type: ignore[no-any-return]


def api_of(kubeconfig: str, check: bool) -> tuple[Api, Discovery]:
    """The server and its kinds. Raises Unreachable, or ApiError."""
    # On a server not made yet there is nothing to retry for; a restarting K3s is worth the wait of a real run.
    api = Api(kubeconfig, retry_for=0 if check else 30)
    try:
        discovery = discover(api)
    except ApiError as error:
        if error.status in RETRIED:  # it is starting
            raise Unreachable(f"the API server at {api.host} is not ready: {error}") from None
        raise
    api.retry_for = 30
    return api, discovery


class Applier:
    """One run against one server; the objects no longer wanted are added to `extra`."""

    def __init__(
        self,
        params: Mapping[str, Any],
        plan: Plan,
        check: bool,
        api: Api,
        pool: ThreadPoolExecutor,
        extra: list[Item],
        scrubber: Scrubber,
        read: Reader | None = None,
        admission: Admission | None = None,
    ) -> None:
        """`read` and `admission` are what a call that looks at several roles has read once for all of them."""
        self.read, self.admission = read, admission
        self.params, self.plan, self.check, self.api, self.pool, self.extra = params, plan, check, api, pool, extra
        self.deadline = time.monotonic() + params["wait_timeout"]
        self.waiter = Waiter(api, pool, params["wait_timeout"], scrubber)

    def run(self, discovery: Discovery) -> None:
        """Raises Refused, Unreachable or ApiError."""
        items = self.plan.items
        unwaited = {part["name"] for part in self.params["sets"] if not part.get("wait", True)}
        stop_on(locate(items, discovery))
        listed = read_present(self.api, self.pool, self.plan, discovery, self.params, self.read)
        stop_on(refusals(items, self.params["part_of"]))
        leave_to_autoscalers(self.api, items)
        stop_on(self._apply())
        if self.params["prune"] and self.plan.complete:
            stop_on(self._prune(listed))
        if self.params["wait"] and not self.check:
            self._wait(item for item in items if item.set not in unwaited)

    def _apply(self) -> list[str]:
        """Rank by rank. After an error the rest is only tried, so that all errors come at once and nothing more changes."""
        problems: list[str] = []
        for number in sorted({item.rank for item in self.plan.items}):
            items = [item for item in self.plan.items if item.rank == number]
            if number == CUSTOM and not self.check:
                problems += [] if problems else self._ready_for_custom(items)
                if problems:  # the kinds may not be there
                    break
            dry = self.check or bool(problems)
            list(self.pool.map(lambda item, dry=dry: self._change(item, dry), items))
            problems += [item.error for item in items if item.error]
        return problems

    def _change(self, item: Item, dry: bool) -> None:
        judged = self.admission is None or item.resource is None or self.admission.concerns(item.resource)
        Change(self.api, item, dry, self.params["controllers"], self.deadline, self.plan.notes, judged).make()
        if dry and not self.check:
            item.action = ""  # it was tried for its error only

    def _ready_for_custom(self, items: list[Item]) -> list[str]:
        """Custom resources come once their kinds are served and the webhooks among our objects have ready workloads behind them."""
        done = [item for item in self.plan.items if item.rank < CUSTOM]
        self._wait(item for item in done if item.desired["kind"] == "CustomResourceDefinition")
        if self.params["wait"] and any(item.desired["kind"] in WEBHOOKS for item in done):
            self._wait(done)
        deadline = time.monotonic() + LATE_KIND
        while missing := [item for item in items if item.resource is None]:
            if time.monotonic() > deadline:
                return [unserved(item, ": is the role that brings its CustomResourceDefinition run first?") for item in missing]
            if problems := locate(missing, discover(self.api)):
                return problems
            time.sleep(1 if any(item.resource is None for item in missing) else 0)
        return []

    def _wait(self, items: Iterable[Item]) -> None:
        """A patch's answer holds the status: what was ready before and did not change costs nothing here."""
        try:
            self.waiter.wait((item.after, item.path) for item in items if item.after and lack(item.after))
        except WaitFailed as error:
            raise Refused(error.paragraphs) from None

    def _prune(self, listed: Listed) -> list[str]:
        """Deletes what we applied and the render no longer has; what holds data only when it is named."""
        delete, wanted = self.params["delete"], {item.key for item in self.plan.items}
        labels = {key: obj["metadata"].get("labels") or {} for key, (obj, _resource) in listed.items()}
        going = [key for key in listed if key.kind == "Namespace" and key not in wanted and goes(key, labels[key].get(SET), delete)]
        held = {key.name: names for key in going if (names := unnamed(self._claims(key.name), delete))}
        found = left_over((obj for obj, _resource in listed.values()), wanted, self.params, held)
        for key, action in (found | dict.fromkeys(self._in_use(found), "kept")).items():
            obj, resource = listed[key]
            self.extra.append(Item(obj["metadata"]["labels"].get(SET, ""), obj, resource=resource, before=obj, action=action))
            if action == "kept" and (note := why_kept(key, held)):
                self.plan.notes.append(note)
        if self.check:
            return []
        for number in sorted({item.rank for item in self.extra}, reverse=True):
            list(self.pool.map(self._delete, [item for item in self.extra if item.rank == number and item.action == "pruned"]))
        return [item.error for item in self.extra if item.error]

    def _in_use(self, found: Mapping[Key, str]) -> Iterator[Key]:
        """The accounts to be pruned that a workload which stays runs as: without one no pod of it could start, until its role applies it again."""
        accounts = [key for key, action in found.items() if key.kind == "ServiceAccount" and action == "pruned"]
        going = {(key.namespace, key.name, f"{key.kind.lower()}s") for key, action in found.items() if action == "pruned"}
        used = set()
        for namespace in {key.namespace for key in accounts}:
            for group, plural in WORKLOADS:
                items = (self.api.get(f"{group}/namespaces/{segment(namespace)}/{plural}") or {}).get("items") or []
                used |= {(namespace, account_of(each)) for each in items if (namespace, each["metadata"]["name"], plural) not in going}
        yield from (key for key in accounts if (key.namespace, key.name) in used)

    def _claims(self, namespace: str) -> list[dict[str, Any]]:
        return (self.api.get(f"/api/v1/namespaces/{segment(namespace)}/persistentvolumeclaims") or {}).get("items") or []

    def _delete(self, item: Item) -> None:
        """Exactly the object that was listed: one that is gone, or made again since, is left."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": item.desired["metadata"]["uid"]}}
        try:
            self.api.request("DELETE", item.path, body=body)
        except (ApiError, Unreachable) as error:
            if not (isinstance(error, ApiError) and error.status in (404, 409)):
                item.action, item.error = "", f"{describe(item.desired)} (no longer wanted) could not be deleted: {error}"


def stop_on(problems: Iterable[str]) -> None:
    """Raises Refused with all of them."""
    if found := list(problems):
        raise Refused(found)
