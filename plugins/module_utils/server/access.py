# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What decides whether an operator gets in: the packet filter and sshd. Each part says what differs, and how it is activated and undone."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path
from typing import NamedTuple, Protocol

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute

TABLE = "inet shaka"


class AccessError(Exception):
    """Something about the way in is wrong; the text is for the user, and what ran before still runs."""


class File(NamedTuple):
    """A file as it should be; `check` is a command that must succeed for a candidate (%s)."""

    path: Path
    text: str
    mode: int
    check: str = ""


# How `sshd -T` writes what a configuration file calls otherwise.
SYNONYMS = {"prohibit-password": "without-password"}


class Part(Protocol):
    """The packet filter or sshd."""

    name: str
    files: list[File]

    def stale(self, execute: Execute) -> str:
        """Why what runs is not what the files say; empty when it is."""

    def problem(self, execute: Execute) -> str:
        """Why the files, being in place, must not be activated; empty when they may."""

    def activate(self, execute: Execute) -> None:
        """Let the service take its files."""

    def save(self, keep: Path, execute: Execute) -> tuple[list[str], list[str]]:
        """Keep what runs in a directory; returns the shell lines that bring it back, before and after the files are brought back."""


def must(execute: Execute, *command: str) -> str:
    """Run a command that has to succeed; returns its output."""
    code, out, err = execute(list(command))
    if code != 0:
        raise AccessError(f"'{' '.join(command)}' failed: {(err or out).strip()}")
    return out


class Firewall:
    """The nftables table `inet shaka` and the unit that loads it."""

    name = "the packet filter"

    def __init__(self, rules: File, unit: File) -> None:
        self.files = [rules, unit]
        self.rules, self.unit = rules.path, unit.path

    def stale(self, execute: Execute) -> str:
        # In a network namespace of its own the file yields what the kernel would hold; so rules changed by hand are found.
        listing = f"nft --stateless --terse list table {TABLE}"
        loaded = f"nft --file {shlex.quote(str(self.rules))} && {listing}"
        code, wanted, err = execute(["unshare", "--net", "sh", "-c", loaded])
        if code != 0:
            raise AccessError(f"the packet filter's rules do not load: {err.strip()}")
        code, running, _err = execute(listing.split())
        if code != 0 or running != wanted:
            return "the running rules are not those of the file"
        code, _out, _err = execute(["systemctl", "is-enabled", "--quiet", self.unit.name])
        return "" if code == 0 else "its unit is not enabled"

    def problem(self, execute: Execute) -> str:
        return ""

    def activate(self, execute: Execute) -> None:
        must(execute, "systemctl", "daemon-reload")
        must(execute, "systemctl", "enable", "--quiet", self.unit.name)
        must(execute, "systemctl", "reload-or-restart", self.unit.name)
        if why := self.stale(execute):
            raise AccessError(f"after its activation {why}: journalctl --unit {self.unit.name} says why")

    def save(self, keep: Path, execute: Execute) -> tuple[list[str], list[str]]:
        _code, running, _err = execute(["nft", "list", "table", *TABLE.split()])
        (keep / "table.nft").write_text(f"table {TABLE}\ndelete table {TABLE}\n{running}")
        code, _out, _err = execute(["systemctl", "is-enabled", "--quiet", self.unit.name])
        disable = [] if code == 0 else [f"systemctl disable --quiet --now {self.unit.name}"]
        return disable, ["systemctl daemon-reload", f"nft --file {keep}/table.nft"]


class Sshd:
    """sshd's own file of settings, which must also be what sshd makes of all its files."""

    name = "sshd"
    unit = "ssh.service"

    def __init__(self, settings: File, user: str) -> None:
        self.files = [settings]
        self.settings, self.user = settings, user

    def stale(self, execute: Execute) -> str:
        # A reload moves the unit's last change of state; settings younger than that are not in force.
        out = must(execute, "systemctl", "show", "--timestamp=us+utc", "--property=ActiveState,StateChangeTimestamp", self.unit)
        shown = dict(line.split("=", 1) for line in out.splitlines())
        if shown["ActiveState"] != "active":
            return ""  # its socket starts it, with the files as they are
        since = datetime.datetime.strptime(shown["StateChangeTimestamp"], "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=datetime.timezone.utc)  # noqa: UP017  # for the server's Python
        return "its settings are younger than its last reload" if self.settings.path.stat().st_mtime > since.timestamp() else ""

    def problem(self, execute: Execute) -> str:
        code, out, err = execute(["/usr/sbin/sshd", "-t"])
        if code != 0:
            return f"sshd refuses its files: {(err or out).strip()}"
        for user in dict.fromkeys((self.user, "nobody")):
            effective = must(execute, "/usr/sbin/sshd", "-T", "-C", f"user={user},host=localhost,addr=127.0.0.1").lower().splitlines()
            for wanted in self.expected():
                if wanted not in effective:
                    key = wanted.split()[0]
                    found = next((line for line in effective if line.startswith(f"{key} ")), f"{key}: nothing")
                    return f"for {user} sshd would use '{found}' instead of '{wanted}'; another file under /etc/ssh sets it first: remove it there"
        return ""

    def expected(self) -> list[str]:
        """The lines of `sshd -T` that the settings before the first Match must yield."""
        lines = [line.split(None, 1) for line in self.settings.text.split("\nMatch ")[0].splitlines() if line and not line.startswith("#")]
        return [f"{key} {SYNONYMS.get(value, value)}".lower() for key, value in lines]

    def activate(self, execute: Execute) -> None:
        must(execute, "systemctl", "try-reload-or-restart", self.unit)

    def save(self, keep: Path, execute: Execute) -> tuple[list[str], list[str]]:
        return [], [f"systemctl try-reload-or-restart {self.unit}"]


def may_log_in(user: str, home: Path, execute: Execute) -> bool:
    """Whether sshd finds a key for a user. With a command or an authority for keys it cannot be told, and is taken for granted."""
    code, out, _err = execute(["/usr/sbin/sshd", "-T", "-C", f"user={user},host=localhost,addr=127.0.0.1"])
    if code != 0:
        return True
    settings = dict(line.split(None, 1) for line in out.splitlines() if len(line.split(None, 1)) == 2)
    if any(settings.get(key, "none") != "none" for key in ("authorizedkeyscommand", "trustedusercakeys")):
        return True
    for name in settings.get("authorizedkeysfile", ".ssh/authorized_keys").split():
        path = home / name.replace("%h", str(home)).replace("%u", user).replace("%%", "%")
        if path.is_file() and any(line.strip() and not line.lstrip().startswith("#") for line in path.read_text(errors="replace").splitlines()):
            return True
    return False
