# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Accounts that the platform gave access to a server, and that the inventory no longer has: what each still has, and how it is taken away.

The ledger of what was written says who they are, also when an earlier version or another inventory did it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute
from ansible_collections.shaka.platform.plugins.module_utils.server import ledger
from ansible_collections.shaka.platform.plugins.module_utils.server.accounts import entries_of
from ansible_collections.shaka.platform.plugins.module_utils.server.home import with_rights_of_its_home

SUDOERS = "etc/sudoers.d/50-shaka-operator"
GIVEN = (".ssh/authorized_keys", ".kube/config")  # what an operator gets, below its home
_RECORDED = re.compile(rf"/home/([^/]+)/(?:{'|'.join(map(re.escape, GIVEN))})")


class StillThere(Exception):
    """Access could not be taken away; the text says which, and why."""


def former_operators(operators: Collection[str], entries: Iterable[str]) -> list[str]:
    """Who got access, is not an operator any more, and has not had it taken away.

    :arg operators: the accounts of the inventory.
    :arg entries: the ledger's paths.
    """
    return sorted({found[1] for path in entries if (found := _RECORDED.fullmatch(path))} - {*operators})


def access_of(name: str, root: Path) -> list[str]:
    """What an account still has of what the platform gave it."""
    left = [f"~/{path}" for path in GIVEN if with_rights_of_its_home(root / "home" / name / path, (root / "home" / name / path).exists)]
    return [*(["its login"] if account_is_open(name, root) else []), *left]


def account_is_open(name: str, root: Path) -> bool:
    """Whether an account is there and not expired for good."""
    return any(entry[7:8] != ["1"] for entry in entries_of(name, "shadow", root))


def take_away(name: str, execute: Execute, root: Path) -> None:
    """Lock the account, end its sessions, remove its keys and its kubeconfig; the account and its other files stay. Raises StillThere or OSError.

    Nothing that it had before the platform is brought back by a later reset.
    """
    if account_is_open(name, root):
        code, out, err = execute(["usermod", "--lock", "--expiredate", "1", name])
        if code != 0:
            raise StillThere(f"{name} can still log in: usermod: {(err or out).strip()}")
    for command in ("disable-linger", "terminate-user"):  # without a session, or without logind, there is nothing to end
        execute(["loginctl", command, name])
    for path in GIVEN:
        file = root / "home" / name / path
        with_rights_of_its_home(file, partial(file.unlink, missing_ok=True))
    ledger.forget(f"/home/{name}/{path}" for path in GIVEN)


def take_sudo_away(root: Path) -> None:
    """Remove the rule that lets an operator become root."""
    (root / SUDOERS).unlink(missing_ok=True)
    ledger.forget([f"/{SUDOERS}"])
