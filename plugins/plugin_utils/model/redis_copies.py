# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which Redis is copied to S3: the shared one by its own plan, an environment's by that of its databases. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import S3, Backup, Environment, RedisCopies, RedisServer, SharedRedis, Space
from ansible_collections.shaka.platform.plugins.plugin_utils.model import backup
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems
from ansible_collections.shaka.platform.plugins.plugin_utils.model.sizes import scratch

SHARED = "shared"  # its group of secrets, which no environment can be called
PATH = "platform_redis.backup"


def settle(
    shared: SharedRedis, job: Mapping[str, Any], s3: S3, recipients: Any, namespaces: Iterable[str], secrets: Any, problems: Problems
) -> Backup | None:
    """The backups of the shared Redis, checked; None where there are none.

    :arg job: what their pods ask for, and may use at most.
    """
    given = shared["backup"]
    if not given["enabled"]:
        if given["schedule"]:
            problems.add(f"{PATH}.schedule", f"asks for copies that {PATH}.enabled leaves out; set that to true, or take the schedule out")
        return None
    result = cast(Backup, {**given, **job, "s3": {}, "recipient": ""})
    if not s3["endpoint"]:
        problems.add(f"{PATH}.enabled", "needs somewhere to keep copies; fill in platform_s3, or set it to false", True)
    backup.settle(result, PATH, s3, recipients, namespaces, problems)
    backup.name_credentials(result, SHARED, secrets)
    return result


def check(env: Environment, path: str, problems: Problems) -> None:
    """Checks what an environment asks for."""
    redis = env["redis"]
    if redis["backup"] and not redis["dedicated"]:
        text = f"is for a Redis of its own, and this one shares that of platform_redis; leave it out, and set {PATH}.enabled to true"
        problems.add(f"{path}.redis.backup", text, True)
    elif redis["backup"] and not env["backup"]["s3"]["endpoint"]:
        problems.add(f"{path}.redis.backup", "needs somewhere to keep copies; fill in platform_s3, or set it to false", True)


def named(shared: SharedRedis, plan: Backup | None, space: Space | None, environments: Mapping[str, Environment]) -> dict[str, RedisCopies]:
    """Each Redis that is copied, by the name that its copies have in the bucket."""
    found: dict[str, RedisCopies] = {}
    if plan is not None and space is not None:
        found[SHARED] = _named(SHARED, space["namespace"], "redis", PATH, shared, plan)
    for name, env in environments.items():
        if env["redis"]["dedicated"] and env["redis"]["backup"]:
            path = f"platform_environments.{name}.redis.backup"
            found[name] = _named(name, env["namespace"], env["redis"]["service"], path, env["redis"], env["backup"])
    return found


def _named(name: str, namespace: str, service: str, inventory: str, sizes: RedisServer, plan: Backup) -> RedisCopies:
    return {
        "name": name,
        "namespace": namespace,
        "service": service,
        "inventory": inventory,
        "memory": sizes["limits"]["memory"],
        "scratch": scratch(sizes["storage"]),
        "backup": plan,
    }
