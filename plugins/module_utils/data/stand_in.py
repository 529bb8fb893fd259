# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A login that stands in for a database user while the user's password changes.

Postgres keeps one password per role, but during a rollout old pods have the old password and new pods the new one. So the application's pods first
change over to another login, which acts as the user; then the password changes, and the next rollout returns the pods to the user. Each step follows
from the present state and none depends on time: a run may be killed anywhere, the platform then still works, and the next run continues.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE

from ..engine.readiness import Hopeless, deployment
from ..kubectl import Unanswered
from .changeover import STAND_IN, Application, Applications, Held, Readers, encoded, redirected, secret_value, stands_in
from .postgres import LOGIN

MANAGER = "shaka.platform-rotation"  # of fields; the prefix is known to apply_set
PASSWORD, USER = "DB_PASSWORD", "DB_USER"
KINDS = {"configmaps": "ConfigMap", "secrets": "Secret"}


class NotFollowed(Exception):
    """The application does not run with the stand-in, and was returned to its user."""


def needed(application: Application, password: str) -> bool:
    """Whether the password must change without a failed request (the strategy is rolling), while pods hold another one than this."""
    current = application.deployment()
    if current is None or current["spec"].get("replicas") == 0 or current["spec"]["strategy"]["type"] != "RollingUpdate":
        return False
    return application.held(PASSWORD, password) is not Held.NEW


def change_over(application: Application, make_login: Callable[[str], None], timeout: float) -> None:
    """Move every pod of the application to the stand-in, and wait for that; raises Unanswered or NotFollowed.

    :arg make_login: makes the login with this password, or sets its password.
    :arg timeout: seconds that the pods may take.
    """
    current = application.deployment() or {}
    begun = stands_in(current["spec"]["template"])
    password = secret_value(application.object("secrets", STAND_IN) or {}, PASSWORD) or secrets.token_hex(32)
    names = {name: name + STAND_IN for name in application.reads.values()}
    if not begun:
        _copy(application, current, password)
    make_login(password)
    if not begun:
        _patch(application, redirected(current["spec"]["template"]["spec"], names))
    lacking = _wait(application, time.monotonic() + timeout)
    if lacking:
        spec = (application.deployment() or current)["spec"]["template"]["spec"]
        _patch(application, redirected(spec, {stand_in: name for name, stand_in in names.items()}))
        raise NotFollowed(lacking)


def unused(applications: Applications, deadline: float) -> bool:
    """Whether no pod uses the stand-in any more; waits for pods that are ending."""
    while True:
        workloads = [member.deployment() for member in applications.members]
        if any(current is not None and stands_in(current["spec"]["template"]) for current in workloads):
            return False
        if not any(map(stands_in, (pod for member in applications.members for pod in member.pods()))):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)


def remove(applications: Applications) -> None:
    """Remove the objects that pods with the stand-in read; raises Unanswered."""
    objects = [f"configmap/{applications.reads['configmaps']}{STAND_IN}", f"secret/{applications.reads['secrets']}{STAND_IN}"]
    _kubectl(applications, "delete", "--ignore-not-found", "--wait=false", *objects)


def _copy(application: Application, owner: dict[str, Any], password: str) -> None:
    """Copy the objects that the pods read, with the stand-in's login; deleting the Deployment deletes the copies."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": application.name, "uid": owner["metadata"]["uid"]}
    changed = {"configmaps": {USER: LOGIN}, "secrets": {PASSWORD: encoded(password)}}
    items = []
    for kind, change in changed.items():
        data = (application.object(kind) or {}).get("data") or {}
        meta = {"name": application.reads[kind] + STAND_IN, "namespace": application.namespace, "ownerReferences": [reference]}
        items.append({"apiVersion": "v1", "kind": KINDS[kind], "metadata": meta, "data": {**data, **change}})
    _kubectl(
        application, "apply", "--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "--filename=-",
        text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
    )  # fmt: skip


def _patch(application: Application, spec: dict[str, Any]) -> None:
    patch = json.dumps([{"op": "replace", "path": "/spec/template/spec", "value": spec}])
    options = ["--type=json", "--patch-file=/dev/stdin", f"--field-manager={MANAGER}"]
    _kubectl(application, "patch", f"deployment/{application.name}", *options, text=patch)


def _kubectl(whose: Readers, *arguments: str, text: str | None = None) -> None:
    whose.kubectl.must(*arguments, f"--namespace={whose.namespace}", text=text)


def _wait(application: Application, deadline: float) -> str:
    """Wait until every pod uses the stand-in; returns what is lacking at the deadline, or the empty text."""
    while True:
        lacking: str | None
        try:
            current = application.deployment()
            if current is None:
                return "its Deployment was deleted meanwhile"
            lacking = deployment(current) or ("old pods are still ending" if not all(map(stands_in, application.pods())) else None)
        except Hopeless as error:
            return str(error)
        except Unanswered as error:
            lacking = str(error)
        if not lacking:
            return ""
        if time.monotonic() > deadline:
            return lacking
        time.sleep(PAUSE)
