#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: operator_kubeconfig
short_description: Give a user a kubeconfig with a token of its own, renewed in time
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Gives a user of the server a kubeconfig (0600) with a token of a ServiceAccount, made by the TokenRequest API. Renews it when less than a third
    of its time is left, when the ServiceAccount was replaced, or when the cluster's address or authority changed.
  - No result and no diff contains the token.
  - A renewed token does not end the earlier one, which stays valid until it expires; deleting the ServiceAccount ends all.
attributes:
  check_mode:
    description: Compares only; without a cluster or a user the file counts as changed.
    support: full
  diff_mode: {support: full, description: The reason and the expiry.}
options:
  user: {description: Who owns the file., type: str, required: true}
  path: {description: The file., type: path, required: true}
  service_account:
    description: The ServiceAccount, as C(namespace/name).
    type: str
    required: true
  days: {description: Days that a new token is valid., type: int, default: 90}
  administrator:
    description: The administrator's kubeconfig, from which address and authority are taken.
    type: path
    default: /etc/rancher/k3s/k3s.yaml
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Ensure ana can use kubectl
  shaka.platform.operator_kubeconfig:
    user: ana
    path: /home/ana/.kube/config
    service_account: kube-system/operator-ana
"""

RETURN = r"""
expires:
  description: When the token expires, in UTC; empty when there is none yet.
  returned: success
  type: str
reason:
  description: Why the file was replaced; empty when it was not.
  returned: success
  type: str
"""

import base64
import json
import pwd
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute, commands_of
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS
from ansible_collections.shaka.platform.plugins.module_utils.server.files import write_whole
from ansible_collections.shaka.platform.plugins.module_utils.server.home import make_parent, with_rights_of_its_home


class KubeconfigError(Exception):
    """The file cannot be made; the text says why."""


class Cluster(NamedTuple):
    """The API server's address, and the authority that signs its certificate."""

    server: str
    authority: str


def cluster_of(administrator: str) -> Cluster:
    """Address and authority from the text of K3s's own kubeconfig, which is flat YAML with one cluster."""
    matches = [re.search(rf"^\s*{key}:\s*(\S+)\s*$", administrator, re.MULTILINE) for key in ("server", "certificate-authority-data")]
    if not all(matches):
        raise KubeconfigError("the administrator's kubeconfig names no server or no authority")
    server, authority = (str(match[1]).strip("\"'") for match in matches if match)
    return Cluster(server, authority)


def token_claims(token: str) -> dict[str, Any]:
    """The claims of a token; empty when the text is not a token."""
    try:
        body = token.split(".")[1]
        decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return decoded


def render(cluster: Cluster, namespace: str, user: str, token: str) -> str:
    """The kubeconfig as JSON, which is also YAML."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "default",
        "clusters": [{"name": "default", "cluster": {"server": cluster.server, "certificate-authority-data": cluster.authority}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": user, "namespace": namespace}}],
    }
    return json.dumps(document, indent=2) + "\n"


def why(text: str, cluster: Cluster, uid: str, now: float) -> str:
    """Why a kubeconfig has to be replaced; empty when it is right."""
    try:
        document = json.loads(text)
        known, token = document["clusters"][0]["cluster"], document["users"][0]["user"]["token"]
    except (ValueError, KeyError, IndexError, TypeError):
        return "it is not the platform's"
    content = token_claims(token)
    if (known.get("server"), known.get("certificate-authority-data")) != cluster:
        return "the cluster's address or authority changed"
    if content.get("kubernetes.io", {}).get("serviceaccount", {}).get("uid") != uid:
        return "the ServiceAccount was replaced"
    left, whole = content.get("exp", 0) - now, content.get("exp", 0) - content.get("iat", 0)
    return "its token expires soon" if left * 3 < whole else ""


def answer(execute: Execute, command: list[str]) -> str:
    """The output of kubectl; raises KubeconfigError."""
    code, out, err = execute(command)
    if code != 0:
        raise KubeconfigError(f"kubectl {command[-1]}: {err.strip()}")
    return out.strip()


def run(params: dict[str, Any], check_mode: bool, execute: Execute, now: float) -> dict[str, Any]:
    """The result of the module."""
    path, administrator = Path(params["path"]), Path(params["administrator"])
    namespace, name = params["service_account"].split("/")
    if check_mode and not administrator.exists():
        return result("there is no cluster yet", "")
    cluster = cluster_of(administrator.read_text(encoding="utf-8"))
    kubectl = [*params["kubectl"], "--namespace", namespace]
    code, uid, err = execute([*kubectl, "get", "serviceaccount", name, "--output", "jsonpath={.metadata.uid}"])
    if code != 0 and check_mode:
        return result("there is no ServiceAccount yet", "")
    if code != 0:
        raise KubeconfigError(f"ServiceAccount {params['service_account']}: {err.strip()}")
    present, owned = with_rights_of_its_home(path, lambda: (path.read_text("utf-8", "replace"), list(path.stat()[:5])) if path.exists() else ("", []))
    reason = why(present, cluster, uid.strip(), now) if present else "there was none"
    owner = pwd.getpwnam(params["user"]) if reason == "" or not check_mode else None
    if not reason and owner and (owned[4], owned[0] & 0o7777) != (owner.pw_uid, 0o600):
        reason = "others could read or change it"
    if not reason:
        return result("", json.loads(present)["users"][0]["user"]["token"])
    if check_mode or not owner:
        return result(reason, "")
    token = answer(execute, [*kubectl, "create", "token", f"--duration={params['days'] * 24}h", name])
    make_parent(path, 0o700)
    write_whole(path, render(cluster, "default", params["user"], token), 0o600)
    return result(reason, token)


def result(reason: str, token: str) -> dict[str, Any]:
    """The module's result, which has nothing of the token but its expiry."""
    expires = time.strftime("%Y-%m-%d %H:%M", time.gmtime(token_claims(token)["exp"])) if token else ""
    diff = {"before": f"{reason}\n", "after": f"valid until {expires or 'its expiry'}\n"} if reason else {}
    return {"changed": bool(reason), "reason": reason, "expires": expires, "diff": diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "service_account": {"type": "str", "required": True},
            "days": {"type": "int", "default": 90},
            "administrator": {"type": "path", "default": "/etc/rancher/k3s/k3s.yaml"},
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    try:
        outcome = run(module.params, module.check_mode, commands_of(module), time.time())
    except (KubeconfigError, OSError) as error:
        module.fail_json(msg=str(error))
    except KeyError as error:
        module.fail_json(msg=f"no such user: {error}")
    module.exit_json(**outcome)


if __name__ == "__main__":
    main()
