# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The roles' templates as Jinja compiles them, kept from run to run: each task renders in a process of its own, which would compile them again."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from typing import Any

import ansible
import jinja2
from ansible.template import Templar
from ansible_collections.shaka.platform.plugins.plugin_utils import cache


class CompiledTemplates(jinja2.FileSystemBytecodeCache):
    """Jinja's own cache, which knows a template by its file and content. That it cannot be written is no reason to fail."""

    def dump_bytecode(self, bucket: Any) -> None:
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


def keep_compiled(templar: Templar) -> None:
    """Have what this templar includes compiled once, where there is a place to keep it."""
    environment = getattr(getattr(templar, "_engine", None), "environment", None)
    folder = _folder()
    if environment is not None and folder:
        environment.bytecode_cache = CompiledTemplates(folder)


def _folder() -> str:
    """Of these versions, as Ansible compiles in its own way; '' where there can be none that nobody else writes to."""
    versions = hashlib.sha256(f"{ansible.__version__} {jinja2.__version__} {sys.version}".encode()).hexdigest()[:16]
    try:
        folder = cache.folder("templates") / versions
        return str(folder) if cache.make(folder) else ""
    except (OSError, RuntimeError):  # no home
        return ""
