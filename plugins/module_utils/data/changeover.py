# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds out which password the pods of an environment's applications hold. Read from the cluster alone, so that a run can continue a killed one.

A container keeps what its Secret contained when it started. Its template has a hash of the inventory's configuration and secrets, and the Secret is
written before the template. So when the Secret has the inventory's password, a pod with the inventory's hash holds that password.
"""

from __future__ import annotations

import base64
import enum
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE, Object, pod_template
from ansible_collections.shaka.platform.plugins.module_utils.model_types import App, Environment, PasswordReader, PasswordReaders

from ..kubectl import Kubectl

HASH = "shaka.platform/config-hash"
STAND_IN = "-stand-in"  # suffix of the ConfigMap and the Secret that pods read while their database user's password changes
# A warning about a changed password that this run does not put in force; {} is the secret's path
NOT_IN_FORCE = "{} was changed in the inventory and is not in force yet: run the whole site, or --tags rotation"


class Held(enum.Enum):
    """Which password the application's pods hold."""

    OLD = "old"
    BOTH = "both"  # some hold the old, some the new one
    NEW = "new"


class Readers:
    """Whoever reads an environment's configuration and secrets."""

    def __init__(self, kubectl: Kubectl, env: Environment | PasswordReaders) -> None:
        self.kubectl, self.namespace = kubectl, str(env["namespace"])
        self.reads = cast(Mapping[str, str], env["reads"])

    def object(self, kind: str, suffix: str = "") -> dict[str, Any] | None:
        """The ConfigMap or Secret that their pods read, or their copy for a stand-in."""
        obj: dict[str, Any] | None = self.kubectl.find(f"/api/v1/namespaces/{self.namespace}/{kind}/{self.reads[kind]}{suffix}")
        return obj

    def given(self, name: str) -> str | None:
        """The secret's present value, which a pod that starts now reads; None when there is none yet."""
        return secret_value(self.object("secrets") or {}, name)


class Application(Readers):
    """An application of an environment: its Deployment or CronJob, its pods (also those that are ending), and the objects that they read."""

    def __init__(self, kubectl: Kubectl, env: Environment | PasswordReaders, app: App | PasswordReader) -> None:
        super().__init__(kubectl, env)
        self.name, self.hash = app["name"], app["config_hash"]
        self.path, self.scheduled = str(app["path"]), bool(app["schedule"])

    def workload(self) -> dict[str, Any] | None:
        """Its Deployment or CronJob."""
        kind = "apis/batch/v1/namespaces/{}/cronjobs" if self.scheduled else "apis/apps/v1/namespaces/{}/deployments"
        obj: dict[str, Any] | None = self.kubectl.find(f"/{kind.format(self.namespace)}/{self.name}")
        return obj

    def deployment(self) -> dict[str, Any] | None:
        """None for one that runs at times."""
        return None if self.scheduled else self.workload()

    def pods(self) -> list[dict[str, Any]]:
        listing = self.kubectl.find(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=app%3D{self.name}") or {}
        return [pod for pod in listing.get("items") or [] if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]

    def held(self, name: str, password: str) -> Held:
        """Whether its pods hold this password of this name; raises Unanswered."""
        workload = self.workload()
        if workload is None:
            return Held.NEW
        if self.given(name) != password:
            return Held.OLD
        return held(pod_template(workload), self.pods(), self.hash)


class Applications(Readers):
    """Those of an environment that hold the password of one of its servers.

    :arg server: whose password it is, `postgres` or `redis`.
    """

    def __init__(self, kubectl: Kubectl, env: Environment | PasswordReaders, server: str) -> None:
        super().__init__(kubectl, env)
        self.members = [Application(kubectl, env, app) for app in env["apps"].values() if server in app["uses"]]

    def there(self) -> bool:
        """Whether any is in the cluster, so that pods of it may hold a password."""
        return any(member.workload() is not None for member in self.members)

    def held(self, name: str, password: str) -> Held:
        """Whether all their pods hold this password of this name; raises Unanswered."""
        states = {member.held(name, password) for member in self.members}
        return next((state for state in (Held.OLD, Held.BOTH) if state in states), Held.NEW)

    def held_by_all(self, name: str, password: str, deadline: float) -> bool:
        """Whether all pods hold this password; waits for pods that are ending."""
        while (state := self.held(name, password)) is Held.BOTH and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return state is Held.NEW


def held(template: Object, pods: Iterable[Object], config_hash: str) -> Held:
    """Which password the pods hold, by the configuration hash of the inventory."""
    if not follows(template, config_hash):
        return Held.OLD
    return Held.NEW if all(follows(pod, config_hash) for pod in pods) else Held.BOTH


def follows(pod: Object, config_hash: str) -> bool:
    """Whether a pod, or a template of pods, has the inventory's configuration and does not use a stand-in."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return annotations.get(HASH) == config_hash and not stands_in(pod)


def stands_in(pod: Object) -> bool:
    """Whether a pod, or a template of pods, reads the objects of a stand-in."""
    return any(name.endswith(STAND_IN) for name in _names(pod["spec"]))


def redirected(spec: Any, names: Mapping[str, str]) -> Any:
    """A pod's spec that reads objects of other names (old -> new)."""
    if isinstance(spec, dict):
        return {key: names.get(value, value) if _is_name(key, value) else redirected(value, names) for key, value in spec.items()}
    return [redirected(item, names) for item in spec] if isinstance(spec, list) else spec


def _names(spec: Any) -> Iterator[str]:
    for key, value in spec.items() if isinstance(spec, dict) else enumerate(spec) if isinstance(spec, list) else ():
        if _is_name(key, value):
            yield value
        else:
            yield from _names(value)


def _is_name(key: Any, value: Any) -> bool:
    return key in ("name", "secretName") and isinstance(value, str)


def secret_value(secret: Object, name: str) -> str | None:
    encoded = (secret.get("data") or {}).get(name)
    return None if encoded is None else base64.b64decode(encoded).decode(errors="replace")


def encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
