# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Records what the platform wrote outside its own directories, and what was there before; playbooks/reset.yml restores that.

The list is kept on the server, so that it includes what an earlier version, another inventory or an interrupted run wrote.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import STATE
from ansible_collections.shaka.platform.plugins.module_utils.server import whole
from ansible_collections.shaka.platform.plugins.module_utils.server.home import with_rights_of_its_home
from ansible_collections.shaka.platform.plugins.module_utils.server.lock import alone

LEDGER = Path(STATE) / "manifest.json"
# Elsewhere (/var/lib/shaka, /var/lib/rancher, /etc/rancher, /run) whole directories belong to the platform.
SHARED = ("/etc/", "/usr/local/", "/home/", "/root/")
OWN = ("/etc/rancher/", "/etc/shaka/")
CANDIDATE = ".shaka-candidate"
PATIENCE = 30.0  # seconds


def belongs(path: str) -> bool:
    """Whether to record a path: only those in directories that others use, too."""
    return path.startswith(SHARED) and not path.startswith(OWN)


def load(ledger: Path = LEDGER) -> dict[str, Any]:
    """Path -> what was there before the platform wrote it; None when there was nothing."""
    try:
        entries: dict[str, Any] = json.loads(ledger.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return entries


def state(path: Path, content: bool = True) -> dict[str, Any] | None:
    """All that is needed to restore a file, a link or a directory's permissions; without `content` a file's permissions alone."""
    return with_rights_of_its_home(path, lambda: _state(path, content))


def _state(path: Path, with_content: bool) -> dict[str, Any] | None:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return {"link": str(path.readlink())}
    content = base64.b64encode(path.read_bytes()).decode() if with_content and not stat.S_ISDIR(status.st_mode) else None
    return {"mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid, "content": content}


def remember(dest: Path, ledger: Path = LEDGER, content: bool = True, mark: str = "") -> None:
    """Record a path and its state before it is written for the first time; the record is on the disk when this returns.

    :arg content: False where only the permissions are ours. What others write into the file is theirs, and a reset must not undo it.
    :arg mark: what our lines begin with where only these are ours, in front of what they were; a reset takes it away in the text of that day.
    """
    name = str(dest).removesuffix(CANDIDATE)
    if not belongs(name):
        return
    with _alone(ledger):
        entries = load(ledger)
        content = content and not mark
        before = entries[name] if name in entries else state(Path(name), content)
        if not content and before:
            before = {**before, "content": None, **({"mark": mark} if mark else {})}  # an earlier version recorded a content
        if name not in entries or entries[name] != before:
            keep_only({**entries, name: before}, ledger)


def forget(names: Iterable[str], ledger: Path = LEDGER) -> None:
    """Take paths off the list, which a reset is not to bring back; the list is on the disk when this returns."""
    with _alone(ledger):
        entries = load(ledger)
        if going := {*names} & {*entries}:
            keep_only({name: before for name, before in entries.items() if name not in going}, ledger)


@contextlib.contextmanager
def _alone(ledger: Path) -> Iterator[None]:
    """One process at a time reads and replaces the list; another that does so takes a moment only."""
    lock = ledger.with_name(f"{ledger.name}.lock")
    lock.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    lock.touch(mode=0o600)  # a file that root alone can open, so that nobody else can hold it
    with alone(lock, f"another process has held {lock} for {PATIENCE:.0f} s", PATIENCE):
        yield


def keep_only(entries: dict[str, Any], ledger: Path = LEDGER) -> None:
    """Replace the list; it is on the disk when this returns."""
    whole.replace(ledger, json.dumps(entries, indent=1, sort_keys=True), 0o600)


def is_back(path: Path, before: dict[str, Any] | None) -> bool:
    """Whether a path is in its recorded state, as far as that was ours to change."""
    return with_rights_of_its_home(path, lambda: _is_back(path, before))


def _is_back(path: Path, before: dict[str, Any] | None) -> bool:
    if before and before.get("mark"):
        return not path.exists() or not any(line.startswith(before["mark"]) for line in whole.text_of(path).splitlines())
    return _state(path, before is None or before.get("content") is not None) == before


def bring_back(path: Path, before: dict[str, Any] | None) -> None:
    """Restore a path to its recorded state; of one without content the permissions, if it is still there."""
    with_rights_of_its_home(path, lambda: _bring_back(path, before))


def _bring_back(path: Path, before: dict[str, Any] | None) -> None:
    if _is_back(path, before):
        return
    if before and before.get("mark"):
        text = whole.text_of(path)
        whole.replace(path, re.sub(f"^{re.escape(before['mark'])}", "", text, flags=re.MULTILINE), before["mode"])
        return
    if before is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    partial = whole.partial_of(path)
    partial.unlink(missing_ok=True)
    if "link" in before:
        partial.symlink_to(before["link"])
    elif before["content"] is not None:
        partial.touch(mode=0o600)
        partial.write_bytes(base64.b64decode(before["content"]))
    target = partial if before.get("content") is not None else path
    if "mode" in before and target.exists():
        if os.geteuid() == 0:  # else it is the home's owner, as the file's
            shutil.chown(target, before["uid"], before["gid"])
        target.chmod(before["mode"])
    if partial.exists() or partial.is_symlink():
        partial.rename(path)
