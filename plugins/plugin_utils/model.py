# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory's model: raw variables in, one complete and checked description of the platform out.

Pure: dictionaries in and out. Every problem is collected, so that one run says all there is to change; a secret's value is never part of a problem.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.shaka.platform.plugins.module_utils.pruning import RULE, malformed
from ansible_collections.shaka.platform.plugins.plugin_utils import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.fit import Amounts, quota_shortfalls
from ansible_collections.shaka.platform.plugins.plugin_utils.quantities import (
    QuantityError,
    format_resource,
    parse_memory,
    parse_resource,
    resource_kind,
)

Raw = dict[str, Any]
Specs = Mapping[str, Mapping[str, Any]]

# What runs in an environment besides Postgres and the API, as large as their roles make it: a backup, and cert-manager's HTTP-01 solver while a
# certificate is issued. The fit plan counts the rendered objects; this is for a quota that could never work.
BACKUP = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}}
SOLVER = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}


IMAGES = ["postgres", "redis", "traefik", "cert_manager_controller", "cert_manager_webhook", "cert_manager_cainjector", "acmesolver", "api", "backup"]


@dataclass(frozen=True)
class Problem:
    """One value to change."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}\n      {self.text}"


@dataclass
class Resolution:
    """The model, the completed top-level dictionaries, and what is wrong."""

    model: Raw
    images: dict[str, str]
    settings: Raw
    problems: list[Problem] = field(default_factory=list)

    def message(self) -> str:
        """All problems as one text for a person."""
        count = len(self.problems)
        lines = [f"{count} {'value' if count == 1 else 'values'} of the inventory to change first:", ""]
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])


class _Problems(list[Problem]):
    def add(self, path: str, text: str | None, value: object = None) -> None:
        """Record a rule's answer unless it is None; the value is shown when there is one."""
        if text is not None:
            self.append(Problem(path, f"{rules.shown(value)} {text}" if value not in (None, "") else text))


def nearest(name: str, known: list[str]) -> str:
    """'; did you mean x?', or the list of known names."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.55)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"


def merge(base: Any, over: Any) -> Any:
    """`over` laid over `base`, dictionaries key by key."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: merge(base[key], value) if key in base else value for key, value in over.items()}}
    return over


def _with_defaults(options: Mapping[str, Any]) -> Raw:
    """The options with `apply_defaults` for every dictionary, so that the defaults of its keys apply where it is left out."""
    result: Raw = {}
    for name, option in options.items():
        result[name] = deepcopy(dict(option))  # the validator fills in the very objects that are the defaults
        if "options" in option:
            result[name]["options"] = _with_defaults(option["options"])
            result[name]["apply_defaults"] = option["type"] == "dict"
    return result


def _known_only(data: Any, options: Mapping[str, Any], path: str, problems: _Problems) -> Any:
    """The data without unknown keys and values of another shape, each of which becomes a problem; null means the default."""
    result: Raw = {}
    for key, value in data.items():
        here = f"{path}.{key}"
        option = options.get(str(key))
        if option is None:
            problems.add(here, f"is unknown; {nearest(str(key), list(options))}")
            continue
        if value is None:
            continue
        kind = option.get("type", "str")
        wrong = {"dict": not isinstance(value, Mapping), "list": isinstance(value, Mapping), "raw": False}.get(
            kind, isinstance(value, (Mapping, list))
        )
        if wrong:
            problems.add(here, f"must be a {kind}" if kind in ("dict", "list") else f"must be one value ({kind})")
        elif "options" in option and kind == "dict":
            result[key] = _known_only(value, option["options"], here, problems)
        elif "options" in option and isinstance(value, list):
            items = [item for item in value if isinstance(item, Mapping)]
            if len(items) != len(value):
                problems.add(here, "must be a list of dictionaries")
            result[key] = [_known_only(item, option["options"], f"{here}[{index}]", problems) for index, item in enumerate(items)]
        else:
            result[key] = deepcopy(value)
    return result


def complete(data: Any, entry: Mapping[str, Any], path: str, problems: _Problems) -> Raw:
    """The data with types converted and defaults applied by Ansible's own validator."""
    if not isinstance(data, Mapping):
        if data is not None:
            problems.add(path, "must be a dict")
        data = {}
    options = entry["options"]
    result = ArgumentSpecValidator(_with_defaults(options)).validate(_known_only(data, options, path, problems))
    for text in dict.fromkeys(result.error_messages):
        problems.append(_as_problem(path, text))
    return dict(result.validated_parameters) if not result.error_messages else _defaults_only(options)


_WRONG_TYPE = re.compile(r"argument '(\w+)' is of type .*?(?: found in '([\w> -]+)'\.)? and we were unable to convert to (\w+):.*", re.DOTALL)
_NO_CHOICE = re.compile(r"value of (\w+) must be one of: (.*), got: (\w*)(?: found in ([\w> -]+))?")


def _as_problem(path: str, text: str) -> Problem:
    """The validator's message with the path in front instead of in its words."""

    def inner(name: str, inside: str | None) -> str:
        return ".".join([path, *(inside.split(" -> ") if inside else []), name])

    if match := _WRONG_TYPE.fullmatch(text):
        name, inside, kind = match.groups()
        return Problem(inner(name, inside), f"must be {'a whole number' if kind == 'int' else kind}")
    if match := _NO_CHOICE.fullmatch(text):
        name, known, got, inside = match.groups()
        return Problem(inner(name, inside), f"'{got}' is unknown; known: {known}")
    return Problem(path, text)


def _defaults_only(options: Mapping[str, Any]) -> Raw:
    return dict(ArgumentSpecValidator(_with_defaults({k: {**v, "required": False} for k, v in options.items()})).validate({}).validated_parameters)


# --- quantities -----------------------------------------------------------------------------------------------------------------------------


def _amounts(values: Mapping[str, Any], path: str, problems: _Problems) -> Raw:
    """The quantities of a dictionary as numbers; those that do not parse are problems and left out."""
    numbers: Raw = {}
    for name, text in values.items():
        try:
            numbers[name] = parse_resource(name, str(text))
        except QuantityError as error:
            problems.add(f"{path}.{name}", str(error), text)
    return numbers


def _check_storage(item: Mapping[str, Any], path: str, problems: _Problems) -> None:
    try:
        problems.add(f"{path}.storage", None if parse_memory(item["storage"]) > 0 else "must be more than 0", item["storage"])
    except QuantityError as error:
        problems.add(f"{path}.storage", str(error), item["storage"])


def _check_sizes(item: Mapping[str, Any], path: str, problems: _Problems, limit_range: Mapping[str, Raw] | None) -> None:
    """request <= limit, and both within the namespace's LimitRange (https://kubernetes.io/docs/concepts/policy/limit-range/)."""
    requests = _amounts(item["requests"], f"{path}.requests", problems)
    limits = _amounts(item["limits"], f"{path}.limits", problems)
    for name in ("cpu", "memory"):
        request, limit = requests.get(name), limits.get(name)
        if request is not None and limit is not None and request > limit:
            problems.add(
                f"{path}.requests.{name}",
                f"is more than its limit {item['limits'][name]}; lower it, or raise {path}.limits.{name}",
                item["requests"][name],
            )
        least, most = (limit_range or {}).get("min", {}).get(name), (limit_range or {}).get("max", {}).get(name)
        if request is not None and least is not None and request < least:
            text = f"is under its namespace's LimitRange minimum {format_resource(name, least)}, which would refuse the pod"
            text += f"; raise it or lower limits.min.{name}"
            problems.add(f"{path}.requests.{name}", text, item["requests"][name])
        if limit is not None and most is not None and limit > most:
            text = f"is over the LimitRange maximum {format_resource(name, most)} of its namespace; lower it or raise limits.max.{name}"
            problems.add(f"{path}.limits.{name}", text, item["limits"][name])


def _check_space(space: Raw, path: str, problems: _Problems) -> dict[str, Raw]:
    """Namespace name, egress, quota and LimitRange of an environment or namespace; returns the LimitRange in numbers."""
    problems.add(f"{path}.namespace", rules.label(space["namespace"]), space["namespace"])
    for index, item in enumerate(space["egress"]):
        for network in [item["cidr"], *item["except"]]:
            problems.add(f"{path}.egress[{index}]", rules.network(network), network)
        for port in item["ports"]:
            problems.add(f"{path}.egress[{index}].ports", None if 0 < port < 65536 else "is no TCP port (1-65535)", port)
    for name in list(space["quota"]):
        space["quota"][name] = str(space["quota"][name])
        if resource_kind(name) is None:
            known = [
                "requests.cpu",
                "requests.memory",
                "limits.cpu",
                "limits.memory",
                "requests.storage",
                "pods",
                "services",
                "secrets",
                "configmaps",
                "persistentvolumeclaims",
            ]
            problems.add(f"{path}.quota.{name}", f"is nothing that a ResourceQuota counts; {nearest(name, known)}")
            del space["quota"][name]
    limit_range = {
        bound: _amounts(space["limits"][bound], f"{path}.limits.{bound}", problems) for bound in ("min", "max", "default", "default_request")
    }
    order = [("min", "default_request"), ("default_request", "default"), ("default", "max")]
    for name in ("cpu", "memory"):
        for low, high in order:
            a, b = limit_range[low].get(name), limit_range[high].get(name)
            if a is not None and b is not None and a > b:
                problems.add(
                    f"{path}.limits.{low}.{name}", f"is more than limits.{high}.{name} ({space['limits'][high][name]})", space["limits"][low][name]
                )
    return limit_range


def _demand(item: Mapping[str, Any], pods: int, storage: str = "0") -> Amounts:
    """What `pods` pods of these sizes ask of a quota; quantities that do not parse count as nothing (they are problems already)."""

    def number(kind: str, name: str) -> int:
        try:
            return parse_resource(name, str(item[kind][name])) * pods
        except QuantityError:
            return 0

    try:
        disk = parse_memory(storage)
    except QuantityError:
        disk = 0
    return Amounts(
        number("requests", "cpu"), number("limits", "cpu"), number("requests", "memory"), number("limits", "memory"), pods, disk, 1 if disk else 0
    )


def _check_quota(env: Raw, path: str, problems: _Problems) -> None:
    """The quota covers what the environment runs at its peak: Postgres, the API with the pod of a rolling update, a backup job, an ACME solver."""
    surge = 1 if env["api"]["strategy"] == "rolling" else 0
    need = Amounts.total(
        [
            _demand(env["postgres"], 1, env["postgres"]["storage"]),
            _demand(env["api"], env["api"]["replicas"] + surge),
            _demand(BACKUP, 1),
            _demand(SOLVER, 1),
        ]
    )
    for name, hard, needed in quota_shortfalls(_amounts(env["quota"], f"{path}.quota", problems), need):
        text = f"is less than the {format_resource(name, needed)} that the environment needs at its peak"
        text += " (Postgres, the API and its update's pod, a backup, a certificate's solver)"
        problems.add(f"{path}.quota.{name}", text, format_resource(name, hard))


# --- one environment ------------------------------------------------------------------------------------------------------------------------


def _environment(name: str, env: Raw, raw: Raw, default_image: str, problems: _Problems) -> Raw:
    """The environment with what depends on its name, checked."""
    path = f"platform_environments.{name}"
    platform = raw["platform_name"]
    env["name"] = name
    env["namespace"] = env["namespace"] or f"{platform}-{name}"
    postgres, redis, api = env["postgres"], env["redis"], env["api"]
    postgres["database"] = postgres["database"] or f"{platform}_{name}".replace("-", "_")
    postgres["user"] = postgres["user"] or postgres["database"]
    postgres["service"] = f"postgres-{name}"
    redis["prefix"] = redis["prefix"] or f"{name}:"
    redis["user"] = redis["user"] or name
    redis["service"] = f"redis-{name}"
    env["secrets"] = list(dict.fromkeys(["DB_PASSWORD", "REDIS_PASSWORD", *env["secrets"]]))
    release = raw["platform_releases"].get(name)
    api["image"] = (release.get("image") if isinstance(release, Mapping) else None) or api["image"] or default_image

    problems.add(path, rules.label(name), name)
    limit_range = _check_space(env, path, problems)
    for part in ("postgres", "api"):
        _check_sizes(env[part], f"{path}.{part}", problems, limit_range)
    _check_storage(postgres, f"{path}.postgres", problems)
    _check_quota(env, path, problems)
    problems.add(f"{path}.postgres.database", rules.sql_name(postgres["database"]), postgres["database"])
    problems.add(f"{path}.postgres.user", rules.sql_name(postgres["user"]), postgres["user"])
    if postgres["user"] == "postgres":
        problems.add(f"{path}.postgres.user", "is Postgres's own superuser; leave it out or name another", "postgres")
    if not 0 <= redis["database"] <= 15:
        problems.add(f"{path}.redis.database", "is outside 0-15", redis["database"])
    problems.add(f"{path}.redis.user", rules.label(redis["user"]), redis["user"])
    if api["replicas"] < 1:
        problems.add(f"{path}.api.replicas", "must be at least 1", api["replicas"])
    if not 0 < api["port"] < 65536:
        problems.add(f"{path}.api.port", "is no TCP port (1-65535)", api["port"])
    if not api["image"]:
        problems.add(f"{path}.api.image", "is not filled in; set the image of your application")
        api["image"] = "pending/api"
    for probe in ("liveness", "readiness"):
        problems.add(f"{path}.api.{probe}", None if api[probe].startswith("/") else "is no path; it starts with /", api[probe])
    problems.add(f"{path}.api.host", rules.host(api["host"]), api["host"])
    problems.add(f"{path}.api.edge_rate.period", rules.duration(api["edge_rate"]["period"]), api["edge_rate"]["period"])
    for key in ("average", "burst"):
        problems.add(f"{path}.api.edge_rate.{key}", None if api["edge_rate"][key] > 0 else "must be more than 0", api["edge_rate"][key])
    backup = env["backup"]
    if backup["schedule"]:
        problems.add(f"{path}.backup.schedule", rules.cron(backup["schedule"]), backup["schedule"])
    problems.add(f"{path}.backup.time_zone", rules.time_zone(backup["time_zone"]), backup["time_zone"])
    for span, count in backup["keep"].items():
        problems.add(f"{path}.backup.keep.{span}", None if count >= 0 else "must be 0 or more", count)
    if not any(backup["keep"].values()):
        problems.add(f"{path}.backup.keep", "keeps nothing; at least one of daily, weekly and monthly is more than 0")
    _config(env, path, problems)
    return env


def _config(env: Raw, path: str, problems: _Problems) -> None:
    """Every value as text, JSON checked, and the addresses of Postgres and Redis where the inventory does not set them."""
    postgres, redis = env["postgres"], env["redis"]
    derived = {
        "PORT": str(env["api"]["port"]),
        "DB_HOST": f"{postgres['service']}.{env['namespace']}.svc.cluster.local",
        "DB_PORT": "5432",
        "DB_NAME": postgres["database"],
        "DB_USER": postgres["user"],
        "REDIS_HOST": f"{redis['service']}.{env['namespace']}.svc.cluster.local",
        "REDIS_PORT": "6379",
        "REDIS_DB": str(redis["database"]),
        "REDIS_USERNAME": redis["user"],
        "REDIS_KEY_PREFIX": redis["prefix"],
    }
    given = {str(key): rules.as_text(value) for key, value in env["config"].items()}
    for name, text in given.items():
        problems.add(f"{path}.config.{name}", rules.variable_name(name), name)
        if name in env["config_json"] or text[:1] in ("{", "["):
            problems.add(f"{path}.config.{name}", rules.json_text(text))
    for name in env["config_json"]:
        if name not in given:
            problems.add(f"{path}.config_json", f"is not in config; {nearest(name, list(given))}", name)
    for name in env["secrets"]:
        problems.add(f"{path}.secrets", rules.variable_name(name), name)
        if name in given:
            problems.add(f"{path}.config.{name}", "is also one of its secrets; a name is one or the other")
    env["config"] = dict(sorted({**derived, **given}.items()))


# --- across environments --------------------------------------------------------------------------------------------------------------------


def _check_unique(values: Iterator[tuple[str, object]], why: str, problems: _Problems) -> None:
    first: dict[object, str] = {}
    for path, value in values:
        if value in first:
            problems.add(path, f"is also {first[value]}; {why}", value)
        first.setdefault(value, path)


def _flat_secrets(secrets: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {str(g): {str(k): "" if v is None else str(v) for k, v in names.items()} for g, names in secrets.items() if isinstance(names, Mapping)}


def _check_secrets(raw: Raw, environments: Mapping[str, Raw], with_backup: bool, problems: _Problems) -> None:
    """Present, long enough, no placeholder, nowhere the same. Values never enter a message."""
    minimum = raw["platform_secret_minimum"]
    secrets = _flat_secrets(raw["platform_secrets"])
    wanted = {name: list(env["secrets"]) for name, env in environments.items()}
    wanted["shared"] = ["REDIS_ADMIN_PASSWORD"]
    if with_backup:
        wanted["s3"] = ["ACCESS_KEY", "SECRET_KEY"]
    for group in secrets:
        if group not in [*wanted, "s3"]:
            problems.add(f"platform_secrets.{group}", f"belongs to no environment; {nearest(group, list(wanted))}")
    users: dict[str, list[str]] = defaultdict(list)
    for group, names in wanted.items():
        missing = [name for name in names if not secrets.get(group, {}).get(name)]
        if missing:
            least = {str(minimum.get(name, 32)) for name in missing}
            hint = (
                "your S3 service's credentials"
                if group == "s3"
                else f"random values of at least {' or '.join(sorted(least))} characters (openssl rand -hex 32)"
            )
            text = f"{', '.join(missing)} missing; fill in group_vars/all/secrets.yml with {hint} and encrypt it with ansible-vault"
            problems.add(f"platform_secrets.{group}", text)
        for name, value in secrets.get(group, {}).items():
            if value:
                users[value].append(f"platform_secrets.{group}.{name}")
                flaw = rules.secret(value, int(minimum.get(name, 32)))
                problems.add(f"platform_secrets.{group}.{name}", None if flaw is None else f"{flaw}; replace it by a random value")
    for paths in users.values():
        if len(paths) > 1:
            problems.add(paths[-1], f"is the same as {', '.join(paths[:-1])}; each secret has a value of its own")


def _hash(*parts: object) -> str:
    """Changes when a pod would see another value: 64 bits of SHA-256 over values that are themselves random."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _selection(wanted: Any, known: list[str], problems: _Problems) -> list[str]:
    names = [str(name).strip() for name in (wanted.split(",") if isinstance(wanted, str) else wanted or [])]
    names = [name for name in names if name]
    for name in names:
        if name not in known:
            problems.add("platform_only", f"is no environment; {nearest(name, known)}", name)
    return [name for name in known if not names or name in names]


def _server(given: Raw, facts: Mapping[str, Any], problems: _Problems) -> Raw:
    """Sizes as canonical text, the smaller of the inventory's and the facts': a server with less than it should have counts with what it has."""
    names = {"cpu": "cpu", "memory": "memory", "disk": "requests.storage"}
    server = dict(given)
    for path, part in (("platform_server", server), ("platform_server.reserved", server["reserved"])):
        for name, resource in names.items():
            sizes = _amounts({resource: part[name]}, path, problems).values() if part[name] else []
            known = [parse_resource(resource, str(facts[name]))] if part is server and facts.get(name) else []
            part[name] = format_resource(resource, min([*sizes, *known])) if sizes or known else ""
    return server


def _check_redis(redis: Raw, namespaces: Mapping[str, Raw], limit_ranges: Mapping[str, dict[str, Raw]], problems: _Problems) -> None:
    if redis["namespace"] not in namespaces:
        problems.add(
            "platform_redis.namespace", f"is none of platform_namespaces; {nearest(redis['namespace'], list(namespaces))}", redis["namespace"]
        )
    _check_sizes(redis, "platform_redis", problems, limit_ranges.get(redis["namespace"]))
    _check_storage(redis, "platform_redis", problems)
    try:
        if parse_memory(redis["maxmemory"]) * 4 > parse_memory(redis["limits"]["memory"]) * 3:
            text = (
                f"is more than 3/4 of platform_redis.limits.memory ({redis['limits']['memory']}); Redis needs the rest for itself and would be killed"
            )
            problems.add("platform_redis.maxmemory", text, redis["maxmemory"])
    except QuantityError as error:
        problems.add("platform_redis.maxmemory", str(error), redis["maxmemory"])


def _check_edges(raw: Raw, settings: Raw, with_backup: bool, problems: _Problems) -> None:
    """The server's address, the certificate authority and the bucket."""
    for host, address in raw.get("hosts", {}).items():
        problems.add(f"ansible_host of {host}", rules.address(address), address)
    acme, s3 = settings["platform_acme"], settings["platform_s3"]
    problems.add("platform_acme.email", rules.email(acme["email"]), acme["email"])
    problems.add("platform_acme.server", rules.url(acme["server"]), acme["server"])
    if acme["ca_bundle"] and "-----BEGIN CERTIFICATE-----" not in acme["ca_bundle"]:
        problems.add("platform_acme.ca_bundle", "holds no PEM certificate")
    if with_backup:
        problems.add("platform_s3.endpoint", rules.url(s3["endpoint"]), s3["endpoint"])
        problems.add("platform_s3.bucket", None if s3["bucket"] else "is not filled in; set the bucket for the backups, which must exist")
        problems.add("platform_backup_recipient", rules.age_recipient(raw["platform_backup_recipient"]), raw["platform_backup_recipient"])


def _references(images: Mapping[str, Any], raw: Raw, problems: _Problems) -> dict[str, str]:
    """Logical name -> reference, from the lock and the inventory; names stand in while a bundle is still to be made, so that a plan can be drawn."""
    references = {name: str(image["reference"]) for name, image in images.items()}
    references |= {name: str(reference) for name, reference in raw["platform_image_overrides"].items()}
    for name in raw["platform_image_overrides"]:
        if name not in IMAGES:
            problems.add(f"platform_image_overrides.{name}", f"is no image of the platform; {nearest(name, IMAGES)}")
    for name in IMAGES:
        if name in references or (name == "api" and not raw.get("image_pending")):  # then each environment is asked for its own
            continue
        references[name] = f"pending/{name}"
        if not raw.get("image_pending"):
            problems.add(f"platform_image_overrides.{name}", "is not filled in, and the lock has no such image; build and push it, or use a bundle")
    return references


def _with_profile(raw: Raw, problems: _Problems) -> Raw:
    """The variables with the chosen profile laid over them."""
    name, profiles = raw["platform_profile"], raw["platform_profiles"]
    if not name:
        return raw
    if name not in profiles:
        problems.add("platform_profile", f"is none of platform_profiles; {nearest(name, list(profiles))}", name)
        return raw
    parts = ("server", "environments", "namespaces", "redis")
    for part in profiles[name]:
        if part not in parts:
            problems.add(f"platform_profiles.{name}.{part}", f"is unknown; {nearest(part, list(parts))}")
    for env in profiles[name].get("environments", {}):
        if env not in raw["platform_environments"]:
            problems.add(f"platform_profiles.{name}.environments.{env}", f"is no environment; {nearest(env, list(raw['platform_environments']))}")
    return {**raw, **{f"platform_{part}": merge(raw[f"platform_{part}"], profiles[name][part]) for part in parts if part in profiles[name]}}


def _check_names(names: list[str], specs: Specs, problems: _Problems) -> None:
    """A mistyped top-level name would be ignored by Ansible: refuse those that are nearly one of the known."""
    known = list(specs["main"]["options"])
    for name in names:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.88)
        if name not in known and close:
            problems.add(name, f"is unknown; did you mean {close[0]}?")


def resolve(variables: Mapping[str, Any], specs: Specs, images: Mapping[str, Any], facts: Mapping[str, Any]) -> Resolution:
    """The model of an inventory.

    :arg variables: every `platform_*` variable of the entry point `main`; also `hosts` (host -> address), `names` (all `platform_*` names that are
        set) and `image_pending` (True while a bundle's lock is still to be made).
    :arg specs: the entry points of the role platform's argument_specs.yml.
    :arg images: the lock's images, logical name -> {reference, ...}.
    :arg facts: what is known of the server: cpu, memory, disk as quantities.
    """
    problems = _Problems()
    raw = dict(variables)
    for name, option in specs["main"]["options"].items():
        if raw.get(name) is None or not isinstance(raw[name], {"dict": Mapping, "list": list}.get(option["type"], object)):
            problems.add(name, None if raw.get(name) is None else f"must be a {option['type']}")
            raw[name] = deepcopy(option["default"])
    _check_names(list(raw.get("names", [])), specs, problems)
    raw = _with_profile(raw, problems)
    for name in malformed(raw["platform_delete"]):
        problems.add("platform_delete", RULE, name)
    problems.add("platform_name", rules.label(raw["platform_name"]), raw["platform_name"])

    references = _references(images, raw, problems)
    settings = {f"platform_{part}": complete(raw[f"platform_{part}"], specs[part], f"platform_{part}", problems) for part in ("redis", "acme", "s3")}
    settings["platform_s3"]["prefix"] = settings["platform_s3"]["prefix"] or raw["platform_name"]
    server = _server(complete(raw["platform_server"], specs["server"], "platform_server", problems), facts, problems)

    namespaces: dict[str, Raw] = {}
    limit_ranges: dict[str, dict[str, Raw]] = {}
    for name, given in raw["platform_namespaces"].items():
        path = f"platform_namespaces.{name}"
        space = complete(given, specs["namespace"], path, problems)
        problems.add(path, rules.label(name), name)
        namespaces[name] = {**space, "name": name, "namespace": space["namespace"] or f"{raw['platform_name']}-{name}"}
        limit_ranges[name] = _check_space(namespaces[name], path, problems)
        _amounts(namespaces[name]["quota"], f"{path}.quota", problems)

    environments: dict[str, Raw] = {}
    for name, given in raw["platform_environments"].items():
        filled = complete(given, specs["environment"], f"platform_environments.{name}", problems)
        environments[name] = _environment(name, filled, raw, references.get("api", ""), problems)
    if not environments:
        problems.add("platform_environments", "is empty; describe at least one environment")

    spaces = {**{f"platform_environments.{n}": e for n, e in environments.items()}, **{f"platform_namespaces.{n}": s for n, s in namespaces.items()}}
    _check_unique(((f"{p}.namespace", s["namespace"]) for p, s in spaces.items()), "each has a namespace of its own", problems)
    _check_unique(
        ((f"platform_namespaces.{n}", n) for n in [*environments, *namespaces] if n in environments and n in namespaces), "rename one", problems
    )
    every = environments.items()
    _check_unique(
        ((f"platform_environments.{n}.redis.database", e["redis"]["database"]) for n, e in every), "each environment has its own (0-15)", problems
    )
    _check_unique(((f"platform_environments.{n}.redis.user", e["redis"]["user"]) for n, e in every), "each environment has its own", problems)
    _check_unique(((f"platform_environments.{n}.redis.prefix", e["redis"]["prefix"]) for n, e in every), "each environment has its own", problems)
    _check_unique(
        ((f"platform_environments.{n}.api.host", e["api"]["host"]) for n, e in every if e["api"]["host"]), "each has a name of its own", problems
    )
    _check_redis(settings["platform_redis"], namespaces, limit_ranges, problems)
    with_backup = bool(settings["platform_s3"]["endpoint"]) or any(env["backup"]["schedule"] for env in environments.values())
    _check_edges(raw, settings, with_backup, problems)
    _check_secrets(raw, environments, with_backup, problems)

    secrets = _flat_secrets(raw["platform_secrets"])
    for name, env in environments.items():
        own = secrets.get(name, {})
        env["config_hash"] = _hash(env["config"], {key: own.get(key, "") for key in env["secrets"]})
    selected = _selection(raw["platform_only"], list(environments), problems)
    model = {
        "name": raw["platform_name"],
        "complete": len(selected) == len(environments),
        "server": server,
        "environments": {name: environments[name] for name in selected},
        "all_environments": environments,
        "namespaces": namespaces,
        "redis_hash": _hash(secrets.get("shared", {}), {name: secrets.get(name, {}).get("REDIS_PASSWORD", "") for name in environments}),
    }
    return Resolution(model, references, settings, list(dict.fromkeys(problems)))
