#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: wheel_venv
short_description: A Python environment on the server, of packages pinned by hash
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Makes a virtual environment with the server's Python (Debian's can, without python3-venv) and installs exactly what the requirements file pins.
    It is made again when the file or the Python changes; while neither does, one remote call compares a sum, and nothing else is asked.
  - The controller downloads the wheels with its own pip (C(pip download --require-hashes --only-binary=:all:)), from whatever index that is
    configured for, or takes them from O(wheels), and sends them. The server reaches no index, and pip does not stay on it.
attributes:
  action: {description: The controller gets the wheels., support: full}
  check_mode: {description: Compares only., support: full}
  diff_mode: {description: There is no text to compare., support: none}
options:
  path:
    description: The environment.
    type: path
    required: true
  requirements:
    description: pip's requirements file with hashes, on the controller; pip is one of the packages.
    type: path
    required: true
  wheels:
    description: Directory on the controller with the wheels; without one they are downloaded once, and kept in the user's cache directory.
    type: path
    default: ""
  sum:
    description: The sum of the requirements file. Internal.
    type: str
    default: ""
  received:
    description: What the controller has sent. Internal.
    type: path
    default: ""
"""

EXAMPLES = r"""
- name: Ensure the Kubernetes client is there
  shaka.platform.wheel_venv:
    path: /var/lib/shaka/venv
    requirements: "{{ role_path }}/files/requirements-server.txt"
"""

RETURN = r"""
python:
  description: The version of the environment's Python, such as V(3.11).
  returned: success
  type: str
"""

import platform
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import commands_of
from ansible_collections.shaka.platform.plugins.module_utils.server.files import write_whole

MARKER = "shaka-requirements.txt"
REQUIREMENTS = "requirements.txt"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "requirements": {"type": "path", "required": True},
    "wheels": {"type": "path", "default": ""},
    "sum": {"type": "str", "default": ""},
    "received": {"type": "path", "default": ""},
}


class VenvError(Exception):
    """The environment cannot be made; the text says which step failed and how."""


def is_current(path: Path, marker: str) -> bool:
    """Whether the environment was finished, with this Python and these requirements."""
    try:
        return (path / MARKER).read_text(encoding="utf-8") == marker and (path / "bin/python").exists()
    except OSError:
        return False


def partial(path: Path) -> Path:
    """Where the wheels are sent to; a run that was killed leaves them there for the next one, which sends them again."""
    return path.with_name(f".{path.name}.wheels.zip")


def build(path: Path, received: Path, marker: str, execute: Callable[[list[str]], tuple[int, str, str]]) -> None:
    """Make the environment again; its marker is written last, so that an interrupted run is made again."""
    wheels = path.with_name(f"{path.name}.wheels")
    shutil.rmtree(wheels, ignore_errors=True)
    try:
        with zipfile.ZipFile(received) as archive:
            archive.extractall(wheels)
        pips = list(wheels.glob("pip-*.whl"))
        if len(pips) != 1:
            raise VenvError(f"the wheels hold {len(pips)} files pip-*.whl, but exactly one is needed")
        # What is imported is compiled then; compiling all of it doubles the time.
        options = ["--quiet", "--no-compile", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--no-index", "--require-hashes"]
        for step in (
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(path)],
            [str(path / "bin/python"), f"{pips[0]}/pip", "install", *options, f"--find-links={wheels}", f"--requirement={wheels / REQUIREMENTS}"],
        ):
            code, out, err = execute(step)
            if code != 0:
                raise VenvError(f"'{' '.join(step)}' failed: {(err or out).strip()}")
        write_whole(path / MARKER, marker, 0o644)
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
        for sent in (received, partial(path)):
            sent.unlink(missing_ok=True)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    path, marker = Path(module.params["path"]), f"# Python {PYTHON}, requirements {module.params['sum']}\n"
    try:
        if is_current(path, marker):
            module.exit_json(changed=False, python=PYTHON)
        if not module.check_mode and not module.params["received"]:
            wanted = {"python": PYTHON, "machine": platform.machine(), "partial": str(partial(path))}
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            module.exit_json(changed=False, python=PYTHON, wanted=wanted)
        if not module.check_mode:
            build(path, Path(module.params["received"]), marker, commands_of(module))
    except (VenvError, OSError, zipfile.BadZipFile) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, python=PYTHON)


if __name__ == "__main__":
    main()
