# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Generates the secrets that an inventory lacks. Pure except for the random generator."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import point_in_time, redis
from ansible_collections.shaka.platform.plugins.plugin_utils.model.backup import KEY as BACKUP_KEY
from ansible_collections.shaka.platform.plugins.plugin_utils.model.credentials import DEFAULT_MINIMUM, PREVIOUS, SHARED, encrypts, is_previous
from ansible_collections.shaka.platform.plugins.plugin_utils.model.postgres import own_secrets
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import nearest

ALWAYS = ("DB_PASSWORD", "REDIS_PASSWORD", BACKUP_KEY)
LENGTH = 64  # characters of hexadecimal, 256 bits


@dataclass
class Result:
    """The completed secrets, and the names of those that were generated, rotated or are still to come from elsewhere."""

    secrets: dict[str, dict[str, str]]
    generated: list[str] = field(default_factory=list)
    rotated: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)  # still empty, because their values come from elsewhere
    kept: list[str] = field(default_factory=list)  # the values of before, where something is encrypted with them


def needed_names(environments: Mapping[str, Any], shared_redis: Mapping[str, Any]) -> dict[str, list[str]]:
    """Group -> the names that the model will require. `shared_redis`: of the inventory, which may lack its defaults."""
    groups = {}
    for name, env in environments.items():
        names = [*ALWAYS, *((env or {}).get("secrets") or []), *own_secrets((env or {}).get("postgres") or {})]
        names += redis.own_secrets((env or {}).get("redis") or {})
        # whether there is an S3 service or not: where there will be one, it is on
        names += [point_in_time.SECRET] if point_in_time.is_on(str(name), (env or {}).get("backup"), "any") else []
        groups[str(name)] = list(dict.fromkeys(names))
    copied = (shared_redis.get("backup") or {}).get("enabled") is True
    return {**groups, "shared": [*SHARED["shared"], *([BACKUP_KEY] if copied else [])]}


def random_value(least: int) -> str:
    """Hexadecimal from the system's cryptographic generator: valid in URLs, in YAML and as a Redis or Postgres password."""
    return secrets.token_hex((max(LENGTH, least) + 1) // 2)


def generate_missing(
    existing: Mapping[str, Mapping[str, str]],
    groups: Mapping[str, list[str]],
    minimum: Mapping[str, Any],
    given: Collection[str],
    rotate: Collection[str],
    make: Callable[[int], str] = random_value,
) -> Result:
    """The existing secrets, plus a value for each missing name and a new value for each name to rotate. Raises ValueError for an unknown name.

    :arg given: names whose values come from elsewhere, such as a payment service's key.
    :arg rotate: GROUP/NAME. The value of before stays beside the new one where data is encrypted with it, under the name with _PREVIOUS.
    """
    known = [f"{group}/{name}" for group, names in groups.items() for name in names]
    for path in rotate:
        if path not in known:
            raise ValueError(f"rotate: '{path}' is not a secret of the inventory; {nearest(path, known)}")
        if path.partition("/")[2] == BACKUP_KEY:
            text = "proves who made the backups that there are: with another, none of them could be restored; replace it by hand once you need none"
            raise ValueError(f"rotate: '{path}' {text}")
        if path.partition("/")[2] in given:
            raise ValueError(f"rotate: '{path}' comes from elsewhere (secrets_given); get a new one there and write it with ansible-vault edit")
        group, _slash, name = path.partition("/")
        if is_previous(name):
            raise ValueError(f"rotate: '{path}' opens what was encrypted before the last rotation; encrypt that again, then remove it by hand")
        if encrypts(name) and existing.get(group, {}).get(name + PREVIOUS):
            text = f"still has the value of before in {name}{PREVIOUS}: encrypt the data again, remove that value, then rotate; else it would be lost"
            raise ValueError(f"rotate: '{path}' {text}")
    result = Result({group: dict(names) for group, names in existing.items()})
    for group, names in groups.items():
        for name in names:
            path, there = f"{group}/{name}", bool(result.secrets.get(group, {}).get(name))
            if is_previous(name):  # another value would open nothing
                continue
            if name in given:
                result.given += [] if there else [path]
            elif not there or path in rotate:
                if there and encrypts(name):
                    result.secrets[group][name + PREVIOUS] = result.secrets[group][name]
                    result.kept.append(path + PREVIOUS)
                result.secrets.setdefault(group, {})[name] = make(int(minimum.get(name, DEFAULT_MINIMUM)))
                (result.rotated if there else result.generated).append(path)
    return result
