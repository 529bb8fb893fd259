# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs on the server for each command: pure, arguments in and words out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from . import memory
from .connection import kubectl
from .inventory import KnownEnvironment, KnownServer
from .mistakes import Mistake, chosen

DATA = ("postgres", "redis")
SINCE = re.compile(r"([0-9]+(h|m|s))+")
NEXT = "-next"  # ends the name of a release that is being tried
KEPT = "/var/lib/shaka/logs"  # of the pods before a deploy: <namespace>/<app>/<time of the deploy>/<pod>_<container>_<log file>
LINES = 100
# The first shell that the image has. exec: what is typed goes to it, and its exit code comes back.
SHELL = "command -v bash >/dev/null 2>&1 && exec bash || exec sh"


def workload(server: KnownServer, env: KnownEnvironment, app: str) -> tuple[str, str]:
    """Namespace, and kind with name, of an application, or of `postgres` or `redis`."""
    if app in DATA and app not in env.apps:
        return (env.redis_namespace if app == "redis" else env.postgres_namespace), f"statefulset/{app}"
    chosen(f"an application of {env.name}", app, [*env.apps, *DATA])
    if app in env.jobs:
        raise Mistake(f"{app} runs by the clock (schedule), and has no pod to go into in between; see what it wrote: shaka logs {env.name} {app}")
    return env.namespace, f"deployment/{server.platform}-{app}"


def known(env: KnownEnvironment) -> list[str]:
    """The environment's applications; a Mistake where it has none."""
    if not env.apps:
        raise Mistake(f"{env.name} has no application; name postgres or redis")
    return env.apps


def first(env: KnownEnvironment) -> str:
    """The application that is meant when none is named."""
    running = [app for app in known(env) if app not in env.jobs]
    if not running:
        raise Mistake(f"{env.name} has only applications that run by the clock (schedule); name postgres or redis")
    return "api" if "api" in running else running[0]


def inside(server: KnownServer, env: KnownEnvironment, app: str, command: Sequence[str], terminal: bool) -> list[str]:
    """Run a command in a running pod of an application."""
    if not command:
        raise Mistake("nothing to run is given; write it after --, such as: shaka exec prod -- env")
    namespace, name = workload(server, env, app)
    return kubectl(server, "exec", "-it" if terminal else "-i", "-n", namespace, name, "--", *command)


def psql(server: KnownServer, env: KnownEnvironment, more: Sequence[str], terminal: bool) -> list[str]:
    """psql as the owner of the environment's database, over the pod's own socket, which asks for no password."""
    return inside(server, env, "postgres", ["psql", "-U", env.owner, "-d", env.database, *more], terminal)


def redis(server: KnownServer, env: KnownEnvironment, more: Sequence[str], terminal: bool) -> list[str]:
    """redis-cli in the environment's database, as the administrator whose password the pod has."""
    return inside(server, env, "redis", ["redis-cli", "-n", str(env.redis_database), *more], terminal)


def logs(server: KnownServer, env: KnownEnvironment, app: str, follow: bool, since: str, lines: int | None, crashed: bool) -> list[str]:
    """The logs of all pods of an application, or of all applications, each line with its pod. One that has none yet says why, and hides no other's.

    :arg lines: of each pod; None is all of them with `since`, else the last hundred.
    :arg crashed: of the containers before their last restart, in the pods that run.
    """
    if since and not SINCE.fullmatch(since):
        raise Mistake(f"--since {since!r} is not a time span; write hours, minutes and seconds such as 1h, 90m or 1h30m")
    if lines is not None and lines < 0:
        raise Mistake(f"--lines {lines} is less than none; use 0 or more")
    if app in DATA and app not in env.apps:
        namespace, names = workload(server, env, app)[0], [app]
    else:
        apps = known(env)
        apps = [chosen(f"an application of {env.name}", app, [*apps, *DATA])] if app else apps
        namespace, names = env.namespace, [f"{server.platform}-{name}{end}" for name in apps for end in ("", NEXT)]
    tail = lines if lines is not None else (-1 if since else LINES)
    command = [
        "logs",
        "-n",
        namespace,
        "-l",
        f"app in ({','.join(names)})",
        "--all-containers",
        "--prefix",
        "--ignore-errors",
        "--max-log-requests=50",
        f"--tail={tail}",
    ]
    command += [f"--since={since}"] if since else []
    command += ["--follow"] if follow else []
    command += ["--previous"] if crashed else []
    return kubectl(server, *command, reads=True)


def logs_before(server: KnownServer, env: KnownEnvironment, app: str, deploys: int) -> list[str]:
    """The logs that the pods of an application had written when the last deploy, or one before it, replaced them; all pods' lines by their time.

    :arg deploys: 1 is before the last deploy, 2 before the one before it.
    """
    app = chosen(f"an application of {env.name}", app or first(env), env.apps)
    place = f"{KEPT}/{env.namespace}/{app}"
    # A line begins with its time. The kubelet packs the older of a container's files.
    script = (
        f'cd {shlex.quote(place)} 2>/dev/null && kept=$(ls -1r | sed -n {deploys}p) && test -n "$kept"'
        f" || {{ echo 'no logs are kept of {env.name}/{app} from {deploys} deploys ago: ls {place}' >&2; exit 1; }};"
        ' echo "before the deploy of $kept" >&2; cd "$kept" && for log in *; do zcat -f "$log"; done | sort -s -k1,1'
    )
    root = server.user == "root"
    return [*(() if root else ("sudo",)), "sh", "-c", script]


def services(server: KnownServer, namespace: str) -> list[str]:
    """Ask for the addresses of a namespace's Services."""
    return kubectl(server, "get", "services", "-n", namespace, "-o", "json", reads=True)


def pods(server: KnownServer) -> list[str]:
    """Ask for everything that the table of `status` shows."""
    return kubectl(server, "get", "pods,deployments,statefulsets,cronjobs", "--all-namespaces", "-o", "json", reads=True)


def counters() -> list[str]:
    """Ask for what containers take of memory, which every account may read. grep complains of what ends meanwhile."""
    return ["sh", "-c", f"{shlex.join(memory.COMMAND)} || true"]  # one of its folders is not there, and containers end meanwhile
