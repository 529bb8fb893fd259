# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commit-confirm: a change is undone by a timer, or by a restart, unless a connection that was made after it confirms it in time."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.shaka.platform.plugins.module_utils.conventions import STATE, Execute
from ansible_collections.shaka.platform.plugins.module_utils.server.access import AccessError, File, Part, must
from ansible_collections.shaka.platform.plugins.module_utils.server.files import place, write_whole

KEEP = Path(STATE) / "rollback"
TIMER = "shaka-access-rollback"
UNDO = "undo.sh"
UNITS = Path("/etc/systemd/system")
AT_BOOT = "shaka-access-rollback-boot.service"
# Early enough for the files that it restores: a start of packet filter and sshd reads them.
BOOT_UNIT = """[Unit]
Description=Undo of a change of packet filter or sshd that nobody confirmed
DefaultDependencies=no
ConditionPathExists={undo}
After=local-fs.target nftables.service
Before=shaka-firewall.service ssh.service network-pre.target sysinit.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh {undo}
"""


class Commit:
    """Changes of the parts, on the server."""

    def __init__(self, parts: Sequence[Part], execute: Execute, keep: Path = KEEP, units: Path = UNITS) -> None:
        self.parts, self.execute, self.keep = parts, execute, keep
        self.at_boot = [units / "sysinit.target.wants" / AT_BOOT, units / AT_BOOT]  # as `systemctl enable` would make the first

    @property
    def unconfirmed(self) -> bool:
        """Whether a change waits for its confirmation; also one of an earlier run that was interrupted."""
        return (self.keep / UNDO).exists()

    def apply(self, check_mode: bool, seconds: int) -> dict[str, Any]:
        """Bring files and services to the desired state; `unconfirmed` in the result means that confirm() must follow."""
        differing = {part.name: [file for file in part.files if _current(file) != (file.text, f"{file.mode:04o}")] for part in self.parts}
        why = {part.name: "" if differing[part.name] else part.stale(self.execute) for part in self.parts}
        changing = [part for part in self.parts if differing[part.name] or why[part.name]]
        # None of our files differs, yet other settings are in force: somebody else's file wins. A check reports that, a run cannot correct it.
        overruled = [f"{part.name}: {problem}" for part in self.parts if part not in changing and (problem := part.problem(self.execute))]
        if overruled and not check_mode:
            raise AccessError("; ".join(overruled))
        diff = [_difference(file) for part in changing for file in differing[part.name]]
        diff += [{"before": f"{part.name}: {why[part.name]}\n", "after": f"{part.name}: as its files say\n"} for part in changing if why[part.name]]
        diff += [{"before": f"{problem}\n", "after": ""} for problem in overruled]
        result = {"changed": bool(changing or overruled) or self.unconfirmed, "diff": diff, "unconfirmed": False}
        if check_mode or not result["changed"]:
            return result
        candidates = self._validate([file for part in changing for file in differing[part.name]])
        self._arm(seconds)
        for candidate, file in candidates:
            place(candidate, file.path, file.mode)
        try:
            for part in changing:
                if problem := part.problem(self.execute):
                    raise AccessError(f"{part.name}: {problem}")
                part.activate(self.execute)
        except AccessError as error:
            self.undo()
            raise AccessError(f"{error}. What was there before is back.") from error
        return {**result, "unconfirmed": True}

    def confirm(self) -> None:
        """Stop the timer, so that the change stays."""
        stopped, out, err = self.execute(["systemctl", "stop", f"{TIMER}.timer"])  # which forgets a timer that has elapsed
        code, _out, _err = self.execute(["systemctl", "is-active", "--quiet", f"{TIMER}.service"])
        if code == 0 or not self.unconfirmed:
            raise AccessError("the confirmation came too late, the previous settings are back; raise host_access_confirm_seconds")
        if stopped != 0:
            raise AccessError(f"'systemctl stop {TIMER}.timer' failed: {(err or out).strip()}")
        shutil.rmtree(self.keep)
        for path in self.at_boot:
            path.unlink(missing_ok=True)

    def undo(self) -> None:
        """Undo the change now."""
        if self.unconfirmed:
            must(self.execute, "sh", str(self.keep / UNDO))
        self.execute(["systemctl", "stop", f"{TIMER}.timer"])

    def _validate(self, files: list[File]) -> list[tuple[Path, File]]:
        candidates: list[tuple[Path, File]] = []
        for file in files:
            candidate = file.path.with_name(f"{file.path.name}.shaka-candidate")
            write_whole(candidate, file.text, 0o600)
            candidates.append((candidate, file))
            code, out, err = self.execute(shlex.split(file.check.replace("%s", str(candidate)))) if file.check else (0, "", "")
            if code != 0:
                for written, _file in candidates:
                    written.unlink()
                raise AccessError(f"{file.path}: '{file.check}' refused the new file, the old one stays active: {(err or out).strip()}")
        return candidates

    def _arm(self, seconds: int) -> None:
        """Save the present state and start the timer that restores it."""
        self.execute(["systemctl", "stop", f"{TIMER}.timer"])
        if not self.unconfirmed:  # otherwise the state saved before the unconfirmed change is the one to restore
            self.keep.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self.keep / UNDO, self._script(), 0o700)
        link, unit = self.at_boot
        write_whole(unit, BOOT_UNIT.format(undo=self.keep / UNDO), 0o644)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(unit)
        must(
            self.execute, "systemd-run", "--quiet", "--collect", f"--unit={TIMER}", f"--on-active={seconds}",
            "--timer-property=AccuracySec=1s", "/bin/sh", str(self.keep / UNDO),
        )  # fmt: skip

    def _script(self) -> str:
        saved = [part.save(self.keep, self.execute) for part in self.parts]
        files: list[str] = []
        for number, file in enumerate(file for part in self.parts for file in part.files):
            kept = self.keep / str(number)
            if file.path.exists():
                shutil.copy2(file.path, kept)
                files.append(f"cp --preserve {kept} {file.path}")
            else:
                files.append(f"rm --force {file.path}")
        lines = ["#!/bin/sh", "# Undoes a change of packet filter or sshd that nobody confirmed."]
        lines += [line for before, _after in saved for line in before] + files + [line for _before, after in saved for line in after]
        gone = " ".join(map(str, self.at_boot))
        return "\n".join([*lines, f"rm --recursive --force {self.keep} {gone}"]) + "\n"


def _current(file: File) -> tuple[str, str] | None:
    try:
        return file.path.read_text(encoding="utf-8", errors="replace"), f"{file.path.stat().st_mode & 0o7777:04o}"
    except FileNotFoundError:
        return None


def _difference(file: File) -> dict[str, str]:
    text, mode = _current(file) or ("", "absent")
    return {"before_header": f"{file.path} ({mode})", "after_header": f"{file.path} ({file.mode:04o})", "before": text, "after": file.text}
