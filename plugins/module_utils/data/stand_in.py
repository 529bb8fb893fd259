# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A login that stands in for a database user while the user's password is changed.

Postgres keeps one password per role, and a pod that rolls has the old one while its successor has the new one. So the application's pods first change
over to another login, which acts as the user; then the password is changed, and what rolls the pods next gives them the user back. Each step is made
from what is found, and nothing depends on time: a run may be killed anywhere, and what it left works until the next one goes on.
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
from .changeover import STAND_IN, Application, Held, encoded, redirected, secret_value, stands_in
from .postgres import LOGIN

MANAGER = "shaka.platform-rotation"  # of fields; the prefix is known to apply_set
PASSWORD, USER = "DB_PASSWORD", "DB_USER"
KINDS = {"configmaps": "ConfigMap", "secrets": "Secret"}


class NotFollowed(Exception):
    """The application does not run with the stand-in; it has been given its user back."""


def needed(application: Application, password: str) -> bool:
    """Whether pods that must not miss a request hold another password of the user than this one."""
    found = application.deployment()
    if found is None or found["spec"].get("replicas") == 0 or found["spec"]["strategy"]["type"] != "RollingUpdate":
        return False
    return application.held(PASSWORD, password) is not Held.NEW


def change_over(application: Application, make_login: Callable[[str], None], timeout: float) -> None:
    """Returns when every pod of the application uses the stand-in; raises Unanswered or NotFollowed.

    :arg make_login: makes the login, or gives it this password.
    :arg timeout: seconds that the pods may take.
    """
    found = application.deployment() or {}
    begun = stands_in(found["spec"]["template"])
    password = secret_value(application.object("secrets", STAND_IN) or {}, PASSWORD) or secrets.token_hex(32)
    names = {name: name + STAND_IN for name in application.reads.values()}
    if not begun:
        _copy(application, found, password)
    make_login(password)
    if not begun:
        _patch(application, redirected(found["spec"]["template"]["spec"], names))
    lacking = _wait(application, time.monotonic() + timeout)
    if lacking:
        spec = (application.deployment() or found)["spec"]["template"]["spec"]
        _patch(application, redirected(spec, {stand_in: name for name, stand_in in names.items()}))
        raise NotFollowed(lacking)


def unused(application: Application, deadline: float) -> bool:
    """Whether no pod uses the stand-in any more; waits for those that end."""
    while True:
        found = application.deployment()
        if found is not None and stands_in(found["spec"]["template"]):
            return False
        if not any(map(stands_in, application.pods())):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)


def remove(application: Application) -> None:
    """Take away what its pods read; raises Unanswered."""
    objects = [f"configmap/{application.reads['configmaps']}{STAND_IN}", f"secret/{application.reads['secrets']}{STAND_IN}"]
    _kubectl(application, "delete", "--ignore-not-found", "--wait=false", *objects)


def _copy(application: Application, owner: dict[str, Any], password: str) -> None:
    """What the pods read now, but for the login; it goes with the Deployment."""
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


def _kubectl(application: Application, *arguments: str, text: str | None = None) -> None:
    ok, said = application.kubectl.run(*arguments, f"--namespace={application.namespace}", text=text)
    if not ok:
        raise Unanswered(said)


def _wait(application: Application, deadline: float) -> str:
    """What is lacking until every pod uses the stand-in, the empty text when nothing is."""
    while True:
        lacking: str | None
        try:
            found = application.deployment()
            if found is None:
                return "its Deployment was deleted meanwhile"
            lacking = deployment(found) or ("pods of before are still ending" if not all(map(stands_in, application.pods())) else None)
        except Hopeless as error:
            return str(error)
        except Unanswered as error:
            lacking = str(error)
        if not lacking:
            return ""
        if time.monotonic() > deadline:
            return lacking
        time.sleep(PAUSE)
