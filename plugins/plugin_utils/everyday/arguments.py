# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The command line: its commands, their arguments, and the help that a person reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

COLLECTION = "shaka.platform"
HELP = """examples:
  shaka status                                what runs, on all servers
  shaka logs -f --since 1h prod               the logs of all applications of prod, and go on
  shaka logs --before-deploy prod api         what the pods wrote that the last deploy replaced
  shaka psql prod                             SQL as the owner of prod's database
  shaka psql prod -- -c 'select now()'        one statement; everything after -- goes to the program
  shaka redis prod -- ttl prod:session:1
  shaka shell prod worker                     a shell in a pod
  shaka exec prod -- node scripts/report.js   a program in a pod; pipes work: shaka exec prod -- cat file >file
  shaka tunnel prod postgres                  prod's database on a port of this machine
  shaka deploy prod registry.example.com/api@sha256:...
  shaka rollback prod
  shaka releases prod
  shaka backups prod
  eval "$(shaka completion bash)"             completes commands, environments and applications; also zsh

The inventory is that of ansible.cfg, or -i; no vault password is needed for what does not run a playbook. Every command that runs is printed first.
"""


class Parser(argparse.ArgumentParser):
    """No option is abbreviated: what a script writes today must not mean two things with tomorrow's options."""

    def __init__(self, **settings: object) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)  # type: ignore[arg-type]


def _common(first: bool) -> Parser:
    """The options of every command, which may stand before it and behind it.

    :arg first: of those before it. Those behind have no defaults, which would undo what stands before.
    """

    def default(value: object) -> object:
        return value if first else argparse.SUPPRESS

    options = Parser(add_help=False)
    options.add_argument("-i", "--inventory", action="append", default=default([]), metavar="PATH", help="inventory, as for ansible-playbook")
    options.add_argument("-e", action="append", default=default([]), dest="variables", metavar="NAME=VALUE", help="variable, as there")
    options.add_argument("--host", default=default(""), metavar="NAME", help="the server, where the inventory has several")
    options.add_argument("--user", default=default(""), metavar="NAME", help="account on the server, in place of ansible_user")
    options.add_argument("-q", "--quiet", action="store_true", default=default(False), help="do not print the command that runs")
    return options


def parser() -> argparse.ArgumentParser:
    """All of the command line, but for what stands behind --."""
    description = "Everyday commands of a platform made by the collection shaka.platform."
    whole = Parser(prog="shaka", description=description, epilog=HELP, parents=[_common(True)])
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, text: str, *positional: str) -> Parser:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=[_common(False)])
        for argument in positional:
            if argument.startswith("["):
                made.add_argument(argument.strip("[]"), nargs="?", default="")
            else:
                made.add_argument(argument)
        return made

    status = command("status", "what runs: pods ready, restarts, image, hosts", "[environment]")
    status.add_argument(
        "--memory", action="store_true", help="also what each container takes of memory, and which value of the inventory does not fit"
    )
    logs = command("logs", "the logs of an environment's applications, or of one, or of postgres or redis", "environment", "[app]")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on; pods that start later are not in it")
    logs.add_argument("--since", default="", metavar="SPAN", help="of the last 1h, 90m, 30s")
    logs.add_argument("-n", "--lines", type=int, metavar="NUMBER", help="the last lines of each pod (100; with --since all)")
    earlier = logs.add_mutually_exclusive_group()
    earlier.add_argument("--crashed", action="store_true", help="of the containers before their last restart")
    before = "of the pods that the last deploy replaced; twice (-bb): that the deploy before it replaced, and so on"
    earlier.add_argument("-b", "--before-deploy", action="count", default=0, help=before)
    command("psql", "SQL in the environment's database, as its owner", "environment")
    command("redis", "redis-cli in the environment's database, as administrator", "environment")
    command("shell", "a shell in a running pod of an application, or of postgres or redis", "environment", "[app]")
    command("exec", "run what stands behind -- in a running pod of an application", "environment", "[app]")
    tunnel = command("tunnel", "a port of this machine, for this machine only, that leads to Postgres or Redis", "environment")
    tunnel.add_argument("what", choices=("postgres", "redis"))
    tunnel.add_argument("--port", type=int, metavar="NUMBER", help="port of this machine (15432 or 16379, or else any that is free)")
    command("deploy", f"the playbook {COLLECTION}.deploy; options of ansible-playbook behind --", "environment", "image", "[app]")
    rollback = command("rollback", f"the playbook {COLLECTION}.rollback: the release before, or the one named", "environment", "[release]")
    rollback.add_argument("--app", default="", help="the application (api)")
    command("releases", f"the playbook {COLLECTION}.releases: what was released, when and by whom", "[environment]")
    command("backups", f"the playbook {COLLECTION}.backups: a table of what can be restored", "[environment]")
    command("completion", 'what to put into ~/.bashrc or ~/.zshrc: eval "$(shaka completion bash)"').add_argument("shell", choices=("bash", "zsh"))
    return whole


def split(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The words before the first --, and those behind it (None without one)."""
    if "--" not in words:
        return list(words), None
    index = list(words).index("--")
    return list(words[:index]), list(words[index + 1 :])
