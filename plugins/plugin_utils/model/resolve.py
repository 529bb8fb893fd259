# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory's model: raw variables in, one complete and checked description of the platform out.

Pure: dictionaries in and out. Problems are collected, so that one run reports all of them; none contains a secret's value.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.engine.pruning import RULE, malformed
from ansible_collections.shaka.platform.plugins.module_utils.quantities import format_resource
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import Interface
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
from ansible_collections.shaka.platform.plugins.plugin_utils.model.sizes import (
    JOBS,
    amounts,
    check_quota,
    check_sizes,
    check_space,
    check_storage,
    sized,
    sized_by_roles,
)

Raw = dict[str, Any]
LimitRange = dict[str, Raw]


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


def _environment(name: str, env: Raw, raw: Raw, own_image: bool, nets: Mapping[str, list[networks.Network]], problems: Problems) -> LimitRange:
    """Check the environment, and fill in what depends on its name; returns its LimitRange in numbers."""
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
    check_storage(postgres, f"{path}.postgres", problems)
    problems.check(f"{path}.postgres.database", rules.database(postgres["database"]), postgres["database"])
    if postgres["user"] != postgres["database"] or rules.database(postgres["database"]) is None:
        problems.check(f"{path}.postgres.user", rules.role(postgres["user"]), postgres["user"])
    if not 0 <= redis["database"] <= 15:
        problems.add(f"{path}.redis.database", "is outside 0-15, the databases of a Redis; use a number in that range", redis["database"])
    problems.check(f"{path}.redis.user", rules.redis_user(redis["user"]), redis["user"])
    problems.check(f"{path}.redis.prefix", rules.redis_prefix(redis["prefix"]), redis["prefix"])
    data_layer.check_postgres(postgres, platform, f"{path}.postgres", problems)
    data_layer.check_redis(redis, f"{path}.redis", problems)
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
    return limit_range


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
    check_sizes(redis, "platform_redis.", problems, limit_ranges.get(redis["namespace"]))
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


def _images(names: Collection[str], known: Collection[str], raw: Raw, problems: Problems) -> list[str]:
    """Those of the platform's images that this inventory uses. Each is the lock's or the inventory's, or a bundle that is still to be made has it."""
    overrides = raw["platform_image_overrides"]
    for name, reference in overrides.items():
        if name not in names:
            problems.add(f"platform_image_overrides.{name}", f"is not an image of the platform; {nearest(name, names)}")
        problems.check(f"platform_image_overrides.{name}", rules.image(str(reference)), reference)
    environments = [env for env in raw["platform_environments"].values() if isinstance(env, Mapping)]
    pooled = any(data_layer.POOLER_SECRET in data_layer.own_secrets(env.get("postgres") or {}) for env in environments)
    used = [name for name in names if name != "pgbouncer" or pooled]
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


def _check_roles(variables: Raw, interface: Interface, problems: Problems) -> Mapping[str, Any]:
    """Check the other roles' variables, as far as they are set; returns K3s's configuration, which decides the networks."""
    right: Raw = {}
    for options in interface.roles.values():
        right |= schema.check({name: variables[name] for name in options if name in variables}, options, problems)
    for start, item in sized_by_roles(interface.roles, right).items():
        check_sizes(item, start, problems, None)
    return right


def _check_bundle(raw: Raw, problems: Problems) -> None:
    """A run needs the whole bundle; only the fit plan works before it is made."""
    if not raw["platform_preflight_only"]:
        for path in ["artifacts.lock.yml"] if raw.get("image_pending") else raw.get("bundle_lacks") or []:
            text = f"has no file {path}; name the directory of a whole bundle, or leave platform_bundle out on a server with internet"
            problems.add("platform_bundle", text, raw["platform_bundle"])


def _check_names(names: Iterable[str], interface: Interface, problems: Problems) -> None:
    """Ansible would ignore a mistyped name: refuse each that is close to a known one."""
    for name in names:
        for role, options in {"platform": interface.variables, **interface.roles}.items():
            close = difflib.get_close_matches(name, options, n=1, cutoff=0.88 if role == "platform" else 0.8)
            if name.startswith(f"{role}_") and close:
                problems.add(name, f"is unknown; did you mean {close[0]}?")


def resolve(variables: Mapping[str, Any], interface: Interface, images: Collection[str]) -> Resolution:
    """The model of an inventory.

    :arg variables: the values of the roles' variables; also `hosts` (host -> address), `names` (names that are set and that no role declares),
        `awaits_facts` (names whose values need the server's facts), `image_pending` (True while a bundle's lock is still to be made),
        `bundle_lacks` (files of the lock that are not in the bundle) and `lock_flaws` (what is wrong with a lock, by whose it is).
    :arg interface: what the roles declare (collection.interface).
    :arg images: logical names of the lock's images.
    """
    problems = Problems()
    options, dictionaries = interface.variables, interface.dictionaries
    own = {name: value for name, value in variables.items() if name in options and value is not None}
    raw = {**variables, **{name: deepcopy(option.get("default")) for name, option in options.items()}, **schema.check(own, options, problems)}
    _check_names(raw.get("names") or [], interface, problems)
    of_roles = _check_roles(raw, interface, problems)
    nets = networks.cluster_networks(of_roles.get("k3s_config") or {}, problems)
    networks.check_server(nets, raw.get("hosts") or {}, problems)
    for path, text in (raw.get("lock_flaws") or {}).items():
        problems.add(path, text)
    _check_bundle(raw, problems)
    raw = _with_profile(raw, problems)
    for name in malformed(raw["platform_delete"]):
        problems.add("platform_delete", RULE, name)
    drift_ignore.check(raw["platform_drift_ignore"], problems)
    problems.check("platform_name", rules.label(raw["platform_name"]), raw["platform_name"])

    used = _images(interface.images, images, raw, problems)
    own_image = bool("api" in images or "api" in raw["platform_image_overrides"] or raw.get("image_pending"))
    redis, acme, s3 = (schema.complete(raw[name], dictionaries[name], name, problems) for name in ("platform_redis", "platform_acme", "platform_s3"))
    s3["prefix"] = s3["prefix"] or raw["platform_name"]
    server = _server(schema.complete(raw["platform_server"], dictionaries["platform_server"], "platform_server", problems), problems)

    namespaces: dict[str, Raw] = {}
    limit_ranges: dict[str, dict[str, Raw]] = {}
    for name, entry in raw["platform_namespaces"].items():
        path = f"platform_namespaces.{name}"
        space = schema.complete(entry, dictionaries["namespace"], path, problems)
        problems.check(path, rules.label(name), name)
        namespaces[name] = {**space, "name": name, "namespace": space["namespace"] or f"{raw['platform_name']}-{name}"}
        limit_ranges[name] = _check_space(namespaces[name], path, nets, problems)

    jobs = {start: item for start, item in sized_by_roles(interface.roles, of_roles).items() if start in JOBS}
    environments: dict[str, Raw] = {}
    for name, entry in raw["platform_environments"].items():
        path = f"platform_environments.{name}"
        env = environments[name] = schema.complete(entry, dictionaries["environment"], path, problems)
        limit_range = _environment(name, env, raw, own_image, nets, problems)
        for where, part in sized(dictionaries["environment"], env, path):
            check_sizes(part, f"{where}.", problems, limit_range)
        for start, job in jobs.items():
            check_sizes(job, start, problems, limit_range, f"{path}.")
        check_quota(env, path, jobs.values(), problems)
    if not environments:
        problems.add("platform_environments", "is empty; describe at least one environment")

    spaces = {**{f"platform_environments.{n}": e for n, e in environments.items()}, **{f"platform_namespaces.{n}": s for n, s in namespaces.items()}}
    _check_unique(((f"{p}.namespace", s["namespace"]) for p, s in spaces.items()), "each has a namespace of its own", problems)
    grants.settle(spaces, problems)
    application.check_schemas(raw["platform_config_schemas"], environments, problems)
    registries = application.registries(raw, dictionaries["registry"], problems)
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
    for name in raw["platform_releases"]:
        if name not in environments:
            problems.add(f"platform_releases.{name}", f"belongs to no environment; remove it; {nearest(name, environments)}")
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
        "awaits_facts": sorted(raw.get("awaits_facts") or []),
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
