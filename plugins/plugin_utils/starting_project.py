# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a new project: what they hold, and how they come into a directory that may have some already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

SECRET = re.compile(r"(^|/)secrets\.(sops\.)?ya?ml$")


class ProjectError(Exception):
    """The project cannot be written; the text names every file that is in the way."""


def filled_in(sources: Mapping[str, Path], values: Mapping[str, str]) -> dict[str, str]:
    """The content of each file, with the values in place of the words that stand for them."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in sources.items()}
    for word, value in values.items():
        texts = {name: text.replace(word, value) for name, text in texts.items()}
    return texts


def missing_files(directory: Path, texts: Mapping[str, str]) -> list[str]:
    """The files that are not there yet. Raises ProjectError for those that are there and differ."""
    missing, differing = [], []
    for name, text in texts.items():
        path = directory / name
        if not path.exists() and not path.is_symlink() and all(parent.is_dir() or not parent.exists() for parent in path.parents):
            missing.append(name)
        elif not path.is_file() or path.read_bytes() != text.encode():
            differing.append(name)
    if differing:
        there = ", ".join(differing)
        raise ProjectError(f"nothing was written: {directory} already has, with other content, {there}. Move them, or choose another directory")
    return missing


def write(directory: Path, texts: Mapping[str, str], names: list[str]) -> None:
    """Write these files; those that will hold secrets are for their owner alone. A file that appears meanwhile is not overwritten."""
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            path.chmod(0o600 if SECRET.search(name) else 0o644)
            file.write(texts[name])
