# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A YAML file encrypted by SOPS (https://getsops.io), through its own program, which gets values by standard input and never by its arguments.

An existing file keeps its recipients; a new one follows the creation rules of `.sops.yaml`. The temporary files are encrypted, too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.shaka.platform.plugins.plugin_utils.whole_file import replace_file

SUFFIXES = (".sops.yml", ".sops.yaml")
TIMEOUT = 120  # seconds; a key service may ask a person
MARK = "ENC["  # begins each encrypted value


class SopsError(Exception):
    """The program failed; the message is for a person."""


def is_sops(path: Path, content: Mapping[str, Any]) -> bool:
    """Whether a file is encrypted by SOPS, or its name says that it has to be."""
    return path.name.endswith(SUFFIXES) or encrypted(content)


def encrypted(content: Mapping[str, Any]) -> bool:
    """Whether a file's content, as it is on the disk, is encrypted by SOPS."""
    return "mac" in (content.get("sops") or {})


def decrypt(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(_sops(path.parent, "decrypt", *_yaml(), str(path))) or {})


def create(path: Path, content: Mapping[str, Any]) -> None:
    """Write a whole file."""
    text = yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=False)
    output = _sops(path.parent, "encrypt", "--filename-override", str(path), *_yaml(), text=text)
    replace_file(path, output)


def update(path: Path, values: Mapping[tuple[str, ...], str]) -> None:
    """Set values by their place in an existing file."""
    new = _beside(path)
    shutil.copyfile(path, new)
    for place, value in values.items():
        index = "".join(f"[{json.dumps(key)}]" for key in place)
        _sops(path.parent, "set", *_yaml(), "--value-stdin", str(new), index, text=json.dumps(value))
    replace_file(path, new.read_bytes())
    new.unlink()


def _yaml() -> list[str]:
    return ["--input-type", "yaml", "--output-type", "yaml"]


def _beside(path: Path) -> Path:
    """The path of a temporary file; hidden, so that no vars plugin reads it."""
    return path.with_name(f".{path.name}.new")


def _sops(folder: Path, *arguments: str, text: str = "") -> str:
    """Run the program in the file's own folder, because it looks for `.sops.yaml` there and in the folders above."""
    try:
        done = subprocess.run(["sops", *arguments], cwd=folder, input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError:
        raise SopsError("the program sops is not on the PATH of this machine: install it (https://getsops.io)") from None
    except subprocess.TimeoutExpired:
        raise SopsError(f"sops {arguments[0]} did not end within {TIMEOUT} s") from None
    if done.returncode != 0:
        raise SopsError(f"sops {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
