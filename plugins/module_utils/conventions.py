# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules hold to: how a command is run, how many questions are asked at once, how long between two looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# A Kubernetes object, or a part of one, that is only read
Object = Mapping[str, Any]
# AnsibleModule.run_command: the words of a command (and `data` for its stdin) -> (exit code, stdout, stderr)
Execute = Callable[..., tuple[int, str, str]]
# Questions to one server at a time
WORKERS = 8
# Seconds between two looks at something that is not there yet
PAUSE = 1.0
