# Runs on the server as root. Reads {form: name of the secret} from stdin, never from its arguments, and prints where they occur.
# With the argument "sample" it watches the process list until a second line comes. No apostrophes here: it is quoted in a command line.
import json
import os
import select
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOTS = "/boot /dev/shm /etc /home /media /mnt /opt /root /run /srv /tmp /usr/local /var".split()
# What containers images hold, which comes from the bundle.
IMAGES = "--exclude-dir=io.containerd.content.v1.content --exclude-dir=images --exclude-dir=wheels".split()
needles = json.loads(sys.stdin.readline())
own = {os.getpid(), os.getppid()}


def names(text: str) -> list[str]:
    return sorted({name for form, name in needles.items() if form in text})


def command_lines() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in own:
            try:
                yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue


def readable(path: Path) -> bool:
    """Whether a user without rights can read it: the file, and every directory on the way."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH) and all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
    except OSError:
        return False


def sample() -> None:
    seen: set[str] = set()
    findings: set[tuple[str, str]] = set()
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        fresh = {line for line in command_lines() if line and line not in seen}
        seen |= fresh
        findings |= {("process " + line.split()[0], name) for line in fresh for name in names(line)}
    print(json.dumps({"seen": len(seen), "findings": sorted(findings)}))


def search() -> None:
    findings = [["process " + line.split()[0], name] for line in command_lines() if line.strip() for name in names(line)]
    journal = subprocess.run(["journalctl", "--no-pager", "--all", "--output=json"], capture_output=True, text=True, errors="replace").stdout
    findings += [["journal", name] for name in names(journal)]
    grep = ["grep", "-r", "-l", "-a", "-F", "--devices=skip", "--null", *IMAGES, "-f", "-", *[root for root in ROOTS if Path(root).is_dir()]]
    hits = subprocess.run(grep, input="".join(form + "\n" for form in needles), capture_output=True, text=True, errors="replace").stdout
    files = []
    for path in map(Path, filter(None, hits.split("\0"))):
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        files += [[str(path), name, readable(path)] for name in names(text)]
    space = subprocess.run(["du", "-sxb", "/etc", "/var", "/run"], capture_output=True, text=True).stdout
    read = sum(int(line.split()[0]) for line in space.splitlines()) + len(journal)
    print(json.dumps({"findings": findings, "files": files, "bytes": read}))


sample() if sys.argv[1:] == ["sample"] else search()
