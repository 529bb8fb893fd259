# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks a dictionary of the inventory against its argument_specs: unknown keys and wrong shapes here, types and defaults by Ansible's validator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.shaka.platform.plugins.plugin_utils.model.problems import Problem, Problems, nearest
from ansible_collections.shaka.platform.plugins.plugin_utils.model.rules import shown

Raw = dict[str, Any]

_KINDS = {
    "dict": "a dictionary (name: value)",
    "list": "a list, such as [a, b]",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "path": "a path",
}
_NOT_BOOLEAN = "must be {kind}; YAML reads yes and on, no and off as true and false: quote the word to keep it as text"


def complete(data: Any, options: Mapping[str, Any], path: str, problems: Problems) -> Raw:
    """The data with types converted and defaults filled in. A wrong value is reported, and then treated as if it were left out."""
    if data is not None and not isinstance(data, Mapping):
        problems.add(path, f"must be {_KINDS['dict']}", None if isinstance(data, list) else data)
    known = _known_only(data if isinstance(data, Mapping) else {}, options, path, problems)
    return _validated(known, _with_defaults(options), path, problems)


def check(data: Mapping[str, Any], options: Mapping[str, Any], problems: Problems) -> Raw:
    """Check top-level variables against their options, without defaults; returns those that are right."""
    bare = {name: {key: value for key, value in option.items() if key not in ("default", "required")} for name, option in options.items()}
    checked = _validated(_known_only(data, bare, "", problems), bare, "", problems)
    return {name: value for name, value in checked.items() if value is not None}


def _with_defaults(options: Mapping[str, Any]) -> Raw:
    """The options with `apply_defaults` for every dictionary, so that the defaults of its keys apply where it is left out.

    One that requires a key has no such default: it may be left out whole.
    """
    result: Raw = {}
    for name, option in options.items():
        result[name] = deepcopy(dict(option))  # the validator fills in the very objects that are the defaults
        if "options" in option:
            result[name]["options"] = _with_defaults(option["options"])
            result[name]["apply_defaults"] = option["type"] == "dict" and not any(key.get("required") for key in option["options"].values())
    return result


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _known_only(data: Mapping[Any, Any], options: Mapping[str, Any], path: str, problems: Problems) -> Raw:
    """The data without unknown keys and values of the wrong shape, each of which is reported. A null means the default."""
    result: Raw = {}
    for key, value in data.items():
        here = _join(path, key)
        option = options.get(str(key))
        if option is None:
            problems.add(here, f"is unknown; {nearest(str(key), options)}")
            continue
        if value is None:
            continue
        if flaw := _misshapen(value, option):
            if isinstance(value, (Mapping, list)):  # not shown: it may be a secret in the wrong place
                problems.add(here, f"is a {'dictionary' if isinstance(value, Mapping) else 'list'} and {flaw}")
            else:
                problems.add(here, flaw, None if option.get("no_log") else value)
        elif "options" in option and isinstance(value, Mapping):
            result[str(key)] = _known_only(value, option["options"], here, problems)
        elif "options" in option and isinstance(value, list):
            result[str(key)] = [_known_only(item, option["options"], f"{here}[{index}]", problems) for index, item in enumerate(value)]
        else:
            result[str(key)] = deepcopy(value)
    return result


def _misshapen(value: Any, option: Mapping[str, Any]) -> str | None:
    """Refuse what the validator would convert silently and wrongly: text into lists, booleans into numbers or text."""
    kind = option.get("type", "str")
    if kind == "raw":
        return None
    if kind in ("dict", "list"):
        if not isinstance(value, Mapping if kind == "dict" else list):
            return f"must be {_KINDS[kind]}"
        inner = {"type": option.get("elements", "raw")}
        flaws = [flaw for item in value if (flaw := _misshapen(item, inner))] if kind == "list" else []
        return f"has an item that {flaws[0]}" if flaws else None
    if isinstance(value, (Mapping, list)):
        return f"must be {_KINDS[kind]}"
    if isinstance(value, bool) and kind != "bool":
        return _NOT_BOOLEAN.format(kind=_KINDS[kind])
    if kind == "int" and not re.fullmatch(r"\s*[+-]?[0-9]+\s*", str(value)):
        return f"must be {_KINDS[kind]}"
    return None


def _validated(data: Raw, options: Mapping[str, Any], path: str, problems: Problems) -> Raw:
    """Validate, leave out what is wrong and validate the rest again, so that one mistake makes one problem."""
    while True:
        result = ArgumentSpecValidator(options).validate(deepcopy(data))
        if not result.error_messages:
            return dict(result.validated_parameters)
        complaints = [_complaint(text) for text in dict.fromkeys(result.error_messages)]
        for names, text in complaints:
            problems.append(Problem(".".join(filter(None, [path, *names])), f"{_value(data, names, options)}{text}"))
        dropped = [_drop(data, names) for names, _text in complaints]
        if not all(dropped):
            return _validated({}, {name: {**option, "required": False} for name, option in options.items()}, path, problems)


_WRONG_TYPE = re.compile(r"argument '(\w+)' is of type .*?(?: found in '([\w> -]+)'\.)? and we were unable to convert to (\w+):.*", re.DOTALL)
_NO_CHOICE = re.compile(r"value of (\w+) must be one of: (.*), got: .*?(?: found in ([\w> -]+))?")
_NO_CHOICES = re.compile(r"value of (\w+) must be one or more of: (.*)\. Got no match for: (.*?)(?: found in ([\w> -]+))?")
_MISSING = re.compile(r"missing required arguments: (.*?)(?: found in ([\w> -]+))?")


def _complaint(text: str) -> tuple[list[str], str]:
    """The keys that a message of Ansible's validator is about, and the rule in our words."""

    def names(inside: str | None, *last: str) -> list[str]:
        return [*(inside.split(" -> ") if inside else []), *last]

    if match := _WRONG_TYPE.fullmatch(text):
        return names(match[2], match[1]), f"must be {_KINDS.get(match[3], match[3])}"
    if match := _NO_CHOICE.fullmatch(text):
        return names(match[3], match[1]), f"is unknown; known: {match[2]}"
    if match := _NO_CHOICES.fullmatch(text):
        return names(match[4], match[1]), f"has {shown(match[3])}, which is unknown; known: {match[2]}"
    if match := _MISSING.fullmatch(text):
        return names(match[2]), f"lacks {match[1]}"
    return [], text


def _value(data: Any, names: list[str], options: Mapping[str, Any]) -> str:
    """The value, to be shown in front of the rule; empty for a secret, or inside a list."""
    option: Mapping[str, Any] = {}
    for name in names:
        if not isinstance(data, Mapping) or name not in data:
            return ""
        data, option, options = data[name], options[name], options[name].get("options") or {}
    return "" if option.get("no_log") or isinstance(data, (Mapping, list)) else f"{shown(data)} "


def _drop(data: Any, names: list[str]) -> bool:
    """Remove the value at these keys, or the list that contains it; False when there is no such value."""
    for index, name in enumerate(names):
        if not isinstance(data, dict) or name not in data:
            return False
        if index == len(names) - 1 or isinstance(data[name], list):
            del data[name]
            return True
        data = data[name]
    return False
