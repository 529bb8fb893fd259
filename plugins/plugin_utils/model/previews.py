# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Previews: environments for a while, each made from another environment of the inventory, its parent. Pure.

A preview has its own namespace, applications, host and configuration. Its database and role are in the parent's Postgres, its Redis user and prefix
in the Redis that environments share, and it has no volume: when it is over, nothing of it is left to keep.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from ansible_collections.shaka.platform.plugins.module_utils.conventions import PREVIEW_KEYS
from ansible_collections.shaka.platform.plugins.module_utils.model_types import App, Environment, PreviewGiven
from ansible_collections.shaka.platform.plugins.module_utils.quantities import QuantityError, format_memory, parse_memory
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import Options
from ansible_collections.shaka.platform.plugins.plugin_utils.model import apps, edge, rules, schema
from ansible_collections.shaka.platform.plugins.plugin_utils.model.apps import OPENS
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, nearest

VARIABLE = "platform_previews"
MOST_OF_NAME = 30  # characters: with it a label of sets, a database and a host's part are not too long
LEAST_CONNECTIONS = 3  # that a preview may have to its database at once
SCRATCH = 1 << 30  # bytes that a parent's volume has at most in a preview, where it is an emptyDir
# What the platform itself says of Postgres and Redis: a value that the parent sets by hand would lead its previews to the parent's data
ADDRESSES = ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_USERNAME", "REDIS_KEY_PREFIX")
EXAMPLE = "2026-12-01T00:00:00Z"


class Previews(NamedTuple):
    """Those of the inventory: that live, and the names of those that are over."""

    live: dict[str, PreviewGiven]
    ended: list[str]


def read(given: Mapping[str, Any], run: Mapping[str, Any], options: Options, now: datetime, problems: Problems) -> Previews:
    """The inventory's previews with their defaults, and what a run makes (`made`) or ends (`ended`).

    :arg run: `platform_preview_run`, of the playbooks preview and preview_end.
    """
    named = [str(name) for name in run.get("ended") or []]
    for name in named:
        problems.check("preview", rules.label(name), name)
    live: dict[str, PreviewGiven] = {}
    over = list(named)
    for name, entry in {**given, **(run.get("made") or {})}.items():
        path = f"{VARIABLE}.{name}"
        preview = cast(PreviewGiven, schema.complete(entry, options, path, problems))
        if None in (preview["of"], preview["expires"]):  # it lacks one, which is said
            continue
        ends = moment(preview["expires"])
        if ends is None:
            problems.add(f"{path}.expires", f"is not a moment; write one in UTC, such as {EXAMPLE}", preview["expires"])
        elif ends <= now and name in (run.get("made") or {}):
            problems.add("preview_days", f"would end {name} before it is made; use a whole number of days, at least 1, such as -e preview_days=3")
        elif ends <= now:
            over.append(name)
        if name not in over:
            live[name] = preview
    return Previews(live, list(dict.fromkeys(over)))


def moment(text: str) -> datetime | None:
    """A moment as the inventory writes it; without a time zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def parents(ended: Collection[str], given: Mapping[str, Any], environments: Collection[str]) -> set[str]:
    """Whose Postgres has, or may have, databases of previews that are over: all of them for one that the inventory does not have."""
    named = {str((given.get(name) or {}).get("of")) for name in ended}
    return named if named <= {*environments} else {*environments}


def check(
    live: Mapping[str, PreviewGiven], environments: Collection[str], taken: Collection[str], most: int, ending: bool, problems: Problems
) -> dict[str, PreviewGiven]:
    """Those that can be made: each is of an environment, and has a name that nothing else has.

    :arg environments: names of environments.
    :arg taken: all names that a preview cannot have.
    :arg ending: whether the run only ends previews, which puts right that there are too many, or that a parent is gone.
    """
    if len(live) > most and not ending:
        text = f"has {len(live)} previews that are not over, and platform_previews_most is {most}; end one, or raise it"
        problems.add(VARIABLE, f"{text} ({', '.join(sorted(live))})")
    right = {}
    for name, preview in live.items():
        path = f"{VARIABLE}.{name}"
        flaw = rules.label(name)
        if flaw is None and len(name) > MOST_OF_NAME:
            flaw = f"is longer than {MOST_OF_NAME} characters; use a shorter name"
        if flaw is None and name in taken:
            flaw = "is the name of an environment or a group of secrets; give the preview another one"
        problems.check(path, flaw, name)
        if preview["of"] not in environments and ending:
            continue
        if preview["of"] not in environments:
            problems.add(f"{path}.of", f"is not an environment; {nearest(preview['of'], environments)}", preview["of"])
        elif flaw is None:
            right[name] = preview
    return right


def database_of(platform: str, name: str) -> str:
    """Its database, and the role that owns it."""
    return f"{platform}_preview_{name}".replace("-", "_")


def made_from(parent: Mapping[str, Any], name: str, given: PreviewGiven, raw: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """A preview, with nothing filled in that follows from its name yet.

    :arg parent: its parent in the same state.
    """
    env, path = deepcopy(dict(parent)), f"{VARIABLE}.{name}"
    database = database_of(raw["platform_name"], name)
    alone = env["redis"]["dedicated"]
    own: dict[str, dict[str, Any]] = {
        "postgres": {"database": database, "user": database, "databases": [], "app_user": "", "renamed_from": {"database": "", "user": ""}},
        "redis": {"dedicated": False, "user": None, "prefix": f"{PREVIEW_KEYS}{name}:"} | ({"database": 0, "allow": []} if alone else {}),
        "backup": {"schedule": ""},
    }
    for part, values in own.items():
        env[part] |= values
    env["postgres"]["pgbouncer"]["enabled"] = False
    env["backup"]["s3"]["endpoint"] = ""
    env["backup"]["point_in_time"]["enabled"] = False
    env["namespace"], env["ingress"] = None, []
    env["config"] = {key: value for key, value in env["config"].items() if key not in ADDRESSES} | given["config"]
    if given["image"] and given["app"] not in env["apps"]:
        problems.add(f"{path}.app", f"is not an application of {given['of']}; {nearest(given['app'], env['apps'])}", given["app"])
    for key, app in env["apps"].items():
        _reduce(app, f"{path}.apps.{key}", given["host"] or raw["platform_preview_host"], name)
        released = apps.released(raw["platform_releases"].get(given["of"]), key)[0]
        app["image"] = given["image"] if given["image"] and key == given["app"] else released or app["image"]
    return env


def _reduce(app: App, path: str, host: str, name: str) -> None:
    """One pod of an application, under a host of the preview's, with nothing that stays."""
    app["path"], app["replicas"], app["strategy"] = path, 1, "recreate"
    app["autoscale"]["max"] = 0
    first = next((each for each in [app["host"], *app["hosts"]] if each), "")
    app["host"], app["hosts"] = (host.replace("{preview}", name).replace("{host}", first) if first else ""), []
    app["edge"]["redirects"] = []
    for volume in app["volumes"].values():
        app["writable"][volume["mount"]] = _scratch(volume["size"])
    app["volumes"] = {}


def _scratch(size: str) -> str:
    try:
        return format_memory(min(parse_memory(str(size)), SCRATCH))
    except QuantityError:  # reported of its parent
        return size


def settle(env: Environment, given: PreviewGiven, parent: Environment, issued: Collection[str], most: int) -> None:
    """What a preview has from its parent, once that has its names.

    :arg issued: names of secrets whose values others have given out.
    :arg most: platform_previews_most; so many share half of the parent's connections.
    """
    ends = moment(given["expires"])
    connections = int(parent["postgres"]["settings"].get("max_connections") or LEAST_CONNECTIONS)
    kept = {name for name in env["secrets"] if name in issued and name not in OPENS}
    env["preview"] = {
        "of": given["of"],
        "expires": int(ends.timestamp()) if ends else 0,
        "namespace": parent["namespace"],
        "network": parent["network"],
        "connections": max(LEAST_CONNECTIONS, connections // 2 // max(1, most)),
        "parents": sorted({*kept, *edge.own_secrets(env)}),
    }
    env["postgres"]["service"], env["postgres"]["namespace"] = parent["postgres"]["service"], parent["namespace"]
