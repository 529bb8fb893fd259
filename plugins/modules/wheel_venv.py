#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: wheel_venv
short_description: A Python environment made of pinned wheels, without a package index
version_added: 0.1.0
author: The shaka.platform founders (@shaka-platform)
description:
  - Makes a virtual environment without pip (Debian's python3 can, without python3-venv) and installs exactly the given wheels with the pip
    that is one of them, C(--no-index --require-hashes). It is made anew when the wheels or the Python change.
attributes:
  check_mode: {support: full, description: Compares only.}
  diff_mode: {support: none, description: There is no text to compare.}
options:
  path: {description: The environment., type: path, required: true}
  wheels:
    description: "The wheels on the server, pip among them: path to sha256."
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Ensure the Kubernetes client is there
  shaka.platform.wheel_venv:
    path: /var/lib/shaka/venv
    wheels:
      /var/lib/shaka/wheels/pip-25.3-py3-none-any.whl: 9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd
"""

RETURN = r"""
requirements:
  description: What is installed, as pip's requirements lines.
  returned: success
  type: list
  elements: str
"""

import os  # noqa: E402
import sys  # noqa: E402
from typing import Any, Callable  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.shaka.platform.plugins.module_utils.files import write_whole  # noqa: E402

MARKER = "shaka-requirements.txt"


class VenvError(Exception):
    """The environment cannot be made; the text says which step failed and how."""


def requirements(wheels: dict[str, str]) -> list[str]:
    """pip's lines, `name==version --hash=sha256:...`, from the wheels' file names (PEP 427)."""
    lines = []
    for path, sha256 in wheels.items():
        parts = os.path.basename(path).removesuffix(".whl").split("-")
        if len(parts) < 5:
            raise VenvError(f"{path} is not named as a wheel (name-version-python-abi-platform.whl)")
        lines.append(f"{parts[0].replace('_', '-').lower()}=={parts[1]} --hash=sha256:{sha256}")
    return sorted(lines)


def marker_text(lines: list[str]) -> str:
    """What the marker of a finished environment says: the interpreter and the wheels."""
    return f"# Python {sys.version_info.major}.{sys.version_info.minor}\n" + "".join(f"{line}\n" for line in lines)


def is_current(path: str, text: str) -> bool:
    """Whether the environment was finished with exactly this interpreter and these wheels."""
    try:
        with open(os.path.join(path, MARKER), encoding="utf-8") as source:
            return source.read() == text and os.path.exists(os.path.join(path, "bin/python"))
    except OSError:
        return False


def build(path: str, wheels: dict[str, str], text: str, execute: Callable[..., tuple[int, str, str]]) -> None:
    """Make the environment anew; its marker is written last, so that an interrupted run is made again."""
    pip = [wheel for wheel in wheels if os.path.basename(wheel).startswith("pip-")]
    if len(pip) != 1:
        raise VenvError(f"the wheels hold {len(pip)} files pip-*.whl, but exactly one is needed")
    folders = sorted({os.path.dirname(wheel) for wheel in wheels})
    listing = os.path.join(path, "wheels.txt")
    python = os.path.join(path, "bin/python")
    steps = [
        ["/usr/bin/python3", "-m", "venv", "--clear", "--without-pip", path],
        [python, os.path.join(pip[0], "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--no-index", "--require-hashes",
         *[f"--find-links={folder}" for folder in folders], "--requirement", listing],
    ]  # fmt: skip
    for step in steps:
        if step[0] == python:
            write_whole(listing, text, 0o644)
        code, out, err = execute(step)
        if code != 0:
            raise VenvError(f"'{' '.join(step)}' failed: {(err or out).strip()}")
    write_whole(os.path.join(path, MARKER), text, 0o644)


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}, "wheels": {"type": "dict", "required": True}}, supports_check_mode=True)
    path, wheels = module.params["path"], module.params["wheels"]
    try:
        lines = requirements(wheels)
        changed = not is_current(path, marker_text(lines))
        if changed and not module.check_mode:
            build(path, wheels, marker_text(lines), module.run_command)
    except (VenvError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, requirements=lines)


if __name__ == "__main__":
    main()
