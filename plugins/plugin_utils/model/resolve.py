# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory's model: raw variables in, one complete and checked description of the platform out.

Pure: dictionaries in and out. Problems are collected, so that one run reports all of them; none contains a secret's value.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.engine.pruning import RULE, malformed
from ansible_collections.shaka.platform.plugins.module_utils.quantities import format_resource
from ansible_collections.shaka.platform.plugins.plugin_utils.model import (
    application,
    credentials,
    data_layer,
    drift_ignore,
    grants,
    networks,
    rules,
    schema,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problem, Problems, nearest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.sizes import amounts, check_quota, check_sizes, check_space, check_storage

Raw = dict[str, Any]
Specs = Mapping[str, Mapping[str, Any]]

IMAGES = [
    "postgres", "pgbouncer", "redis", "traefik", "cert_manager_controller", "cert_manager_webhook", "cert_manager_cainjector", "acmesolver", "api",
    "backup",
]  # fmt: skip


@dataclass
class Resolution:
    """The model, and the problems."""

    model: Raw
    problems: list[Problem] = field(default_factory=list)

    def message(self) -> str:
        """All problems as one text for a person."""
        count = len(self.problems)
        lines = [f"{count} {'value' if count == 1 else 'values'} of the inventory to change first:", ""]
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])


def merge(base: Any, over: Any) -> Any:
    """`base` overridden by `over`, dictionaries key by key."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: merge(base[key], value) if key in base else value for key, value in over.items()}}
    return over


def _check_space(space: Raw, path: str, nets: Mapping[str, list[networks.Network]], problems: Problems) -> dict[str, Raw]:
    """Check namespace name, egress, quota and LimitRange of an environment or namespace; returns the LimitRange in numbers."""
    problems.check(f"{path}.namespace", rules.namespace(space["namespace"]), space["namespace"])
    networks.check_egress(space, path, nets, problems)
    space["quota"] = grants.canonical_quota(space["quota"], path, problems)
    return check_space(space, path, problems)


# --- one environment ------------------------------------------------------------------------------------------------------------------------


def _environment(name: str, env: Raw, raw: Raw, own_image: bool, nets: Mapping[str, list[networks.Network]], problems: Problems) -> Raw:
    """Check the environment, and fill in what depends on its name."""
    path = f"platform_environments.{name}"
    platform = raw["platform_name"]
    env["name"] = name
    env["namespace"] = env["namespace"] or f"{platform}-{name}"
    postgres, redis, api = env["postgres"], env["redis"], env["api"]
    postgres["database"] = postgres["database"] or f"{platform}_{name}".replace("-", "_")
    postgres["user"] = postgres["user"] or postgres["database"]
    postgres["service"] = f"postgres-{name}"
    postgres["pgbouncer"]["service"] = f"pgbouncer-{name}"
    redis["prefix"] = redis["prefix"] or f"{name}:"
    redis["user"] = redis["user"] or name
    redis["service"] = f"redis-{name}"
    api["name"] = f"{platform}-api"
    env["secrets"] = list(dict.fromkeys(["DB_PASSWORD", "REDIS_PASSWORD", *env["secrets"]]))
    release = raw["platform_releases"].get(name)
    released = release.get("image") if isinstance(release, Mapping) else None
    api["image"] = str(released or api["image"])  # empty: the platform's image of that name

    _check_name(name, path, problems)
    limit_range = _check_space(env, path, nets, problems)
    for part in ("postgres", "api"):
        check_sizes(env[part], f"{path}.{part}", problems, limit_range)
    if postgres["pgbouncer"]["enabled"]:
        check_sizes(postgres["pgbouncer"], f"{path}.postgres.pgbouncer", problems, limit_range)
    check_storage(postgres, f"{path}.postgres", problems)
    check_quota(env, path, problems)
    problems.check(f"{path}.postgres.database", rules.database(postgres["database"]), postgres["database"])
    if postgres["user"] != postgres["database"] or rules.database(postgres["database"]) is None:
        problems.check(f"{path}.postgres.user", rules.role(postgres["user"]), postgres["user"])
    if not 0 <= redis["database"] <= 15:
        problems.add(f"{path}.redis.database", "is outside 0-15, the databases of a Redis; use a number in that range", redis["database"])
    problems.check(f"{path}.redis.user", rules.redis_user(redis["user"]), redis["user"])
    problems.check(f"{path}.redis.prefix", rules.redis_prefix(redis["prefix"]), redis["prefix"])
    data_layer.check_postgres(postgres, platform, f"{path}.postgres", problems)
    data_layer.check_redis(redis, f"{path}.redis", limit_range, problems)
    if api["replicas"] < 1:
        problems.add(f"{path}.api.replicas", "must be at least 1; leave the environment out to have none", api["replicas"])
    if not 0 < api["port"] < 65536:
        problems.add(f"{path}.api.port", "is not a TCP port number; use 1 to 65535", api["port"])
    if api["image"]:
        problems.check(f"platform_releases.{name}.image" if released else f"{path}.api.image", rules.image(api["image"]), api["image"])
    elif not own_image:
        problems.add(f"{path}.api.image", "is not filled in; set the image of your application")
    for probe in ("liveness", "readiness"):
        problems.check(f"{path}.api.{probe}", rules.url_path(api[probe]), api[probe])
    problems.check(f"{path}.api.host", rules.host(api["host"]), api["host"])
    problems.check(f"{path}.api.edge_rate.period", rules.duration(api["edge_rate"]["period"]), api["edge_rate"]["period"])
    for key in ("average", "burst"):
        problems.check(f"{path}.api.edge_rate.{key}", None if api["edge_rate"][key] > 0 else "must be more than 0 requests", api["edge_rate"][key])
    backup = env["backup"]
    if backup["schedule"]:
        problems.check(f"{path}.backup.schedule", rules.cron(backup["schedule"]), backup["schedule"])
    problems.check(f"{path}.backup.time_zone", rules.time_zone(backup["time_zone"]), backup["time_zone"])
    for span, count in backup["keep"].items():
        problems.check(f"{path}.backup.keep.{span}", None if count >= 0 else "must be 0 or more; 0 keeps none of that span", count)
    if not any(backup["keep"].values()):
        problems.add(f"{path}.backup.keep", "keeps nothing; at least one of daily, weekly and monthly is more than 0")
    _config(env, path, problems)
    return env


def _check_name(name: str, path: str, problems: Problems) -> None:
    """An environment's name becomes part of Service names, which are DNS labels, and a group of platform_secrets."""
    flaw = rules.label(name)
    if flaw is None and len(f"pgbouncer-{name}") > 63:
        flaw = f"makes the Service name pgbouncer-{name} longer than 63 characters; use at most {63 - len('pgbouncer-')}"
    if name in {**credentials.SHARED, **credentials.S3}:
        flaw = f"is reserved for the platform's own group platform_secrets.{name}; rename the environment"
    problems.check(path, flaw, name)


def _config(env: Raw, path: str, problems: Problems) -> None:
    """Turn every value into text, check JSON, and add the addresses of Postgres and Redis where the inventory does not set them."""
    postgres, redis = env["postgres"], env["redis"]
    derived = {
        "PORT": str(env["api"]["port"]),
        "DB_HOST": f"{(postgres['pgbouncer'] if postgres['pgbouncer']['enabled'] else postgres)['service']}.{env['namespace']}.svc.cluster.local",
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
    application.split(env, path, problems)


# --- across environments --------------------------------------------------------------------------------------------------------------------


def _check_unique(values: Iterator[tuple[str, object]], why: str, problems: Problems) -> None:
    first: dict[object, str] = {}
    for path, value in values:
        if value in first:
            problems.add(path, f"is also {first[value]}; {why}", value)
        first.setdefault(value, path)


def _check_prefixes(environments: Mapping[str, Raw], problems: Problems) -> None:
    """No prefix is the beginning of another; otherwise the user of the shorter one would see the keys of the longer one."""
    for name, env in environments.items():
        mine = env["redis"]["prefix"]
        for other, theirs in ((n, e["redis"]["prefix"]) for n, e in environments.items() if n != name):
            if mine != theirs and mine.startswith(theirs):
                text = f"starts with platform_environments.{other}.redis.prefix ({theirs}), whose user would see its keys; choose another"
                problems.add(f"platform_environments.{name}.redis.prefix", text, mine)


def _hash(*parts: object) -> str:
    """A hash that changes when a pod would see another value. 64 bits of SHA-256 reveal nothing of secrets, which are random themselves."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _selection(only: Any, known: list[str], problems: Problems) -> list[str]:
    """The environments of this run, in the order of the inventory: those named by platform_only, or all."""
    names: list[Any] = []
    if isinstance(only, (str, list)):
        names = [str(name).strip() for name in (only.split(",") if isinstance(only, str) else only)]
    else:
        problems.add("platform_only", f"must be names of environments, a list or text with commas; known: {', '.join(known)}", only)
    names = [name for name in names if name]
    for name in names:
        if name not in known:
            problems.add("platform_only", f"is not an environment; {nearest(name, known)}", name)
    return [name for name in known if not names or name in names]


def _server(described: Raw, problems: Problems) -> Raw:
    """Sizes as canonical text."""
    names = {"cpu": "cpu", "memory": "memory", "disk": "requests.storage"}
    server = dict(described)
    own: dict[str, int] = {}
    for path, part in (("platform_server", server), ("platform_server.reserved", server["reserved"])):
        for name, resource in names.items():
            size = amounts({resource: part[name]}, path, problems).get(resource) if part[name] else None
            if part is not server and size is not None and own.get(name, size + 1) <= size:
                text = f"is all of platform_server.{name} ({server[name]}), and leaves nothing for pods; lower it"
                problems.add(f"{path}.{name}", text, part[name])
            own |= {name: size} if part is server and size is not None else {}
            part[name] = "" if size is None else format_resource(resource, size)
    if server["pods"] < 1:
        problems.add("platform_server.pods", "must be 1 or more; the kubelet's own default is 110", server["pods"])
    return server


def _check_redis(redis: Raw, namespaces: Mapping[str, Raw], limit_ranges: Mapping[str, dict[str, Raw]], problems: Problems) -> None:
    if redis["namespace"] not in namespaces:
        problems.add(
            "platform_redis.namespace", f"is not one of platform_namespaces; {nearest(redis['namespace'], list(namespaces))}", redis["namespace"]
        )
    check_sizes(redis, "platform_redis", problems, limit_ranges.get(redis["namespace"]))
    data_layer.check_redis_sizes(redis, "platform_redis", problems)


def _check_edges(raw: Raw, acme: Raw, s3: Raw, with_backup: bool, problems: Problems) -> None:
    """Check the server's address, the certificate authority and the bucket."""
    for host, address in raw.get("hosts", {}).items():
        problems.check(f"ansible_host of {host}", rules.address(address), address)
    problems.check("platform_acme.email", rules.email(acme["email"]), acme["email"])
    problems.check("platform_acme.server", rules.secure_url(acme["server"]), acme["server"])
    problems.check("platform_acme.ca_bundle", rules.certificates(acme["ca_bundle"]))
    if with_backup:
        recipient = raw["platform_backup_recipient"]
        problems.check("platform_s3.endpoint", rules.storage_url(s3["endpoint"]), s3["endpoint"])
        problems.check("platform_s3.bucket", rules.bucket(s3["bucket"]), s3["bucket"])
        problems.check("platform_s3.prefix", rules.folder(s3["prefix"]), s3["prefix"])
        problems.check("platform_backup_recipient", rules.age_recipient(recipient), None if rules.is_age_identity(recipient) else recipient)


def _images(known: Collection[str], raw: Raw, problems: Problems) -> list[str]:
    """The images that the platform uses. Each is the lock's or the inventory's, unless a bundle that is still to be made will bring it."""
    overrides = raw["platform_image_overrides"]
    for name, reference in overrides.items():
        if name not in IMAGES:
            problems.add(f"platform_image_overrides.{name}", f"is not an image of the platform; {nearest(name, IMAGES)}")
        problems.check(f"platform_image_overrides.{name}", rules.image(str(reference)), reference)
    environments = [env for env in raw["platform_environments"].values() if isinstance(env, Mapping)]
    pooled = any(data_layer.POOLER_SECRET in data_layer.own_secrets(env.get("postgres") or {}) for env in environments)
    used = [name for name in IMAGES if name != "pgbouncer" or pooled]
    for name in used:
        # without an image called api, each environment needs one of its own
        if name != "api" and name not in known and name not in overrides and not raw.get("image_pending"):
            problems.add(f"platform_image_overrides.{name}", "is not set, and the lock has no such image; build and push it, or use a bundle")
    return used


def _with_profile(raw: Raw, problems: Problems) -> Raw:
    """The variables with the chosen profile laid over them."""
    name, profiles = raw["platform_profile"], raw["platform_profiles"]
    if not name:
        return raw
    if name not in profiles:
        problems.add("platform_profile", f"is not one of platform_profiles; {nearest(name, list(profiles))}", name)
        return raw
    parts = ("server", "environments", "namespaces", "redis")
    over: dict[str, Mapping[str, Any]] = {}
    if not isinstance(profiles[name], Mapping):
        problems.add(f"platform_profiles.{name}", "must be a dictionary (name: value)", profiles[name])
        return raw
    for part, value in profiles[name].items():
        if part not in parts:
            problems.add(f"platform_profiles.{name}.{part}", f"is unknown; {nearest(part, list(parts))}")
        elif not isinstance(value, Mapping):
            problems.add(f"platform_profiles.{name}.{part}", "must be a dictionary (name: value)", value)
        else:
            over[part] = value
    for env in over.get("environments", {}):
        if env not in raw["platform_environments"]:
            problems.add(f"platform_profiles.{name}.environments.{env}", f"is not an environment; {nearest(env, list(raw['platform_environments']))}")
    return {**raw, **{f"platform_{part}": merge(raw[f"platform_{part}"], value) for part, value in over.items()}}


def _check_roles(roles: Mapping[str, Any], problems: Problems) -> Mapping[str, Any]:
    """Check the other roles' variables that the inventory sets; returns K3s's configuration, which decides the networks."""
    for role, interface in roles.items():
        options, values = interface["options"], interface["values"]
        known = {name: value for name, value in values.items() if name in options}
        for name in values.keys() - known.keys():
            close = difflib.get_close_matches(name, options, n=1, cutoff=0.8)
            if close:
                problems.add(name, f"is unknown to the role {role}; did you mean {close[0]}?")
        schema.check(known, options, problems)
    config = roles.get("k3s", {}).get("values", {}).get("k3s_config")
    return config if isinstance(config, Mapping) else {}


def _check_bundle(raw: Raw, problems: Problems) -> None:
    """A run needs the whole bundle; only the fit plan works before it is made."""
    if not raw["platform_preflight_only"]:
        for path in ["artifacts.lock.yml"] if raw.get("image_pending") else raw.get("bundle_lacks") or []:
            text = f"has no file {path}; name the directory of a whole bundle, or leave platform_bundle out on a server with internet"
            problems.add("platform_bundle", text, raw["platform_bundle"])


def _check_names(names: list[str], specs: Specs, problems: Problems) -> None:
    """Ansible would ignore a mistyped top-level name: refuse each that is close to a known one."""
    known = list(specs["inventory"]["options"])
    for name in names:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.88)
        if name not in known and close:
            problems.add(name, f"is unknown; did you mean {close[0]}?")


def resolve(variables: Mapping[str, Any], specs: Specs, images: Collection[str]) -> Resolution:
    """The model of an inventory.

    :arg variables: every `platform_*` variable of the entry point `inventory`; also `hosts` (host -> address), `names` (all `platform_*` names
        that are set), `roles` (role -> its `options`, the `values` that the inventory sets, and the names that are `unknown` until the server's facts
        are there), `image_pending` (True while a bundle's lock is still to be made), `bundle_lacks` (files of the lock that are not in the bundle)
        and `lock_flaws` (what is wrong with a lock, by whose it is).
    :arg specs: the entry points that describe the inventory (collection.inventory_specs).
    :arg images: logical names of the lock's images.
    """
    problems = Problems()
    options = specs["inventory"]["options"]
    own = {name: value for name, value in variables.items() if name in options and value is not None}
    raw = {**variables, **{name: deepcopy(option["default"]) for name, option in options.items()}, **schema.check(own, options, problems)}
    _check_names(list(raw.get("names") or []), specs, problems)
    k3s_config = _check_roles(raw.get("roles") or {}, problems)
    nets = networks.cluster_networks(k3s_config, problems)
    networks.check_server(nets, raw.get("hosts") or {}, problems)
    for path, text in (raw.get("lock_flaws") or {}).items():
        problems.add(path, text)
    _check_bundle(raw, problems)
    raw = _with_profile(raw, problems)
    for name in malformed(raw["platform_delete"]):
        problems.add("platform_delete", RULE, name)
    drift_ignore.check(raw["platform_drift_ignore"], problems)
    problems.check("platform_name", rules.label(raw["platform_name"]), raw["platform_name"])

    used = _images(images, raw, problems)
    own_image = bool("api" in images or "api" in raw["platform_image_overrides"] or raw.get("image_pending"))
    redis, acme, s3 = (
        schema.complete(raw[name], specs[name]["options"], name, problems) for name in ("platform_redis", "platform_acme", "platform_s3")
    )
    s3["prefix"] = s3["prefix"] or raw["platform_name"]
    server = _server(schema.complete(raw["platform_server"], specs["platform_server"]["options"], "platform_server", problems), problems)

    namespaces: dict[str, Raw] = {}
    limit_ranges: dict[str, dict[str, Raw]] = {}
    for name, entry in raw["platform_namespaces"].items():
        path = f"platform_namespaces.{name}"
        space = schema.complete(entry, specs["namespace"]["options"], path, problems)
        problems.check(path, rules.label(name), name)
        namespaces[name] = {**space, "name": name, "namespace": space["namespace"] or f"{raw['platform_name']}-{name}"}
        limit_ranges[name] = _check_space(namespaces[name], path, nets, problems)

    environments: dict[str, Raw] = {}
    for name, entry in raw["platform_environments"].items():
        filled = schema.complete(entry, specs["environment"]["options"], f"platform_environments.{name}", problems)
        environments[name] = _environment(name, filled, raw, own_image, nets, problems)
    if not environments:
        problems.add("platform_environments", "is empty; describe at least one environment")

    spaces = {**{f"platform_environments.{n}": e for n, e in environments.items()}, **{f"platform_namespaces.{n}": s for n, s in namespaces.items()}}
    _check_unique(((f"{p}.namespace", s["namespace"]) for p, s in spaces.items()), "each has a namespace of its own", problems)
    grants.settle(spaces, problems, raw["platform_name"], redis["namespace"])
    application.check_schemas(raw["platform_config_schemas"], environments, problems)
    registries = application.registries(raw, specs["registry"]["options"], problems)
    _check_unique(
        ((f"platform_namespaces.{n}", n) for n in [*environments, *namespaces] if n in environments and n in namespaces), "rename one", problems
    )
    every = environments.items()
    _check_unique(
        ((f"platform_environments.{n}.redis.database", e["redis"]["database"]) for n, e in every if not e["redis"]["dedicated"]),
        "each environment has its own (0-15)",
        problems,
    )
    _check_unique(((f"platform_environments.{n}.redis.user", e["redis"]["user"]) for n, e in every), "each environment has its own", problems)
    _check_unique(((f"platform_environments.{n}.redis.prefix", e["redis"]["prefix"]) for n, e in every), "each environment has its own", problems)
    _check_prefixes(environments, problems)
    for env in raw["platform_releases"]:
        if env not in environments:
            problems.add(f"platform_releases.{env}", f"belongs to no environment; remove it; {nearest(env, environments)}")
    _check_unique(
        ((f"platform_environments.{n}.api.host", e["api"]["host"]) for n, e in every if e["api"]["host"]), "each has a name of its own", problems
    )
    _check_redis(redis, namespaces, limit_ranges, problems)
    with_backup = bool(s3["endpoint"]) or any(env["backup"]["schedule"] for env in environments.values())
    _check_edges(raw, acme, s3, with_backup, problems)
    credentials.check(raw, environments, with_backup, problems)

    secrets = credentials.flat(raw["platform_secrets"])
    shared_redis = namespaces.get(redis["namespace"], {}).get("namespace", "")
    for name, env in environments.items():
        env["redis"]["namespace"] = env["namespace"] if env["redis"]["dedicated"] else shared_redis
        own = secrets.get(name, {})
        meanings = {key: application.meaning(text) for key, text in env["config"].items()}
        env["config_hash"] = _hash(meanings, {key: own.get(key, "") for key in env["secrets"]}, env["files"])
        env["postgres"]["pgbouncer"]["hash"] = _hash(own.get(data_layer.POOLER_SECRET, ""))
    selected = _selection(raw["platform_only"], list(environments), problems)
    model = {
        "name": raw["platform_name"],
        "complete": len(selected) == len(environments),
        "awaits_facts": sorted(name for interface in (raw.get("roles") or {}).values() for name in interface["unknown"]),
        "server": {**server, "networks": {key: [str(net) for net in parts] for key, parts in nets.items()}},
        "environments": {name: environments[name] for name in selected},
        "all_environments": environments,
        "namespaces": namespaces,
        "registries": registries,
        "images": used,
        "redis": redis,
        "acme": acme,
        "s3": s3,
        "redis_hash": _hash(secrets.get("shared", {}).get("REDIS_ADMIN_PASSWORD", "")),
    }
    return Resolution(model, list(dict.fromkeys(problems)))
