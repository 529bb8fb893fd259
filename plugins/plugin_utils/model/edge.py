# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands before an application at the edge: the rules of what its owner says. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from ansible_collections.shaka.platform.plugins.module_utils.model_types import App, AppEdge, Cors, EdgeRate, Environment
from ansible_collections.shaka.platform.plugins.module_utils.quantities import QuantityError, format_memory, parse_memory
from ansible_collections.shaka.platform.plugins.plugin_utils.model import rules
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problems, check_unique, nearest

BUFFER, DEFAULT_BUFFER = "traefik_buffer", "64Mi"
# Ingresses that an application may have beside the one of its own name
ROUTE = re.compile(r"(.+?)-(?:(rate|stream|redirect)-[1-9][0-9]*(?:-wildcard)?|wildcard(?:-[1-9][0-9]*)?)")
_YEAR = 31536000  # least seconds of a header that browsers ship (https://hstspreload.org)
_RATE = {"average": 50, "burst": 100, "period": "1s"}  # of a path's guard, as of `edge_rate`
_ORIGIN = re.compile(r"\*|([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")  # capacitor://localhost: an app on a phone
_METHOD = re.compile(r"[A-Z]+(-[A-Z]+)*|\*")  # browsers compare it as it is written (https://fetch.spec.whatwg.org/#concept-method)
# What says where an answer ends: one that Traefik writes over it cuts off each answer (seen in 3.7.15)
_FRAMING = ("connection", "content-length", "trailer", "transfer-encoding", "upgrade")
# https://www.w3.org/TR/referrer-policy/#referrer-policies
_REFERRER_POLICIES = (
    "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin", "strict-origin",
    "strict-origin-when-cross-origin", "unsafe-url",
)  # fmt: skip
_PORTS = {"http": "80", "https": "443"}
_USER = re.compile(r"[^:\s]+:\$2[aby]?\$[0-9]{2}\$[./A-Za-z0-9]{53}")


def users(value: str) -> str | None:
    """Users for basic authentication, as `htpasswd -nB` prints them. The answer never contains the value or a part of it."""
    lines = [line for line in value.splitlines() if line.strip()]
    if lines and all(_USER.fullmatch(line) for line in lines):
        return None
    return "is not made of lines name:hash with a hash of bcrypt; make each by `htpasswd -nB NAME`"


def origin(value: str) -> str | None:
    """A web origin (RFC 6454), or all of them."""
    match = _ORIGIN.fullmatch(value)
    if match is None:
        return "is not an origin; write scheme and host alone, like https://app.your-domain.net, or *"
    scheme, port = match.groups()
    if port and port == _PORTS.get(scheme):
        return f"names the port that {scheme} has anyway, which browsers leave out; write {value.removesuffix(':' + port)}"
    return rules.url_port(port)


def _header_name(name: str) -> str | None:
    return None if rules.TOKEN.fullmatch(name) else "is not the name of a header; use letters, digits and '-'"


def header(name: str, value: str) -> str | None:
    """A header that Traefik may set."""
    if flaw := _header_name(name):
        return flaw
    if re.search(r"[\x00-\x1f\x7f]", value):
        return "has a control character or a line break; write the header in one line"
    if name.lower() in _FRAMING:
        return "says where an answer ends, and would break each of them; take it out"
    if name.lower() == "strict-transport-security":
        return "is set by edge.hsts; set its seconds, subdomains and preload there"
    return rules.as_written(value)


def check_rate(rate: EdgeRate, path: str, problems: Problems, *, off: bool = True) -> None:
    """A flood guard.

    :arg off: whether it may be none, with an average of 0.
    """
    problems.check(f"{path}.period", rules.duration(rate["period"]), rate["period"])
    if rate["average"] < 0 or (rate["average"] == 0 and not off):
        problems.add(f"{path}.average", f"must be {'0 or more' if off else 'more than 0'} requests", str(rate["average"]))
    if rate["burst"] <= 0:
        problems.add(f"{path}.burst", "must be more than 0 requests", str(rate["burst"]))


def check(edge: AppEdge, app: App, path: str, secrets: Mapping[str, str], buffer: int, problems: Problems) -> None:
    """Check one application's edge and fill in what follows.

    :arg app: whose it is; its hosts and paths are known.
    :arg secrets: the environment's, by their names.
    :arg buffer: bytes of traefik_buffer.
    """
    hsts, cors = edge["hsts"], edge["cors"]
    numbers = {"hsts.seconds": hsts["seconds"], "cors.max_age": cors["max_age"], "maintenance.retry_seconds": edge["maintenance"]["retry_seconds"]}
    for key, seconds in numbers.items():
        if seconds < 0:
            problems.add(f"{path}.{key}", "must be 0 or more", str(seconds))
    if hsts["preload"] and (not hsts["subdomains"] or hsts["seconds"] < _YEAR):
        problems.add(f"{path}.hsts.preload", f"needs hsts.subdomains and hsts.seconds of at least {_YEAR}, or browsers do not take it")
    edge["headers"] = {str(name): rules.as_text(value) for name, value in edge["headers"].items()}
    for name, value in edge["headers"].items():
        problems.check(f"{path}.headers.{name}", header(name, value))
    check_unique(((f"{path}.headers.{name}", name.lower()) for name in edge["headers"]), "a header's name is the same in capitals", problems)
    for word in (policy.strip() for policy in edge["referrer_policy"].split(",") if edge["referrer_policy"]):
        if word not in _REFERRER_POLICIES:
            problems.add(f"{path}.referrer_policy", f"is not a policy that browsers know; {nearest(word, _REFERRER_POLICIES)}", word)
    _check_cors(cors, path, problems)
    for key, networks in (("allow", edge["allow"]), ("maintenance.allow", edge["maintenance"]["allow"])):
        for cidr in networks:
            problems.check(f"{path}.{key}", rules.network(cidr), cidr)
    _check_body(edge, app, path, buffer, problems)
    edge["rates"] = {str(place): _rate(place, rate, path, problems) for place, rate in cast(Mapping[str, Any], edge["rates"]).items()}
    for place in edge["rates"]:
        problems.check(
            f"{path}.rates.{place}",
            rules.edge_path(place) or _below(place, app["paths"], "set its edge_rate") or _apart(place, edge["streams"]),
            place,
        )
    if edge["redirects"] and not app["served"]:
        problems.add(f"{path}.redirects", "leads to an application without a host; give it one, or take it out")
    for host in edge["redirects"]:
        flaw = rules.host(host) or ("is a host of the application itself, which cannot lead to itself; take it out" if host in app["hosts"] else None)
        problems.check(f"{path}.redirects", flaw, host)
    if edge["basic_auth"] and not secrets.get(edge["basic_auth"]):
        problems.add(f"{path}.basic_auth", f"is not a secret of the environment; {nearest(edge['basic_auth'], secrets)}", edge["basic_auth"])


def _check_cors(cors: Cors, path: str, problems: Problems) -> None:
    for each in cors["origins"]:
        problems.check(f"{path}.cors.origins", origin(each), each)
    for method in cors["methods"]:
        flaw = None if _METHOD.fullmatch(method) else "is not a method; write one in capitals, such as GET, or *"
        problems.check(f"{path}.cors.methods", flaw, method)
    for key, names, rule in (("headers", cors["headers"], rules.request_header), ("expose", cors["expose"], _header_name)):
        for name in names:
            problems.check(f"{path}.cors.{key}", None if name == "*" else rule(name), name)
    if cors["credentials"] and "*" in cors["origins"]:
        problems.add(f"{path}.cors.credentials", "lets every page of the web act for a logged-in user, as origins has *; name the origins")


def buffer(variables: Mapping[str, Any], problems: Problems) -> int:
    """Bytes of traefik_buffer, as far as it is set."""
    text = str(variables.get(BUFFER) or DEFAULT_BUFFER)
    try:
        return parse_memory(text)
    except QuantityError as error:
        problems.add(BUFFER, str(error), text)
        return parse_memory(DEFAULT_BUFFER)


def check_memory(environments: Mapping[str, Environment], limits: Mapping[str, Any], buffer: int, problems: Problems) -> None:
    """What waits in the buffer is Traefik's memory; beyond its limit the kernel ends Traefik, and with it all requests.

    :arg limits: traefik_limits.
    """
    try:
        most = parse_memory(str(limits["memory"])) // 2
    except (KeyError, QuantityError):  # without a limit, or reported elsewhere
        return
    if buffer > most and any(app["edge"]["body_limit"] for env in environments.values() for app in env["apps"].values()):
        text = f"is more than half of Traefik's memory ({format_memory(most)}), which it is a part of; lower it or raise traefik_limits.memory"
        problems.add(BUFFER, text, format_memory(buffer))


# Variable of the role traefik -> the least that it may be
_LEAST = {"traefik_read_seconds": 0, "traefik_write_seconds": 0, "traefik_idle_seconds": 0, "traefik_header_bytes": 1024}


def check_router(variables: Mapping[str, Any], problems: Problems) -> None:
    """The router's own numbers and names, as far as they are set."""
    for name, least in _LEAST.items():
        if name in variables and variables[name] < least:
            problems.add(name, f"must be {least} or more", str(variables[name]))
    for name in variables.get("traefik_access_log_headers") or ():
        problems.check("traefik_access_log_headers", rules.request_header(name), name)
    for name in variables.get("traefik_namespaces") or ():
        problems.check("traefik_namespaces", rules.label(name), name)


def check_all(environments: Mapping[str, Environment], secrets: Mapping[str, Mapping[str, str]], buffer: int, problems: Problems) -> None:
    """Check every application's edge; no host has two meanings."""
    apps = [(secrets.get(name, {}), app) for name, env in environments.items() for app in env["apps"].values()]
    taken = {host: f"{app['path']}.host" for _secrets, app in apps for host in app["hosts"]}
    for known, app in apps:
        path = f"{app['path']}.edge"
        check(app["edge"], app, path, known, buffer, problems)
        _check_parts(app, [other for _secrets, other in apps if other is not app], problems)
        for host in app["edge"]["redirects"]:
            if host in taken and host not in app["hosts"]:
                problems.add(f"{path}.redirects", f"is also {taken[host]}; each has a name of its own", host)
            taken.setdefault(host, f"{path}.redirects")


def _check_parts(app: App, others: Iterable[App], problems: Problems) -> None:
    """A part with a route of its own is below no longer path of another application on the same host, whose requests it would take."""
    edge = app["edge"]
    parts = [(f"rates.{place}", place) for place in edge["rates"]]
    parts += [("streams", place) for place in edge["streams"] if edge["body_limit"]]
    for other in others:
        shared = [host for host in app["hosts"] if host in other["hosts"]]
        for key, place in parts if shared else ():
            own = max((len(path) for path in app["paths"] if place.startswith(path)), default=0)
            for path in (path for path in other["paths"] if place.startswith(path) and len(path) > own):
                text = f"is below {path}, where {other['path']} answers on {shared[0]}, and would take its requests; name it in that one's edge"
                problems.add(f"{app['path']}.edge.{key}", text, place)


def _check_body(edge: AppEdge, app: App, path: str, buffer: int, problems: Problems) -> None:
    edge["body_bytes"] = 0
    for place in edge["streams"]:
        problems.check(f"{path}.streams", rules.edge_path(place) or _below(place, app["paths"], "take its body_limit out"), place)
    if not edge["body_limit"]:
        return
    if app["protocol"] == "h2c":
        problems.add(f"{path}.body_limit", "would hold back what gRPC streams both ways; take it out, and limit messages in the application")
    try:
        edge["body_bytes"] = parse_memory(edge["body_limit"])
    except QuantityError as error:
        problems.add(f"{path}.body_limit", str(error), edge["body_limit"])
        return
    if not 0 < edge["body_bytes"] <= buffer:
        text = (
            f"is not more than 0 and at most {BUFFER} ({format_memory(buffer)}), where bodies wait until they are whole; lower it or raise {BUFFER}"
        )
        problems.add(f"{path}.body_limit", text, edge["body_limit"])


def _within(place: str, path: str) -> bool:
    return place.startswith(f"{path.rstrip('/')}/")


def _apart(place: str, streams: Iterable[str]) -> str | None:
    """Of overlapping parts, the longer path would lead past what the shorter one asks for."""
    for other in streams:
        if place != other and (_within(place, other) or _within(other, place)):
            return f"overlaps {other} in streams; name the same path in both, or paths apart from each other"
    return None


def _below(place: str, paths: Iterable[str], otherwise: str) -> str | None:
    """A part of what the application answers: Traefik leads there what has a guard of its own."""
    if place in paths:
        return f"is all that the application answers there; {otherwise}"
    if not any(_within(place, path) for path in paths):
        return f"is not below a path that the application answers ({', '.join(paths)}); add it to its paths, or take it out"
    return None


def _rate(place: object, rate: Any, path: str, problems: Problems) -> EdgeRate:
    where = f"{path}.rates.{place}"
    filled: dict[str, Any] = dict(_RATE)
    if not isinstance(rate, Mapping):
        problems.add(where, "must be a dictionary with average, burst and period", None if isinstance(rate, list) else rate)
        rate = {}
    for key, value in rate.items():
        if key not in _RATE:
            problems.add(f"{where}.{key}", f"is unknown; {nearest(str(key), _RATE)}")
        elif key != "period" and not re.fullmatch(r"[0-9]+", str(value)):
            problems.add(f"{where}.{key}", "must be a whole number of requests", value)
        else:
            filled[str(key)] = str(value) if key == "period" else int(value)
    check_rate(cast(EdgeRate, filled), where, problems, off=False)
    return cast(EdgeRate, filled)


def own_secrets(env: Environment) -> list[str]:
    """The environment's secrets that hold users of the edge; no application gets them unless it names them."""
    return sorted({app["edge"]["basic_auth"] for app in env["apps"].values() if app["edge"]["basic_auth"]})


def certified(hosts: Collection[str]) -> list[str]:
    """The names of the certificate for these hosts: Let's Encrypt refuses one that a wildcard beside it stands for (cert-manager #2128)."""
    return [host for host in hosts if host.startswith("*.") or f"*.{host.partition('.')[2]}" not in hosts]


class AskedCertificate(NamedTuple):
    """A Certificate that is made for an application, and where the inventory has its hosts."""

    namespace: str
    name: str
    path: str
    hosts: list[str]


def asked_certificates(environments: Mapping[str, Environment]) -> Iterator[AskedCertificate]:
    """As roles/apps/templates/environment/edge.yaml.j2 names them."""
    for env in environments.values():
        for app in (app for app in env["apps"].values() if app["served"]):
            yield AskedCertificate(env["namespace"], f"{app['name']}-tls", f"{app['path']}.hosts", app["certified"])
            for number, host in enumerate(app["edge"]["redirects"], 1):
                yield AskedCertificate(env["namespace"], f"{app['name']}-redirect-{number}-tls", f"{app['path']}.edge.redirects", [host])


def hosts(environments: Mapping[str, Environment]) -> list[str]:
    """All that Traefik leads from, and has certificates for."""
    served = [app for env in environments.values() for app in env["apps"].values() if app["served"]]
    return sorted({host for app in served for host in [*app["hosts"], *app["edge"]["redirects"]]})
