# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The packet filter and sshd, which decide whether an operator can log in. Each knows what differs, and how to activate and undo a change."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path
from typing import NamedTuple, Protocol

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute
from ansible_collections.shaka.platform.plugins.module_utils.server.accounts import key_lines

TABLE = "inet shaka"


class AccessError(Exception):
    """Packet filter or sshd could not be changed; the text is for the user. What ran before still runs."""


class File(NamedTuple):
    """A file as it should be; `check` is a command that must succeed for a candidate (%s)."""

    path: Path
    text: str
    mode: int
    check: str = ""


# How `sshd -T` writes what a configuration file calls otherwise.
SYNONYMS = {"prohibit-password": "without-password"}


def effective(user: str, execute: Execute) -> tuple[int, str, str]:
    """How `sshd -T` ends: what sshd uses for a user who comes from the server itself. Without a port it refuses a file that has Match LocalPort."""
    return execute(["/usr/sbin/sshd", "-T", "-C", f"user={user},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"])


class Part(Protocol):
    """The packet filter or sshd."""

    name: str
    files: list[File]

    def stale(self, execute: Execute) -> str:
        """Why the running service differs from its files; empty when it does not."""

    def problem(self, execute: Execute) -> str:
        """Why the new files, already in place, must not be activated; empty when they may."""

    def activate(self, execute: Execute) -> None:
        """Make the service read its files."""

    def save(self, keep: Path, execute: Execute) -> tuple[list[str], list[str]]:
        """Save the running state in a directory. Returns the shell lines that restore it: those to run before the files are restored, and after."""


def must(execute: Execute, *command: str) -> str:
    """Run a command that has to succeed; returns its output."""
    code, out, err = execute(list(command))
    if code != 0:
        raise AccessError(f"'{' '.join(command)}' failed: {(err or out).strip()}")
    return out


class Firewall:
    """The nftables table `inet shaka`, the unit that loads it, and the drop-in by which Debian's own unit loads it again after a flush."""

    name = "the packet filter"

    def __init__(self, rules: File, unit: File, drop_in: File) -> None:
        self.files = [rules, unit, drop_in]
        self.rules, self.unit = rules.path, unit.path

    def stale(self, execute: Execute) -> str:
        # Loaded into an empty network namespace, the file shows what the kernel should list; so rules changed by hand are found.
        listing = f"nft --stateless --terse list table {TABLE}"
        loaded = f"nft --file {shlex.quote(str(self.rules))} && {listing}"
        code, expected, err = execute(["unshare", "--net", "sh", "-c", loaded])
        if code != 0:
            raise AccessError(f"the packet filter's rules do not load: {err.strip()}")
        code, running, _err = execute(listing.split())
        if code != 0 or running != expected:
            return "the running rules differ from the file"
        code, _out, _err = execute(["systemctl", "is-enabled", "--quiet", self.unit.name])
        return "" if code == 0 else "its unit is not enabled"

    def problem(self, execute: Execute) -> str:
        return ""

    def activate(self, execute: Execute) -> None:
        must(execute, "systemctl", "daemon-reload")
        must(execute, "systemctl", "enable", "--quiet", self.unit.name)
        must(execute, "systemctl", "reload-or-restart", self.unit.name)
        if why := self.stale(execute):
            raise AccessError(f"after activation {why}: journalctl --unit {self.unit.name} says why")

    def save(self, keep: Path, execute: Execute) -> tuple[list[str], list[str]]:
        _code, running, _err = execute(["nft", "list", "table", *TABLE.split()])
        (keep / "table.nft").write_text(f"table {TABLE}\ndelete table {TABLE}\n{running}", encoding="utf-8")
        code, _out, _err = execute(["systemctl", "is-enabled", "--quiet", self.unit.name])
        disable = [] if code == 0 else [f"systemctl disable --quiet --now {self.unit.name}"]
        return disable, ["systemctl daemon-reload", f"nft --file {keep}/table.nft"]


class Sshd:
    """Our file of sshd's settings, whose values must also be in force after sshd has read all its files."""

    name = "sshd"
    unit = "ssh.service"

    def __init__(self, settings: File, user: str) -> None:
        self.files = [settings]
        self.settings, self.user = settings, user

    def stale(self, execute: Execute) -> str:
        # A reload counts as a change of the unit's state; settings that are newer than the last one are not in force.
        out = must(execute, "systemctl", "show", "--timestamp=us+utc", "--property=ActiveState,StateChangeTimestamp", self.unit)
        shown = dict(line.split("=", 1) for line in out.splitlines())
        if shown["ActiveState"] != "active":
            return ""  # its socket starts it with the present files
        _weekday, text = shown["StateChangeTimestamp"].split(" ", 1)  # the day's name depends on the language
        since = datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=datetime.timezone.utc)  # noqa: UP017  # for the server's Python
        return "its settings are newer than its last reload" if self.settings.path.stat().st_mtime > since.timestamp() else ""

    def problem(self, execute: Execute) -> str:
        code, out, err = execute(["/usr/sbin/sshd", "-t"])
        if code != 0:
            return f"sshd refuses its files: {(err or out).strip()}"
        for user in dict.fromkeys((self.user, "nobody")):
            code, out, err = effective(user, execute)
            if code != 0:
                return f"sshd does not say what it would use for {user}: {(err or out).strip()}"
            lines = out.lower().splitlines()
            for expected in self.expected():
                if expected not in lines:
                    key = expected.split()[0]
                    actual = next((line for line in lines if line.startswith(f"{key} ")), f"{key}: nothing")
                    return f"for {user} sshd would use '{actual}' instead of '{expected}'; another file under /etc/ssh sets it first: remove it there"
        return ""

    def expected(self) -> list[str]:
        """The lines that `sshd -T` must print because of the settings before the first Match."""
        lines = [line.split(None, 1) for line in self.settings.text.split("\nMatch ")[0].splitlines() if line and not line.startswith("#")]
        return [f"{key} {SYNONYMS.get(value, value)}".lower() for key, value in lines]

    def activate(self, execute: Execute) -> None:
        must(execute, "systemctl", "try-reload-or-restart", self.unit)

    def save(self, keep: Path, execute: Execute) -> tuple[list[str], list[str]]:
        return [], [f"systemctl try-reload-or-restart {self.unit}"]


def may_log_in(user: str, home: Path, execute: Execute) -> bool:
    """Whether sshd finds a key for a user. Where a command or an authority provides keys, that cannot be known, and is assumed."""
    code, out, _err = effective(user, execute)
    if code != 0:
        return True
    settings = dict(line.split(None, 1) for line in out.splitlines() if len(line.split(None, 1)) == 2)
    if any(settings.get(key, "none") != "none" for key in ("authorizedkeyscommand", "trustedusercakeys")):
        return True
    for name in settings.get("authorizedkeysfile", ".ssh/authorized_keys").split():
        path = home / name.replace("%h", str(home)).replace("%u", user).replace("%%", "%")
        if path.is_file() and key_lines(path.read_text(errors="replace")):
            return True
    return False
