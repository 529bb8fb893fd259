#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Several whole configuration files in one call
version_added: 0.1.0
author: The shaka.platform founders (@shaka-platform)
description:
  - Writes each file whole, validated before it replaces the old one, by a rename. One call for all files of a concern, since each task
    over SSH costs about half a second.
attributes:
  check_mode: {support: full, description: "Nothing is written; validation is left out, as the server may not have the tool yet."}
  diff_mode: {support: full, description: The text before and after.}
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      dest: {description: Absolute path., type: path, required: true}
      content: {description: The whole text. Not for secrets., type: str, required: true}
      mode: {description: Octal permissions., type: str, default: "0644"}
      validate: {description: "A command that must succeed for the new file; C(%s) is its path.", type: str}
"""

EXAMPLES = r"""
- name: Ensure sshd accepts keys only
  shaka.platform.config_files:
    files:
      - dest: /etc/ssh/sshd_config.d/00-shaka.conf
        content: "PasswordAuthentication no\n"
        mode: "0600"
        validate: /usr/sbin/sshd -t -f %s
"""

RETURN = r"""
written:
  description: The files whose text or mode changed.
  returned: success
  type: list
  elements: str
absent:
  description: The files that are still not there after the task, which happens in check mode only; what needs them cannot run yet.
  returned: success
  type: list
  elements: str
"""

import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.files import parse_mode, place, write_whole

ARGUMENT_SPEC: dict[str, Any] = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "dest": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0644"},
            "validate": {"type": "str"},
        },
    },
}


class Refused(Exception):
    """The validating command refused a new file; the text is for the user."""


def current(path: Path) -> tuple[str, str] | None:
    """Text and octal mode of a file; None when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace"), f"{stat.S_IMODE(path.stat().st_mode):04o}"
    except FileNotFoundError:
        return None


def replace(file: dict[str, Any], execute: Callable[[list[str]], tuple[int, str, str]]) -> None:
    """Write one file; Refused when its validation fails, and then the old file stays."""
    dest, mode = Path(file["dest"]), parse_mode(file["mode"])
    if not file["validate"]:
        write_whole(dest, file["content"], mode)
        return
    candidate = dest.with_name(f"{dest.name}.shaka-candidate")
    write_whole(candidate, file["content"], 0o600)
    command = [part.replace("%s", str(candidate)) for part in shlex.split(file["validate"])]
    code, out, err = execute(command)
    if code != 0:
        candidate.unlink()
        raise Refused(f"{dest}: '{' '.join(command)}' refused the new file, the old one stays: {(err or out).strip()}")
    place(candidate, dest, mode)


def run(files: list[dict[str, Any]], check_mode: bool, execute: Callable[[list[str]], tuple[int, str, str]]) -> dict[str, Any]:
    """All files; the result of the module."""
    written: list[str] = []
    diff: list[dict[str, str]] = []
    for file in files:
        dest = file["dest"]
        before = current(Path(dest)) or ("", "absent")
        after = (file["content"], f"{parse_mode(file['mode']):04o}")
        if before == after:
            continue
        written.append(dest)
        diff.append({"before_header": f"{dest} ({before[1]})", "after_header": f"{dest} ({after[1]})", "before": before[0], "after": after[0]})
        if not check_mode:
            replace(file, execute)
    absent = [file["dest"] for file in files if not Path(file["dest"]).exists()]
    return {"changed": bool(written), "written": written, "absent": absent, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params["files"], module.check_mode, module.run_command)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
