#!/usr/bin/python
# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact_files
short_description: Many pinned files on the server, each known by its sha256
version_added: "0.1.0"
author: The shaka.platform founders (@shaka-platform)
description:
  - Puts files from the controller (I(src)) or from a URL (I(url)) on the server; each is verified against its sha256 before it gets its name.
  - One remote call finds what is missing or different; only that is sent or downloaded. Sums are remembered together with size, times and
    inode, so that a run without changes reads no file.
  - Missing directories are made (0755). A file gets its name by a rename, so that an interrupted run leaves the old file.
attributes:
  check_mode: {support: full, description: Reports what would be sent or downloaded; nothing is transferred.}
  diff_mode: {support: full, description: The sums before and after.}
options:
  files:
    description: The files that are to be there.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: What messages call it., type: str, required: true}
      dest: {description: Absolute path on the server., type: path, required: true}
      sha256: {description: "The sum of its content, as 64 hex digits.", type: str, required: true}
      src: {description: Path on the controller. One of I(src) and I(url) is required., type: str}
      url: {description: Where the server downloads it from., type: str}
      mode: {description: Octal permissions., type: str, default: "0644"}
      links:
        description: Names of symbolic links to it in the same directory. A file or another link that has such a name stays, with a warning.
        type: list
        elements: str
        default: []
      size: {description: Its size in bytes; set by the action plugin., type: int, default: 0}
  memory:
    description: File on the server that remembers the sums.
    type: path
    default: /var/lib/shaka/artifacts.json
  only_in:
    description: A directory in which files that an earlier run put there, and that O(files) has no longer, are removed.
    type: path
  timeout:
    description: Seconds without an answer after which a download is given up.
    type: int
    default: 60
  received:
    description: Name to path of what the action plugin has already transferred. Internal.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Ensure the K3s binary is the pinned one
  shaka.platform.artifact_files:
    files:
      - name: k3s
        src: "{{ platform_bundle }}/bin/k3s"
        dest: /usr/local/bin/k3s
        sha256: 267d18da7b3c837d82283f0588fb9031a8a6ff3c0dac772c260c40852ce515f6
        mode: "0755"
        links: [kubectl, crictl, ctr]
"""

RETURN = r"""
files:
  description: One entry per file.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: As given., type: str, returned: always}
    dest: {description: As given., type: str, returned: always}
    action:
      description: V(unchanged), V(sent), V(downloaded), V(attributes) when only its mode or links differed, or V(removed).
      type: str
      returned: always
    before: {description: "The sum before, or V(missing).", type: str, returned: always}
message:
  description: What was done, in one line.
  returned: success
  type: str
"""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.shaka.platform.plugins.module_utils.server.files import move, parse_mode, place, sha256_of, write_whole

FILE_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "dest": {"type": "path", "required": True},
    "sha256": {"type": "str", "required": True},
    "src": {"type": "str"},
    "url": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "links": {"type": "list", "elements": "str", "default": []},
    "size": {"type": "int", "default": 0},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": FILE_SPEC,
        "required_one_of": [["src", "url"]],
        "mutually_exclusive": [["src", "url"]],
    },
    "memory": {"type": "path", "default": "/var/lib/shaka/artifacts.json"},
    "only_in": {"type": "path"},
    "timeout": {"type": "int", "default": 60},
    "received": {"type": "dict", "default": {}},
}


WAY_OUT = "does the server reach it? Else name a mirror in platform_artifact_mirrors, or use a bundle (platform_bundle)"
WRONG_CONTENT = (
    "The upstream's file or the way to it has changed: do not go on before you know why; a new version belongs in the lock with its own sum"
)


class ArtifactError(Exception):
    """A file that cannot be put in place; the text names it, what was expected and what was there."""


def open_url(url: str, **options: Any) -> Any:
    """Ansible's, which is imported where something is fetched: a run that fetches nothing does without the libraries behind it."""
    from ansible.module_utils import urls

    return urls.open_url(url, **options)


class Memory:
    """Sums of files, each good for as long as the file's size, times and inode stay what they were when it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.known: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}
        self.changed = False

    def digest(self, path: Path) -> str | None:
        """The file's sum; None when there is no regular file. The change time cannot be set back, so a swapped file is read again."""
        try:
            found = path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        identity = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]
        entry = self.known.get(str(path))
        if entry is None or entry.get("identity") != identity:
            entry = self.known[str(path)] = {"sha256": sha256_of(path), "identity": identity}
            self.changed = True
        return str(entry["sha256"])

    def save(self) -> None:
        """Write what was learned, if anything was."""
        if self.changed:
            write_whole(self.path, json.dumps(self.known, indent=1, sort_keys=True) + "\n", 0o644)


def partial_path(file: dict[str, Any]) -> Path:
    """Where a file is put until it is verified. The name has none of the endings that K3s's image import looks for."""
    return Path(file["dest"]).with_name(f".part-{file['sha256'][:16]}")


def download(file: dict[str, Any], partial: Path, timeout: int, opener: Callable[..., Any]) -> None:
    """Fetch the file's URL to a partial file; ArtifactError when it breaks off."""
    try:
        response = opener(file["url"], timeout=timeout, http_agent="shaka.platform", follow_redirects="safe")
        length = int(response.headers.get("Content-Length") or 0)
        with partial.open("wb") as target:
            while block := response.read(1 << 20):
                target.write(block)
            got = target.tell()
    except Exception as error:
        partial.unlink(missing_ok=True)
        reason = f"no answer for {timeout} s" if isinstance(error, TimeoutError) else str(error)
        raise ArtifactError(f"{file['name']}: the download of {file['url']} failed: {reason}; {WAY_OUT}") from error
    if length and got != length:
        partial.unlink(missing_ok=True)
        raise ArtifactError(f"{file['name']}: the download of {file['url']} broke off: expected {length} bytes, got {got}; run it again")


def verified(file: dict[str, Any], partial: Path, origin: str) -> None:
    """Refuse, and remove, a partial file whose sum is not the expected one."""
    got = sha256_of(partial)
    if got != file["sha256"]:
        partial.unlink()
        expected = f"expected sha256 {file['sha256']}, got {got}"
        raise ArtifactError(f"{file['name']}: wrong content from {origin}: {expected}; {file['dest']} is left as it was. {WRONG_CONTENT}")


def links_to_make(file: dict[str, Any]) -> list[Path]:
    """The file's links that are missing. What else has such a name is the administrator's own."""
    return [link for link in (Path(file["dest"]).with_name(name) for name in file["links"]) if not os.path.lexists(link)]


def foreign_links(files: list[dict[str, Any]]) -> list[str]:
    """What is in the place of a link, in words."""
    links = [(Path(file["dest"]).with_name(name), Path(file["dest"]).name) for file in files for name in file["links"]]
    others = [(link, target) for link, target in links if os.path.lexists(link) and not (link.is_symlink() and str(link.readlink()) == target)]
    return [f"{link} is not a link to {target} and stays as it is; remove it, and the next run makes the link" for link, target in others]


def set_links(file: dict[str, Any]) -> None:
    """Make the links, each in one step."""
    for link in links_to_make(file):
        fresh = link.with_name(f".link-{link.name}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path(file["dest"]).name)
        fresh.rename(link)


def refuse_full_disk(files: list[dict[str, Any]]) -> None:
    """ArtifactError when the files do not fit the file systems they go to."""
    needed: dict[int, int] = {}
    for file in files:
        folder = next(parent for parent in Path(file["dest"]).parents if parent.is_dir())
        device = folder.stat().st_dev
        needed[device] = needed.get(device, 0) + file["size"]
        space = os.statvfs(folder)
        free = space.f_bavail * space.f_frsize
        if needed[device] > free:
            raise ArtifactError(f"{file['name']}: the file system of {folder} has {free >> 20} MiB free, the files need {needed[device] >> 20} MiB")


def ensure(file: dict[str, Any], memory: Memory, params: dict[str, Any], check_mode: bool, opener: Callable[..., Any]) -> dict[str, Any]:
    """Bring one file to its place, or tell that it must be sent first (action `wanted`)."""
    dest, mode = Path(file["dest"]), parse_mode(file["mode"])
    before = memory.digest(dest)
    result = {"name": file["name"], "dest": file["dest"], "before": before or "missing", "action": "unchanged"}
    if before == file["sha256"]:
        if stat.S_IMODE(dest.stat().st_mode) != mode or links_to_make(file):
            result["action"] = "attributes"
            if not check_mode:
                dest.chmod(mode)
                set_links(file)
        return result
    result["action"] = "downloaded" if file["url"] else "sent"
    if check_mode:
        return result
    partial = partial_path(file)
    dest.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if file["url"]:
        download(file, partial, params["timeout"], opener)
        verified(file, partial, file["url"])
    elif file["name"] in params["received"]:
        received = Path(params["received"][file["name"]])
        if received != partial:
            move(received, partial)
        verified(file, partial, "the controller")
    else:
        return {**result, "action": "wanted", "partial": str(partial)}
    place(partial, dest, mode)
    set_links(file)
    return result


def drop(folder: Path, files: list[dict[str, Any]], memory: Memory, check_mode: bool) -> list[dict[str, Any]]:
    """Remove the files of a directory that an earlier run put there and that are pinned no longer. Others' files stay."""
    pinned, results = {file["dest"] for file in files}, []
    for path in [Path(name) for name in sorted(memory.known) if Path(name).parent == folder and name not in pinned]:
        if path.is_file():
            results.append({"name": path.name, "dest": str(path), "before": memory.known[str(path)]["sha256"], "action": "removed"})
            if not check_mode:
                path.unlink()
        if not check_mode:
            del memory.known[str(path)]
            memory.changed = True
    return results


def run(params: dict[str, Any], check_mode: bool, opener: Callable[..., Any] = open_url) -> dict[str, Any]:
    """All files; the result of the module."""
    for file in params["files"]:
        file["sha256"] = file["sha256"].lower()
        if len(file["sha256"]) != 64:
            raise ArtifactError(f"{file['name']}: '{file['sha256']}' is not a sha256 (64 hex digits)")
    memory = Memory(Path(params["memory"]))
    refuse_full_disk([file for file in params["files"] if memory.digest(Path(file["dest"])) != file["sha256"]])
    try:
        results = [ensure(file, memory, params, check_mode, opener) for file in params["files"]]
        if params["only_in"] and not params["received"]:
            results += drop(Path(params["only_in"]), params["files"], memory, check_mode)
        for file in params["files"]:
            memory.digest(Path(file["dest"]))
    finally:
        if not check_mode:
            memory.save()
    return summary(results, params["files"])


def summary(results: list[dict[str, Any]], files: list[dict[str, Any]]) -> dict[str, Any]:
    """`changed`, one line of text, and the sums before and after (shortened)."""
    touched = [result for result in results if result["action"] != "unchanged"]
    wanted = {file["name"]: file["sha256"] for file in files}
    diff = {
        "before": "".join(f"{result['dest']} {result['before'][:12]}\n" for result in touched),
        "after": "".join(f"{result['dest']} {wanted.get(result['name'], '')[:12]} ({result['action']})\n" for result in touched),
    }
    message = ", ".join(f"{result['name']}: {result['action']}" for result in touched) or f"{len(files)} files as pinned"
    return {"changed": bool(touched), "files": results, "message": message, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except (ArtifactError, OSError) as error:
        module.fail_json(msg=str(error))
    for text in foreign_links(module.params["files"]):
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
