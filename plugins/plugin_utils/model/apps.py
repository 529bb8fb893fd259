# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An environment's applications: what follows from their names, and the rules of what their owners say. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import App, Environment, Names, Probe, Probes
from ansible_collections.shaka.platform.plugins.plugin_utils.collection import Options
from ansible_collections.shaka.platform.plugins.plugin_utils.model import edge, rules, schema
from ansible_collections.shaka.platform.plugins.plugin_utils.model import release as releases
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, check_unique, nearest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.release import NEXT
from ansible_collections.shaka.platform.plugins.plugin_utils.model.sizes import Bounds, check_amount, check_sizes, sized

SHORT = "api"  # the application that an environment may have beside `apps`, and whose image is the lock's
MOST = 63 - len(NEXT)  # characters of a name, which is a label and a Service's
MOST_SCHEDULED = 52  # of a CronJob (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/)
MOST_OF_USER = 2**31 - 1  # of a user or a group (IsValidUserID in Kubernetes' pkg/apis/core/validation)
MOST_OF_VOLUME = 58  # of its name, which a pod has with `data-` before it
SCRATCH = {"/tmp": "64Mi"}
# What an environment has beside its applications, by the whole name; {0} is the environment's
OWN = "acme-solver|default-deny|no-pods|(postgres|redis|pgbouncer)-({0}|backup|backup-s3|base-backup|for-backup|for-wal|restore|users|wal)"
# Secret -> whose server it opens
OPENS = {"DB_PASSWORD": "postgres", "REDIS_PASSWORD": "redis"}
FIELDS = {"startup": "startupProbe", "readiness": "readinessProbe", "liveness": "livenessProbe"}
DEFAULT_PROBES = {"http": "http", "h2c": "tcp", "tcp": "tcp", "none": "none"}  # protocol -> type
ASKED_BY = {"path": ("http",), "service": ("grpc",), "command": ("exec",), "port": ("http", "tcp", "grpc")}  # of a probe -> the types that have it
SERVED = ("http", "h2c")  # what Traefik leads to


def complete(filled: dict[str, Any], entry: object, options: Options, of_volume: Options, path: str, problems: Problems) -> dict[str, App]:
    """The applications with their defaults, by their names in the inventory.

    :arg filled: the environment with its defaults; `api` and `apps` are taken out of it.
    :arg entry: what the inventory has for it.
    """
    given, short = filled.pop("apps"), filled.pop(SHORT, None)
    places = {str(key): (app, f"{path}.apps.{key}") for key, app in given.items()}
    if short is not None or (isinstance(entry, Mapping) and SHORT in entry and entry[SHORT] is None):
        if SHORT in places:
            problems.add(f"{path}.{SHORT}", f"is also {path}.apps.{SHORT}; leave one out")
        places = {SHORT: (short, f"{path}.{SHORT}"), **{key: place for key, place in places.items() if key != SHORT}}
    apps: dict[str, App] = {}
    for key, (app, place) in places.items():
        apps[key] = cast(App, schema.complete(app, options, place, problems))
        apps[key]["key"], apps[key]["path"] = key, place
        scale = app.get("autoscale") if isinstance(app, Mapping) else None
        if isinstance(scale, Mapping) and scale and "max" not in scale:
            problems.add(
                f"{place}.autoscale.max", "is not filled in, so that nothing scales; set the pods that there may be at most, or 0 for no autoscaler"
            )
        volumes = apps[key]["volumes"]
        for name, volume in volumes.items():
            volumes[name] = cast(Any, schema.complete(volume, of_volume, f"{place}.volumes.{name}", problems))
    return apps


def fill_in(env: Environment, platform: str, release: object) -> None:
    """What follows from the names of the applications, and from what was released last."""
    env["reads"] = {"configmaps": f"{platform}-api-config", "secrets": f"{platform}-api-secrets"}
    for key, app in env["apps"].items():
        app["name"] = f"{platform}-{key}"
        if app["schedule"]:
            app["protocol"] = "none"
        app["labels"] = [app["name"]] if app["schedule"] else [app["name"], app["name"] + NEXT]
        app["image"] = released(release, key)[0] or app["image"]
        app["hosts"] = list(dict.fromkeys([*([app["host"]] if app["host"] else []), *app["hosts"]]))
        app["host"] = next(iter(app["hosts"]), "")
        app["certified"] = edge.certified(app["hosts"])
        app["served"] = bool(app["hosts"]) and app["protocol"] in SERVED
        app["writable"] = {**SCRATCH, **{str(folder): str(size) for folder, size in app["writable"].items()}}
        app["gid"] = app["uid"] if app["gid"] is None else app["gid"]
        for name, volume in app["volumes"].items():
            volume["claim"] = f"{app['name']}-{name}"
        app["checks"] = dict(_checks(app))
        app["asks_readiness"], app["asked"] = _asked(app)
    for app in env["apps"].values():
        source = env["apps"].get(app["image_of"])
        if source is not None and not source["image_of"]:
            app["image"] = app["image"] or source["image"]


def released(release: object, key: str) -> tuple[str, str]:
    """The image that was deployed last and where it stands below the environment's release, or nothing."""
    entries = release if isinstance(release, Mapping) else {}
    apps = entries.get("apps")
    own = apps.get(key) if isinstance(apps, Mapping) else None
    if isinstance(own, Mapping) and own.get("image"):
        return str(own["image"]), f"apps.{key}.image"
    return (str(entries["image"]), "image") if key == SHORT and entries.get("image") else ("", "")


def _checks(app: App) -> Iterator[tuple[str, dict[str, Any]]]:
    """The probes as Kubernetes has them, by their fields."""
    for kind, field in FIELDS.items() if not app["schedule"] else ():
        probe = _probe(app["probes"], kind)
        asked = app["probes"]["liveness"] if kind == "startup" and not probe["type"] else probe
        how = asked["type"] or DEFAULT_PROBES[app["protocol"]]
        if how != "none":
            path = asked["path"] or app["readiness" if kind == "readiness" else "liveness"]
            port: int | str = asked["port"] or (port_name(app) if how in ("http", "tcp") and app["protocol"] != "none" else app["port"])
            questions: dict[str, dict[str, Any]] = {
                "http": {"httpGet": {"path": path, "port": port}},
                "tcp": {"tcpSocket": {"port": port}},
                "grpc": {"grpc": {"port": port, "service": asked["service"]}},
                "exec": {"exec": {"command": asked["command"]}},
            }
            times = {"periodSeconds": probe["period"], "timeoutSeconds": probe["timeout"], "failureThreshold": probe["failures"]}
            yield field, questions[how] | times


def _probe(probes: Probes, kind: str) -> Probe:
    return cast(Probe, cast(Any, probes)[kind])


def port_name(app: App) -> str:
    """The name of its port, in its pods and in its Service."""
    return "http" if app["protocol"] in SERVED else "tcp"


def _asked(app: App) -> tuple[bool, str]:
    """Whether the edge leads to its readiness path, and that path or else the first of its paths."""
    path = app["checks"].get("readinessProbe", {}).get("httpGet", {}).get("path", "")
    if path and app["protocol"] == "http" and any(f"{path.partition('?')[0]}/".startswith(f"{each.rstrip('/')}/") for each in app["paths"]):
        return True, path
    return False, next(iter(app["paths"]), "/")


def select(env: Environment, hashed: Callable[[App], str], problems: Problems) -> None:
    """What each application sees of the environment's configuration, which servers that opens, and the hash of it.

    :arg hashed: the hash of what an application sees.
    """
    for app in env["apps"].values():
        app["everything"] = app["config"] is None and app["secrets"] is None
        chosen = {"config": app["config"], "secrets": app["secrets"]}
        known: Mapping[str, Iterable[str]] = {"config": env["config"], "secrets": env["secrets"]}
        for part, names in chosen.items():
            for name in names or ():
                if name not in known[part]:
                    problems.add(f"{app['path']}.{part}", f"is not in the environment's {part}; {nearest(name, known[part])}", name)
        app["variables"], app["files"] = (_seen(env[part], app) for part in ("variables", "files"))
        secrets = [*app["variables"]["secrets"], *app["files"]["secrets"]]
        app["uses"] = [server for secret, server in OPENS.items() if secret in secrets]
        app["config_hash"] = hashed(app)


def _seen(names: Names, app: App) -> Names:
    config, secrets = app["config"], app["secrets"]
    return {
        "config": [name for name in names["config"] if config is None or name in config],
        "secrets": [name for name in names["secrets"] if secrets is None or name in secrets],
    }


# --- rules ----------------------------------------------------------------------------------------------------------------------------------


def check(env: Environment, options: Options, bounds: Bounds, release_path: str, release: object, has_image: bool, problems: Problems) -> None:
    """Names, images, sizes, probes, hosts and volumes of an environment's applications.

    :arg bounds: the namespace's LimitRange.
    :arg release_path: where the inventory has the environment's release, and `release` what is there.
    :arg has_image: whether the platform has an image of its own for applications that name none.
    """
    apps, mine = env["apps"], f"platform_environments.{env['name']}."
    _check_released(release, release_path, apps, problems)
    for key, app in apps.items():
        path = app["path"]
        _check_name(key, app, env, problems)
        where = released(release, key)[1]
        _check_image(app, f"{release_path}.{where}" if where else f"{path}.image", apps, has_image, problems)
        check_sizes(app, f"{path}.", problems, bounds, mine)
        for start, part in sized(options, app, path):
            check_sizes(part, f"{start}.", problems, bounds, mine)
        _check_run(app, problems)
        _check_port(app, apps, problems)
        _check_probes(app, problems)
        releases.check(app, problems)
        _check_folders(app, env["reads"]["configmaps"].removesuffix("-config"), problems)
    claims = [(f"{app['path']}.volumes.{name}", volume["claim"]) for app in apps.values() for name, volume in app["volumes"].items()]
    check_unique(claims, "rename one", problems)


def _check_released(release: object, path: str, apps: Mapping[str, App], problems: Problems) -> None:
    """What was released last, in the shape that deploy writes: what is not found in it would bring an older image back, and say nothing."""
    given = release if isinstance(release, Mapping) else {}
    entries = given.get("apps") or {}
    if not isinstance(release or {}, Mapping):
        problems.add(path, "must be a dictionary (apps: {application: {image: reference}})", None if isinstance(release, list) else release)
    for key in given:
        if key not in ("apps", "image"):
            problems.add(f"{path}.{key}", f"is unknown; {nearest(str(key), ('apps', 'image'))}")
    if given.get("image") and SHORT not in apps:
        problems.add(f"{path}.image", f"is that of {SHORT}, which the environment does not have; remove it; {nearest(SHORT, apps)}")
    if not isinstance(entries, Mapping):
        problems.add(f"{path}.apps", "must be a dictionary (application: {image: reference})", None if isinstance(entries, list) else entries)
    for key, entry in entries.items() if isinstance(entries, Mapping) else ():
        if key not in apps:
            problems.add(f"{path}.apps.{key}", f"belongs to no application of the environment; remove it; {nearest(str(key), apps)}")
        elif not isinstance(entry, Mapping) or list(entry) != ["image"] or not isinstance(entry["image"], str):
            problems.add(f"{path}.apps.{key}", "must be {image: reference}, as deploy writes it", entry if isinstance(entry, str) else None)


def _check_name(key: str, app: App, env: Environment, problems: Problems) -> None:
    """A part of the names of a Deployment, a Service and a label, none of which another application or the platform itself may have."""
    apps = env["apps"]
    most, route = MOST_SCHEDULED if app["schedule"] else MOST, edge.ROUTE.fullmatch(key)
    flaw = rules.label(key)
    if flaw is None and key.endswith(NEXT):
        flaw = f"ends like a release that is being tried ({key.removesuffix(NEXT)}{NEXT}); rename it"
    if flaw is None and route and route[1] in apps:
        made = f"edge.{route[2]}s makes by their number" if route[2] else "its wildcards have"
        flaw = f"is named like a route of {route[1]}, which {made}; rename it"
    if flaw is None and re.fullmatch(OWN.format(re.escape(env["name"])), app["name"]):
        flaw = f"makes the name {app['name']}, which the platform's own objects have; rename it"
    if flaw is None and len(app["name"]) > most:
        flaw = f"makes the name {app['name']} longer than {most} characters; use a shorter one"
    problems.check(app["path"], flaw, key)


def _check_image(app: App, path: str, apps: Mapping[str, App], has_image: bool, problems: Problems) -> None:
    source = apps.get(app["image_of"])
    if app["image_of"]:
        here = f"{app['path']}.image_of"
        if source is None or source is app:
            known = [key for key in apps if key != app["key"]]
            problems.add(here, f"is not another application of the environment; {nearest(app['image_of'], known)}", app["image_of"])
        elif source["image_of"]:
            problems.add(here, f"has the image of {source['image_of']} itself; name that one", app["image_of"])
        elif app["image"] != source["image"]:
            problems.add(path, f"is set beside image_of; leave one out ({app['key']} would have two images)", app["image"])
    elif app["image"]:
        problems.check(path, rules.image(app["image"]), app["image"])
    elif not has_image:
        problems.add(path, "is not filled in; set the image of your application")


def _least(app: App, part: Mapping[str, Any], prefix: str, least: Mapping[str, int], problems: Problems) -> None:
    """Numbers that must not be less."""
    for name, number in least.items():
        if part[name] < number:
            problems.add(f"{app['path']}.{prefix}{name}", f"must be at least {number}", part[name])


def _check_run(app: App, problems: Problems) -> None:
    """What runs, how often and as whom."""
    path, scale = app["path"], app["autoscale"]
    if app["replicas"] < 1:
        problems.add(f"{path}.replicas", "must be at least 1; leave the application out to have none", app["replicas"])
    _least(app, app, "", {"deadline_seconds": 1, "disruption": 0, "uid": 1, "gid": 1, "drain_seconds": 0, "grace_seconds": 0}, problems)
    for name in ("uid", "gid"):
        if int(cast(Any, app)[name]) > MOST_OF_USER:
            problems.add(f"{path}.{name}", f"must be at most {MOST_OF_USER}, the largest that Kubernetes takes", cast(Any, app)[name])
    if app["schedule"]:
        problems.check(f"{path}.schedule", rules.cron(app["schedule"]), app["schedule"])
        problems.check(f"{path}.time_zone", rules.time_zone(app["time_zone"]), app["time_zone"])
    if scale["max"]:
        _least(app, scale, "autoscale.", {"min": 1, "max": scale["min"], "cpu": 0, "memory": 0}, problems)
        if not scale["cpu"] and not scale["memory"]:
            problems.add(f"{path}.autoscale", "aims at nothing; set cpu or memory")
        if app["schedule"]:
            problems.add(f"{path}.autoscale", "is for what runs all the time; leave it out, or the schedule")
    for flaw in rules.words(app["command"]):
        problems.add(f"{path}.command", flaw)
    for word in app["args"]:
        problems.check(f"{path}.args", rules.as_written(word))


def _check_port(app: App, apps: Mapping[str, App], problems: Problems) -> None:
    """Port, hosts, paths, and who else is reached."""
    path, served = app["path"], app["protocol"] in SERVED
    if app["protocol"] != "none" and not 0 < app["port"] < 65536:
        problems.add(f"{path}.port", "is not a TCP port number; use 1 to 65535", app["port"])
    if served and not app["internal"] and not app["hosts"]:
        problems.check(f"{path}.host", rules.host(""))
    if app["hosts"] and app["internal"]:
        problems.add(f"{path}.internal", "is said of an application with a host; leave one out")
    elif app["hosts"] and not served:
        why = "a schedule" if app["schedule"] else f"protocol {app['protocol']}"
        problems.add(f"{path}.host", f"is for HTTP alone, and this application has {why}; leave one out", app["host"])
    for host in app["hosts"]:
        first = host == app["host"]
        problems.check(f"{path}.host" if first else f"{path}.hosts", rules.host(host if first else host.removeprefix("*.")), host)
    if not app["paths"]:
        problems.add(f"{path}.paths", "is empty; name at least /")
    for each in app["paths"]:
        problems.check(f"{path}.paths", rules.edge_path(each), each)
    for key in app["reaches"]:
        target = apps.get(key)
        if target is None or target is app:
            known = [name for name in apps if name != app["key"]]
            problems.add(f"{path}.reaches", f"is not another application of the environment; {nearest(key, known)}", key)
        elif target["protocol"] == "none":
            problems.add(f"{path}.reaches", "has no port; leave it out, or give it a protocol", key)
    edge.check_rate(app["edge_rate"], f"{path}.edge_rate", problems)


def _check_probes(app: App, problems: Problems) -> None:
    path = app["path"]
    problems.check(f"{path}.liveness", rules.probe_path(app["liveness"]), app["liveness"])
    problems.check(f"{path}.readiness", rules.probe_path(app["readiness"]), app["readiness"])
    for kind in FIELDS:
        probe, here = _probe(app["probes"], kind), f"{path}.probes.{kind}"
        _least(app, probe, f"probes.{kind}.", {"period": 1, "timeout": 1, "failures": 1, "port": 0}, problems)
        if probe["path"]:
            problems.check(f"{here}.path", rules.probe_path(probe["path"]), probe["path"])
        if probe["port"] > 65535:
            problems.add(f"{here}.port", "is not a TCP port number; use 1 to 65535", probe["port"])
        if probe["type"] == "exec" and not probe["command"]:
            problems.add(f"{here}.command", "is empty; say what exec runs")
        problems.check(f"{here}.service", rules.as_written(probe["service"]), probe["service"])
        for flaw in rules.words(probe["command"]):
            problems.add(f"{here}.command", flaw)
        _check_asked(app, kind, problems)
        if probe["type"] in ("http", "grpc", "tcp") and app["protocol"] == "none" and not probe["port"]:
            problems.add(f"{here}.port", f"is not filled in, and the application has no port that {probe['type']} could ask; set one, or use exec")


def _check_asked(app: App, kind: str, problems: Problems) -> None:
    """A probe has nothing that its type does not ask."""
    probe = cast(Mapping[str, Any], _probe(app["probes"], kind))
    asks = probe["type"] or ("what liveness asks" if kind == "startup" else DEFAULT_PROBES[app["protocol"]])
    for key, types in ASKED_BY.items() if probe["type"] != "none" and not app["schedule"] else ():
        if probe[key] and asks not in types:
            says = f"is {asks}" if probe["type"] else f"is empty, which means {asks}"
            text = f"is not asked, as its type {says}; set type to {' or '.join(types)}, or take it out"
            problems.add(f"{app['path']}.probes.{kind}.{key}", text, probe[key])


def _check_folders(app: App, reads: str, problems: Problems) -> None:
    """Each folder that pods see is there once, and each has a size."""
    path = app["path"]
    places = [(f"{path}.writable", folder) for folder in app["writable"]]
    for name, volume in app["volumes"].items():
        long = f"is longer than {MOST_OF_VOLUME} characters; use a shorter name" if len(name) > MOST_OF_VOLUME else None
        problems.check(f"{path}.volumes.{name}", rules.label(str(name)) or long, name)
        check_amount(volume["size"], f"{path}.volumes.{name}.size", problems)
        places.append((f"{path}.volumes.{name}.mount", volume["mount"] or ""))
    for folder, size in app["writable"].items():
        check_amount(size, f"{path}.writable.{folder}", problems)
    for place, folder in places:
        taken = f"{folder}/".startswith((f"/etc/{reads}/", f"/run/secrets/{reads}/"))  # also below it: nobody can make a folder there
        problems.check(place, "is where the platform puts the configuration; use another folder" if taken else rules.mount(folder), folder)
    check_unique(places, "use another folder", problems)


def check_places(environments: Mapping[str, Environment], problems: Problems) -> None:
    """No two applications of the platform answer at the same place."""
    places = (
        (f"{app['path']}.host" if host == app["host"] else f"{app['path']}.hosts", f"{host}{each.rstrip('/')}")
        for env in environments.values()
        for app in env["apps"].values()
        for host in app["hosts"]
        for each in app["paths"]
    )
    check_unique(places, "each has a name of its own, or paths of its own", problems)


def check_metrics(environments: Mapping[str, Environment], problems: Problems) -> None:
    """Without K3s's metrics-server, an autoscaler does not know what pods use."""
    for app in (app for env in environments.values() for app in env["apps"].values()):
        if app["autoscale"]["max"]:
            text = "needs K3s's metrics-server, which k3s_config.disable leaves out; take it out there, or autoscale here"
            problems.add(f"{app['path']}.autoscale", text)
