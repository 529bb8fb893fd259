#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_platform
short_description: Check whether the platform works, without changing anything
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Logs in at each environment's Postgres as its application does (with its password, by its Service or PgBouncer's), asks its Redis (C(PING), as the
    environment's user) in the pod, requests each API by host name over HTTPS at the server's address, looks into each bucket for the backups, and
    reads pods, certificates, the node and the memory in use from the Kubernetes API, and from the server K3s's certificates and whether a reboot is
    due. All at once, in one or two seconds.
  - Never fails because of its findings; the caller decides. It uses kubectl, not the client that builds the platform.
attributes:
  check_mode: {support: full, description: "Looks once, without waiting."}
  diff_mode: {support: none, description: It changes nothing.}
options:
  model:
    description: The platform as it should be, the fact C(platform_model).
    type: dict
    required: true
  ca_bundle:
    description: PEM certificates of authorities trusted to have issued the API's certificates, besides the server's own list.
    type: str
    default: ""
  address:
    description: Address to which the HTTPS requests go; by default the node's internal address.
    type: str
    default: ""
  port:
    description: TCP port of HTTPS.
    type: int
    default: 443
  certificate_days:
    description: Days that a certificate must still be valid.
    type: int
    default: 7
  server:
    description: The server's name in the inventory, by which its backups lie in the bucket.
    type: str
    required: true
  secrets:
    description:
      - Of C(platform_secrets) what C(backup.reader) of each environment names, and its C(BACKUP_KEY). Without them the last jobs alone are judged,
        and the check says so.
      - As one JSON text. Of a dictionary Ansible would mask each value wherever it is in the result, and an access key may be a word such as
        C(backup).
    type: str
    default: "{}"
  backup_smaller_percent:
    description: Percent of the size of the one before that the newest backup must have.
    type: int
    default: 50
  drill_days:
    description: Days that the last drill of a restore may be ago, in an environment with backups. V(0) accepts any, and none.
    type: int
    default: 0
  reboot_days:
    description: Days that a reboot may be due which packages ask for.
    type: int
    default: 7
  timeout:
    description: Seconds for each single question.
    type: int
    default: 10
  wait_timeout:
    description: Seconds to keep asking while a check fails.
    type: int
    default: 0
extends_documentation_fragment: shaka.platform.kubectl
"""

EXAMPLES = r"""
- name: Check whether the platform works
  shaka.platform.verify_platform:
    model: "{{ platform_model }}"
    server: "{{ inventory_hostname }}"
    secrets: "{{ platform_secrets | shaka.platform.pick_secrets(['s3', 's3_reader', 'prod'], ['ACCESS_KEY', 'SECRET_KEY', 'BACKUP_KEY']) | to_json }}"
  register: result

- name: Ensure every check passed
  ansible.builtin.assert:
    that: result.failures | length == 0
"""

RETURN = r"""
checks:
  description: Every check that was made.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: >-
        One of C(cluster), C(postgres), C(redis), C(https), C(certificate), C(pods), C(backup), C(drill), C(point in time), C(node), C(requests),
        C(K3s certificates), C(reboot).
      type: str
    scope: {description: The environment; namespace or node., type: str}
    ok: {description: Whether it passed., type: bool}
    detail: {description: What was seen., type: str}
platform_findings:
  description: The failed checks, one sentence each.
  returned: success
  type: list
  elements: str
failures:
  description: Those findings that a run of the site fails for; the others are what no run of the site can mend.
  returned: success
  type: list
  elements: str
platform_table:
  description: Tables for a person (C(title), C(columns), C(rows), C(failed)), which the callback C(shaka.platform.progress) prints.
  returned: success
  type: list
  elements: dict
enforced:
  description: Whether a caller should fail on findings; false in check mode, where the platform may not be there yet.
  returned: success
  type: bool
"""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.backup.layout import REDIS, redis_scope
from ansible_collections.shaka.platform.plugins.module_utils.conventions import PAUSE
from ansible_collections.shaka.platform.plugins.module_utils.kubectl import ARGUMENTS, Kubectl
from ansible_collections.shaka.platform.plugins.module_utils.verify.checks import Limits, Verdict, evaluate, no_cluster
from ansible_collections.shaka.platform.plugins.module_utils.verify.probes import gather
from ansible_collections.shaka.platform.plugins.module_utils.verify.stored_backups import Secrets, StoredDumps, look_into


def look(parameters: dict[str, Any], secrets: Secrets, stored_of: Callable[[str], StoredDumps]) -> Verdict:
    """One look at everything."""
    kubectl = Kubectl(parameters["kubectl"], parameters["timeout"])
    model = parameters["model"]
    facts, problem = gather(kubectl, model, parameters["address"], parameters["port"], parameters["ca_bundle"], stored_of)
    if facts is None:
        return no_cluster(problem)
    names = ("certificate_days", "backup_smaller_percent", "drill_days", "reboot_days")
    keys = {name: str((secrets.get(name) or {}).get("BACKUP_KEY") or "") for name in (*model["environments"], *(model.get("redis_copies") or ()))}
    return evaluate(model, facts, Limits(*(parameters[name] for name in names)), keys)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "dict", "required": True},
            "ca_bundle": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 443},
            "certificate_days": {"type": "int", "default": 7},
            "server": {"type": "str", "required": True},
            "secrets": {"type": "str", "default": "{}", "no_log": True},
            "backup_smaller_percent": {"type": "int", "default": 50},
            "drill_days": {"type": "int", "default": 0},
            "reboot_days": {"type": "int", "default": 7},
            "timeout": {"type": "int", "default": 10},
            "wait_timeout": {"type": "int", "default": 0},
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    try:
        secrets = json.loads(module.params["secrets"])
    except ValueError:
        module.fail_json(msg="secrets is not JSON; give it `| to_json`")

    @functools.cache  # a bucket does not settle while one waits
    def stored_of(name: str) -> StoredDumps:
        model, server = module.params["model"], module.params["server"]
        copies = {redis_scope(redis): copy for redis, copy in (model.get("redis_copies") or {}).items()}
        if name in copies:
            return look_into(copies[name], server, secrets, REDIS)
        return look_into(model["environments"][name], server, secrets)

    deadline = time.monotonic() + (0 if module.check_mode else module.params["wait_timeout"])
    verdict = look(module.params, secrets, stored_of)
    while verdict.failures and time.monotonic() + PAUSE < deadline:
        time.sleep(PAUSE)
        verdict = look(module.params, secrets, stored_of)
    for finding in verdict.findings:
        if finding not in verdict.failures:
            module.warn(finding)
    module.exit_json(
        changed=False,
        checks=[check._asdict() for check in verdict.checks],
        platform_findings=verdict.findings,
        failures=verdict.failures,
        platform_table=[table._asdict() for table in verdict.tables],
        enforced=not module.check_mode,
    )


if __name__ == "__main__":
    main()
