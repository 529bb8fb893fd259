# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program: chooses the server, shows the command, runs it, and ends with its exit code."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from . import remote, status, tunnel
from .arguments import COLLECTION, parser, split
from .completion import BASH, ZSH, candidates
from .connection import ssh
from .inventory import KnownEnvironment, KnownServer, load
from .mistakes import Mistake, chosen

NO_SHELL = (126, 127, 128)  # of a container's runtime and of sh: the program is not there, or cannot be run


def show(command: Sequence[str], quiet: bool = False) -> None:
    """Print a command, so that it can be copied."""
    if not quiet:
        print(f"+ {shlex.join(command)}", file=sys.stderr, flush=True)


def run(command: Sequence[str]) -> int:
    """Run a command with this terminal, to its own end: one that is interrupted may have something to put in order first."""
    signal.signal(signal.SIGINT, lambda _number, _frame: None)  # the terminal tells the command, too
    try:
        with subprocess.Popen(command) as process:
            signal.signal(signal.SIGTERM, lambda number, _frame: process.send_signal(number))
            code = process.wait()
    except FileNotFoundError as error:
        raise Mistake(f"{command[0]} is not on the PATH") from error
    return code if code >= 0 else 128 - code


def capture(command: Sequence[str]) -> str:
    """What a command prints."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Mistake(f"ended with exit code {done.returncode}: {shlex.join(command)}", done.returncode)
    return done.stdout


def answer(command: Sequence[str]) -> str | Mistake:
    """What a command prints, or that it failed."""
    try:
        return capture(command)
    except Mistake as mistake:
        return mistake


# --- which server ---------------------------------------------------------------------------------------------------------------------------


def pick(servers: Mapping[str, KnownServer], host: str, environment: str = "") -> KnownServer:
    """The server of a command that goes to one only."""
    if host:
        return servers[chosen("a server of the inventory", host, servers)]
    able = [server for server in servers.values() if not environment or environment in server.environments]
    if not able:
        chosen("an environment", environment, dict.fromkeys(name for server in servers.values() for name in server.environments))
    if len(able) > 1:
        raise Mistake(f"the inventory has several servers; choose one with --host: {', '.join(server.name for server in able)}")
    return able[0]


def as_user(servers: Mapping[str, KnownServer], user: str) -> dict[str, KnownServer]:
    """The servers, reached by another account."""
    return {name: dataclasses.replace(server, user=user or server.user) for name, server in servers.items()}


# --- the commands ---------------------------------------------------------------------------------------------------------------------------


def playbook(options: argparse.Namespace, name: str, variables: Mapping[str, str], more: Sequence[str]) -> list[str]:
    """The playbook of the collection that does it, called as a person would."""
    command = ["ansible-playbook", f"{COLLECTION}.{name}"]
    command += [word for inventory in options.inventory for word in ("-i", inventory)]
    command += [word for variable in options.variables for word in ("-e", variable)]
    command += ["-e", f"ansible_user={options.user}"] if options.user else []
    command += [word for variable, value in variables.items() if value for word in ("-e", f"{variable}={value}")]
    return [*command, *(("--limit", options.host) if options.host else ()), *more]


def playbook_of(options: argparse.Namespace, more: Sequence[str]) -> list[str] | None:
    """The playbook that a command stands for; None where it stands for none."""
    if options.command == "deploy":
        variables = {"deploy_environment": options.environment, "deploy_image": options.image, "deploy_app": options.app}
    elif options.command == "rollback":
        variables = {"rollback_environment": options.environment, "rollback_app": options.app, "rollback_to": options.release}
    elif options.command in ("releases", "backups"):
        variables = {"platform_only": options.environment}
    else:
        return None
    return playbook(options, options.command, variables, more)


def on_server(options: argparse.Namespace, server: KnownServer, env: KnownEnvironment, more: Sequence[str], terminal: bool) -> list[str]:
    """What a command that streams runs on the server."""
    if options.command == "psql":
        return remote.psql(server, env, more, terminal)
    if options.command == "redis":
        return remote.redis(server, env, more, terminal)
    if options.command == "logs" and options.before_deploy:
        if options.follow or options.since or options.lines is not None:
            raise Mistake("--before-deploy shows all that is kept; leave out --follow, --since and --lines")
        return remote.logs_before(server, env, options.app, options.before_deploy)
    if options.command == "logs":
        return remote.logs(server, env, options.app, options.follow, options.since, options.lines, options.crashed)
    app = options.app or remote.first(env)
    words = ["sh", "-c", remote.SHELL] if options.command == "shell" else more
    return remote.inside(server, env, app, words, terminal)


def show_status(servers: Mapping[str, KnownServer], options: argparse.Namespace) -> int:
    """The tables of all servers, each asked once."""
    asked = [pick(servers, options.host)] if options.host else list(servers.values())
    if options.environment:
        known = dict.fromkeys(name for server in asked for name in server.environments)
        chosen("an environment", options.environment, known)
        asked = [server for server in asked if options.environment in server.environments]
    commands = [ssh(server, remote.pods(server)) for server in asked]
    commands += [ssh(server, remote.counters()) for server in asked] if options.memory else []
    for command in commands:
        show(command, options.quiet)
    with ThreadPoolExecutor(len(commands)) as pool:
        said = list(pool.map(answer, commands))
    failed = [each for each in said if isinstance(each, Mistake)]
    counters: list[str | Mistake | None] = [*said[len(asked) :]] if options.memory else [None] * len(asked)
    for server, text, counted in zip(asked, said[: len(asked)], counters, strict=True):
        if isinstance(text, Mistake):
            continue
        if len(servers) > 1:
            print(f"{server.name}:")
        names = [options.environment] if options.environment else list(server.environments)
        described = {}
        for env in (server.environments[name] for name in names):
            described[status.labelled(env.name, status.seconds_of(env.expires), time.time())] = {"namespace": env.namespace, "hosts": env.hosts}
        print(status.status(json.loads(text)["items"], server.platform, described, None if isinstance(counted, Mistake) else counted))
    for mistake in failed:
        print(f"shaka: {mistake}", file=sys.stderr)
    return failed[0].code if failed else 0


def carry_out(words: Sequence[str]) -> int:
    """One command line."""
    own, behind = split(words)
    options = parser().parse_args(own)
    if options.command == "completion":
        print(BASH if options.shell == "bash" else ZSH)
        return 0
    if behind is not None and options.command not in ("psql", "redis", "exec", "deploy", "rollback", "releases", "backups"):
        raise Mistake(f"{options.command} takes nothing behind --")
    more = behind or []
    command = playbook_of(options, more)
    if command is not None:
        show(command, options.quiet)
        return run(command)
    servers = as_user(load(options.inventory, options.variables), options.user)
    if options.command == "status":
        return show_status(servers, options)
    server = pick(servers, options.host, options.environment)
    env = server.environments[chosen("an environment", options.environment, server.environments)]
    if options.command == "tunnel":
        services = remote.services(server, tunnel.service(env, options.what)[0])
        show(ssh(server, services), options.quiet)
        return tunnel.run(server, env, options.what, options.port, capture, services)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    words = on_server(options, server, env, more, terminal)
    command = ssh(server, words, terminal and (options.command != "logs" or words[0] == "sudo"))  # sudo may ask for a password
    show(command, options.quiet)
    code = run(command)
    if options.command == "shell" and code in NO_SHELL:
        print("shaka: the image may have no shell; run a program of it with: shaka exec", options.environment, options.app, "-- ...", file=sys.stderr)
    return code


def _ended(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main(words: Sequence[str]) -> int:
    """The exit code: that of the command that was run; 2 for a mistake of the command line or the inventory."""
    signal.signal(signal.SIGTERM, _ended)
    try:
        if list(words[:1]) == ["__complete"]:
            print("\n".join(candidates(words[1:], load)))
            return 0
        return carry_out(words)
    except Mistake as mistake:
        print(f"shaka: {mistake}", file=sys.stderr)
        return mistake.code
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        return 130
