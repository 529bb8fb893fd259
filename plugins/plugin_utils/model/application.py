# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The application's configuration: JSON against its schema, variables or files, and the registries that its image comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.json_schema import MISSING, SchemaLibraryMissing, flaws, schema_flaws
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, nearest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.schema import complete

Raw = dict[str, Any]
SECRETS = "registries"  # their group in platform_secrets


def meaning(text: str) -> Any:
    """What a pod reads in a value: for JSON the decoded value, so that the order of keys makes no difference; else the text."""
    try:
        return json.loads(text) if text[:1] in ("{", "[") else text
    except json.JSONDecodeError:  # already reported as a problem
        return text


def check_schemas(schemas: Mapping[str, Any], environments: Mapping[str, Raw], problems: Problems) -> None:
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


def split(env: Raw, path: str, problems: Problems) -> None:
    """Sorts the names into environment variables and files: `variables` and `files`, each with `config` and `secrets`."""
    names = {"config": list(env["config"]), "secrets": list(env["secrets"])}
    known = [*names["config"], *names["secrets"]]
    for name in env["config_files"]:
        problems.check(f"{path}.config_files", None if name in known else f"is in neither config nor secrets; {nearest(name, known)}", name)
    chosen = set(known if env["config_as"] == "files" else env["config_files"])
    env["files"] = {kind: [name for name in of_kind if name in chosen] for kind, of_kind in names.items()}
    env["variables"] = {kind: [name for name in of_kind if name not in chosen] for kind, of_kind in names.items()}


def registries(raw: Mapping[str, Any], options: Mapping[str, Any], problems: Problems) -> Raw:
    """Host -> username and the name of its password in platform_secrets.registries."""
    result: Raw = {}
    secrets = raw["platform_secrets"].get(SECRETS) if isinstance(raw["platform_secrets"], Mapping) else None
    for host, entry in raw["platform_registries"].items():
        path = f"platform_registries.{host}"
        result[host] = complete(entry, options, path, problems)
        if not re.fullmatch(r"[a-z0-9.-]+(:\d{1,5})?", str(host)):
            problems.add(path, "is not a registry's host; write it as in the image's name, such as ghcr.io or registry.test:5000", host)
        for key, value in result[host].items():
            problems.check(f"{path}.{key}", None if value else "is not filled in")
        name = result[host]["password"]
        password = secrets.get(name) if isinstance(secrets, Mapping) else None
        if isinstance(password, str) and re.search(r'["\\\x00-\x1f]', password):  # it goes into JSON as it is
            text = 'has a character that JSON would escape (", \\ or a control character); use another token'
            problems.add(f"platform_secrets.{SECRETS}.{name}", text)
    return result
