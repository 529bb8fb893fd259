# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secret references: `@{prod/DB_PASSWORD}` in a Secret's stringData, resolved on the server just before the object is sent."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from .identity import describe, inventory_of

REFERENCE = re.compile(r"@\{([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)\}")
LOGINS = ".dockerconfigjson"  # https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets
# How a program may print a secret that we do not know: password=..., token: ..., scheme://user:password@host.
PRINTED = re.compile(
    r"(?i)((?:password|passwd|secret|token|api_?key|private_?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;]+|(?<=://)([^\s/:@]*:)[^\s/@]+(?=@)"
)


def references_in(obj: Mapping[str, Any]) -> Iterator[str]:
    """The references a Secret makes, as scope/NAME."""
    if obj.get("kind") == "Secret":
        for text in (obj.get("stringData") or {}).values():
            yield from REFERENCE.findall(str(text))


def composed(obj: Mapping[str, Any], resolved: Mapping[str, Any]) -> Iterator[str]:
    """The texts of a resolved Secret that contain a secret value: a URL with a password in it is as secret as the password."""
    for name, text in (obj.get("stringData") or {}).items() if obj.get("kind") == "Secret" else ():
        if REFERENCE.search(str(text)):
            yield base64.b64decode((resolved.get("data") or {}).get(name, "")).decode()


def misplaced(value: Any) -> bool:
    """True when `value` contains a reference anywhere: it would reach the cluster as text."""
    if isinstance(value, dict):
        return any(misplaced(item) for item in value.values())
    if isinstance(value, list):
        return any(misplaced(item) for item in value)
    return isinstance(value, str) and bool(REFERENCE.search(value))


def fill_in(obj: dict[str, Any], secrets: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The Secret with stringData resolved and turned into data (so that it compares exactly), and an error per unknown reference.

    Logins at registries are JSON, where a reference stands between quotes, and the value is written as JSON has it.
    """
    if obj.get("kind") != "Secret" or "stringData" not in obj:
        return obj, []
    data, errors = dict(obj.get("data") or {}), []
    for name, text in (obj["stringData"] or {}).items():
        if not isinstance(text, str):
            errors.append(f"{describe(obj)}: stringData.{name} is {type(text).__name__}, not text: quote it")
            continue
        for reference in REFERENCE.findall(text):
            if reference not in secrets:
                where = f" (inventory: {inventory_of(obj)})" if inventory_of(obj) else ""
                errors.append(f"{describe(obj)}: stringData.{name} refers to the unknown secret @{{{reference}}}{where}")
        resolved = REFERENCE.sub(partial(_value, secrets, name == LOGINS), text)
        data[name] = base64.b64encode(resolved.encode()).decode()
    return {**{key: value for key, value in obj.items() if key != "stringData"}, "data": data}, errors


def _value(secrets: Mapping[str, str], in_json: bool, match: re.Match[str]) -> str:
    value = str(secrets.get(match.group(1), ""))
    return json.dumps(value)[1:-1] if in_json else value  # within its quotes


def values_of(secrets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every value of Secrets as the cluster has them, each of which a pod could print."""
    return [base64.b64decode(value).decode(errors="ignore") for secret in secrets for value in (secret.get("data") or {}).values()]


class Scrubber:
    """Removes secret values, also in base64, from every text and result that leaves the module."""

    def __init__(self, values: Iterable[str]) -> None:
        self.values = [str(value) for value in values]
        forms: set[str] = set()
        for value in self.values:
            for text in [value, *value.splitlines()]:
                if len(text) >= 6:  # as it is, as a quoted text, and in base64
                    forms.update((text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]))
                    forms.add(base64.b64encode(text.encode()).decode().rstrip("="))
        self._forms = sorted(forms, key=len, reverse=True)

    def text(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "********")
        return text

    def log(self, text: str) -> str:
        """For a program's own lines: removes also what only looks like a secret."""
        return PRINTED.sub(lambda match: (match.group(1) or match.group(2) or "") + "********", self.text(text))

    def all(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.all(item) for key, item in value.items()}
        return [self.all(item) for item in value] if isinstance(value, list) else value
