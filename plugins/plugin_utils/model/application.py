# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an environment's applications read, as variables or files, and the registries that images come from. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import Environment, PrivateRegistry
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import Options
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.apps import SHORT
from ansible_collections.shaka.platform.plugins.plugin_utils.model.json_schema import MISSING, SchemaLibraryMissing, flaws, schema_flaws
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, nearest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.schema import complete

CONFIG_MAP = 1 << 20  # bytes (https://kubernetes.io/docs/concepts/configuration/configmap/)


def meaning(text: str) -> Any:
    """What a pod reads in a value: for JSON the decoded value, so that the order of keys makes no difference; else the text."""
    try:
        return json.loads(text) if text[:1] in ("{", "[") else text
    except json.JSONDecodeError:  # already reported as a problem
        return text


def check_schemas(schemas: Mapping[str, Any], environments: Mapping[str, Environment], problems: Problems) -> None:
    """Each configuration value that has a schema must be JSON that satisfies it, in every environment."""
    for name, schema in schemas.items():
        path = f"platform_config_schemas.{name}"
        try:
            mistakes = list(schema_flaws(schema))
        except SchemaLibraryMissing:
            problems.add("platform_config_schemas", MISSING)
            return
        for where, text in mistakes:
            problems.add(f"{path}{where}", text)
        if not any(name in env["config"] for env in environments.values()):
            known = {key for env in environments.values() for key in env["config"]}
            problems.add(path, f"is in no environment's config; {nearest(name, known)}")
        for env_name, env in environments.items() if not mistakes else ():
            if name in env["config"]:
                _check_value(env["config"][name], schema, f"platform_environments.{env_name}.config.{name}", problems)


def _check_value(text: str, schema: Mapping[str, Any], path: str, problems: Problems) -> None:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        problems.check(path, rules.json_text(text))
        return
    for where, flaw in flaws(value, schema):
        problems.add(f"{path}{where}", f"{flaw} (platform_config_schemas.{path.rpartition('.')[2]})")


def _split(env: Environment, path: str, problems: Problems) -> None:
    """Sorts the names into environment variables and files: `variables` and `files`."""
    config, secrets = list(env["config"]), list(env["secrets"])
    known = [*config, *secrets]
    for name in env["config_files"]:
        problems.check(f"{path}.config_files", None if name in known else f"is in neither config nor secrets; {nearest(name, known)}", name)
    chosen = set(known if env["config_as"] == "files" else env["config_files"])
    env["files"] = {"config": [name for name in config if name in chosen], "secrets": [name for name in secrets if name in chosen]}
    env["variables"] = {"config": [name for name in config if name not in chosen], "secrets": [name for name in secrets if name not in chosen]}


def configure(env: Environment, path: str, problems: Problems) -> None:
    """Turn every value into text, check JSON, and add the addresses of Postgres and Redis where the inventory does not set them."""
    postgres, redis = env["postgres"], env["redis"]
    api = env["apps"].get(SHORT)
    reached = postgres["pgbouncer"] if postgres["pgbouncer"]["enabled"] else postgres
    derived = {
        **({"PORT": str(api["port"])} if api and api["protocol"] != "none" else {}),  # another's pods have their own
        "DB_HOST": f"{reached['service']}.{postgres['namespace']}.svc.cluster.local",
        "DB_PORT": "5432",
        "DB_NAME": postgres["database"],
        "DB_USER": postgres["app_user"] or postgres["user"],
        "REDIS_HOST": f"{redis['service']}.{env['namespace']}.svc.cluster.local",
        "REDIS_PORT": "6379",
        "REDIS_DB": str(redis["database"]),
        "REDIS_USERNAME": redis["user"],
        "REDIS_KEY_PREFIX": redis["prefix"],
    }
    own = {str(key): rules.as_text(value) for key, value in env["config"].items()}
    for name, text in own.items():
        problems.check(f"{path}.config.{name}", rules.variable_name(name), name)
        problems.check(f"{path}.config.{name}", rules.as_written(text))
        if name in env["config_json"] or text[:1] in ("{", "["):
            problems.check(f"{path}.config.{name}", rules.json_text(text))
    for name in env["config_json"]:
        if name not in own:
            problems.add(f"{path}.config_json", f"is not in config; {nearest(name, list(own))}", name)
    for name in env["secrets"]:
        problems.check(f"{path}.secrets", rules.variable_name(name), name)
        if name in own:
            problems.add(f"{path}.config.{name}", "is also one of its secrets; a name is one or the other")
    env["config"] = dict(sorted({**derived, **own}.items()))
    _split(env, path, problems)
    for name in env["variables"]["config"]:
        problems.check(f"{path}.config.{name}", rules.variable_size(name, env["config"][name]))
    size = sum(len(f"{name}{text}".encode(errors="replace")) for name, text in env["config"].items())
    if size > CONFIG_MAP:
        problems.add(f"{path}.config", f"has {size} bytes, and a ConfigMap at most {CONFIG_MAP}; move the largest value to the image")


def registries(raw: Mapping[str, Any], options: Options, problems: Problems) -> dict[str, PrivateRegistry]:
    """Host -> username and the name of its password in platform_secrets.registries."""
    result: dict[str, PrivateRegistry] = {}
    for host, entry in raw["platform_registries"].items():
        path = f"platform_registries.{host}"
        registry = result[host] = cast(PrivateRegistry, complete(entry, options, path, problems))
        if rules.download_host(str(host)):
            problems.add(path, "is not a registry's host; write it as in the image's name, such as ghcr.io or registry.test:5000", host)
        for key, value in registry.items():
            problems.check(f"{path}.{key}", None if value else "is not filled in")
    return result
