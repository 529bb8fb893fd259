#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write several whole configuration files in one call
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Validates all files, then replaces each by a rename; if one of them is refused, every old file stays. One call writes all files of a concern,
    because each task over SSH costs about half a second.
  - Then runs the commands that put the changed files in force. The commands still to be run are kept on disk, so the next run completes one
    that was interrupted between writing and applying.
attributes:
  check_mode:
    description: Nothing is written; validation is left out, as the server may not have the tool yet.
    support: full
  diff_mode: {support: full, description: The text before and after.}
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      dest: {description: Absolute path., type: path, required: true}
      content:
        description: The whole text. Not for secrets. Without it only the permissions of an existing file are set.
        type: str
      link: {description: Makes it a symbolic link to this path instead., type: path}
      mode: {description: Octal permissions., type: str, default: "0644"}
      owner:
        description: User to whom the file, and a directory made for it, belong.
        type: str
        default: root
      directory_mode:
        description: Octal permissions of a directory that is made for it.
        type: str
        default: "0755"
      validate:
        description: A command that must succeed for the new file; C(%s) is its path.
        type: str
      apply:
        description: Commands that put a changed file in force, each run once after all files are written.
        type: list
        elements: str
        default: []
"""

EXAMPLES = r"""
- name: Ensure the journal keeps at most 500 MB, and crontabs are root's
  shaka.platform.config_files:
    files:
      - dest: /etc/systemd/journald.conf.d/50-shaka.conf
        content: "[Journal]\nSystemMaxUse=500M\n"
        apply: [systemctl restart systemd-journald.service]
      - {dest: /etc/crontab, mode: "0600"}
"""

RETURN = r"""
written:
  description: The files whose text, target, owner or mode changed.
  returned: success
  type: list
  elements: str
applied:
  description: The commands that were run.
  returned: success
  type: list
  elements: str
absent:
  description: The files that do not exist after the task. This happens only in check mode; tasks that need these files cannot run then.
  returned: success
  type: list
  elements: str
sums:
  description: The sha256 of each given content, by file.
  returned: success
  type: dict
"""

import hashlib
import os
import pwd
import shlex
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.conventions import STATE, Execute, commands_of
from ansible_collections.shaka.platform.plugins.module_utils.server import whole
from ansible_collections.shaka.platform.plugins.module_utils.server.files import parse_mode, place, write_whole
from ansible_collections.shaka.platform.plugins.module_utils.server.home import keeper, make_parent, with_rights_of_its_home
from ansible_collections.shaka.platform.plugins.module_utils.server.ledger import remember

ARGUMENT_SPEC: dict[str, Any] = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "mutually_exclusive": [("content", "link")],
        "options": {
            "dest": {"type": "path", "required": True},
            "content": {"type": "str"},
            "link": {"type": "path"},
            "mode": {"type": "str", "default": "0644"},
            "owner": {"type": "str", "default": "root"},
            "directory_mode": {"type": "str", "default": "0755"},
            "validate": {"type": "str"},
            "apply": {"type": "list", "elements": "str", "default": []},
        },
    },
}
# Commands that an interrupted run still owes, one file each.
OWED = Path(STATE) / "owed"


class FileRefused(Exception):
    """A validating or applying command failed; the text is for the user."""


def owner_of(uid: int) -> str:
    """The name of a user; the number when there is no such user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def current(path: Path) -> tuple[str, str] | None:
    """Text (or a link's target) and permissions of a file or directory; None when there is none."""
    return with_rights_of_its_home(path, lambda: _current(path))


def _current(path: Path) -> tuple[str, str] | None:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return f"-> {path.readlink()}\n", "link"
    text = "" if stat.S_ISDIR(status.st_mode) else path.read_text(encoding="utf-8", errors="replace")
    return text, f"{owner_of(status.st_uid)} {stat.S_IMODE(status.st_mode):04o}"


def text_and_mode(file: dict[str, Any], before: tuple[str, str] | None) -> tuple[str, str] | None:
    """The desired text and permissions; None when only permissions are set and the file does not exist."""
    if file["link"]:
        return f"-> {file['link']}\n", "link"
    rights = f"{file['owner']} {parse_mode(file['mode']):04o}"
    if file["content"] is not None:
        return file["content"], rights
    return (before[0], rights) if before else None


def stage(file: dict[str, Any], execute: Execute) -> Path | None:
    """Write a candidate beside the file and validate it; raises FileRefused when that fails. None when the file gets no text."""
    if file["content"] is None:
        return None
    dest = Path(file["dest"])
    make_parent(dest, parse_mode(file["directory_mode"]))
    candidate = dest.with_name(f"{dest.name}.shaka-candidate")
    write_whole(candidate, file["content"], 0o600)
    if file["validate"]:
        command = [part.replace("%s", str(candidate)) for part in shlex.split(file["validate"])]
        code, out, err = execute(command)
        if code != 0:
            with_rights_of_its_home(candidate, candidate.unlink)
            raise FileRefused(f"{dest}: '{' '.join(command)}' refused the new file, so the old one stays: {(err or out).strip()}")
    return candidate


def settle(file: dict[str, Any], candidate: Path | None) -> None:
    """Give a file its name, owner and mode. Below a home the file is its owner's, who writes it."""
    dest, mode = Path(file["dest"]), parse_mode(file["mode"])
    remember(dest, content=file["link"] is not None or candidate is not None)
    if file["link"]:
        whole.link(dest, file["link"])
        return
    if candidate:
        place(candidate, dest, mode)
    if keeper(dest):
        with_rights_of_its_home(dest, lambda: dest.chmod(mode))
    else:
        os.chown(dest, pwd.getpwnam(file["owner"]).pw_uid, -1)
        dest.chmod(mode)


def debt(command: str, owed: Path) -> Path:
    """The file that records a command still to be run."""
    return owed / hashlib.sha256(command.encode()).hexdigest()[:16]


def write(files: list[dict[str, Any]], execute: Execute, owed: Path) -> None:
    """Validate all files, record the commands that must follow, then put all files in place."""
    staged: list[tuple[dict[str, Any], Path | None]] = []
    try:
        staged.extend((file, stage(file, execute)) for file in files)
    except Exception:
        for _file, candidate in staged:
            if candidate:
                with_rights_of_its_home(candidate, candidate.unlink)
        raise
    for command in [command for file in files for command in file["apply"]]:
        write_whole(debt(command, owed), command + "\n", 0o600)
    for file, candidate in staged:
        settle(file, candidate)


def present_units(command: list[str], execute: Execute) -> list[str]:
    """The command; of `systemctl try-restart` only the units that the server has, empty without any: on an unknown one it fails."""
    if command[:2] != ["systemctl", "try-restart"]:
        return command
    units = [unit for unit in command[2:] if execute(["systemctl", "show", "--property=LoadState", "--value", unit])[1].strip() != "not-found"]
    return [*command[:2], *units] if units else []


def run(files: list[dict[str, Any]], check_mode: bool, execute: Execute, owed: Path = OWED) -> dict[str, Any]:
    """All files; the result of the module."""
    changed: list[dict[str, Any]] = []
    diff: list[dict[str, str]] = []
    for file in files:
        before = current(Path(file["dest"]))
        after = text_and_mode(file, before)
        if after is None or before == after:
            continue
        changed.append(file)
        text, rights = before or ("", "absent")
        headers = {"before_header": f"{file['dest']} ({rights})", "after_header": f"{file['dest']} ({after[1]})"}
        diff.append({**headers, "before": text, "after": after[0]})
    if not check_mode:
        write(changed, execute, owed)
    commands = dict.fromkeys(command for file in files for command in file["apply"] if file in changed or debt(command, owed).exists())
    for command in [] if check_mode else commands:
        words = present_units(shlex.split(command), execute)
        code, out, err = execute(words) if words else (0, "", "")
        if code != 0:
            raise FileRefused(f"'{command}' failed after its files were written; the next run repeats it: {(err or out).strip()}")
        debt(command, owed).unlink()
    absent = [file["dest"] for file in files if file["content"] is not None and not Path(file["dest"]).exists()]
    return {
        "changed": bool(changed or commands),
        "written": [file["dest"] for file in changed],
        "applied": list(commands),
        "absent": absent,
        "sums": {file["dest"]: hashlib.sha256(file["content"].encode()).hexdigest() for file in files if file["content"] is not None},
        "diff": diff,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params["files"], module.check_mode, commands_of(module))
    except (FileRefused, OSError) as error:
        module.fail_json(msg=str(error))
    except KeyError as error:
        module.fail_json(msg=f"no such user: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
