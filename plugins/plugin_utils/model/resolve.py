# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory's model: raw variables in, one complete and checked description of the platform out.

Pure: dictionaries in and out. Problems are collected, so that one run reports all of them; none contains a secret's value.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import json
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.engine.pruning import RULE, malformed
from ansible_collections.shaka.platform.plugins.module_utils.model_types import S3, Acme, App, Environment, Model, Notify, Server, SharedRedis, Space
from ansible_collections.shaka.platform.plugins.module_utils.quantities import format_resource
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import MOVED, PACKED, Interface
from ansible_collections.shaka.platform.plugins.plugin_utils.model import (
    acme,
    application,
    apps,
    backup,
    credentials,
    drift_ignore,
    edge,
    host,
    k3s,
    kept_data,
    network,
    point_in_time,
    postgres,
    previews,
    redis,
    redis_copies,
    rules,
    schema,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problem, Problems, check_unique, nearest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.sizes import (
    BACKUP_JOB,
    JOBS,
    Bounds,
    amounts,
    as_the_quota_leaves,
    check_bounds,
    check_quota,
    check_sizes,
    scratch,
    sized,
    sized_by_roles,
    spare_cpu,
)
from ansible_collections.shaka.platform.plugins.plugin_utils.preview_secrets import with_previews

Raw = schema.Raw
PLAIN = (
    "is in plain text in {0}, for everybody who has the file or its history; encrypt it with ansible-vault encrypt, or with SOPS (docs/secrets.md)"
)
OVER = "is over; a run of the whole site removes it, as shaka.platform.preview_end does, which takes it out of the inventory, too"


@dataclass
class Resolution:
    """The model, the problems, and what is right but dangerous."""

    model: Model
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

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


def _check_space(space: Space, path: str, cluster: network.ClusterNetworks, problems: Problems) -> Bounds:
    """Check name, network, quota and LimitRange of an environment's or another namespace; returns the LimitRange in numbers."""
    problems.check(f"{path}.namespace", rules.namespace(space["namespace"]), space["namespace"])
    network.check_space(space, path, cluster, problems)
    return check_bounds(space, path, problems)


# --- one environment ------------------------------------------------------------------------------------------------------------------------


def _fill_in(env: Environment, name: str, raw: Raw, s3: S3) -> None:
    """What follows from the environment's name, and from its release."""
    platform = raw["platform_name"]
    env["name"] = name
    env["namespace"] = env["namespace"] or f"{platform}-{name}"
    postgres.fill_in(env["postgres"], platform, name, env["namespace"])
    redis.fill_in(env["redis"], name)
    own = env["backup"]["s3"]["endpoint"]
    env["backup"]["point_in_time"]["enabled"] = point_in_time.is_on(name, env["backup"], s3["endpoint"] if own is None else own)
    apps.fill_in(env, platform, raw["platform_releases"].get(name))
    env["secrets"] = list(dict.fromkeys(["DB_PASSWORD", "REDIS_PASSWORD", *env["secrets"]]))


def _check_environment(env: Environment, path: str, problems: Problems) -> None:
    """Check what applications find in an environment, but for sizes and network."""
    name = env["name"]
    _check_name(name, path, problems)
    postgres.check(env["postgres"], f"{path}.postgres", problems)
    redis.check(env["redis"], f"{path}.redis", problems)
    application.configure(env, path, problems)


def _check_name(name: str, path: str, problems: Problems) -> None:
    """An environment's name becomes part of Service names, which are DNS labels, and a group of platform_secrets; `ingress` has it, too."""
    flaw = rules.namespace(name)
    if flaw is None and len(f"pgbouncer-{name}") > 63:
        flaw = f"makes the Service name pgbouncer-{name} longer than 63 characters; use at most {63 - len('pgbouncer-')}"
    if name in credentials.GROUPS:
        flaw = f"is reserved for the platform's own group platform_secrets.{name}; rename the environment"
    problems.check(path, flaw, name)


# --- across environments --------------------------------------------------------------------------------------------------------------------


def _hash(key: str, *parts: object) -> str:
    """A hash that changes when a pod would see another value. Who may see it, and does not have the key, cannot try values on it."""
    return hmac.new(key.encode(), json.dumps(parts, sort_keys=True).encode(), hashlib.sha256).hexdigest()[:16]


def _hash_of_seen(key: str, meanings: Mapping[str, Any], secrets: Mapping[str, str], app: App) -> str:
    """The hash of what an application sees of its environment's configuration."""
    config, names = ({*app["variables"][part], *app["files"][part]} for part in ("config", "secrets"))
    seen = {option: meaning for option, meaning in meanings.items() if option in config}
    return _hash(key, seen, {name: secrets.get(name, "") for name in names}, app["files"])


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


def _server(described: Server, problems: Problems) -> None:
    """Sizes as canonical text."""
    resources = {"cpu": "cpu", "memory": "memory", "disk": "requests.storage"}
    own: dict[str, int] = {}
    for path, part in (("platform_server", described), ("platform_server.reserved", described["reserved"])):
        sizes = cast(dict[str, str], part)
        for name, resource in resources.items():
            size = amounts({resource: sizes[name]}, path, problems).get(resource) if sizes[name] else None
            if part is not described and size is not None and own.get(name, size + 1) <= size:
                text = f"is all of platform_server.{name} ({format_resource(resource, own[name])}), and leaves nothing for pods; lower it"
                problems.add(f"{path}.{name}", text, sizes[name])
            own |= {name: size} if part is described and size is not None else {}
            sizes[name] = "" if size is None else format_resource(resource, size)
    if described["pods"] < 1:
        problems.add("platform_server.pods", "must be 1 or more; the kubelet's own default is 110", described["pods"])


def _check_redis(shared: SharedRedis, namespaces: Mapping[str, Space], bounds: Mapping[str, Bounds], problems: Problems) -> None:
    name = shared["namespace"]
    if name not in namespaces:
        problems.add("platform_redis.namespace", f"is not one of platform_namespaces; {nearest(name, namespaces)}", name)
    check_sizes(shared, "platform_redis.", problems, bounds.get(name))
    redis.check_server(shared, "platform_redis", problems)


def _check_edges(raw: Raw, authority: Acme, of_roles: Mapping[str, Any], problems: Problems) -> list[str]:
    """Check the server's address, the certificate authority, the router, and the proxies before the server, which it returns."""
    for server, address in raw.get("hosts", {}).items():
        problems.check(f"ansible_host of {server}", rules.address(address), address)
    acme.settle(authority, problems)
    edge.check_router(of_roles, problems)
    proxies = [str(network) for network in of_roles.get("traefik_trusted_proxies") or []]
    for cidr in proxies:
        all_of_them = "is the whole internet, in which nobody would be a client; name the networks of your proxies" if cidr.endswith("/0") else None
        problems.check("traefik_trusted_proxies", rules.network(cidr) or all_of_them, cidr)
    return proxies


def _images(names: Collection[str], known: Collection[str], raw: Raw, problems: Problems) -> list[str]:
    """Those of the platform's images that this inventory uses. Each is the lock's or the inventory's, or a bundle that is still to be made has it."""
    overrides = raw["platform_image_overrides"]
    for name, reference in overrides.items():
        if name == PACKED:
            problems.add(f"platform_image_overrides.{name}", "is packed from the tools of the artifacts lock; remove it")
        elif name not in names:
            problems.add(f"platform_image_overrides.{name}", f"is not an image of the platform; {nearest(name, names)}")
        problems.check(f"platform_image_overrides.{name}", rules.image(str(reference)), reference)
    environments = [env for env in raw["platform_environments"].values() if isinstance(env, Mapping)]
    pooled = any(postgres.POOLER_SECRET in postgres.own_secrets(env.get("postgres")) for env in environments)
    used = [name for name in names if name != "pgbouncer" or pooled]
    for name in used:
        # without an image called api, each environment needs one of its own
        if name == "api" or name in known or name in overrides or raw.get("image_pending"):
            continue
        if name == PACKED:
            problems.add("platform_bundle", "has no backup tools, as an earlier version made it; run `ansible-playbook shaka.platform.bundle` again")
        else:
            problems.add(f"platform_image_overrides.{name}", "is not set, and the lock has no such image; name one, or make the bundle again")
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
        given = {name: variables[name] for name in options if name in variables}
        for name in (name for name, value in given.items() if value is None):  # to Ansible it takes the default's place
            problems.add(name, "has no value; give it one, or leave the line out for the default")
        right |= schema.check(given, options, problems)
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
        if name in MOVED:
            problems.add(name, f"is a key of each application now; move it to platform_environments.<environment>.api.{MOVED[name]}")
        for role, options in {"platform": interface.variables, **interface.roles}.items():
            close = difflib.get_close_matches(name, options, n=1, cutoff=0.88 if role == "platform" else 0.8)
            if name.startswith(f"{role}_") and close:
                problems.add(name, f"is unknown; did you mean {close[0]}?")


def resolve(variables: Mapping[str, Any], interface: Interface, images: Collection[str]) -> Resolution:
    """The model of an inventory.

    :arg variables: the values of the roles' variables; also `hosts` (host -> address), `names` (names that are set and that no role declares),
        `awaits_facts` (names whose values need the server's facts), `plain_secrets` (files with secrets in plain text), `image_pending` (True while
        a bundle's lock is still to be made), `bundle_lacks` (files of the lock that are not in the bundle), `lock_flaws` (what is wrong with a lock,
        by whose it is), `misread` (what YAML takes for something else than was written, by its path) and `given` (names of secrets whose values
        come from elsewhere).
    :arg interface: what the roles declare (collection.interface).
    :arg images: logical names of the lock's images.
    """
    problems = Problems()
    options, dictionaries = interface.variables, interface.dictionaries
    set_ones = {name: value for name, value in variables.items() if name in options and value is not None}
    raw = {**variables, **{name: deepcopy(option.get("default")) for name, option in options.items()}, **schema.check(set_ones, options, problems)}
    _check_names(raw.get("names") or [], interface, problems)
    of_roles = _check_roles(raw, interface, problems)
    cluster = network.cluster_networks(of_roles.get("k3s_config") or {}, problems)
    addresses = network.own_addresses(of_roles.get("k3s_config") or {}, cluster, problems)
    if operator := of_roles.get("tenancy_operator_name"):
        problems.check("tenancy_operator_name", rules.account(str(operator)), operator)
    problems.check("verify_ca_bundle", rules.certificates(of_roles.get("verify_ca_bundle") or ""))
    host.check(of_roles, problems)
    k3s.check(of_roles, problems)
    network.check_server(cluster, raw.get("hosts") or {}, problems)
    for path, text in [*(raw.get("lock_flaws") or {}).items(), *(raw.get("misread") or {}).items()]:
        problems.add(path, text)
    _check_bundle(raw, problems)
    raw = _with_profile(raw, problems)
    for name in malformed(raw["platform_delete"]):
        problems.add("platform_delete", RULE, name)
    drift_ignore.check(raw["platform_drift_ignore"], problems)
    problems.check("platform_name", rules.platform_name(raw["platform_name"]), raw["platform_name"])

    def completed(variable: str) -> Any:
        """One of the inventory's dictionaries, checked and with its defaults."""
        return schema.complete(raw[variable], dictionaries[variable], variable, problems)

    for origin, mirror in raw["platform_artifact_mirrors"].items():
        problems.check(f"platform_artifact_mirrors.{origin}", rules.download_host(str(origin)), origin)
        problems.check(f"platform_artifact_mirrors.{origin}", rules.storage_url(str(mirror)), mirror)
    used = _images(interface.images, images, raw, problems)
    has_image = bool("api" in images or "api" in raw["platform_image_overrides"] or raw.get("image_pending"))
    shared: SharedRedis = completed("platform_redis")
    authority: Acme = completed("platform_acme")
    s3: S3 = completed("platform_s3")
    notify: Notify = completed("platform_notify")
    if notify["webhook"]:  # not shown: whoever has it can send to it
        problems.check("platform_notify.webhook", rules.storage_url(notify["webhook"]))
    server: Server = completed("platform_server")
    s3["prefix"] = s3["prefix"] or raw["platform_name"]
    k3s.settle(server, of_roles)
    _server(server, problems)
    server["networks"] = {key: [str(net) for net in nets] for key, nets in cluster.items()}
    server["addresses"] = addresses

    namespaces: dict[str, Space] = {}
    bounds: dict[str, Bounds] = {}
    for name, entry in raw["platform_namespaces"].items():
        path = f"platform_namespaces.{name}"
        space = namespaces[name] = cast(Space, schema.complete(entry, dictionaries["namespace"], path, problems))
        problems.check(path, rules.namespace(name), name)
        space["name"], space["namespace"] = name, space["namespace"] or f"{raw['platform_name']}-{name}"
        bounds[name] = _check_space(space, path, cluster, problems)

    jobs = {start: item for start, item in sized_by_roles(interface.roles, of_roles).items() if start in JOBS}
    now = datetime.fromisoformat(raw["now"]) if raw.get("now") else datetime.now(UTC)
    found = previews.read(raw["platform_previews"], raw["platform_preview_run"], dictionaries["preview"], now, problems)
    parents = {preview["of"] for preview in found.live.values()}
    as_completed: dict[str, Raw] = {}  # what previews are made from

    def checked(filled: Raw, name: str, path: str, release: object) -> Bounds:
        """What follows from the name of an environment or a preview, checked; returns its LimitRange in numbers."""
        env = cast(Environment, filled)
        _fill_in(env, name, raw, s3)
        limits = _check_space(env, path, cluster, problems)
        for where, part in sized(dictionaries["environment"], filled, path):
            check_sizes(part, f"{where}.", problems, limits)
        apps.check(env, dictionaries["app"], limits, f"platform_releases.{name}", release, has_image, problems)
        return limits

    environments: dict[str, Environment] = {}
    for name, entry in raw["platform_environments"].items():
        path = f"platform_environments.{name}"
        filled = schema.complete(entry, dictionaries["environment"], path, problems)
        filled["apps"] = apps.complete(filled, entry, dictionaries["app"], dictionaries["volume"], path, problems)
        as_completed |= {name: deepcopy(filled)} if name in parents else {}
        env = environments[name] = cast(Environment, filled)
        limits = checked(filled, name, path, raw["platform_releases"].get(name))
        for start, job in jobs.items():
            check_sizes(job, start, problems, limits, f"{path}.")
        others = [job for start, job in jobs.items() if start != BACKUP_JOB]
        backup_job = as_the_quota_leaves(env, jobs[BACKUP_JOB], others)
        env["backup"]["requests"], env["backup"]["limits"] = backup_job["requests"], backup_job["limits"]
        env["backup"]["scratch"] = scratch(env["postgres"]["storage"])
        env["backup"]["spare_cpu"] = spare_cpu(env, [*others, backup_job])
        check_quota(env, path, [*others, backup_job], problems)
        _check_environment(env, path, problems)
    if not environments:
        problems.add("platform_environments", "is empty; describe at least one environment")

    taken = {*environments, *namespaces, *credentials.GROUPS}
    right = previews.check(found.live, list(environments), taken, raw["platform_previews_most"], "ended" in raw["platform_preview_run"], problems)
    for name in sorted({*found.ended} & {*environments, *namespaces}):
        kind, variable = ("an environment", "platform_environments") if name in environments else ("a namespace", "platform_namespaces")
        if name in raw["platform_previews"]:
            problems.add(f"{previews.VARIABLE}.{name}", f"is the name of {kind}, and over; take this entry out")
        else:
            problems.add("preview", f"is {kind} of the inventory and not a preview; take it out of {variable} to remove it", name)
    previewed: dict[str, Environment] = {}
    for name, given in right.items():
        filled = previews.made_from(as_completed[given["of"]], name, given, raw, problems)
        env = previewed[name] = cast(Environment, filled)
        checked(filled, name, f"{previews.VARIABLE}.{name}", None)
        previews.settle(env, given, environments[given["of"]], credentials.issued_elsewhere(raw), raw["platform_previews_most"])
        _check_environment(env, f"{previews.VARIABLE}.{name}", problems)
    everything = {**environments, **previewed}

    spaces: dict[str, Space] = {f"platform_namespaces.{name}": space for name, space in namespaces.items()}
    spaces = {**{f"platform_environments.{name}": env for name, env in environments.items()}, **spaces}
    spaces |= {f"{previews.VARIABLE}.{name}": env for name, env in previewed.items()}
    check_unique(((f"{path}.namespace", space["namespace"]) for path, space in spaces.items()), "each has a namespace of its own", problems)
    managed = of_roles.get("host_operator_name") if of_roles.get("host_manage_operator", True) else ""
    if of_roles.get("tenancy_operator_name", managed):
        accounts = f"{raw['platform_name']}-operators"
        for path in (path for path, space in spaces.items() if space["namespace"] == accounts):
            problems.add(f"{path}.namespace", "is that of the operator's account (tenancy_operator_name), which has no pods; name another", accounts)
    both = [name for name in [*environments, *namespaces] if name in environments and name in namespaces]
    check_unique(((f"platform_namespaces.{name}", name) for name in both), "rename one", problems)
    kept_data.check_retired(raw[kept_data.RETIRE], spaces, environments, problems)
    network.connect(spaces.values())
    if "metrics-server" in network.parts((of_roles.get("k3s_config") or {}).get("disable", [])):
        apps.check_metrics(everything, problems)
    application.check_schemas(raw["platform_config_schemas"], environments, problems)
    registries = application.registries(raw, dictionaries["registry"], problems)
    redis.check_together(everything, problems)
    for name in raw["platform_releases"]:
        if name not in environments:
            elsewhere = "where another server has that environment, keep each server's releases in its own host_vars (release_file)"
            flaw = f"belongs to no environment of this server; remove it, or, {elsewhere}; {nearest(name, environments)}"
            problems.add(f"platform_releases.{name}", flaw)
    apps.check_places(everything, problems)
    _check_redis(shared, namespaces, bounds, problems)
    if shared["backup"]["enabled"]:
        check_sizes(jobs[BACKUP_JOB], BACKUP_JOB, problems, bounds.get(shared["namespace"]), f"platform_namespaces.{shared['namespace']}.")
    proxies = _check_edges(raw, authority, of_roles, problems)
    own_namespaces = [space["namespace"] for space in spaces.values()]
    for name, env in environments.items():
        backup.settle(env["backup"], f"platform_environments.{name}.backup", s3, raw[backup.PLATFORM_RECIPIENT], own_namespaces, problems)
        point_in_time.check(env, f"platform_environments.{name}", problems)
        redis_copies.check(env, f"platform_environments.{name}", problems)
    copied = redis_copies.settle(
        shared, jobs[BACKUP_JOB], s3, raw[backup.PLATFORM_RECIPIENT], own_namespaces, credentials.flat(raw["platform_secrets"]), problems
    )
    own_config = {name: {str(key): previewed[name]["config"][str(key)] for key in given["config"]} for name, given in right.items()}
    credentials.check(raw, environments, copied, authority["secrets"], problems, own_config)
    further = [name for env in everything.values() for app in env["apps"].values() for name in app["hosts"][1:]]
    acme.check_hosts(authority, further, problems)
    acme.check_names(authority, ((each.path, each.hosts) for each in edge.asked_certificates(everything)), problems)
    secrets = with_previews(credentials.flat(raw["platform_secrets"]), previewed)
    buffer = edge.buffer(of_roles, problems)
    edge.check_all(everything, secrets, buffer, problems)
    edge.check_memory(everything, sized_by_roles(interface.roles, of_roles)["traefik_"]["limits"], buffer, problems)
    plain = [PLAIN.format(path) for path in raw.get("plain_secrets") or []]
    for text in plain if raw["platform_preflight_only"] else ():
        problems.add("platform_secrets", text)

    key = secrets.get("shared", {}).get(credentials.HASH_KEY, "")
    shared["hash"] = _hash(key, secrets.get("shared", {}).get(redis.ADMINISTRATOR, ""))
    for name, env in everything.items():
        redis_space = env if env["redis"]["dedicated"] else namespaces.get(shared["namespace"])
        env["redis"]["namespace"] = redis_space["namespace"] if redis_space else ""
        own = secrets.get(name, {})
        env["redis"]["hash"] = _hash(key, own.get(redis.ADMINISTRATOR, ""))
        meanings = {option: application.meaning(text) for option, text in env["config"].items()}
        apps.select(env, partial(_hash_of_seen, key, meanings, own), problems)
    for name, env in environments.items():
        own = secrets.get(name, {})
        backup.name_credentials(env["backup"], name, secrets)
        env["postgres"]["pgbouncer"]["hash"] = _hash(key, own.get(postgres.POOLER_SECRET, ""))
        read = [
            env["backup"]["writer"]["access_key"],
            env["backup"]["writer"]["secret_key"],
            f"{name}/{backup.KEY}",
            f"{name}/{point_in_time.SECRET}",
        ]
        env["backup"]["point_in_time"]["hash"] = _hash(
            key, [secrets.get(group, {}).get(secret, "") for group, secret in (path.split("/") for path in read)]
        )
    copies = redis_copies.named(shared, copied, namespaces.get(shared["namespace"]), environments)
    selected = _selection(raw["platform_only"], [*environments, *previewed], problems)
    alone = bool(raw["platform_preview_run"])  # a run that is about previews alone has none of the environments
    complete = not alone and {*environments} <= {*selected}
    chosen = {name: env for name, env in environments.items() if name in selected and not alone}
    shown = {name: env for name, env in previewed.items() if alone or name in selected or env["preview"]["of"] in selected}
    ended = found.ended if alone or complete else []
    hosts = {env["preview"]["of"] for env in shown.values()} | previews.parents([] if complete else ended, raw["platform_previews"], environments)
    model: Model = {
        "name": raw["platform_name"],
        "complete": complete,
        "awaits_facts": sorted(raw.get("awaits_facts") or []),
        "server": server,
        "environments": chosen,
        "all_environments": environments,
        "previews": shown,
        "all_previews": previewed,
        "ended_previews": ended,
        "waited_preview": next(iter(raw["platform_preview_run"].get("made") or {}), ""),
        "preview_hosts": {name: env for name, env in environments.items() if name in hosts and name not in chosen},
        "namespaces": namespaces,
        "registries": registries,
        "images": used,
        "application_images": {f"{key}_{name}": app["image"] for name, env in environments.items() for key, app in env["apps"].items()},
        "redis": shared,
        "redis_copies": {name: copy for name, copy in copies.items() if name in chosen or (complete and name == redis_copies.SHARED)},
        "all_redis_copies": copies,
        "acme": authority,
        "trusted_proxies": proxies,
        "hosts": edge.hosts({**chosen, **shown}),
        "s3": s3,
        "notify": notify,
        "names": sorted(
            {
                *backup.names_to_resolve([env["backup"] for env in environments.values()], own_namespaces),
                *backup.names_to_resolve([copy["backup"] for copy in copies.values()], own_namespaces),
                *acme.names_to_resolve(authority),
            }
        ),
    }
    warnings = [] if raw["platform_preflight_only"] else [f"platform_secrets: {text}" for text in plain]
    warnings += [f"{previews.VARIABLE}.{name}: {OVER}" for name in found.ended if name in raw["platform_previews"] and not alone]
    visited = any(app["hosts"] for env in everything.values() for app in env["apps"].values())
    warnings += host.closed(of_roles, visited, visited and acme.asks_by_http(authority))
    return Resolution(model, list(dict.fromkeys(problems)), [*backup.warnings(model["environments"]), *warnings])
