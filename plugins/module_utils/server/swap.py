# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds swap of any origin (fstab, systemd units, zram), and turns it off now and for the next boot."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ansible_collections.shaka.platform.plugins.module_utils.conventions import Execute
from ansible_collections.shaka.platform.plugins.module_utils.server import whole
from ansible_collections.shaka.platform.plugins.module_utils.server.files import write_whole
from ansible_collections.shaka.platform.plugins.module_utils.server.ledger import remember
from ansible_collections.shaka.platform.plugins.module_utils.server.traces import unescaped
from ansible_collections.shaka.platform.plugins.module_utils.server.whole import text_of

MARK = "# swap is off (shaka.platform): "
# Debian's zram-tools starts a service; systemd's zram-generator reads this file, and does nothing when it is empty.
ZRAM_SERVICE = "zramswap.service"
ZRAM_GENERATOR = Path("usr/lib/systemd/system-generators/zram-generator")
ZRAM_CONFIGURATION = Path("etc/systemd/zram-generator.conf")
UNITS = Path("etc/systemd/system")


class SwapError(Exception):
    """Swap cannot be switched off now; the text says what to do."""


class Step(NamedTuple):
    """One difference: the state before, the state after, and how to get there."""

    before: str
    after: str
    do: Callable[[], None]


def without_swap(fstab: str) -> str:
    """The text of fstab with its swap entries as comments."""

    def line(text: str) -> str:
        fields = text.split()
        return f"{MARK}{text}" if len(fields) >= 3 and not text.lstrip().startswith("#") and fields[2] == "swap" else text

    return "".join(line(text) for text in fstab.splitlines(keepends=True))


def in_use(swaps: str) -> int:
    """Bytes that are swapped out, from the text of /proc/swaps."""
    return sum(int(line.split()[3]) for line in swaps.splitlines()[1:]) * 1024


def available(meminfo: str) -> int:
    """Bytes of memory that are still available, from the text of /proc/meminfo."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def is_container(root: Path) -> bool:
    """Whether systemd runs in a container, which shows its host's swap and cannot change it."""
    return (root / "run/systemd/container").exists()


def unit_of(path: str, execute: Execute) -> str:
    """The swap unit of a device or file."""
    code, out, err = execute(["systemd-escape", "--path", "--suffix=swap", path])
    if code != 0:
        raise SwapError(f"systemd-escape {path}: {err.strip()}")
    return out.strip()


def _must(execute: Execute, *command: str) -> None:
    code, out, err = execute(list(command))
    if code != 0:
        raise SwapError(f"{' '.join(command)}: {(err or out).strip()}")


def _switch_off(path: str, root: Path, execute: Execute) -> None:
    used, room = in_use(text_of(root / "proc/swaps")), available(text_of(root / "proc/meminfo"))
    if used > room:
        raise SwapError(
            f"swap {path}: {used >> 20} MiB are swapped out but only {room >> 20} MiB of memory are available; "
            "stop something, add memory, or set host_manage_swap to false"
        )
    # first what lasts: a partition that systemd finds by its type, or a unit of its own, would come back at boot
    _mask(unit_of(path, execute), root, execute)
    _must(execute, "swapoff", path)


def _mask(unit: str, root: Path, execute: Execute) -> None:
    """As `systemctl mask`, which refuses a unit that the owner wrote into /etc; a reset brings back what was there."""
    link = root / UNITS / unit
    remember(link)
    whole.link(link, "/dev/null")
    _must(execute, "systemctl", "daemon-reload")


def _stop_zram(root: Path, execute: Execute) -> None:
    _must(execute, "systemctl", "stop", ZRAM_SERVICE)
    _mask(ZRAM_SERVICE, root, execute)


def steps_to_no_swap(root: Path, execute: Execute) -> list[Step]:
    """The steps after which there is no swap, now and at boot."""
    result: list[Step] = []
    fstab = root / "etc/fstab"
    text = text_of(fstab) if fstab.exists() else ""
    if without_swap(text) != text:
        mode = fstab.stat().st_mode & 0o777
        result.append(Step("/etc/fstab: swap", "/etc/fstab: no swap", lambda: write_whole(fstab, without_swap(text), mode, MARK)))
    configuration = root / ZRAM_CONFIGURATION
    if (root / ZRAM_GENERATOR).exists() and (not configuration.exists() or text_of(configuration)):
        result.append(Step("zram-generator: swap", "zram-generator: no swap", lambda: write_whole(configuration, "", 0o644)))
    service = root / UNITS / ZRAM_SERVICE
    if (root / "usr/lib/systemd/system" / ZRAM_SERVICE).exists() and not service.is_symlink():
        result.append(Step(f"{ZRAM_SERVICE}: starts", f"{ZRAM_SERVICE}: masked", partial(_stop_zram, root, execute)))
    for line in text_of(root / "proc/swaps").splitlines()[1:]:
        path = unescaped(line.split()[0])
        result.append(Step(f"swap {path}: on", f"swap {path}: off", partial(_switch_off, path, root, execute)))
    return result
