# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and writes YAML as Kubernetes does: objects from text, and text for diffs.

PyYAML follows YAML 1.1, where `on` is a boolean, `22:22` is 1342 and `2026-01-01` is a date. Kubernetes' own reader takes the
last two as text, so the loader here knows only null, true/false, numbers and text. And where Kubernetes takes nothing but text (a key, a name, a
label, a variable's value), a value is read as it is written: a template needs no quotes for a secret called NULL or a commit called 1e7.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

try:
    import yaml

    Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
except ImportError:  # a bare server in check mode: manifests are not read, and a diff is JSON
    yaml = None  # type: ignore[assignment,unused-ignore]
    Base = Dumper = object

__all__ = ("YamlError", "read_objects", "to_yaml", "yaml")

INTEGER = re.compile(r"^(?:[-+]?0[0-7]+|[-+]?(?:0|[1-9][0-9]*)|[-+]?0x[0-9a-fA-F]+)$")
FLOAT = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+)$")


class Loader(Base):  # type: ignore[misc]
    """The safe loader, but with the scalars of Kubernetes' reader (a leading zero still means octal: `defaultMode: 0440`)."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


class BlockDumper(Dumper):  # type: ignore[misc]
    """Writes text of several lines as a block, so that a diff of a ConfigMap reads line by line."""


if yaml:
    for tag, pattern, first in (
        ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
        ("int", INTEGER, "-+0123456789"),
        ("float", FLOAT, "-+0123456789."),
        ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), "~nN"),
        ("merge", re.compile(r"^(?:<<)$"), "<"),
    ):
        for character in list(first) + ([""] if tag == "null" else []):
            Loader.yaml_implicit_resolvers.setdefault(character, []).append(("tag:yaml.org,2002:" + tag, pattern))
    BlockDumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))


class YamlError(Exception):
    """The text is not YAML, or not Kubernetes objects; the message has the line (1-based) where there is one."""


# Where Kubernetes takes only text: fields, the values of dictionaries, and the items of lists (https://kubernetes.io/docs/reference/kubernetes-api/).
_FIELDS = frozenset(
    "apiVersion kind name namespace key path mountPath subPath image host cidr schedule timeZone claimName secretName serviceName serviceAccountName"
    " storageClassName priorityClassName externalName email server".split()
)
_DICTIONARIES = frozenset("labels annotations matchLabels nodeSelector selector".split())
_DATA = frozenset(("data", "stringData"))
_LISTS = frozenset("args command values hosts dnsNames resourceNames resources verbs apiGroups except".split())
_TEXT = "tag:yaml.org,2002:str"


def _as_written(node: Any) -> None:
    if isinstance(node, yaml.ScalarNode) and node.value:
        node.tag = _TEXT


def _with_text(node: Any, of_data: bool, inside: str = "") -> None:
    """Mark as text what Kubernetes takes as text, in the tree of a document that is not yet made into values.

    :arg of_data: whether `data` holds text, as in a ConfigMap; another kind may hold anything there.
    :arg inside: the field that the node is the value of.
    """
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if inside in _LISTS:
                _as_written(item)
            _with_text(item, of_data, "env[]" if inside == "env" else "")
    elif isinstance(node, yaml.MappingNode):
        all_text = inside in _DICTIONARIES or (of_data and inside in _DATA)
        for key, value in node.value:
            name = str(key.value)
            if key.tag != "tag:yaml.org,2002:merge":
                _as_written(key)
            if not name:
                raise YamlError(f"line {key.start_mark.line + 1}: a key is empty; name it, or leave the entry out")
            if all_text or name in _FIELDS or (name == "value" and inside == "env[]"):
                _as_written(value)
            _with_text(value, of_data, name)


def _documents(text: str) -> Iterator[Any]:
    loader = Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            kinds = {str(value.value) for key, value in node.value if key.value == "kind"} if isinstance(node, yaml.MappingNode) else set()
            if "CustomResourceDefinition" not in kinds:  # its schema describes fields of such names, and their defaults
                _with_text(node, bool(kinds & {"ConfigMap", "Secret", "List"}))
            yield loader.construct_document(node)
    finally:
        loader.dispose()


# JSON may write a character beyond U+FFFF, such as an emoji, as escapes of its two UTF-16 halves (Ansible's to_json does), which YAML does not know.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def _character(pair: re.Match[str]) -> str:
    high, low = int(pair[2], 16), int(pair[3], 16)
    return pair[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def read_objects(text: str) -> list[dict[str, Any]]:
    """The Kubernetes objects in `text`: several documents, `kind: List` flattened, empty documents dropped."""
    objects: list[dict[str, Any]] = []
    text = _PAIR.sub(_character, text)
    try:
        documents = list(_documents(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        lines = text.splitlines()
        shown = f" in {lines[mark.line].strip()!r}" if mark and mark.line < len(lines) else ""
        raise YamlError(f"{where}{getattr(error, 'problem', None) or error}{shown}") from None
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise YamlError(f"a document is {type(document).__name__}, not an object with apiVersion and kind")
        for item in document.get("items") or [] if document.get("kind") == "List" else [document]:
            name = (item.get("metadata") or {}).get("name")
            missing = [f for f, value in (("apiVersion", item.get("apiVersion")), ("kind", item.get("kind")), ("metadata.name", name)) if not value]
            if missing:
                raise YamlError(f"an object ({item.get('kind') or 'no kind'} {name or 'without name'}) lacks {', '.join(missing)}")
            objects.append(item)
    return objects


def to_yaml(value: Any) -> str:
    """Readable YAML, keys in the order Kubernetes users expect (apiVersion, kind, metadata first)."""
    if isinstance(value, dict):
        first = [key for key in ("apiVersion", "kind", "metadata", "type", "spec", "data") if key in value]
        value = {key: value[key] for key in first + sorted(set(value) - set(first))}
    if yaml is None:
        return json.dumps(value, indent=2) + "\n"
    return str(yaml.dump(value, Dumper=BlockDumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=150))
