# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection's own files that plugins read: the one place that knows where roles and playbooks are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "roles"


@lru_cache(maxsize=1)
def site_roles() -> tuple[str, ...]:
    """The roles of playbooks/site.yml, each once, in the order of their first run."""
    plays = yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    entries = [entry for play in plays for entry in play.get("roles", [])]
    names = [str(entry["role"] if isinstance(entry, Mapping) else entry).rsplit(".", 1)[-1] for entry in entries]
    return tuple(dict.fromkeys(names))


def role_variables(loader: DataLoader, role: Path, kind: str) -> dict[str, Any]:
    """A role's `defaults` or `vars` as Ansible loads them (main.yml, or every file of main/), their templates trusted."""
    found: dict[str, Any] = {}
    for path in _files(role / kind):
        found |= loader.load_from_file(str(path), trusted_as_template=True) or {}
    return found


def _files(folder: Path) -> Iterable[Path]:
    whole = folder / "main.yml"
    return [whole] if whole.is_file() else sorted((folder / "main").glob("*.yml"))
