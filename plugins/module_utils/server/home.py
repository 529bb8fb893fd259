# Copyright: (c) 2026, The shaka.platform founders
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files below a user's home are read and written with that user's own rights.

Whoever owns a directory can put a link under any name in it, at any moment. Root would follow it, into /etc/shadow, or give the user a file of
root's. A process of the user's reaches nothing that the user could not reach alone. The kernel lets the user neither trace it nor read its memory,
since its rights were changed (`prctl(2)`, PR_SET_DUMPABLE).
"""

from __future__ import annotations

import os
import pickle
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# Seconds that a file of a home may take: it may be a FIFO that nobody writes to, and its owner may stop the process.
ANSWER = 30
HOMES = Path("/home")  # root's own directory, in which users' homes lie
Result = TypeVar("Result")


def keeper(path: Path) -> tuple[int, int] | None:
    """User and group of the home that a path lies in, or of the first directory below one of root's that is not root's; None where all are."""
    if HOMES not in path.parents or path.parent == HOMES:
        return None
    folder = HOMES
    for name in path.relative_to(HOMES).parts[:-1]:
        folder /= name
        try:
            status = folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if status.st_uid:
            return status.st_uid, status.st_gid
    return None


def with_rights_of_its_home(path: Path, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises. For a path below a home it runs in a process of the home's owner; what it returns has to be plain data."""
    owner = keeper(path)
    if owner is None or os.geteuid() != 0:
        return work()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _as_user(owner, reading, writing, work)
    os.close(writing)
    if not select.select([reading], [], [], ANSWER)[0]:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise OSError(f"{path}: the process that was to read or write it gave no answer; is it a plain file?")
    ok, value = pickle.loads(answer)  # from our own code; the user cannot write into this pipe
    if ok:
        return value  # type: ignore[no-any-return]
    raise OSError(*value)


def _as_user(owner: tuple[int, int], reading: int, writing: int, work: Callable[[], object]) -> None:
    """The child: gives up root's rights for good, works, answers, ends. It never returns."""
    try:
        os.close(reading)
        os.setgroups([])
        os.setresgid(owner[1], owner[1], owner[1])
        os.setresuid(owner[0], owner[0], owner[0])
        answer: tuple[bool, object] = (True, work())
    except OSError as error:
        answer = (False, (error.errno, error.strerror, error.filename) if error.errno else (str(error),))
    except BaseException as error:  # pylint: disable=broad-exception-caught  # it must not go on as a copy of the caller
        answer = (False, (f"{type(error).__name__}: {error}",))
    with os.fdopen(writing, "wb") as pipe:
        pickle.dump(answer, pipe)
    os._exit(0)


def make_parent(dest: Path, mode: int) -> None:
    """Make a file's directory, if it is missing, with these permissions."""

    def make() -> None:
        if not dest.parent.is_dir():
            dest.parent.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            dest.parent.mkdir()
            dest.parent.chmod(mode)

    with_rights_of_its_home(dest, make)
