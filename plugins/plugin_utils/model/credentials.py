# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks an inventory's secrets: none is missing, weak, used twice or copied into configuration. No message contains a value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules, sops
from ansible_collections.shaka.platform.plugins.plugin_utils.model.postgres import POOLER_SECRET, own_secrets
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, nearest

SHARED = {"shared": ["REDIS_ADMIN_PASSWORD"]}
S3 = {"s3": ["ACCESS_KEY", "SECRET_KEY"]}
S3_OTHERS = {"s3_reader": S3["s3"], "s3_keeper": S3["s3"]}  # an inventory may have them
DEFAULT_MINIMUM = 32
STILL_ENCRYPTED = "is still encrypted by SOPS; install the collection community.sops and let it read the inventory (docs/secrets.md)"
LEAST_MINIMUM = 16  # no inventory may ask for less
ISSUED = {**dict.fromkeys((*S3, *S3_OTHERS), "your S3 service's credentials"), "registries": "the registry's token"}  # others choose their length


def flat(secrets: Any, problems: Problems | None = None) -> dict[str, dict[str, str]]:
    """Group -> name -> text; anything of another shape is left out, and reported when `problems` is given."""
    result: dict[str, dict[str, str]] = {}
    for group, names in (secrets if isinstance(secrets, Mapping) else {}).items():
        if not isinstance(names, Mapping):
            if problems is not None and names is not None:
                problems.add(f"platform_secrets.{group}", "must be a dictionary (NAME: value)")
            continue
        result[str(group)] = {}
        for name, value in names.items():
            if isinstance(value, (Mapping, list, bool)):
                if problems is not None:
                    problems.add(f"platform_secrets.{group}.{name}", "is not text; quote it")
                continue
            result[str(group)][str(name)] = "" if value is None else str(value)
    return result


def minimum_of(lengths: Mapping[str, Any], problems: Problems) -> dict[str, int]:
    """Secret name -> least length."""
    result: dict[str, int] = {}
    for name, text in lengths.items():
        if isinstance(text, bool) or not str(text).isdigit() or int(text) < LEAST_MINIMUM:
            problems.add(f"platform_secret_minimum.{name}", f"must be a whole number of characters, {LEAST_MINIMUM} or more", text)
        else:
            result[str(name)] = int(text)
    return result


def check(raw: Mapping[str, Any], environments: Mapping[str, Environment], with_backup: bool, problems: Problems) -> None:
    """Every secret that is used has a strong value, and every value is used."""
    minimum = minimum_of(raw["platform_secret_minimum"], problems)
    secrets = flat(raw["platform_secrets"], problems)
    if any(value.startswith(sops.MARK) for names in secrets.values() for value in names.values()):
        problems.add("platform_secrets", STILL_ENCRYPTED)
        return
    environment_secrets = {name: [*env["secrets"], *own_secrets(env["postgres"])] for name, env in environments.items()}
    needed = {**environment_secrets, **SHARED, **(S3 if with_backup else {})}
    needed |= {group: names for group, names in S3_OTHERS.items() if group in secrets}
    if raw["platform_registries"]:
        passwords = [entry.get("password") for entry in raw["platform_registries"].values() if isinstance(entry, Mapping)]
        needed["registries"] = [str(name) for name in passwords if name]
    paths_of: dict[str, list[str]] = defaultdict(list)  # value -> where it is used
    for group, names in needed.items():
        _check_missing(group, [name for name in names if not secrets.get(group, {}).get(name)], minimum, problems)
    for group, values in secrets.items():
        path = f"platform_secrets.{group}"
        if group not in {**needed, **S3}:
            problems.add(path, f"belongs to no environment; rename or remove it; {nearest(group, needed)}")
            continue
        for name, value in values.items():
            if name not in {**S3, **needed}[group]:
                where = f"; add it to platform_environments.{group}.secrets, or remove it" if group in environments else "; remove it"
                problems.add(f"{path}.{name}", f"is used by nothing{where}; {nearest(name, {**S3, **needed}[group])}")
            elif value:
                paths_of[value].append(f"{path}.{name}")
                if name == POOLER_SECRET and '"' in value:  # a quote ends the value in PgBouncer's file
                    problems.add(f"{path}.{name}", 'has a character that PgBouncer would take for its end ("); use another value')
                flaw = rules.secret(value, _least(group, name, minimum))
                remedy = f"is it {ISSUED[group]}?" if group in ISSUED else "replace it by a random value (openssl rand -hex 32)"
                problems.check(f"{path}.{name}", None if flaw is None else f"{flaw}; {remedy}")
    for paths in paths_of.values():
        if len(paths) > 1:
            problems.add(paths[-1], f"is the same as {', '.join(paths[:-1])}; each secret has a value of its own (openssl rand -hex 32)")
    _check_leaks(environments, paths_of, problems)


def _least(group: str, name: str, minimum: Mapping[str, int]) -> int:
    return minimum.get(name, LEAST_MINIMUM if group == "registries" else DEFAULT_MINIMUM)


def _check_missing(group: str, missing: list[str], minimum: Mapping[str, int], problems: Problems) -> None:
    if missing:
        least = " or ".join(map(str, sorted({_least(group, name, minimum) for name in missing})))
        issued = ISSUED.get(group)
        random = f"`ansible-playbook shaka.platform.secrets` generates what is missing (by hand: at least {least} characters of openssl rand -hex 32)"
        remedy = f"fill in group_vars/all/secrets.yml with {issued}, encrypted with ansible-vault" if issued else random
        problems.add(f"platform_secrets.{group}", f"{', '.join(missing)} missing; {remedy}")


def _check_leaks(environments: Mapping[str, Environment], paths_of: Mapping[str, list[str]], problems: Problems) -> None:
    """No ConfigMap contains a secret's value: everyone who may read the namespace can read it, and diffs show it."""
    for env_name, env in environments.items():
        for name, text in env["config"].items():
            for value, paths in paths_of.items():
                if len(value) >= LEAST_MINIMUM and value in text:
                    path = f"platform_environments.{env_name}.config.{name}"
                    problems.add(path, f"holds the value of {paths[0]}, and a ConfigMap is no place for it; let the application read the secret")
