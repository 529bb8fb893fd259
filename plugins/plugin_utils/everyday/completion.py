# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Completion of the command line, for bash and zsh."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from .arguments import parser
from .inventory import KnownServer

# Asks `shaka __complete` for the words before the cursor and the one at it. A name with a colon is one word there, unlike in bash's own idea.
BASH = """_shaka() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _shaka shaka"""
ZSH = "autoload -Uz compinit bashcompinit\n(( $+functions[compdef] )) || compinit\nbashcompinit\n" + BASH


def _subparsers(whole: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def candidates(words: Sequence[str], load: Callable[[Sequence[str], Sequence[str]], Mapping[str, KnownServer]]) -> list[str]:
    """What may stand in place of the last word.

    :arg load: reads the inventory; it is only called when a name of it is asked for.
    """
    *before, current = words or [""]
    if "--" in before:
        return []
    whole = parser()
    commands = _subparsers(whole)
    chosen: dict[str, list[str]] = {"-i": [], "-e": []}
    used: list[str] = []
    command, option = whole, ""
    name = ""
    for word in before:
        if option:
            chosen.setdefault(option, []).append(word)
            option = ""
        elif word.startswith("-"):
            action = next((action for action in command._actions if word in action.option_strings), None)
            option = min(action.option_strings, key=len) if action and action.nargs is None else ""
        elif not name and word in commands:
            name, command = word, commands[word]
        else:
            used.append(word)
    if option in ("-i",):
        return []  # files, which the shell itself completes
    if option and option != "--host":
        return []
    if option != "--host" and current.startswith("-"):
        return sorted(string for action in command._actions for string in action.option_strings if string.startswith("--"))
    if option != "--host" and not name:
        return list(commands)
    positional = [action for action in command._actions if not action.option_strings]
    if option != "--host" and len(used) >= len(positional):
        return []
    action = positional[len(used)] if option != "--host" else None
    if action and action.choices:
        return [str(choice) for choice in action.choices]
    if action and action.dest not in ("environment", "app"):
        return []
    servers = load(chosen["-i"], chosen["-e"])
    if action is None:
        return list(servers)
    hosts = [servers[host] for host in chosen.get("--host", []) if host in servers] or list(servers.values())
    if action.dest == "environment":
        return sorted({environment for server in hosts for environment in server.environments})
    data = [] if name == "deploy" else ["postgres", "redis"]
    return sorted({app for server in hosts if used[0] in server.environments for app in server.environments[used[0]].apps}) + data
