# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Records what the platform wrote outside its own directories, and what was there before; playbooks/reset.yml restores that.

The list is kept on the server, so that it includes what an earlier version, another inventory or an interrupted run wrote.
"""

from __future__ import annotations

import base64
import json
import shutil
import stat
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import STATE
from ansible_collections.shaka.platform.plugins.module_utils.server import whole

LEDGER = Path(STATE) / "manifest.json"
# Elsewhere (/var/lib/shaka, /var/lib/rancher, /etc/rancher, /run) whole directories belong to the platform.
SHARED = ("/etc/", "/usr/local/", "/home/", "/root/")
OWN = ("/etc/rancher/", "/etc/shaka/")
CANDIDATE = ".shaka-candidate"


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


def state(path: Path) -> dict[str, Any] | None:
    """All that is needed to restore a file, a link or a directory's permissions."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode):
        return {"link": str(path.readlink())}
    content = None if stat.S_ISDIR(status.st_mode) else base64.b64encode(path.read_bytes()).decode()
    return {"mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid, "content": content}


def remember(dest: Path, ledger: Path = LEDGER) -> None:
    """Record a path and its state before it is written for the first time; the record is on the disk when this returns."""
    name = str(dest).removesuffix(CANDIDATE)
    if not belongs(name):
        return
    entries = load(ledger)
    if name in entries:
        return
    keep_only({**entries, name: state(Path(name))}, ledger)


def keep_only(entries: dict[str, Any], ledger: Path = LEDGER) -> None:
    """Replace the list; it is on the disk when this returns."""
    whole.replace(ledger, json.dumps(entries, indent=1, sort_keys=True), 0o600)


def bring_back(path: Path, before: dict[str, Any] | None) -> None:
    """Restore a path to its recorded state."""
    if state(path) == before:
        return
    if before is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.shaka-new")
    partial.unlink(missing_ok=True)
    if "link" in before:
        partial.symlink_to(before["link"])
    elif before["content"] is not None:
        partial.touch(mode=0o600)
        partial.write_bytes(base64.b64decode(before["content"]))
    target = partial if before.get("content") is not None else path
    if "mode" in before and target.exists():
        shutil.chown(target, before["uid"], before["gid"])
        target.chmod(before["mode"])
    if partial.exists() or partial.is_symlink():
        partial.rename(path)
