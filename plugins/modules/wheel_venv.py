#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: wheel_venv
short_description: A Python environment made of pinned wheels, without a package index
version_added: "0.1.0"
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

import sys
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.server.files import write_whole

MARKER = "shaka-requirements.txt"


class VenvError(Exception):
    """The environment cannot be made; the text says which step failed and how."""


def requirements(wheels: dict[str, str]) -> list[str]:
    """pip's lines, `name==version --hash=sha256:...`, from the wheels' file names (PEP 427)."""
    lines = []
    for path, sha256 in wheels.items():
        parts = Path(path).name.removesuffix(".whl").split("-")
        if len(parts) < 5:
            raise VenvError(f"{path} is not named as a wheel (name-version-python-abi-platform.whl)")
        lines.append(f"{parts[0].replace('_', '-').lower()}=={parts[1]} --hash=sha256:{sha256}")
    return sorted(lines)


def marker_text(lines: list[str]) -> str:
    """What the marker of a finished environment says: the interpreter and the wheels."""
    return f"# Python {sys.version_info.major}.{sys.version_info.minor}\n" + "".join(f"{line}\n" for line in lines)


def is_current(path: Path, text: str) -> bool:
    """Whether the environment was finished with exactly this interpreter and these wheels."""
    try:
        return (path / MARKER).read_text(encoding="utf-8") == text and (path / "bin/python").exists()
    except OSError:
        return False


def build(path: Path, wheels: dict[str, str], text: str, execute: Callable[[list[str]], tuple[int, str, str]]) -> None:
    """Make the environment anew; its marker is written last, so that an interrupted run is made again."""
    pips = [wheel for wheel in wheels if Path(wheel).name.startswith("pip-")]
    if len(pips) != 1:
        raise VenvError(f"the wheels hold {len(pips)} files pip-*.whl, but exactly one is needed")
    listing = path.with_name(f"{path.name}.requirements")
    write_whole(listing, text, 0o644)
    folders = sorted({f"--find-links={Path(wheel).parent}" for wheel in wheels})
    # What is imported is compiled then; compiling all of it doubles the time.
    options = ["--quiet", "--no-compile", "--disable-pip-version-check", "--no-input", "--no-cache-dir", "--no-index", "--require-hashes"]
    for step in (
        ["/usr/bin/python3", "-m", "venv", "--clear", "--without-pip", str(path)],
        [str(path / "bin/python"), f"{pips[0]}/pip", "install", *options, *folders, "--requirement", str(listing)],
    ):
        code, out, err = execute(step)
        if code != 0:
            raise VenvError(f"'{' '.join(step)}' failed: {(err or out).strip()}")
    listing.rename(path / MARKER)


def main() -> None:
    spec = {"path": {"type": "path", "required": True}, "wheels": {"type": "dict", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    path, wheels = Path(module.params["path"]), module.params["wheels"]
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
